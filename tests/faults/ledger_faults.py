"""What happens to the ledger in a run: it is locked, read-only, full, restarted, or moves to a replica.

A SQLite file has no server: it is locked, and flags beside it say that its disk is read-only, or full; the
processes of a run obey them as they would a disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import Pool

from airflow_provider_voiceinfra.ledger.database.migrate import WRITING
from tests.faults import databases

FAULTS = ("lock", "restart", "crash", "end_backends", "read_only", "disk_full", "fail_over")
PREFIX = "sqlite:///"


class Breaker:
    """Does one thing after the other to the ledger, each in a thread of its own.

    :param calm: whether it is to end what it is doing.
    """

    def __init__(self, calm: Callable[[], bool]) -> None:
        self._calm = calm
        self._pool = ThreadPoolExecutor(8)
        self._begun: list[Future[None]] = []

    def begin(self, fault: str, seconds: float) -> None:
        """Begin one of ``FAULTS``.

        :param seconds: how long it lasts, if it does not end by itself.
        """
        self._begun.append(self._pool.submit(getattr(self, fault), seconds))

    def join(self) -> None:
        """Wait until all is over, and raise what kept it from being done."""
        begun, self._begun = self._begun, []
        for one in begun:
            one.result()


def breaker(url: str, server: databases.Postgres | None, calm: Callable[[], bool]) -> Breaker:
    """Return what does things to a ledger."""
    return _File(Path(url.removeprefix(PREFIX)), calm) if server is None else _Server(url, server, calm)


class _File(Breaker):
    def __init__(self, path: Path, calm: Callable[[], bool]) -> None:
        super().__init__(calm)
        self._path = path

    def lock(self, seconds: float) -> None:
        databases.lock_sqlite(self._path, seconds, self._calm)

    def restart(self, seconds: float) -> None:
        self.lock(1.0)

    crash = fail_over = restart

    def end_backends(self, seconds: float) -> None:
        self.lock(0.5)

    def read_only(self, seconds: float) -> None:
        self._flag("read_only", seconds)

    def disk_full(self, seconds: float) -> None:
        self._flag("disk_full", seconds)

    def _flag(self, name: str, seconds: float) -> None:
        flag = self._path.with_suffix(f".{name}")
        flag.touch()
        databases.hold(seconds, self._calm)
        flag.unlink(missing_ok=True)


class _Server(Breaker):
    def __init__(self, url: str, server: databases.Postgres, calm: Callable[[], bool]) -> None:
        super().__init__(calm)
        self._server = server
        self._database = url.rpartition("/")[2]

    def lock(self, seconds: float) -> None:
        self._server.lock(self._database, seconds, self._calm)

    def restart(self, seconds: float) -> None:
        self._server.restart(crash=False)

    def crash(self, seconds: float) -> None:
        self._server.restart(crash=True)

    def fail_over(self, seconds: float) -> None:
        self._server.fail_over()

    def end_backends(self, seconds: float) -> None:
        with suppress(psycopg2.Error):  # it may be restarting
            self._server.end_backends(self._database)

    def read_only(self, seconds: float) -> None:
        setting = f'ALTER DATABASE "{self._database}" SET default_transaction_read_only = '
        for value, lasts in (("on", seconds), ("off", 0.0)):
            databases.insist(lambda value=value: self._server.execute(setting + value))  # type: ignore[misc]
            self.end_backends(0.0)
            databases.hold(lasts, self._calm)

    def disk_full(self, seconds: float) -> None:
        self._server.fill_disk(self._database, seconds, self._calm)


def obey(url: str) -> None:
    """Have this process's connections to a SQLite ledger be what the flags beside it say."""
    if not url.startswith(PREFIX):
        return
    path = Path(url.removeprefix(PREFIX))

    @event.listens_for(Pool, "checkout")
    def look(connection: Any, record: Any, proxy: Any) -> None:
        connection.execute(f"PRAGMA query_only = {int(path.with_suffix('.read_only').exists())}")

    @event.listens_for(Engine, "commit")
    def commit(connection: Connection) -> None:
        if connection.get_execution_options().get(WRITING, True) and path.with_suffix(".disk_full").exists():
            raise sqlite3.OperationalError("database or disk is full")
