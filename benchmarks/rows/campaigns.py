"""What a campaign costs its own process, and how soon it calls."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import requests_loop
from campaign_process import Campaign, write_contacts
from framework import AT_MOST, LESS_THAN, Aim, Line, Measured, Row
from servers import DATABASES, databases, temporary

from tests.sandbox_process import SandboxProcess

CALLS, LIMIT = 2_000, 200
API: dict[str, Any] = {"rate_limit": LIMIT, "latency_ms": 50}
CONTACTS = 100_000


class ProcessorTime(Row):
    """A campaign, and a loop of requests, against an API with the same limit."""

    name = "campaign-cpu"
    what = (
        "Processor time, user and system, that a call costs the process that places it: a campaign of "
        f"{CALLS:,} contacts, from reading the file to the last result (ours), and a loop with `requests` "
        f"and {requests_loop.THREADS} threads that reads the same file, stores nothing, waits for no result "
        f"and knows the API's limit of {LIMIT} a second (peer). The imitated API, with a latency of "
        f"{API['latency_ms']} ms, the receiver and the database are processes of their own; what Python "
        "imports before the campaign, or the loop, begins does not count."
    )
    lines: ClassVar = tuple(Line(name, "ms/call", (Aim(AT_MOST, 2.0, "peer"),)) for name in DATABASES)
    seconds = 185

    def open(self, stack: ExitStack) -> None:
        """Start the databases, and the API for the loop."""
        self._make = databases(stack)
        contacts = temporary(stack, "contacts") / "contacts.csv.gz"
        write_contacts(contacts, CALLS)
        sandbox = stack.enter_context(SandboxProcess(call_seconds=0, fault_numbers=False, **API))
        self._job = {
            "base_url": sandbox.base_url,
            "api_key": sandbox.api_key,
            "contacts": str(contacts),
            "calls": CALLS,
            "limit": LIMIT,
        }

    def measure(self, number: int) -> Mapping[str, Measured]:
        """Measure the loop and both campaigns, each of them first in turn."""
        runs: list[tuple[str, Callable[[], float]]] = [("", self._loop)]
        runs += [(name, lambda name=name: self._campaign(name)) for name in DATABASES]
        start = number % len(runs)
        seconds = {name: run() for name, run in runs[start:] + runs[:start]}
        peer = seconds.pop("") / CALLS * 1000
        return {name: Measured(one / CALLS * 1000, peer=peer) for name, one in seconds.items()}

    def _loop(self) -> float:
        command = [sys.executable, requests_loop.__file__, json.dumps(self._job)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return float(done.stdout)

    def _campaign(self, database: str) -> float:
        with Campaign(self._make[database](), CALLS, lines=1000, **API) as campaign:
            found = campaign.result(None)
        if found["api_accepted"] != CALLS:
            raise RuntimeError(f"{found['api_accepted']} calls instead of {CALLS}")
        return float(found["cpu"])


class Contacts(Row):
    """A campaign of many contacts, until its first call."""

    name = "contacts"
    what = (
        f"Seconds for {CONTACTS:,} contacts of a gzipped CSV: reading, checking and storing them, the "
        "processor time of that, and the time from the campaign's start to its first call (ours), beside "
        "reading the same file with the `csv` module (peer)."
    )
    lines: ClassVar = tuple(
        line
        for name in DATABASES
        for line in (
            Line(f"{name}, first call", "s", (Aim(LESS_THAN, 5.0),)),
            Line(f"{name}, stored", "s"),
            Line(f"{name}, processor time", "s"),
        )
    )
    seconds = 90

    def open(self, stack: ExitStack) -> None:
        """Start the databases, and write the file."""
        self._make = databases(stack)
        self._contacts = temporary(stack, "contacts") / "contacts.csv.gz"
        write_contacts(self._contacts, CONTACTS)

    def measure(self, number: int) -> Mapping[str, Measured]:
        """Read the file, and begin a campaign on each database."""
        found, (peer, peer_cpu) = {}, read(self._contacts)
        for name in DATABASES if number % 2 == 0 else reversed(DATABASES):
            with Campaign(self._make[name](), CONTACTS, lines=1000) as campaign:
                while not campaign.sandbox.counts()["requests"] and campaign.process.poll() is None:
                    time.sleep(0.1)
                measured = campaign.result(0)
            found[f"{name}, stored"] = Measured(measured["load_seconds"], peer=peer)
            found[f"{name}, processor time"] = Measured(measured["load_cpu"], peer=peer_cpu)
            found[f"{name}, first call"] = Measured(measured["first"], peer=peer)
        return found


def read(path: Path) -> tuple[float, float]:
    """Read contacts with the csv module alone, and return how many seconds, and of a processor, it took."""
    began, cpu = time.perf_counter(), time.process_time()
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        number = sum(1 for _ in csv.DictReader(stream))
    if number != CONTACTS:
        raise RuntimeError(f"{number} contacts instead of {CONTACTS}")
    return time.perf_counter() - began, time.process_time() - cpu


ROWS = (ProcessorTime, Contacts)
