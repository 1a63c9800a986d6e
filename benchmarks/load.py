"""Posts webhooks over kept-alive connections, each as soon as the one before was answered; for benchmarks.

Run as ``python load.py`` it reads a job from standard input, and prints what it has measured. It is one
thread that waits for all sockets at once, with requests that are made before the clock starts, so that it
costs a small part of what it measures; how much is in its report. What is compared takes turns.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import selectors
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SECRET = "bench-webhook-secret"  # of this benchmark's own connection
# At the beginning of each turn, in seconds: what comes then is not counted.
WARM_UP = 0.2
TURNS = 2
WAIT = 30.0
RECEIVE = 65536
# Made before the clock starts, for each turn; more are made while it runs.
PREPARED = 3000

_LINE = "Thank you for calling back about the appointment. Would ten past ten suit you as well? "
_PAYLOAD = {
    "event": "call.completed",
    "call_id": "{id}",
    "agent_id": "agent_demo",
    "from_number": "+14155550199",
    "to_number": "+12125550101",
    "call_outcome": "answered",
    "duration_seconds": 63,
    "start_time": "2026-01-02T10:00:00Z",
    "end_time": "2026-01-02T10:01:03Z",
    "recording_url": "https://voiceinfra.example/recordings/{id}.wav",
    "transcript": _LINE * 9,
    "summary": "The caller was reached, confirmed the details and had no further questions.",
}


@dataclass(frozen=True)
class Target:
    """Where requests go, and what they are.

    :param headers: besides those that every request has.
    :param wrap: what stands before and behind the webhook in the body.
    :param status: what each has to be answered with.
    :param connections: if not set, as many as the job says.
    """

    port: int
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    wrap: tuple[str, str] = ("", "")
    status: int = 200
    connections: int | None = None


@dataclass(frozen=True)
class Load:
    """What came of the requests to one target.

    :param rate: answers per second.
    :param p99: milliseconds from sending a request to having the whole answer, of 99 of 100.
    :param cpu: the share of one processor that sending them took.
    """

    rate: float
    p50: float
    p99: float
    cpu: float


def post(targets: Mapping[str, Target], *, connections: int, seconds: float) -> dict[str, Load]:
    """Post webhooks to targets in turn, from a process of its own.

    :param seconds: how long to each of them, warm-up aside.
    """
    job = {
        "targets": {name: asdict(target) for name, target in targets.items()},
        "connections": connections,
        "seconds": seconds,
    }
    done = subprocess.run(
        [sys.executable, __file__], input=json.dumps(job), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the load generator ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return {name: Load(**values) for name, values in json.loads(done.stdout).items()}


# ---- in the process that posts


def requests(target: Target) -> Iterator[bytes]:
    """Yield requests without end, each of a call of its own."""
    before, behind = target.wrap
    parts = f"{before}{json.dumps(_PAYLOAD)}{behind}".split("{id}")
    run = uuid.uuid4().hex
    fixed = "".join(f"{name}: {value}\r\n" for name, value in target.headers.items())
    number = 0
    while True:
        body = f"call_{run}{number:08d}".join(parts).encode()
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        head = (
            f"POST {target.path} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"X-VoiceInfra-Event: call.completed\r\nX-VoiceInfra-Signature: {signature}\r\n{fixed}\r\n"
        )
        yield head.encode() + body
        number += 1


class Connection:
    """One kept-alive connection, on which a request is sent when the one before was answered."""

    def __init__(self, target: Target) -> None:
        self._status = b"HTTP/1.1 %d " % target.status
        self._socket = socket.create_connection(("127.0.0.1", target.port), timeout=WAIT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._got = b""
        self.sent_at = 0.0

    def fileno(self) -> int:
        """Return the socket's number, for the selector."""
        return self._socket.fileno()

    def send(self, request: bytes) -> None:
        """Send a request."""
        self.sent_at = time.perf_counter()
        self._socket.sendall(request)

    def receive(self) -> bool:
        """Take what has come, and return whether the answer is whole; raise if it is the wrong one."""
        got = self._socket.recv(RECEIVE)
        self._got += got
        head, gap, body = self._got.partition(b"\r\n\r\n")
        if not got:
            raise RuntimeError(f"the server hung up after {self._got!r}")
        if not gap:
            return False
        if not head.startswith(self._status):
            raise RuntimeError(f"answered {self._got[:500]!r}")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return False
        self._got = b""
        return True

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class Sender:
    """All connections to one target, and what was measured on them."""

    def __init__(self, target: Target, connections: int) -> None:
        self._requests = requests(target)
        self._connections = [Connection(target) for _ in range(connections)]
        self._times: list[float] = []
        self._answers = 0
        self._seconds = 0.0
        self._cpu = 0.0

    def turn(self, seconds: float) -> None:
        """Send for some seconds after a warm-up."""
        ready = [next(self._requests) for _ in range(PREPARED)]
        with selectors.DefaultSelector() as selector:
            for connection in self._connections:
                selector.register(connection, selectors.EVENT_READ, connection)
                connection.send(ready.pop())
            since = time.perf_counter() + WARM_UP
            self._answer(selector, ready, since, since + seconds)
        self._seconds += seconds

    def _answer(
        self, selector: selectors.BaseSelector, ready: list[bytes], since: float, until: float
    ) -> None:
        active, began = len(self._connections), time.process_time()
        while active:
            events = selector.select(WAIT)
            if not events:
                raise RuntimeError(f"no answer within {WAIT:g} s")
            for key, _ in events:
                if not key.data.receive():
                    continue
                now = time.perf_counter()
                self._answers += since < now <= until
                if (
                    key.data.sent_at > since
                ):  # also if its answer comes late, or the slowest would be left out
                    self._times.append(now - key.data.sent_at)
                if now <= until:
                    key.data.send(ready.pop() if ready else next(self._requests))
                else:
                    active -= 1
        whole = time.perf_counter() - since + WARM_UP
        self._cpu = max(self._cpu, (time.process_time() - began) / whole)

    def result(self) -> dict[str, float]:
        """Hang up and return what was measured."""
        for connection in self._connections:
            connection.close()
        times = sorted(self._times)
        if not times:
            raise RuntimeError("no answer was measured")
        return {
            "rate": self._answers / self._seconds,
            "p50": times[len(times) // 2] * 1000,
            "p99": times[min(len(times) - 1, len(times) * 99 // 100)] * 1000,
            "cpu": self._cpu,
        }


def main(job: dict[str, Any]) -> None:
    """Do a job and print what was measured."""
    targets = {name: Target(**values) for name, values in job["targets"].items()}
    senders = {
        name: Sender(target, target.connections or job["connections"]) for name, target in targets.items()
    }
    for number in range(TURNS):
        order = list(senders.values())
        for sender in order if number % 2 == 0 else reversed(order):
            sender.turn(job["seconds"] / TURNS)
    print(json.dumps({name: sender.result() for name, sender in senders.items()}))


if __name__ == "__main__":
    main(json.load(sys.stdin))
