"""A PostgreSQL server that lives as long as it is needed, in a temporary directory."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg2

from harness.processes import Guard, base_environment, end, free_port, spawn, tail, wait_for

# Durability against a crash of the machine is nothing that a throwaway server needs.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300")


def find_binaries() -> Path | None:
    """Return the folder of the server programs, on PATH or where Debian keeps them; None if absent."""
    on_path = shutil.which("initdb")
    if on_path and shutil.which("postgres"):
        return Path(on_path).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3]))
    return installed[-1].parent if installed else None


def as_other_user(directory: Path) -> list[str]:
    """Give a directory to a user other than root, if this is root; return the command that runs as that one.

    PostgreSQL refuses to run as root.
    """
    if os.getuid() != 0:
        return []
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in known else "nobody")
    os.chown(directory, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]


class PostgresServer:
    """A running server; anybody on this machine may connect, so keep nothing of worth in it.

    :param binaries: the folder that :func:`find_binaries` has found.
    """

    settings: tuple[str, ...] = FAST

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._directory = Path(tempfile.mkdtemp(prefix="voiceinfra-postgres-"))
        self._data = str(self._directory / "data")
        self._prefix = as_other_user(self._directory)
        self._env = base_environment(str(self._directory))
        self._guard = Guard(str(self._directory))
        self.port = free_port()
        try:
            self._start()
        except BaseException:
            self._remove()
            raise

    def url(self, database: str = "postgres", driver: str = "psycopg2") -> str:
        """Return the SQLAlchemy URL of one of its databases."""
        return f"postgresql+{driver}://postgres@127.0.0.1:{self.port}/{database}"

    def log(self) -> str:
        """Return what it has logged so far."""
        return (self._directory / "server.log").read_text(errors="replace")

    def execute(self, statement: str) -> None:
        """Run a statement outside of any transaction, as CREATE DATABASE needs it."""
        connection = self._connect()
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()

    def run_script(self, script: Path, env: Mapping[str, str]) -> None:
        """Run a script of psql's as the superuser.

        :param env: variables that it may read.
        """
        psql = shutil.which("psql") or str(self._binaries / "psql")
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", "postgres"]
        command = [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", *where, "-f", str(script)]
        subprocess.run(command, check=True, env={**self._env, **env})

    def create_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, with whatever is still connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def crash(self) -> None:
        """Kill all of it at once, and start it again with the same files, upon which it recovers."""
        server = psutil.Process(self._process.pid)
        server.suspend()  # so that it starts no more children, each of which has a session of its own
        killed = [server, *server.children(recursive=True)]
        for process in killed:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        psutil.wait_procs(killed)
        self._serve()

    def stop(self) -> None:
        """Stop the server and remove its files."""
        end(self._process)
        self._remove()

    def _remove(self) -> None:
        self._guard.release()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start(self) -> None:
        initdb = [str(self._binaries / "initdb"), "-D", self._data, "-U", "postgres", "--auth=trust"]
        initdb += ["--no-sync", "--encoding=UTF8", "--locale=C"]
        subprocess.run(
            [*self._prefix, *initdb], check=True, capture_output=True, env=self._env, cwd=self._directory
        )
        self._serve()

    def _serve(self) -> None:
        self._process = self._serve_at(self._data, self.port)

    def _serve_at(self, data: str, port: int) -> subprocess.Popen[bytes]:
        """Start a server with the files in a folder, and return it once it answers."""
        log = self._directory / "server.log"
        server = [str(self._binaries / "postgres"), "-D", data, "-p", str(port)]
        sockets = f"unix_socket_directories={self._directory}"
        for setting in (*self.settings, "listen_addresses=127.0.0.1", sockets):
            server += ["-c", setting]
        # SIGINT, which `end` doesn't send, would be its quick way down; SIGTERM waits for its clients, and
        # is followed by SIGKILL, at which its children leave too.
        process = spawn([*self._prefix, *server], env=self._env, log=log, cwd=self._directory)

        def check_alive() -> None:
            if process.poll() is not None:
                raise RuntimeError(f"PostgreSQL ended with {process.returncode}:\n{tail(log)}")

        wait_for("PostgreSQL to answer", lambda: self._answers(port), 60, check_alive)
        return process

    def _answers(self, port: int) -> bool:
        try:
            self._connect(port).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _connect(self, port: int | None = None) -> psycopg2.extensions.connection:
        return psycopg2.connect(host="127.0.0.1", port=port or self.port, user="postgres", dbname="postgres")
