"""An imitation of the vendor that can do everything wrong, and keeps a log of what it really did.

It shares no code with the package. What it answers is drawn for each request from the seed, the mark in the
request's variables, and how many requests with that mark came before: threads that overtake each other change
nothing. ``audit`` is the truth about who was called.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.faults.plan import TIMEOUT, Account, Plan
from tests.faults.webhooks import Deliveries

HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
# Answers before which nobody was called.
BEFORE = {"lost_before", "500_before", "html_before", "hang_before", "429", "429_seconds", "429_date",
          "cut_before"}  # fmt: skip


@dataclass
class Rung:
    """A call that the vendor accepted."""

    call_id: str
    mark: str
    conn_id: str
    number: int
    request: dict[str, Any]
    at: float
    outcome: str
    started: datetime
    webhook: str = "plain"
    told_at: float | None = None
    bodies: list[bytes] = field(default_factory=list)
    opts_out: bool = False


class Vendor:
    """Serves ``POST /v1/calls/outbound`` and sends webhooks.

    :param tell: told of what happens, see ``stage.Board``.
    :param log: file that each request and accepted call is appended to.
    """

    def __init__(self, plan: Plan, receivers: list[str], tell: Callable[[str], None], log: Path) -> None:
        self.seed = plan.seed
        self.script = plan.script
        self.accounts = {account.api_key: account for account in plan.accounts}
        self.rung: dict[str, Rung] = {}
        self.requests: list[dict[str, Any]] = []
        self.calm = False
        self.storm_until = 0.0
        self._tell = tell
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()
        self._of_number: Counter[str] = Counter()
        self._log = log.open("a")
        self.deliveries = Deliveries(receivers, plan.accounts, tell)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.vendor = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.deliveries.stop()
        self._log.close()

    def of_mark(self, mark: str) -> list[Rung]:
        """Return the calls that were accepted for a mark, in order."""
        return sorted((one for one in self.rung.values() if one.mark == mark), key=lambda one: one.at)

    def decide(self, request: dict[str, Any], account: Account, arrived: float) -> tuple[str, Rung | None]:
        """Draw the answer to a request, and accept the call if that is what it comes to.

        :param arrived: when it came, on the monotonic clock.
        """
        mark = str((request.get("variables") or {}).get("mark"))
        with self._lock:
            number = self._seen[mark]
            self._seen[mark] += 1
            chance = random.Random(f"{self.seed}/{mark}/{number}")
            answer = self._answer(mark, number, chance)
            rung = None if answer in BEFORE else self._accept(request, mark, number, account, chance)
            now = time.monotonic()
            entry = {"at": now, "arrived": arrived, "wall": time.time() - (now - arrived),
                     "mark": mark, "number": number, "answer": answer,
                     "call_id": rung and rung.call_id, "to": request.get("to_number"),
                     "agent": request.get("agent_id"), "from": request.get("from_number")}  # fmt: skip
            self.requests.append(entry)
            self._log.write(json.dumps(entry) + "\n")
            self._log.flush()
        self._tell(f"vendor:request:{mark}:{number}")
        if rung is not None:
            self._tell(f"vendor:accepted:{mark}:{number}")
        return answer, rung

    def _answer(self, mark: str, number: int, chance: random.Random) -> str:
        forced = self.script.forced.get(mark, [])
        drawn = chance.choices(list(self.script.answers), list(self.script.answers.values()))[0]
        if self.calm:
            return "ok"
        if time.monotonic() < self.storm_until:
            return chance.choice(["429", "429_seconds", "429_date"])
        return forced[number] if number < len(forced) else str(drawn)

    def _accept(
        self, request: dict[str, Any], mark: str, number: int, account: Account, chance: random.Random
    ) -> Rung:
        call_id = f"call_{self.seed}_{mark}_{number}_{chance.getrandbits(32):08x}"
        outcomes = self.script.outcomes
        outcome = chance.choices(list(outcomes), list(outcomes.values()))[0]
        started = datetime.now(timezone.utc) + timedelta(seconds=self.script.skew)
        rung = Rung(call_id, mark, account.conn_id, number, request, time.monotonic(), outcome, started)
        self.rung[call_id] = rung
        to_number = str(request.get("to_number"))
        self._of_number[to_number] += 1
        rung.opts_out = self.script.opt_outs.get(to_number) == self._of_number[to_number]
        forced = self.script.forced_webhooks.get(mark, [])
        drawn = chance.choices(list(self.script.webhooks), list(self.script.webhooks.values()))[0]
        rung.webhook = (
            forced[number] if number < len(forced) else "plain" if self.calm or rung.opts_out else str(drawn)
        )
        crossed = self.script.crossed > 0 and chance.random() < self.script.crossed and not self.calm
        self.deliveries.schedule(rung, chance, crossed=crossed)
        return rung


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    vendor: Vendor

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that were killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    arrived = 0.0

    def parse_request(self) -> bool:
        self.arrived = time.monotonic()  # the first line of a request has just been read
        return super().parse_request()

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        vendor = self.server.vendor
        account = vendor.accounts.get(self.headers.get("X-API-Key", ""))
        if account is None:
            return self._error(401, "unauthorized")
        answer, rung = vendor.decide(json.loads(raw), account, self.arrived)
        if rung is not None and rung.webhook == "early":
            vendor.deliveries.wait_until_sent(rung.call_id, 0.7 * TIMEOUT)
        self._play(answer, rung)

    def _play(self, answer: str, rung: Rung | None) -> None:
        kind = answer.removesuffix("_before") if rung is None else answer
        if kind == "slow":
            time.sleep(0.4 * TIMEOUT)
        elif kind in ("hang", "late_answer"):
            time.sleep((3.0 if kind == "hang" else 1.15) * TIMEOUT)
        if kind in ("lost", "hang", "cut"):
            self._cut(reset=kind == "cut")
        elif kind == "500":
            self._error(500, "server_error")
        elif kind in ("html", "html_200"):
            self._send(502 if kind == "html" else 200, HTML, {"Content-Type": "text/html"})
        elif kind.startswith("429"):
            self._error(429, "rate_limited", _retry_after(kind))
        elif rung is not None:
            body = json.dumps({"call_id": rung.call_id, "status": "queued"}).encode()
            self._send(200, body, {"Content-Type": "application/json"})

    def _error(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        body = json.dumps({"error": {"code": code, "message": f"{code}, as drawn"}}).encode()
        self._send(status, body, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _cut(self, *, reset: bool) -> None:
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _retry_after(kind: str) -> dict[str, str]:
    if kind == "429_seconds":
        return {"Retry-After": "1"}
    if kind == "429_date":
        return {"Retry-After": formatdate(time.time() + 1, usegmt=True)}
    return {}
