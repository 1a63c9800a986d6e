"""Turns the ledger's URL into connections: drivers, SQLite's pragmas, transactions, and their errors."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url

from airflow_provider_voiceinfra.exceptions import ConfigurationError, LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import migrate

BUSY_TIMEOUT = 30.0
CONNECT_TIMEOUT = 10
_WRITING = "voiceinfra_writing"

_databases: dict[tuple[str, int], Database] = {}
_databases_lock = threading.Lock()


class Database:
    """Connections to one ledger, of one process; the schema is brought up to date before the first one."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(_with_driver(url))
        self._ready = False
        self._lock = threading.Lock()

    @property
    def engine(self) -> Engine:
        """The engine, for migrations and checks; it does not touch the schema by itself."""
        return self._engine

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
        try:
            self._prepare()
            with (
                self._engine.connect().execution_options(**{_WRITING: writing}) as connection,
                connection.begin(),
            ):
                yield connection
        except (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError) as error:
            raise unavailable(error) from error

    def _prepare(self) -> None:
        if self._ready:
            return
        with self._lock:
            if not self._ready:
                migrate.upgrade(self._engine)
                self._ready = True


def database(url: str) -> Database:
    """Return this process's connections to a ledger; a fork gets its own, never its parent's."""
    key = (url, os.getpid())
    with _databases_lock:
        if key not in _databases:
            _databases[key] = Database(url)
        return _databases[key]


def unavailable(error: exc.SQLAlchemyError) -> LedgerUnavailableError:
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
    except exc.ArgumentError as error:
        # The URL holds a password, so the message does not repeat it.
        raise ConfigurationError(
            "[voiceinfra] sql_alchemy_conn is not a database URL; it looks like "
            "postgresql://user:password@host/database or sqlite:////path/to/ledger.db."
        ) from error
    if parsed.drivername in ("postgresql", "postgres"):
        driver = next((name for name in ("psycopg2", "psycopg") if importlib.util.find_spec(name)), None)
        if driver is None:
            raise ConfigurationError(
                "[voiceinfra] sql_alchemy_conn names PostgreSQL, but no driver is installed: "
                "pip install 'airflow-provider-voiceinfra[postgres]'."
            )
        parsed = parsed.set(drivername=f"postgresql+{driver}")
    return parsed


def _engine(url: URL) -> Engine:
    backend = url.get_backend_name()
    options: dict[str, Any] = {"hide_parameters": True, "pool_pre_ping": True}
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
        writing = connection.get_execution_options().get(_WRITING, True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
