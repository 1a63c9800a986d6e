"""Which secrets a webhook may be signed with: asks Airflow, seldom, and tells "none" from "can't say".

Airflow answers "not found" also where one of its secrets backends failed, a database that is down included.
Taken at its word it would turn genuine webhooks away, so that answer is looked into a second time.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cachetools import LRUCache, TTLCache

from airflow_provider_voiceinfra import deployment
from airflow_provider_voiceinfra.connection import CONN_TYPE, webhook_secrets
from airflow_provider_voiceinfra.exceptions import ConfigurationError, VoiceInfraError

CACHE_SECONDS = 10.0
CACHE_SIZE = 1024
# Look-ups within CACHE_SECONDS of ids that have never been found here: a stranger can make up any number.
MAX_STRANGE_LOOKUPS = 200

# What Airflow takes as the id of a connection; the length is that of its database column.
_CONN_ID = re.compile(r"[\w#!()\-.:/\\]{1,250}")

SecretsFor = Callable[[str], "tuple[str, ...] | None"]


class ConnectionsUnavailableError(VoiceInfraError):
    """Whether there is such a connection cannot be said just now."""


def find_secrets(conn_id: str) -> tuple[str, ...] | None:
    """Return the webhook secrets of an Airflow connection; ``None`` if there is none of type ``voiceinfra``.

    Inside the API server these are the connections of its secrets backends, its environment and its metadata
    database. In a process of its own, Airflow looks into secrets backends and the environment only
    (``AIRFLOW_CONN_<CONN_ID>``); the metadata database is asked here as well if one is configured.

    :raises ConnectionsUnavailableError: if Airflow cannot say.
    """
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        conn = deployment.airflow_connection(conn_id)
    except ConfigurationError:
        return None
    except AirflowNotFoundException:
        conn = _second_look(conn_id)
    except Exception as exc:
        raise ConnectionsUnavailableError(type(exc).__name__) from exc
    if conn is None or (conn.conn_type and conn.conn_type != CONN_TYPE):
        return None
    try:
        return webhook_secrets(conn)
    except Exception as exc:
        raise ConnectionsUnavailableError(f"its extras cannot be read: {type(exc).__name__}") from exc


def _second_look(conn_id: str) -> Any:
    for backend in _backends():
        try:
            conn = backend.get_connection(conn_id=conn_id)
        except Exception as exc:
            raise ConnectionsUnavailableError(f"{type(backend).__name__}: {type(exc).__name__}") from exc
        if conn:
            return conn
    return None


def _backends() -> Iterator[Any]:
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    loaded = ensure_secrets_backend_loaded()
    yield from loaded
    if not any(type(backend).__name__ == "MetastoreBackend" for backend in loaded) and _has_metadata():
        from airflow.secrets.metastore import MetastoreBackend

        yield MetastoreBackend()


def _has_metadata() -> bool:
    """Tell whether this process was given Airflow's metadata database, not just the default's file name."""
    from airflow.configuration import conf
    from sqlalchemy import make_url

    url = make_url(conf.get_mandatory_value("database", "sql_alchemy_conn"))
    if url.get_backend_name() != "sqlite":
        return True
    return bool(url.database) and Path(str(url.database)).is_file()


class CachedSecrets:
    """Remembers for some seconds what a look-up found, or that it found nothing.

    A flood of made-up ids is answered from here, up to a number of look-ups, and then with "can't say";
    connections that were found before never wait for it.

    :param find: the look-up itself.
    :param clock: monotonic seconds.
    """

    def __init__(self, find: SecretsFor = find_secrets, clock: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._found: TTLCache[str, tuple[str, ...]] = TTLCache(CACHE_SIZE, CACHE_SECONDS, timer=clock)
        self._missing: TTLCache[str, None] = TTLCache(CACHE_SIZE, CACHE_SECONDS, timer=clock)
        self._familiar: LRUCache[str, bool] = LRUCache(CACHE_SIZE)
        self._strange: TTLCache[object, None] = TTLCache(MAX_STRANGE_LOOKUPS, CACHE_SECONDS, timer=clock)

    def __call__(self, conn_id: str) -> tuple[str, ...] | None:
        """Return the secrets of a connection; ``None`` if there is no such connection.

        :raises ConnectionsUnavailableError: if that cannot be said.
        """
        if _CONN_ID.fullmatch(conn_id) is None:
            return None
        with self._lock:
            with suppress(KeyError):
                return self._found[conn_id]
            if conn_id in self._missing:
                return None
            self._allow(conn_id)
        secrets = self._find(conn_id)
        with self._lock:
            if secrets is None:
                self._missing[conn_id] = None
            else:
                self._found[conn_id] = secrets
                self._familiar[conn_id] = True
        return secrets

    def _allow(self, conn_id: str) -> None:
        if conn_id in self._familiar:
            return
        self._strange.expire()
        if len(self._strange) >= MAX_STRANGE_LOOKUPS:
            raise ConnectionsUnavailableError("too many unknown connections were asked for")
        self._strange[object()] = None
