"""The ledger's database, and what can happen to it: locked, restarted, its connections ended."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from harness.postgres import FAST, PostgresServer

SQLITE, POSTGRESQL = "sqlite", "postgresql"
LOCK = "LOCK TABLE voiceinfra_calls, voiceinfra_completions, voiceinfra_campaigns IN ACCESS EXCLUSIVE MODE"


class Postgres(PostgresServer):
    """A server that can be restarted; a crash must lose nothing that it has committed."""

    # A commit that is lost in a crash would look like the package's fault.
    settings = tuple(one for one in FAST if not one.startswith("synchronous_commit"))

    def restart(self, *, crash: bool) -> None:
        """End the server, in order or at once, and start it again."""
        self._process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
        self._process.wait()
        self._serve()

    def end_backends(self, name: str) -> None:
        """End all connections to a database."""
        where = f"datname = '{name}' AND pid <> pg_backend_pid()"
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {where}")

    def lock(self, name: str, seconds: float, stopped: Callable[[], bool]) -> None:
        """Hold the tables of a database."""
        import psycopg2

        with closing(psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", dbname=name)) as one:
            try:
                with one.cursor() as cursor:
                    cursor.execute("SET lock_timeout = '5s'")
                    cursor.execute(LOCK)
                hold(seconds, stopped)
                one.rollback()
            except psycopg2.Error:
                return  # restarted meanwhile, or somebody else holds them


def lock_sqlite(path: Path, seconds: float, stopped: Callable[[], bool]) -> None:
    """Hold a SQLite file's write lock."""
    with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            hold(seconds, stopped)
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return  # somebody else held it all the time


def hold(seconds: float, stopped: Callable[[], bool]) -> None:
    """Let some seconds go by, fewer if told so."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stopped():
        time.sleep(0.05)
