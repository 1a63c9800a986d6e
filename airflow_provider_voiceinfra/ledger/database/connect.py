"""Turns the ledger's URL into connections and transactions, and a database's errors into ours."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Executable,
    Row,
    Select,
    Transaction,
    create_engine,
    event,
    exc,
)

from airflow_provider_voiceinfra.exceptions import (
    ConfigurationError,
    LedgerUnavailableError,
    UnstorableValueError,
)
from airflow_provider_voiceinfra.ledger.database import migrate, postgres
from airflow_provider_voiceinfra.ledger.database.group_commit import GroupCommit, Item, Result
from airflow_provider_voiceinfra.ledger.database.personal import Keyring, give_keyring, read_keyring
from airflow_provider_voiceinfra.ledger.database.pools import SHARED, Pool
from airflow_provider_voiceinfra.ledger.database.urls import read_url

BUSY_TIMEOUT = 30.0
OLDEST_SQLITE = (3, 35)  # the first one that returns what a statement has written
_DRIVERS = ("pysqlite", *postgres.DRIVERS)

_databases: dict[tuple[str, Pool], Database] = {}
_databases_lock = threading.Lock()


class Database:
    """Connections to one ledger, of one process; the schema is brought up to date before the first one.

    Its ``engine``, for migrations and checks, does not touch the schema by itself.
    """

    def __init__(self, url: str, pool: Pool = SHARED) -> None:
        self.url = url
        self._url = read_url(url)
        self._pool = pool
        self.engine = _engine(self._url, pool)
        self._ready = False
        self._keyring: Keyring | None = None
        self.kept_rules: set[str | None] = set()
        """Sets of rules that are known to be stored."""
        self._lock = threading.Lock()
        self._parents: list[Engine] = []
        self._groups: dict[Hashable, GroupCommit[Any, Any]] = {}

    def upgrade(self) -> bool:
        """Create or upgrade the tables; return whether anything had to be done.

        :raises LedgerUnavailableError: if the database cannot be reached or written.
        """
        with _errors_for_people():
            return migrate.upgrade(self.engine)

    def after_fork(self) -> None:
        """Leave the connections to the parent, in the child of a fork, and begin anew."""
        # Kept, since its end would close connections that the parent goes on using.
        self._parents.append(self.engine)
        self.engine = _engine(self._url, self._pool)
        if self._keyring is not None:
            give_keyring(self.engine.dialect, self._keyring)
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self._groups = {}

    def group(
        self, name: Hashable, store: Callable[[Sequence[Item]], Sequence[Result]]
    ) -> GroupCommit[Item, Result]:
        """Return what stores items of this process's threads together, under a name.

        :param store: see ``GroupCommit``; of the first who names the group.
        """
        return self._groups.setdefault(name, GroupCommit(store))

    def rows(self, query: Executable, values: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Return what a query finds, in a transaction of its own; see ``reading``.

        :param values: those of its bound parameters.
        """
        with self.reading() as connection:
            return connection.execute(query, values).all()

    def stream(self, query: Select[Any], *, at_once: int = 500) -> Iterator[Row[Any]]:
        """Yield what a query finds, and keep only so many rows in memory; see ``reading``."""
        with self.reading() as connection:
            yield from connection.execute(query.execution_options(yield_per=at_once))

    def reading(self) -> AbstractContextManager[Connection]:
        """Open a transaction that only reads.

        :raises LedgerUnavailableError: if the database cannot be reached or read, or is locked for long.
        """
        return self._transaction(writing=False)

    def writing(self, *, unhurried: bool = False) -> AbstractContextManager[Connection]:
        """Open a transaction that writes; it is durable once this returns.

        :param unhurried: whether its statements may take, and wait for locks, as long as they need.
        :raises LedgerUnavailableError: if the database cannot be reached or written, or is locked for long.
        """
        return self._transaction(writing=True, unhurried=unhurried)

    @contextmanager
    def _transaction(self, *, writing: bool, unhurried: bool = False) -> Iterator[Connection]:
        with _errors_for_people():
            self._prepare()
            connection, transaction = self._begin(writing, unhurried)
            with connection, transaction:
                yield connection

    def _begin(self, writing: bool, unhurried: bool, *, again: bool = True) -> tuple[Connection, Transaction]:
        """Begin a transaction; a connection that the server has ended meanwhile is replaced."""
        connection = self.engine.connect().execution_options(**{migrate.WRITING: writing})
        try:
            transaction = connection.begin()
            if connection.dialect.name == "postgresql":
                # The first round trip, so there is no need for ``pool_pre_ping``, which would be one more.
                postgres.limit(connection, self._pool, writing=writing, unhurried=unhurried)
        except exc.DBAPIError as error:
            connection.close()
            if not (again and error.connection_invalidated):
                raise
        except BaseException:
            connection.close()
            raise
        else:
            return connection, transaction
        return self._begin(writing, unhurried, again=False)

    def _prepare(self) -> None:
        if self._ready:
            return
        patience = self._pool.lock_timeout
        if not self._lock.acquire(timeout=-1 if patience is None else patience):
            raise LedgerUnavailableError("The ledger's tables are being upgraded; try again in a moment.")
        try:
            if not self._ready:
                self.engine.dispose()  # the server may have ended what an earlier attempt has left
                migrate.upgrade(self.engine, patience=patience)
                with self.engine.connect().execution_options(**{migrate.WRITING: False}) as connection:
                    self._keyring = read_keyring(connection)
                give_keyring(self.engine.dialect, self._keyring)
                self._ready = True
        finally:
            self._lock.release()


