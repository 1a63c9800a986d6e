"""Turns the ledger's URL into connections and transactions, and a database's errors into ours."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Executable,
    NullPool,
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
from airflow_provider_voiceinfra.ledger.database import keys, migrate, postgres
from airflow_provider_voiceinfra.ledger.database.group_commit import GroupCommit, Item, Result
from airflow_provider_voiceinfra.ledger.database.keyring import Keyring
from airflow_provider_voiceinfra.ledger.database.keys import NO_ENCRYPTION, Encryption
from airflow_provider_voiceinfra.ledger.database.locks import Locks, no_locks
from airflow_provider_voiceinfra.ledger.database.personal import give_keyring
from airflow_provider_voiceinfra.ledger.database.pools import SHARED, Pool
from airflow_provider_voiceinfra.ledger.database.urls import read_url

BUSY_TIMEOUT = 30.0
OLDEST_SQLITE = (3, 35)  # the first one that returns what a statement has written
_DRIVERS = ("pysqlite", *postgres.DRIVERS)

KEYS_AGE = 60.0
"""Seconds after which a process reads the ledger's keys anew: others may have made or wrapped some."""

_databases: dict[tuple[str, Pool, Encryption], Database] = {}
_databases_lock = threading.Lock()


class Database:
    """Connections to one ledger, of one process; the schema is brought up to date before the first one.

    Its ``engine``, for migrations and checks, does not touch the schema by itself.

    :param encryption: the keys that the ledger's own are wrapped by, if there are any.
    """

    def __init__(self, url: str, pool: Pool = SHARED, encryption: Encryption = NO_ENCRYPTION) -> None:
        self.url = url
        self.encryption = encryption
        self._url = read_url(url)
        self._pool = pool
        self.engine = _engine(self._url, pool)
        self._ready = False
        self._keyring: Keyring | None = None
        self._keys_read_at = float("-inf")
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
            give_keyring(self.engine.dialect, self._keyring, self.reload_keys)
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
        return self._transaction(False, False, no_locks)

    def writing(
        self, *, unhurried: bool = False, locks: Locks = no_locks
    ) -> AbstractContextManager[Connection]:
        """Open a transaction that writes; it is durable once this returns.

        :param unhurried: whether its statements may take, and wait for locks, as long as they need.
        :param locks: what is locked before its first statement, until it ends.
        :raises LedgerUnavailableError: if the database cannot be reached or written, or is locked for long.
        """
        return self._transaction(True, unhurried, locks)

    @contextmanager
    def _transaction(self, writing: bool, unhurried: bool, locks: Locks) -> Iterator[Connection]:
        with _errors_for_people():
            while True:
                self._prepare()
                connection, transaction = self._begin(writing, unhurried, locks)
                # If it was paused before the transaction began, its data key may be deleted by now.
                if not (writing and self._keys_are_old()):
                    break
                connection.close()
            with connection, transaction:
                yield connection

    def _begin(
        self, writing: bool, unhurried: bool, locks: Locks, *, again: bool = True
    ) -> tuple[Connection, Transaction]:
        """Begin a transaction; a connection that the server has ended meanwhile is replaced."""
        connection = self.engine.connect().execution_options(**{migrate.WRITING: writing})
        try:
            transaction = connection.begin()
            if connection.dialect.name == "postgresql":
                # The first round trip, so there is no need for ``pool_pre_ping``, which would be one more.
                first = locks(self.keyring)
                postgres.limit(connection, self._pool, writing=writing, unhurried=unhurried, first=first)
        except BaseException as error:
            connection.close()
            if not (again and isinstance(error, exc.DBAPIError) and error.connection_invalidated):
                raise
        else:
            return connection, transaction
        return self._begin(writing, unhurried, locks, again=False)

    def _prepare(self) -> None:
        if self._ready and not self._keys_are_old():
            return
        patience = self._pool.lock_timeout
        if not self._lock.acquire(timeout=-1 if patience is None else patience):
            raise LedgerUnavailableError("The ledger's tables are being upgraded; try again in a moment.")
        try:
            if not self._ready:
                self.engine.dispose()  # the server may have ended what an earlier attempt has left
                migrate.upgrade(self.engine, patience=patience)
                self._take_keys(keys.load(self.engine, self._pool, self.encryption))
                self._ready = True
            elif self._keys_are_old():
                self._take_keys(keys.load(self.engine, self._pool, self.encryption))
        finally:
            self._lock.release()

    def _keys_are_old(self) -> bool:
        # By the wall clock, which goes on while a process or its host is paused, and if it is set back.
        return abs(time.time() - self._keys_read_at) > KEYS_AGE

    def reload_keys(self) -> Keyring:
        """Read the ledger's keys anew, which this process uses from then on; also within a transaction."""
        # Through a connection of its own: all others may be in use, and wait for this.
        spare = _engine(self._url, self._pool, poolclass=NullPool)
        self._take_keys(keys.load(spare, self._pool, self.encryption, wrapping=False))
        return self.keyring

    @property
    def keyring(self) -> Keyring:
        """The ledger's keys, once it has been used."""
        assert self._keyring is not None
        return self._keyring

    def _take_keys(self, keyring: Keyring) -> None:
        self._keyring, self._keys_read_at = keyring, time.time()
        give_keyring(self.engine.dialect, keyring, self.reload_keys)


def database(url: str, pool: Pool = SHARED, encryption: Encryption = NO_ENCRYPTION) -> Database:
    """Return this process's connections to a ledger; a fork gets its own, never its parent's."""
    with _databases_lock:
        wanted = (url, pool, encryption)
        if wanted not in _databases:
            _databases[wanted] = Database(*wanted)
        return _databases[wanted]


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


def _engine(url: URL, pool: Pool, **options: Any) -> Engine:
    backend = url.get_backend_name()
    patience = BUSY_TIMEOUT if pool.lock_timeout is None else pool.lock_timeout
    sqlite_args = {"timeout": patience, "check_same_thread": False}
    kept = min(5, pool.connections)
    named = f"[voiceinfra] sql_alchemy_conn names {url.drivername!r}"
    pooling = {
        "pool_size": kept,
        "max_overflow": pool.connections - kept,
        "pool_timeout": pool.wait,
    }
    try:
        engine = create_engine(
            url,
            hide_parameters=True,
            **(options or pooling),
            **(postgres.options(url) if backend == "postgresql" else {"connect_args": sqlite_args}),
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
        connection.execute("PRAGMA secure_delete = ON")  # what is purged or encrypted is to be gone

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that begins by reading and then writes can be refused at once, whatever the busy
        # time-out, if another wrote in between; taking the write lock first waits its turn instead.
        writing = connection.get_execution_options().get(migrate.WRITING, True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
