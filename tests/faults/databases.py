"""The ledger's database, and how it is locked, restarted, filled, or moved to a replica."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
from harness.pgbouncer import OPEN, PgBouncer, find_pgbouncer
from harness.postgres import FAST, PostgresServer
from harness.processes import free_port

from airflow_provider_voiceinfra.ledger.database.schema import metadata
from tests.support.waiting import until

SQLITE, POSTGRESQL = "sqlite", "postgresql"
LOCK = "LOCK TABLE voiceinfra_calls, voiceinfra_completions, voiceinfra_campaigns IN ACCESS EXCLUSIVE MODE"

# A pooler tries again soon after its server was restarted; by default it waits for seconds.
POOLER = OPEN.replace("default_pool_size = 5", "default_pool_size = 20\nserver_login_retry = 0.2")
# What a server without room says; whether it has room is in a table, so that it can be changed in a moment.
DISK = """
CREATE TABLE faults_disk AS SELECT false AS is_full;
CREATE FUNCTION faults_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF (SELECT is_full FROM faults_disk) THEN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
  END IF;
  RETURN NULL;
END $$;
"""
WRITES = "CREATE TRIGGER faults_write BEFORE INSERT OR UPDATE ON {} EXECUTE FUNCTION faults_write();"


class Postgres(PostgresServer):
    """A server that can be restarted; a crash must lose nothing that it has committed."""

    # A commit that is lost in a crash would look like the package's fault.
    settings = tuple(one for one in FAST if not one.startswith("synchronous_commit"))

    def __init__(self, binaries: Path) -> None:
        super().__init__(binaries)
        self._moving = threading.Lock()
        self._pooler: PgBouncer | None = None

    def restart(self, *, crash: bool) -> None:
        """End the server, in order or at once, and start it again."""
        with self._moving:
            self._process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
            self._process.wait()
            self._serve()

    def fail_over(self) -> None:
        """Lose the server, and go on with a replica at its address that has all that was committed."""
        with self._moving:
            data = self._directory / f"data-{time.monotonic_ns()}"
            self._copy_to(data)
            replica = self._serve_at(str(data), port := free_port())
            insist(lambda: self.execute("ALTER SYSTEM SET synchronous_standby_names = '*'"))
            self.execute("SELECT pg_reload_conf()")
            until(lambda: "sync" in self._ask(self.port, "SELECT sync_state FROM pg_stat_replication"))
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._ask(port, "SELECT pg_promote()")
            replica.send_signal(signal.SIGINT)
            replica.wait()
            shutil.rmtree(self._data)
            self._data = str(data)
            self._serve()

    def pooled(self, url: str) -> str:
        """Return the URL of a database through a pooler, which is started for the first one."""
        if self._pooler is None:
            program = find_pgbouncer()
            if program is None:
                raise SystemExit("no PgBouncer is installed (Debian: apt-get install pgbouncer)")
            self._pooler = PgBouncer(program, self, configuration=POOLER)
        return url.replace(f":{self.port}/", f":{self._pooler.port}/")

    def stop(self) -> None:
        if self._pooler is not None:
            self._pooler.stop()
        super().stop()

    def _copy_to(self, data: Path) -> None:
        command = [str(self._program("pg_basebackup")), "-h", "127.0.0.1", "-p", str(self.port)]
        command += [
            "-U",
            "postgres",
            "-D",
            str(data),
            "--checkpoint=fast",
            "--write-recovery-conf",
            "--no-sync",
        ]
        subprocess.run(
            [*self._prefix, *command], check=True, capture_output=True, env=self._env, cwd=self._directory
        )

    def _program(self, name: str) -> Path:
        # Where the server's programs are linked to from a folder on PATH, this one may not be.
        return (self._binaries / "initdb").resolve().parent / name

    def _ask(self, port: int, query: str) -> list[Any]:
        with closing(
            psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres")
        ) as one:
            one.autocommit = True
            with one.cursor() as cursor:
                cursor.execute(query)
                return [row[0] for row in cursor.fetchall()]

    def fill_disk(self, name: str, seconds: float, stopped: Callable[[], bool]) -> None:
        """Leave a database no room for what is written."""
        writes = [WRITES.format(f'"{table}"') for table in metadata.tables]
        insist(lambda: self._change(name, DISK + "".join(writes)))
        insist(lambda: self._change(name, "UPDATE faults_disk SET is_full = true"))
        hold(seconds, stopped)
        insist(lambda: self._change(name, "UPDATE faults_disk SET is_full = false"))
        insist(lambda: self._change(name, "DROP FUNCTION faults_write CASCADE; DROP TABLE faults_disk"))

    def _change(self, name: str, statements: str) -> None:
        with closing(psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", dbname=name)) as one:
            with one.cursor() as cursor:
                cursor.execute("SET lock_timeout = '5s'")
                cursor.execute("SET default_transaction_read_only = off")
                cursor.execute(statements)
            one.commit()

    def end_backends(self, name: str) -> None:
        """End all connections to a database."""
        where = f"datname = '{name}' AND pid <> pg_backend_pid()"
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {where}")

    def lock(self, name: str, seconds: float, stopped: Callable[[], bool]) -> None:
        """Hold the tables of a database."""
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


def insist(work: Callable[[], None]) -> None:
    """Do something with a server that may be restarting, or locked."""

    def done() -> bool:
        try:
            work()
        except psycopg2.Error:
            return False
        return True

    until(done)


def hold(seconds: float, stopped: Callable[[], bool]) -> None:
    """Let some seconds go by, fewer if told so."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stopped():
        time.sleep(0.05)
