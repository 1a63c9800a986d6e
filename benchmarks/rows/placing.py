"""How fast a process places calls with idempotency keys, beside requests without any ledger."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import requests
from framework import AT_LEAST, Aim, Line, Measured, Row
from servers import DATABASES, connection, databases, temporary

THREADS = 32
SECONDS = 1.2  # of each turn
WARM_UP = 0.3
TURNS = 2
CALL = {"agent_id": "agent_demo", "from_number": "+14155550199", "to_number": "+12125550101"}

Work = Callable[[], None]


class Placing(Row):
    """``VoiceInfraHook.place_call`` with keys, against an API on loopback that is fast and has no limit."""

    name = "placing"
    what = (
        "Calls per second that one process places with idempotency keys through the hook (ours). With "
        f"{THREADS} threads, a hook each, the limit is a loop of bare requests, a Session each, without a "
        "ledger. With one thread it is a request between two durable commits of one row with the plain "
        "driver: what has to be known before a call, and after it."
    )
    lines: ClassVar = tuple(
        line
        for database in DATABASES
        for line in (
            Line(f"{database}, {THREADS} threads", "calls/s", (Aim(AT_LEAST, 0.5, "limit"),)),
            Line(f"{database}, 1 thread", "calls/s", (Aim(AT_LEAST, 0.7, "limit"),)),
        )
    )
    seconds = 100

    def open(self, stack: ExitStack) -> None:
        """Start the API and the databases, and import what places calls."""
        self.base_url = serve_bare_api(stack)
        os.environ["AIRFLOW_CONN_VOICEINFRA_DEFAULT"] = connection(self.base_url)
        new = databases(stack)
        self.urls = {database: new[database]() for database in DATABASES}
        self.commits = {
            "SQLite": lambda: sqlite_commits(temporary(stack, "commits") / "commits.db"),
            "PostgreSQL": lambda: postgres_commits(new["PostgreSQL"]()),
        }
        self.commits = {database: make() for database, make in self.commits.items()}

    def measure(self, number: int) -> Mapping[str, Measured]:
        """Measure both databases, the one after the other."""
        found = {}
        for database, url in self.urls.items():
            os.environ["AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN"] = url
            many = in_turn(
                {
                    "ours": [hook_work() for _ in range(THREADS)],
                    "limit": [request_work(self.base_url) for _ in range(THREADS)],
                }
            )
            before, after = self.commits[database]
            request = request_work(self.base_url)

            def between_commits(before: Any = before, request: Work = request, after: Any = after) -> None:
                key = uuid.uuid4().hex
                before(key)
                request()
                after(key)

            one = in_turn({"ours": [hook_work()], "limit": [between_commits]})
            found[f"{database}, {THREADS} threads"] = Measured(**many)
            found[f"{database}, 1 thread"] = Measured(**one)
        return found


def serve_bare_api(stack: ExitStack) -> str:
    """Start an API that takes every call, and return its base URL."""
    api = subprocess.Popen(
        [sys.executable, str(Path(__file__).parents[1] / "bare_api.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.callback(api.wait)
    stack.callback(api.terminate)
    assert api.stdout is not None
    return f"http://127.0.0.1:{api.stdout.readline().strip()}/v1"


def hook_work() -> Work:
    """Return what places one call with a key of its own."""
    from airflow_provider_voiceinfra.calls import OutboundCall
    from airflow_provider_voiceinfra.hooks.voiceinfra import VoiceInfraHook

    hook, call = VoiceInfraHook(), OutboundCall(**CALL)

    def work() -> None:
        # No webhook comes; a lost answer would be waited for all the time that this row has.
        placed = hook.place_call(call, idempotency_key=f"bench/{uuid.uuid4().hex}", unknown_timeout=5.0)
        assert_placed(placed.call_id)

    return work


def request_work(base_url: str) -> Work:
    """Return what sends one request and reads the answer, as people write it with requests."""
    session = requests.Session()
    session.headers["X-API-Key"] = "vk_sandbox_key"

    def work() -> None:
        answer = session.post(f"{base_url}/calls/outbound", json=CALL, timeout=30)
        answer.raise_for_status()
        assert_placed(answer.json()["call_id"])

    return work


def assert_placed(call_id: str) -> None:
    """Make sure that a call was accepted."""
    if not call_id:
        raise RuntimeError("a call was not accepted")


def sqlite_commits(path: Path) -> tuple[Callable[[str], None], Callable[[str], None]]:
    """Return two transactions on one row, each durable when it returns, as the ledger's are."""
    database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE calls (key TEXT PRIMARY KEY, state TEXT)")
    return (
        lambda key: (database.execute("INSERT INTO calls VALUES (?, 'claimed')", (key,)), None)[1],
        lambda key: (database.execute("UPDATE calls SET state = 'accepted' WHERE key = ?", (key,)), None)[1],
    )


def postgres_commits(url: str) -> tuple[Callable[[str], None], Callable[[str], None]]:
    """Return the same for PostgreSQL."""
    import psycopg

    database = psycopg.connect(url, autocommit=True)
    database.execute("CREATE TABLE calls (key TEXT PRIMARY KEY, state TEXT)")
    return (
        lambda key: (database.execute("INSERT INTO calls VALUES (%s, 'claimed')", (key,)), None)[1],
        lambda key: (database.execute("UPDATE calls SET state = 'accepted' WHERE key = %s", (key,)), None)[1],
    )


def in_turn(sides: Mapping[str, list[Work]]) -> dict[str, float]:
    """Return how often a second each side's threads did their work, the sides in turn."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(TURNS):
        order = list(sides)
        for name in order if number % 2 == 0 else reversed(order):
            rates[name].append(rate(sides[name]))
    return {name: sum(found) / TURNS for name, found in rates.items()}


def rate(works: list[Work], seconds: float = SECONDS, warm_up: float = WARM_UP) -> float:
    """Return how often a second several threads together did their work, each again and again."""
    since = time.perf_counter() + warm_up
    until, done, errors = since + seconds, [], []

    def repeat(work: Work) -> None:
        try:
            while (now := time.perf_counter()) < until:
                work()
                now = time.perf_counter()
                if since < now <= until:
                    done.append(now)
        except Exception as error:  # noqa: BLE001  raised below
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return len(done) / seconds


ROWS = (Placing,)
