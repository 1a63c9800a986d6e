"""Starts a real sandbox in a process of its own and talks to it, for all tests that need the API."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from harness.processes import HarnessError, end, spawn, wait_for

READY = "VoiceInfra sandbox listening on "
START_TIMEOUT = 60.0

Audit = dict[str, Any]


class SandboxProcess:
    """A running sandbox, to be used in a ``with`` statement, or with ``start()`` and ``stop()``.

    :param settings: the sandbox's options under their names with underscores (``rate_limit=5``,
        ``webhook_url="http://127.0.0.1:9000/"``, ``fault_numbers=False``, ``agents=["agent_a"]``), and
        ``audit_file``, ``port``. ``None`` leaves an option at its default.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.base_url = ""
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The sandbox's root, without ``/v1``."""
        return self.base_url.removesuffix("/v1")

    @property
    def api_key(self) -> str:
        """A key that the sandbox accepts."""
        return str(next(iter(self.settings.get("api_keys") or ["vk_sandbox_key"])))

    def start(self) -> SandboxProcess:
        """Start the process and wait for its ready line."""
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name) / "sandbox.log"
        command = [sys.executable, "-m", "airflow_provider_voiceinfra.sandbox", *_options(self.settings)]
        self.process = spawn(command, env=os.environ, log=self._log)
        try:
            self.base_url = wait_for("the sandbox to listen", self._ready, START_TIMEOUT, self._check_alive)
        except BaseException:
            self.stop()
            raise
        return self

    def _ready(self) -> str:
        return self.output().partition(READY)[2].strip()

    def _check_alive(self) -> None:
        if self.process is not None and self.process.poll() is not None:
            raise HarnessError(f"the sandbox did not start:\n{self.output()}")

    def stop(self) -> None:
        """End the process, by force if it does not go by itself."""
        if self.process is not None:
            end(self.process, 5)
            self._folder.cleanup()

    def kill(self) -> None:
        """End the process at once, like a crash; ``start()`` begins a new one."""
        assert self.process is not None
        self.process.kill()
        self.stop()

    def output(self) -> str:
        """What the process has written so far."""
        return self._log.read_text()

    def __enter__(self) -> SandboxProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def post_call(
        self,
        body: Any = None,
        *,
        api_key: str | None = None,
        timeout: float = 10,
        session: Any = requests,
        **fields: Any,
    ) -> Any:
        """POST to the vendor's endpoint with plain ``requests`` and return its response."""
        call = {"agent_id": "agent_demo", "from_number": "+12025550100", "to_number": "+12025550101"}
        return session.post(
            f"{self.base_url}/calls/outbound",
            json={**call, **fields} if body is None else body,
            headers={"X-API-Key": self.api_key if api_key is None else api_key},
            timeout=timeout,
        )

    def control(self, method: str, path: str, body: Any = None, *, timeout: float = 30, **params: Any) -> Any:
        """Call a control route and return its JSON; raises with the sandbox's message if it refuses."""
        response = requests.request(
            method, f"{self.url}/_sandbox/{path}", json=body, params=params, timeout=timeout
        )
        if not response.ok:
            raise ValueError(f"{method} {path}: {response.status_code} {response.text}")
        return response.json()

    def audit(self) -> Audit:
        """Everything that happened: ``{"requests": [...], "calls": [...], "deliveries": [...]}``."""
        return dict(self.control("GET", "audit"))

    def counts(self) -> dict[str, int]:
        """The totals of the audit log, cheap to ask for."""
        return dict(self.control("GET", "counts"))

    def configure(self, **settings: Any) -> dict[str, Any]:
        """Change settings at run time and return all of them."""
        return dict(self.control("PATCH", "settings", settings))

    def fault(self, name: str, count: int = 1) -> None:
        """Let the next ``count`` requests meet a fault."""
        self.control("POST", "faults", {"fault": name, "count": count})

    def send_webhook(self, payload: Any = None, **options: Any) -> dict[str, Any]:
        """Send a payload as a signed webhook and return ``{"attempts": [...]}`` with the receiver's answers.

        :param options: ``raw`` (text instead of a payload), ``fill``, ``secret``, ``signature``,
            ``signature_form``, ``event``, ``copies``, ``retry``, ``url``; see ``docs/sandbox.md``.
        """
        body = options if payload is None else {"payload": payload, **options}
        return dict(self.control("POST", "webhooks", body))

    def end_calls(self, call_ids: list[str] | None = None) -> int:
        """End calls now instead of at their time, all that are running or only some; returns how many."""
        body = {} if call_ids is None else {"call_ids": call_ids}
        return int(self.control("POST", "calls/end", body)["ended"])

    def reset(self, *, settings: bool = False) -> None:
        """Forget the audit log, the faults that wait and the webhooks that wait.

        :param settings: also go back to the settings that the process was started with.
        """
        self.control("POST", "reset", {"settings": settings})

    def wait_for(self, predicate: Callable[[Audit], Any], timeout: float = 10.0) -> Audit:
        """Wait until the audit log satisfies a predicate, and return that log.

        :param timeout: in seconds; then an ``AssertionError`` tells what the log held.
        """
        deadline = time.monotonic() + timeout
        audit = self.audit()
        while not predicate(audit):
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"not within {timeout:g} s; the audit log holds {audit}")
            news = self.control("GET", "audit", since=audit["last_seq"], wait=min(left, 5.0))
            for kind in ("requests", "calls", "deliveries"):
                audit[kind] += news[kind]
            audit["last_seq"] = news["last_seq"]
        return audit


def _options(settings: dict[str, Any]) -> list[str]:
    options: list[str] = ["--port", str(settings.get("port") or 0)]
    for name, value in settings.items():
        flag = "--" + name.replace("_", "-")
        if value is None or name == "port":
            continue
        if isinstance(value, bool):
            options.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, Iterable) and not isinstance(value, str):
            options += [flag, *map(str, value)]
        else:
            options.append(f"{flag}={value}")
    return options
