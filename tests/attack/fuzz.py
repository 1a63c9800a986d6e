"""Requests that are noise, in bytes, headers, JSON and signatures: none may be answered 5xx, none end it.

``python -m tests.attack.fuzz --requests 1000000`` prints what it has seen, and ends with 1 if one was so, or
if memory grew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import psutil
import requests

from airflow_provider_voiceinfra.webhooks.signing import EVENT_HEADER, SIGNATURE_HEADER, sign
from tests.attack.client import Client
from tests.attack.flood import GROWTH, SPARE_BYTES, new_ledger
from tests.attack.messages import PATH, SECRET, Message, request
from tests.receiver_process import ReceiverProcess

CONNECTIONS = 16
ANY = frozenset(range(1000))
# What is signed is stored, which takes its time: a small share of all.
SIGNED_SHARE = 0.05
_NAMES: tuple[str, ...] = (
    "event",
    "call_id",
    "agent_id",
    "from_number",
    "to_number",
    "call_outcome",
    "duration_seconds",
)
_NAMES += ("start_time", "end_time", "transcript", "summary", "extracted_data", "recording_url")
_TEXTS = (
    "",
    "call.completed",
    "+14155550101",
    "answered",
    "2026-01-02T10:00:00Z",
    "nan",
    "\x00",
    "\ud800",
    "é" * 300,
)
_LETTERS = "abcdefXYZ0123456789,;=/ -_"
_NUMBERS = (0, -1, 1e308, -1e308, 10**40, 2**63, 0.1, float("nan"), float("inf"))


def noise(rng: random.Random) -> Message:
    """Return a request that nobody foresaw."""
    make = rng.choice((_any_bytes, _any_headers, _any_json, _any_json, _any_path, _changed))
    return make(rng)


def _any_bytes(rng: random.Random) -> Message:
    end = rng.choice((b"\r\n\r\n", b"", b"\n\n"))
    return Message("bytes", (rng.randbytes(rng.randrange(1, 400)) + end,), ANY, is_last=True)


def _any_headers(rng: random.Random) -> Message:
    def text() -> str:
        if rng.random() < 0.8:
            return "".join(rng.choices(_LETTERS, k=rng.randrange(0, 60)))
        return rng.randbytes(rng.randrange(0, 60)).decode("latin-1").replace("\r", "").replace("\n", "")

    names = (
        SIGNATURE_HEADER,
        EVENT_HEADER,
        "Content-Type",
        "Expect",
        "Content-Encoding",
        "Cookie",
        "X-" + text(),
    )
    headers = {rng.choice(names): text() for _ in range(rng.randrange(1, 8))}
    return Message("headers", (request(b"{}", headers),), ANY)


def _any_json(rng: random.Random) -> Message:
    payload = {rng.choice(_NAMES): _any_value(rng, 3) for _ in range(rng.randrange(0, 10))}
    if rng.random() < 0.5:
        payload |= {"event": "call.completed", "call_id": f"call_{rng.randrange(10**12)}"}
    body = json.dumps(payload).encode()
    return Message("JSON", (request(body, _signature(rng, body)),), ANY)


def _any_value(rng: random.Random, depth: int) -> object:
    kind = rng.randrange(7 if depth else 5)
    if kind == 0:
        return rng.choice(_TEXTS)
    if kind == 1:
        return rng.choice(_NUMBERS)
    if kind == 2:
        return rng.choice((None, True, False))
    if kind < 5:
        return rng.randbytes(rng.randrange(0, 40)).decode("latin-1")
    if kind == 5:
        return [_any_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(_NAMES): _any_value(rng, depth - 1) for _ in range(rng.randrange(4))}


def _any_path(rng: random.Random) -> Message:
    letters = "abc/%.?#&=;:+-_~" + rng.choice(("", "", "é\x7f"))
    path = rng.choice(("/webhooks", "/webhooks/", "/")) + "".join(
        rng.choices(letters, k=rng.randrange(0, 80))
    )
    return Message("paths", (request(b"{}", _signature(rng, b"{}"), path=path),), ANY)


def _changed(rng: random.Random) -> Message:
    """Return a genuine request some of whose bytes are others."""
    body = json.dumps({"event": "call.completed", "call_id": f"call_{rng.randrange(10**12)}"}).encode()
    sent = bytearray(request(body, {SIGNATURE_HEADER: sign(SECRET, body), EVENT_HEADER: "call.completed"}))
    for _ in range(rng.randrange(1, 6)):
        sent[rng.randrange(len(sent))] = rng.randrange(256)
    return Message("changed bytes", (bytes(sent),), ANY, is_last=True)


def _signature(rng: random.Random, body: bytes) -> dict[str, str]:
    if rng.random() < SIGNED_SHARE:
        return {SIGNATURE_HEADER: sign(SECRET, body), EVENT_HEADER: "call.completed"}
    hexadecimal = "0123456789abcdefABCDEF="
    return {SIGNATURE_HEADER: rng.choice(("sha256=", "", "sha1=")) + "".join(rng.choices(hexadecimal, k=64))}


@dataclass
class Fuzzed:
    """What was sent, and how it was answered."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)
    is_healthy: bool = False
    log: str = field(default="", repr=False)

    def violations(self) -> list[str]:
        """Return what must not be."""
        found = [
            f"{number} requests of {kind} were answered {status}"
            for (kind, status), number in self.statuses.items()
            if status >= 500
        ]
        if not self.is_healthy:
            found.append("the receiver does not answer any more")
        if "Traceback" in self.log or "error of ours" in self.log:
            found.append("the receiver has logged an error of its own")
        third = max(1, len(self.memory) // 3)
        middle, last = self.memory[third : 2 * third], self.memory[2 * third :]
        if middle and last and max(last) - SPARE_BYTES > GROWTH * statistics.median(middle):
            found.append(f"memory grew from {middle[0] / 2**20:.0f} to {max(last) / 2**20:.0f} MB")
        return found

    def report(self) -> str:
        """Return what was seen, for people."""
        lines = [
            f"{sum(self.statuses.values()):,} requests; memory in MB, in twelfths of the time: "
            + self._curve()
        ]
        return "\n".join(
            lines
            + [f"  {kind}, answered {status}: {n:,}" for (kind, status), n in sorted(self.statuses.items())]
        )

    def _curve(self) -> str:
        step = max(1, len(self.memory) // 12)
        return ", ".join(f"{size / 2**20:.0f}" for size in self.memory[::step])


async def _send_all(
    port: int, number: int, rng: random.Random, fuzzed: Fuzzed, process: psutil.Process
) -> None:
    left = iter(range(number))
    look_each = max(1, number // 120)

    async def send() -> None:
        client = Client(port)
        for place in left:
            message = noise(rng)
            fuzzed.statuses[message.kind, await client.send(message)] += 1
            if place % look_each == 0:
                fuzzed.memory.append(process.memory_info().rss)
        await client.close()

    await asyncio.gather(*(send() for _ in range(CONNECTIONS)))


def fuzz_receiver(ledger_url: str, number: int, seed: int) -> Fuzzed:
    """Send so many requests to a receiver on its own."""
    fuzzed = Fuzzed()
    with ReceiverProcess(ledger_url, SECRET) as receiver:
        process = psutil.Process(receiver.pid)
        asyncio.run(_send_all(receiver.port, number, random.Random(seed), fuzzed, process))
        address = f"http://127.0.0.1:{receiver.port}"
        fuzzed.is_healthy = requests.get(f"{address}/health", timeout=30).ok
        unsigned = requests.post(f"{address}{PATH}", data=b"{}", timeout=30)
        fuzzed.is_healthy &= unsigned.status_code == 401
        fuzzed.log = receiver.log()
    return fuzzed


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    arguments = parser.parse_args()
    began = time.monotonic()
    with new_ledger(arguments.database) as url:
        fuzzed = fuzz_receiver(url, arguments.requests, arguments.seed)
    print(fuzzed.report())
    print(f"{time.monotonic() - began:.0f} s")
    for violation in fuzzed.violations():
        print(f"VIOLATION {violation}")
    return 1 if fuzzed.violations() else 0


if __name__ == "__main__":
    sys.exit(main())
