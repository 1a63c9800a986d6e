"""Runs the receiver on its own in a process, for tests and benchmarks that need webhooks but no Airflow."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from types import TracebackType

import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from harness.processes import HarnessError, end, free_port, spawn, wait_for

START_TIMEOUT = 60.0


class ReceiverProcess:
    """A running receiver, to be used in a ``with`` statement.

    :param ledger_url: where it records.
    :param secret: what webhooks for the connection ``voiceinfra_default`` are signed with.
    """

    def __init__(self, ledger_url: str, secret: str = "sandbox-webhook-secret") -> None:
        self.port = free_port()
        self.webhook_url = f"http://127.0.0.1:{self.port}/webhooks"
        self._home = tempfile.TemporaryDirectory()
        self._log = Path(self._home.name) / "receiver.log"
        connection = {"conn_type": "voiceinfra", "password": "none", "extra": {"webhook_secret": secret}}
        self._env = {
            **os.environ,
            "AIRFLOW_HOME": self._home.name,
            "AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN": ledger_url,
            "AIRFLOW_CONN_VOICEINFRA_DEFAULT": json.dumps(connection),
        }

    def __enter__(self) -> ReceiverProcess:
        self.start()
        try:
            self.wait()
        except BaseException:
            end(self._process)
            raise
        return self

    def start(self) -> None:
        """Start it, for the first time or after it was killed, without waiting for it."""
        app = "airflow_provider_voiceinfra.web.app:create_app"
        command = [sys.executable, "-m", "uvicorn", "--factory", app, "--port", str(self.port)]
        options = ["--log-level", "warning", "--no-access-log"]
        self._process = spawn([*command, *options], env=self._env, log=self._log)

    def wait(self) -> None:
        """Wait until it can store webhooks."""
        wait_for("the receiver to answer", self._is_ready, START_TIMEOUT, self._check_alive)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def log(self) -> str:
        """Return what it has logged."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """Kill it, with whatever it is doing."""
        self._process.kill()
        self._process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._process)
        self._home.cleanup()

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def _check_alive(self) -> None:
        if self._process.poll() is not None:
            raise HarnessError(f"the receiver did not start:\n{self._log.read_text()}")
