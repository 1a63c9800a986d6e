"""A PgBouncer in transaction mode before a PostgreSQL server, as many a deployment has one."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path

from harness.postgres import PostgresServer, as_other_user
from harness.processes import Guard, base_environment, end, free_port, spawn, tail, wait_for

# Anybody on this machine may connect, as to the server behind it.
OPEN = """\
[databases]
* = host=postgres port=5432 user=postgres

[pgbouncer]
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 5
max_client_conn = 500
"""


def find_pgbouncer() -> str | None:
    """Return the program, on PATH or where Debian keeps it; None if absent."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


class PgBouncer:
    """A running pooler.

    :param program: what :func:`find_pgbouncer` has found.
    :param server: the server behind it.
    :param configuration: its ``pgbouncer.ini``, in which the server is at ``host=postgres port=5432``; that,
        its own address and its list of users are put in here.
    :param users: passwords of those who may connect, by their names.
    """

    def __init__(
        self,
        program: str,
        server: PostgresServer,
        *,
        configuration: str = OPEN,
        users: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="voiceinfra-pgbouncer-"))
        self._guard = Guard(str(self._directory))
        self.port = free_port()
        try:
            self._start(program, server, configuration, users or {})
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

    def _start(
        self, program: str, server: PostgresServer, configuration: str, users: Mapping[str, str]
    ) -> None:
        prefix = as_other_user(self._directory)  # it refuses to run as root, too
        file, log = self._directory / "pgbouncer.ini", self._directory / "pgbouncer.log"
        users_file = self._directory / "userlist.txt"
        users_file.write_text("".join(f'"{name}" "{password}"\n' for name, password in users.items()))
        here = configuration.replace("host=postgres port=5432", f"host=127.0.0.1 port={server.port}")
        settings = ConfigParser(interpolation=None)
        settings.read_string(here)
        settings["pgbouncer"].update(listen_addr="127.0.0.1", listen_port=str(self.port))
        settings["pgbouncer"]["auth_file"] = str(users_file)
        with file.open("w") as target:
            settings.write(target)
        for path in (file, users_file):
            os.chmod(path, 0o644)
        env = base_environment(str(self._directory))
        self._process = spawn([*prefix, program, str(file)], env=env, log=log, cwd=self._directory)
        wait_for("PgBouncer to answer", self._answers, 30, lambda: self._check_alive(log))

    def _check_alive(self, log: Path) -> None:
        if self._process.poll() is not None:
            raise RuntimeError(f"PgBouncer ended with {self._process.returncode}:\n{tail(log)}")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 5).close()
        except OSError:
            return False
        return True
