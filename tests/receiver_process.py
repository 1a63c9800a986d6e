"""Runs the receiver on its own in a process, for tests and benchmarks that need webhooks but no Airflow."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from harness.processes import free_port

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
        connection = (
            f'{{"conn_type": "voiceinfra", "password": "none", "extra": {{"webhook_secret": "{secret}"}}}}'
        )
        self._env = {
            **os.environ,
            "AIRFLOW_HOME": self._home.name,
            "AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN": ledger_url,
            "AIRFLOW_CONN_VOICEINFRA_DEFAULT": connection,
        }

    def __enter__(self) -> ReceiverProcess:
        app = "airflow_provider_voiceinfra.web.app:create_app"
        command = [sys.executable, "-m", "uvicorn", "--factory", app, "--port", str(self.port)]
        with self._log.open("wb") as log:
            options = [*command, "--log-level", "warning", "--no-access-log"]
            self._process = subprocess.Popen(options, env=self._env, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._stop()
                raise RuntimeError(f"the receiver did not start:\n{self._log.read_text()}")
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._home.cleanup()

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