def database(url: str, pool: Pool = SHARED) -> Database:
    """Return this process's connections to a ledger; a fork gets its own, never its parent's."""
    with _databases_lock:
        if (url, pool) not in _databases:
            _databases[url, pool] = Database(url, pool)
        return _databases[url, pool]


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
    except exc.DataError as error:
        raise UnstorableValueError(
            f"The ledger's database cannot hold a value: {_first_line(error)}."
        ) from error
    # SQLite's own errors come unwrapped from what is done before the first transaction.
    except (exc.DBAPIError, exc.TimeoutError, sqlite3.Error) as error:
        raise unavailable(error) from error


def unavailable(error: Exception) -> LedgerUnavailableError:
    """Return the error for people: the driver's words without the statement and its values."""
    return LedgerUnavailableError(
        f"The ledger's database cannot be used: {_first_line(error)}. Check that it is running, "
        "reachable and writable from here, and the setting [voiceinfra] sql_alchemy_conn."
    )


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]


def _engine(url: URL, pool: Pool) -> Engine:
    backend = url.get_backend_name()
    patience = BUSY_TIMEOUT if pool.lock_timeout is None else pool.lock_timeout
    sqlite_args = {"timeout": patience, "check_same_thread": False}
    kept = min(5, pool.connections)
    named = f"[voiceinfra] sql_alchemy_conn names {url.drivername!r}"
    try:
        engine = create_engine(
            url,
            hide_parameters=True,
            pool_size=kept,
            max_overflow=pool.connections - kept,
            pool_timeout=pool.wait,
            connect_args=postgres.connect_args(url) if backend == "postgresql" else sqlite_args,
        )
    except (exc.NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigurationError(f"{named}, whose driver is not installed.") from error
    if engine.dialect.is_async:
        raise ConfigurationError(
            f"{named}, an asynchronous driver; name a synchronous one, or none: {backend}://..."
        )
    if engine.dialect.driver not in _DRIVERS:
        raise ConfigurationError(f"{named}, a driver that is not supported; name none: {backend}://...")
    if backend == "sqlite":
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise ConfigurationError(
                f"{named}, and this Python has SQLite {sqlite3.sqlite_version}; it takes 3.35 or newer. Use "
                "PostgreSQL, or a Python with a newer SQLite."
            )
        _tame_sqlite(engine, patience)
    return engine


def _tame_sqlite(engine: Engine, patience: float) -> None:
    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver's guesses
        connection.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
        connection.execute("PRAGMA synchronous = FULL")  # NORMAL may lose the last commits on power loss

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that begins by reading and then writes can be refused at once, whatever the busy
        # time-out, if another wrote in between; taking the write lock first waits its turn instead.
        writing = connection.get_execution_options().get(migrate.WRITING, True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
