"""Turns the ledger's URL into connections: drivers, SQLite's pragmas, transactions, and their errors."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url

from airflow_provider_voiceinfra.exceptions import ConfigurationError, LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import migrate

BUSY_TIMEOUT = 30.0
CONNECT_TIMEOUT = 10
POOL_TIMEOUT = 5.0
_MOST_KEPT = 5  # connections that a pool keeps open while nobody uses them

_databases: dict[str | tuple[str, Pool], Database] = {}
_databases_lock = threading.Lock()


@dataclass(frozen=True)
class Pool:
    """Connections that one part of a process has to itself, so that no other part can keep it waiting.

    :param name: the part.
    :param size: how many connections it opens at most.
    """

    name: str
    size: int


class Database:
    """Connections to one ledger, of one process; the schema is brought up to date before the first one."""

    def __init__(self, url: str, pool: Pool | None = None) -> None:
        self.url = url
        self._url = _with_driver(url)
        self._pool = pool
        self._engine = _engine(self._url, pool)
        self._ready = False
        self._lock = threading.Lock()
        self._parents: list[Engine] = []

    @property
    def engine(self) -> Engine:
        """The engine, for migrations and checks; it does not touch the schema by itself."""
        return self._engine

    def upgrade(self) -> bool:
        """Create or upgrade the tables; return whether anything had to be done.

        :raises LedgerUnavailableError: if the database cannot be reached or written.
        """
        with _errors_for_people():
            return migrate.upgrade(self._engine)

    def after_fork(self) -> None:
        """Leave the connections to the parent, in the child of a fork, and begin anew."""
        # Kept, since its end would close connections that the parent goes on using.
        self._parents.append(self._engine)
        self._engine = _engine(self._url, self._pool)
        self._lock = threading.Lock()  # another thread of the parent may have held it

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that only reads.

        :raises LedgerUnavailableError: if the database cannot be reached or read.
        """
        with self._transaction(writing=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that writes; it is durable once this returns.

        :raises LedgerUnavailableError: if the database cannot be reached or written.
        """
        with self._transaction(writing=True) as connection:
            yield connection

    @contextmanager
    def _transaction(self, *, writing: bool) -> Iterator[Connection]:
        with _errors_for_people():
            self._prepare()
            with (
                self._engine.connect().execution_options(**{migrate.WRITING: writing}) as connection,
                connection.begin(),
            ):
                yield connection

    def _prepare(self) -> None:
        if self._ready:
            return
        with self._lock:
            if not self._ready:
                migrate.upgrade(self._engine)
                self._ready = True


def database(url: str, pool: Pool | None = None) -> Database:
    """Return this process's connections to a ledger; a fork gets its own, never its parent's.

    :param pool: whose connections; if not set, those that all share who have none of their own.
    """
    key = url if pool is None else (url, pool)
    with _databases_lock:
        if key not in _databases:
            _databases[key] = Database(url, pool)
        return _databases[key]


def _after_fork() -> None:
    global _databases_lock
    _databases_lock = threading.Lock()
    for inherited in _databases.values():
        inherited.after_fork()


os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def _errors_for_people() -> Iterator[None]:
    try:
        yield
    except exc.IntegrityError:
        raise  # a race was lost, which whoever writes counts on
    # SQLite's own errors come unwrapped from what is done before the first transaction.
    except (exc.DBAPIError, exc.TimeoutError, sqlite3.Error) as error:
        raise unavailable(error) from error


def unavailable(error: Exception) -> LedgerUnavailableError:
    """Return the error for people: the driver's words without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    first_line = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    return LedgerUnavailableError(
        f"The ledger's database cannot be used: {first_line}. Check that it is running, reachable and "
        "writable from here, and the setting [voiceinfra] sql_alchemy_conn."
    )


def _with_driver(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        # The URL holds a password, so neither the message nor its cause may quote it.
        raise ConfigurationError(
            "[voiceinfra] sql_alchemy_conn is not a database URL; it looks like "
            "postgresql://user:password@host/database or sqlite:////path/to/ledger.db."
        ) from None
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigurationError(
            "[voiceinfra] sql_alchemy_conn names a SQLite database in memory, which forgets every call when "
            "the process ends; name a file: sqlite:////path/to/ledger.db."
        )
    if parsed.drivername in ("postgresql", "postgres"):
        driver = next((name for name in ("psycopg2", "psycopg") if importlib.util.find_spec(name)), None)
        if driver is None:
            raise ConfigurationError(
                "[voiceinfra] sql_alchemy_conn names PostgreSQL, but no driver is installed: "
                "pip install 'airflow-provider-voiceinfra[postgres]'."
            )
        parsed = parsed.set(drivername=f"postgresql+{driver}")
    return parsed


def _engine(url: URL, pool: Pool | None = None) -> Engine:
    backend = url.get_backend_name()
    options: dict[str, Any] = {"hide_parameters": True, "pool_pre_ping": True}
    if pool is not None:
        kept = min(pool.size, _MOST_KEPT)
        options.update(pool_size=kept, max_overflow=pool.size - kept, pool_timeout=POOL_TIMEOUT)
    if backend == "sqlite":
        options["connect_args"] = {"timeout": BUSY_TIMEOUT, "check_same_thread": False}
    elif backend == "postgresql":
        options["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT}
    try:
        engine = create_engine(url, **options)
    except (exc.NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigurationError(
            f"[voiceinfra] sql_alchemy_conn names {url.drivername!r}, whose driver is not installed."
        ) from error
    if engine.dialect.is_async:
        raise ConfigurationError(
            f"[voiceinfra] sql_alchemy_conn names {url.drivername!r}, an asynchronous driver; "
            f"name a synchronous one, or none: {backend}://..."
        )
    if backend == "sqlite":
        _tame_sqlite(engine)
    return engine


def _tame_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver's guesses
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")
        connection.execute("PRAGMA synchronous = FULL")  # NORMAL may lose the last commits on power loss

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that begins by reading and then writes can be refused at once, whatever the busy
        # time-out, if another wrote in between; taking the write lock first waits its turn instead.
        writing = connection.get_execution_options().get(migrate.WRITING, True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
