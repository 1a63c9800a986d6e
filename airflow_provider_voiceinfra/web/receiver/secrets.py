"""Which secrets a webhook may be signed with: asks Airflow, seldom; "none" is not "can't say".

Airflow answers "not found" also where one of its secrets backends failed, a database that is down included.
Taken at its word it would turn genuine webhooks away, so that answer is looked into a second time.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache, TTLCache

from airflow_provider_voiceinfra import deployment, teams
from airflow_provider_voiceinfra.connection import CONN_TYPE, webhook_secrets
from airflow_provider_voiceinfra.exceptions import (
    ConfigurationError,
    InvalidCallError,
    VoiceInfraError,
)

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.rules.opt_out import OptOut

CACHE_SECONDS = 10.0
CACHE_SIZE = 1024
# Look-ups within CACHE_SECONDS of ids that have never been found here: anybody can make up any number.
MAX_UNKNOWN_LOOKUPS = 200
# Of them at a time: a secrets backend may be slow, and threads are left for ids that exist.
UNKNOWN_AT_ONCE = 8
# How long a flood may have to wait until it is known for the first time which ids exist.
NAMES_SECONDS = 5.0

# What Airflow takes as the id of a connection; the length is that of its database column.
_CONN_ID = re.compile(r"[\w#!()\-.:/\\]{1,250}")

SecretsFor = Callable[[str], "tuple[str, ...] | None"]

log = logging.getLogger(__name__)


class ConnectionsUnavailableError(VoiceInfraError):
    """Whether there is such a connection cannot be said just now."""


def find_secrets(conn_id: str) -> tuple[str, ...] | None:
    """Return the webhook secrets of an Airflow connection; ``None`` if there is none of type ``voiceinfra``.

    Inside the API server these are the connections of its secrets backends, its environment and its metadata
    database. In a process of its own, Airflow looks into secrets backends and the environment only
    (``AIRFLOW_CONN_<CONN_ID>``); the metadata database is asked here as well if one is configured. Where
    there are teams, their connections are found as well.

    :raises ConnectionsUnavailableError: if Airflow cannot say.
    """
    try:
        conn = teams.only_connection(conn_id, _shared(conn_id))
    except ConnectionsUnavailableError:
        raise
    except ConfigurationError as exc:
        raise ConnectionsUnavailableError(str(exc)) from exc
    except Exception as exc:
        raise ConnectionsUnavailableError(f"it cannot be read: {type(exc).__name__}") from exc
    return None if conn is None else webhook_secrets(conn)


def find_opt_outs(conn_id: str) -> tuple[OptOut, ...]:
    """Return what in a record of a connection says that the person must not be called again, looked up now.

    :raises ConnectionsUnavailableError: if Airflow cannot say.
    :raises ConfigurationError: if what the connection or the deployment says cannot be read.
    """
    from airflow_provider_voiceinfra.rules.opt_out import OptOut

    try:
        spec = getattr(find_secrets(conn_id), "opt_out", None)
    except ConnectionsUnavailableError as error:
        raise ConnectionsUnavailableError(
            f"Connection {conn_id!r}, which may say how people opt out, cannot be looked up: {error}. "
            "Try again."
        ) from error
    try:
        OptOut.parse(spec) if spec else None
    except InvalidCallError as fault:
        raise ConfigurationError(f"Connection {conn_id!r}: extra {fault.field!r} {fault.rule}.") from fault
    return deployment.opt_outs(conn_id, spec)


def _shared(conn_id: str) -> Any:
    """Return the connection that belongs to no team, if it is one of ours."""
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        conn = deployment.airflow_connection(conn_id)
    except ConfigurationError:
        return None
    except AirflowNotFoundException:
        conn = _second_look(conn_id)
    return None if conn is None or (conn.conn_type and conn.conn_type != CONN_TYPE) else conn


def _second_look(conn_id: str) -> Any:
    for backend in deployment.secrets_backends():
        try:
            conn = backend.get_connection(conn_id=conn_id)
        except Exception as exc:
            raise ConnectionsUnavailableError(f"{type(backend).__name__}: {type(exc).__name__}") from exc
        if conn:
            return conn
    return None


class CachedSecrets:
    """Remembers for some seconds what a lookup found, or that it found nothing.

    Ids that anybody could have made up are looked up a bounded number of times, and a few at a time. One more
    is answered as a connection that does not exist, at once, so that a flood of them looks the same for every
    id and slows nobody down. Ids that are known to exist are not counted: those that were found before, those
    that an environment variable defines, and ``names``.

    :param find: the lookup itself.
    :param names: yields ids that exist, as far as they can be listed; asked in a thread of its own, only
        while unknown ids are asked for.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        find: SecretsFor = find_secrets,
        names: Callable[[], Iterable[str]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._names = KnownNames(names, clock)
        self._lock = threading.Lock()
        self._found: TTLCache[str, tuple[str, ...] | None] = TTLCache(CACHE_SIZE, CACHE_SECONDS, timer=clock)
        self._familiar: LRUCache[str, bool] = LRUCache(CACHE_SIZE)
        self._unknown: TTLCache[object, None] = TTLCache(MAX_UNKNOWN_LOOKUPS, CACHE_SECONDS, timer=clock)
        self._turns = threading.BoundedSemaphore(UNKNOWN_AT_ONCE)
        self._warned: TTLCache[str, None] = TTLCache(1, CACHE_SECONDS, timer=clock)

    def __call__(self, conn_id: str) -> tuple[str, ...] | None:
        """Return the secrets of a connection; ``None`` if there is no such connection.

        :raises ConnectionsUnavailableError: if that cannot be said.
        """
        if _CONN_ID.fullmatch(conn_id) is None:
            return None
        with self._lock:
            with suppress(KeyError):
                return self._found[conn_id]
            is_familiar = conn_id in self._familiar
        if is_familiar or teams.in_variables(conn_id) or conn_id in self._names:
            return self._look_up(conn_id)
        return self._look_up_unknown(conn_id)

    def remembered(self, conn_id: str) -> tuple[str, ...] | None:
        """Return the same at once.

        :raises KeyError: if it would have to be looked up.
        """
        with self._lock:
            return self._found[conn_id]

    def _look_up(self, conn_id: str) -> tuple[str, ...] | None:
        secrets = self._find(conn_id)
        with self._lock:
            self._found[conn_id] = secrets
            if secrets is not None:
                self._familiar[conn_id] = True
        return secrets

    def _look_up_unknown(self, conn_id: str) -> tuple[str, ...] | None:
        self._names.refresh()
        if self._turns.acquire(blocking=False):
            try:
                if self._has_turn():
                    return self._look_up(conn_id)
            finally:
                self._turns.release()
        # Before it is taken for one that does not exist, the names of those that do must be there.
        self._names.wait()
        if conn_id in self._names:
            return self._look_up(conn_id)
        self._warn()
        return None

    def _has_turn(self) -> bool:
        with self._lock:
            self._unknown.expire()
            if len(self._unknown) >= MAX_UNKNOWN_LOOKUPS:
                return False
            self._unknown[object()] = None
            return True

    def _warn(self) -> None:
        with self._lock:
            if "" in self._warned:
                return
            self._warned[""] = None
        log.warning(
            "Webhooks name so many unknown connections that no more are looked up at present; those are "
            "answered 401. Connections of the environment, of Airflow's metadata database and of the ledger "
            "are not among them."
        )


class KnownNames:
    """The ids of connections that exist, as far as they can be listed; read anew only while somebody asks.

    :param read: yields them; may take long.
    :param clock: monotonic seconds.
    """

    def __init__(self, read: Callable[[], Iterable[str]], clock: Callable[[], float]) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._names: set[str] = set()
        self._read_at = float("-inf")
        self._is_reading = False
        self._first = threading.Event()
        self._patience = NAMES_SECONDS

    def __contains__(self, conn_id: str) -> bool:
        return conn_id in self._names

    def refresh(self) -> None:
        """Begin to read them anew, if that is due; waits for nothing."""
        with self._lock:
            if self._is_reading or self._clock() - self._read_at < CACHE_SECONDS:
                return
            self._is_reading = True
        try:
            threading.Thread(target=self._refresh, name="voiceinfra-names", daemon=True).start()
        except RuntimeError as error:  # no thread can be started just now; whoever asks next tries again
            log.warning("Connections that exist cannot be listed: %s", error)
            with self._lock:
                self._is_reading = False

    def wait(self) -> None:
        """Wait until they have been read once; for some seconds, and only until somebody has done so."""
        if not self._first.wait(self._patience):
            self._patience = 0.0  # whatever keeps them from being read, unknown ids must not hold threads

    def _refresh(self) -> None:
        names: set[str] = set()
        try:
            for name in self._read():
                names.add(name)
                self._names.add(name)  # at once: what comes next may not answer
        except Exception as error:  # noqa: BLE001  it is of use without
            log.warning("Not all connections that exist can be listed: %s", type(error).__name__)
            names = self._names
        finally:
            with self._lock:
                self._names = names
                self._read_at = self._clock()
                self._is_reading = False
            self._first.set()


def stored_names() -> list[str] | None:
    """Return the ids of the connections in Airflow's metadata database; ``None`` if it cannot be asked."""
    from airflow import settings
    from airflow.models.connection import Connection  # the stored ones; airflow.sdk's cannot be listed
    from airflow.utils.session import create_session
    from sqlalchemy import make_url, select

    try:
        url = make_url(settings.SQL_ALCHEMY_CONN or "")
        if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).is_file()):
            return None  # to ask would create the file, empty
        with create_session() as session:
            query = select(Connection.conn_id).where(Connection.conn_type == CONN_TYPE)
            return [str(conn_id) for conn_id in session.scalars(query)]
    except Exception as error:  # noqa: BLE001  whatever keeps Airflow's own database from answering
        log.warning("Airflow's connections cannot be listed: %s", type(error).__name__)
        return None
