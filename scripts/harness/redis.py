"""A Redis that lives as long as it is needed, in a temporary directory and on a loopback port."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.processes import Guard, HarnessError, base_environment, end, free_port, spawn, tail, wait_for


def find_redis() -> str | None:
    """Return the server's program on PATH; None if absent."""
    return shutil.which("redis-server")


class RedisServer:
    """A running server.

    :param command: how it is started, but for its address and its folder.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="voiceinfra-redis-"))
        self._guard = Guard(str(self._directory))
        self.port = free_port()
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._directory)]
        self._command = [*command, *where]
        try:
            self._serve()
        except BaseException:
            self._remove()
            raise

    def kill(self) -> None:
        """Kill it, and start it again with the same files."""
        self._process.kill()
        self._process.wait()
        self._serve()

    def stop(self) -> None:
        """Stop the server and remove its files."""
        end(self._process)
        self._remove()

    def _remove(self) -> None:
        self._guard.release()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _serve(self) -> None:
        env, self._log = base_environment(str(self._directory)), self._directory / "redis.log"
        self._process = spawn(self._command, env=env, log=self._log, cwd=self._directory)
        wait_for("Redis to answer", self._answers, 30, self._check_alive)

    def _check_alive(self) -> None:
        if self._process.poll() is not None:
            raise HarnessError(f"Redis ended with {self._process.returncode}:\n{tail(self._log)}")

    def _answers(self) -> bool:
        """Whether it has read its files: until then it answers everything with LOADING."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.sendall(b"PING\r\n")
                return not connection.recv(100).startswith(b"-LOADING")
        except OSError:
            return False
