"""A PgBouncer in transaction mode before a PostgreSQL server, as many a deployment has one."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import psycopg2

from harness.postgres import PostgresServer, as_other_user
from harness.processes import Guard, base_environment, end, free_port, spawn, tail, wait_for

_CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={server} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 500
"""


def find_pgbouncer() -> str | None:
    """Return the program, on PATH or where Debian keeps it; None if absent."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


class PgBouncer:
    """A running pooler; anybody on this machine may connect, as to the server behind it.

    :param program: what :func:`find_pgbouncer` has found.
    :param server: the server behind it.
    :param connections: how many connections of the server all clients of a database share.
    """

    def __init__(self, program: str, server: PostgresServer, *, connections: int = 5) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="voiceinfra-pgbouncer-"))
        self._guard = Guard(str(self._directory))
        self.port = free_port()
        try:
            self._start(program, server, connections)
        except BaseException:
            self._remove()
            raise

    def url(self, database: str, driver: str = "psycopg") -> str:
        """Return the SQLAlchemy URL of one of the server's databases, through the pooler."""
        return f"postgresql+{driver}://postgres@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """Stop the pooler and remove its files."""
        end(self._process)
        self._remove()

    def _remove(self) -> None:
        self._guard.release()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start(self, program: str, server: PostgresServer, connections: int) -> None:
        prefix = as_other_user(self._directory)  # it refuses to run as root, too
        configuration, log = self._directory / "pgbouncer.ini", self._directory / "pgbouncer.log"
        configuration.write_text(
            _CONFIGURATION.format(server=server.port, port=self.port, connections=connections)
        )
        os.chmod(configuration, 0o644)
        env = base_environment(str(self._directory))
        self._process = spawn([*prefix, program, str(configuration)], env=env, log=log, cwd=self._directory)
        wait_for("PgBouncer to answer", self._answers, 30, lambda: self._check_alive(log))

    def _check_alive(self, log: Path) -> None:
        if self._process.poll() is not None:
            raise RuntimeError(f"PgBouncer ended with {self._process.returncode}:\n{tail(log)}")

    def _answers(self) -> bool:
        try:
            psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", dbname="postgres").close()
        except psycopg2.OperationalError:
            return False
        return True
