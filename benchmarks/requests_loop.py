"""A loop that calls a list of contacts with ``requests``, threads and a known limit; beside a campaign.

Run as ``python requests_loop.py JOB`` it prints the processor time that the loop took, in seconds.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

THREADS = 16


class Slots:
    """Lets threads go on at a rate.

    :param rate: per second.
    """

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        self._lock = threading.Lock()
        self._next = time.monotonic()

    def take(self) -> None:
        """Wait for the next slot."""
        with self._lock:
            slot = max(self._next, time.monotonic())
            self._next = slot + self._interval
        time.sleep(max(0.0, slot - time.monotonic()))


def bodies(path: str) -> Iterator[dict[str, Any]]:
    """Yield what is sent for each contact."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            yield {
                "agent_id": "agent_demo",
                "from_number": "+14155550199",
                "to_number": row["to_number"],
                "first_message": f"Hello {row['first_name']}, see you at {row['appointment']}.",
                "variables": {name: row[name] for name in ("id", "first_name", "city", "appointment")},
            }


def main(job: dict[str, Any]) -> float:
    """Call everybody, and return the processor time that it took."""
    began, slots, local = time.process_time(), Slots(job["limit"]), threading.local()

    def call(body: dict[str, Any]) -> str:
        if not hasattr(local, "session"):
            local.session = requests.Session()
            local.session.headers["X-API-Key"] = job["api_key"]
        slots.take()
        answer = local.session.post(f"{job['base_url']}/calls/outbound", json=body, timeout=30)
        answer.raise_for_status()
        return str(answer.json()["call_id"])

    with ThreadPoolExecutor(THREADS) as threads:
        placed = list(threads.map(call, bodies(job["contacts"])))
    if len(set(placed)) != job["calls"]:
        raise RuntimeError(f"{len(set(placed))} calls instead of {job['calls']}")
    return time.process_time() - began


if __name__ == "__main__":
    print(main(json.loads(sys.argv[1])))
