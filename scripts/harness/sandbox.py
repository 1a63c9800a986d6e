"""The sandbox, the package's imitation of VoiceInfra, as a child process."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import requests

from harness.processes import Guard, HarnessError, base_environment, end_all, spawn, tail, wait_for

READY = re.compile(r"^VoiceInfra sandbox listening on (http://\S+)$", re.MULTILINE)
API_KEY = "vk_sandbox_key"


class SandboxProcess:
    """A sandbox on a free loopback port.

    :param directory: for its output; also what its process is found by.
    :param arguments: further command-line options of ``voiceinfra-sandbox``.
    """

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.marker = str(directory.resolve())
        self.log = directory / "sandbox.log"
        self.log.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "airflow_provider_voiceinfra.sandbox", "--port", "0", *arguments]
        self._guard = Guard(self.marker)
        self._process = spawn(argv, env=base_environment(self.marker), log=self.log)
        try:
            found = wait_for("the sandbox to listen", self._ready_line, 60, self.check_alive)
        except BaseException:
            self.stop()
            raise
        self.base_url = str(found)

    def check_alive(self) -> None:
        """Raise if the sandbox has ended by itself.

        :raises HarnessError: with the end of its output.
        """
        if self._process.poll() is not None:
            raise HarnessError(
                f"The sandbox ended with {self._process.returncode}; {self.log} ends:\n{tail(self.log)}"
            )

    def _ready_line(self) -> str | None:
        found = READY.search(self.log.read_text(errors="replace"))
        return found.group(1) if found else None

    def audit(self) -> dict[str, Any]:
        """Return the audit log: what was requested, which calls were accepted, what was delivered."""
        session = requests.Session()
        session.trust_env = False
        answer = session.get(f"{self.base_url.removesuffix('/v1')}/_sandbox/audit", timeout=10)
        answer.raise_for_status()
        return dict(answer.json())

    def stop(self) -> None:
        """Stop the sandbox."""
        end_all(self.marker)
        self._process.wait()
        self._guard.release()

    def detach(self) -> None:
        """Leave it running when this process ends; ``end_all(marker)`` stops it later."""
        self._guard.release(keep=True)


def connection_json(
    base_url: str,
    webhook_secret: str,
    *,
    agent_id: str,
    from_number: str,
    api_key: str = API_KEY,
    **more: Any,
) -> str:
    """Return an Airflow connection to a sandbox, as the value of an ``AIRFLOW_CONN_...`` variable.

    :param more: further extras, such as rules.
    """
    extra: dict[str, Any] = {
        "webhook_secret": webhook_secret,
        "agent_id": agent_id,
        "from_number": from_number,
        **more,
    }
    return json.dumps({"conn_type": "voiceinfra", "host": base_url, "password": api_key, "extra": extra})
