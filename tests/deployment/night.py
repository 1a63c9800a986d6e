"""One night: a list in eight campaigns and single calls, while one machine after the other is killed."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import requests
from harness.processes import wait_for
from harness.rest import ApiError

from tests.deployment.conftest import Deployment, write_contacts

AREA_CODES = (202, 212, 213, 214, 215, 216, 217, 218, 219, 224, 225, 228, 229, 231, 234, 239, 240, 248)
STALL_SECONDS = 20.0
CALLS_PER_SECOND = 0.8
VICTIMS = ("worker-0", "triggerer-0", "api-server-0", "redis", "postgres", "receiver-0", "worker-1")
WORKERS = ("worker-0", "worker-1")
LIST = "split_list"
SINGLE = ("one_call", "call_then_wait")


def numbers(count: int, first: int = 0) -> list[str]:
    """Return different numbers, all of which are answered: the sandbox's own end in 7 to 9 are not."""
    found = [f"+1{area}55501{line:02d}" for area in AREA_CODES for line in range(100) if line % 10 < 7]
    return found[first : first + count]


@dataclass
class Night:
    """What was started, and what was killed.

    :param people: how many are on the list.
    :param singles: the DAG and the run that calls each other number.
    """

    deployment: Deployment
    folder: Path
    people: int
    singles: dict[str, tuple[str, str]] = field(default_factory=dict)
    kills: list[str] = field(default_factory=list)
    run: str = ""

    def __post_init__(self) -> None:
        self.listed = numbers(self.people)
        self._others = iter(numbers(1000, self.people))
        self.since = self.deployment.sandbox.audit()["last_seq"]
        self.machines = self.deployment.machines
        self._restarted = len(self.machines.restarted)
        self._written = {worker: len(self._log(worker)) for worker in WORKERS}

    def call_the_list(self) -> None:
        """Start the eight campaigns, at a pace that leaves time for what is to come."""
        self.run = self.deployment.run(
            LIST,
            contacts=write_contacts(self.folder / "contacts.csv", self.listed),
            results=(self.folder / "results").as_uri(),
            calls_per_second=CALLS_PER_SECOND,
        )

    def call(self, count: int = 1) -> None:
        """Start single calls, a run for each: some wait in their task, others in a sensor."""
        for _ in range(count):
            number, dag_id = next(self._others), SINGLE[len(self.singles) % len(SINGLE)]
            self.singles[number] = dag_id, self.deployment.run(dag_id, to_number=number)

    def stall_scheduler(self, most_deferred: int) -> None:
        """Stop the scheduler for a while, right after tasks deferred; calls end meanwhile."""
        wait_for("tasks to defer", lambda: self._deferred() >= most_deferred, 240)
        self.machines.signal("scheduler-0", signal.SIGSTOP)
        threading.Event().wait(STALL_SECONDS)  # the stall itself, not a wait for something
        self.machines.signal("scheduler-0", signal.SIGCONT)
        self.kills.append("scheduler stopped")

    def kill_each(self, chance: random.Random) -> None:
        """Kill each of what there is, and wait until it is back and people are called again."""
        victims = list(VICTIMS)
        chance.shuffle(victims)
        for victim in victims:
            self.call()
            self._await_calls(1 + chance.randrange(3))
            began = datetime.now(timezone.utc)
            self._kill(victim)
            wait_for(f"{victim} to be back", self._is_back(victim, began), 400)
            self.kills.append(victim)

    def campaigns_of(self, worker: str) -> int:
        """Return how many tries of campaigns a worker was given."""
        return self._log(worker)[self._written[worker] :].count(b"task_id='campaign'")

    def restarted(self) -> dict[str, int]:
        """Return how often each machine's process was started again."""
        return dict(Counter(self.machines.restarted[self._restarted :]))

    def is_over(self) -> bool:
        """Whether each run has ended."""
        return all(self._state(*run) in {"success", "failed"} for run in self._runs)

    def states(self) -> dict[str, str]:
        """Return the state of each run by its id."""
        return {run: self._state(dag_id, run) for dag_id, run in self._runs}

    def tries(self) -> int:
        """Return how many tries of tasks there were beyond the first of each."""
        api = self.machines.api
        return sum(one["try_number"] - 1 for run in self._runs for one in api.task_instances(*run))

    @property
    def _runs(self) -> list[tuple[str, str]]:
        return [(LIST, self.run), *self.singles.values()]

    def _log(self, machine: str) -> bytes:
        return (self.machines.logs / f"{machine}.log").read_bytes()

    def _kill(self, victim: str) -> None:
        if victim == "redis":
            self.machines.redis.kill()
        elif victim == "postgres":
            self.deployment.postgres.crash()
        else:
            assert self.machines.kill_machine(victim)

    def _is_back(self, victim: str, began: datetime) -> Callable[[], bool]:
        part = {"triggerer-0": "triggerer", "postgres": "scheduler", "redis": ""}.get(victim, "")

        def is_back() -> bool:
            if not self.machines.is_healthy():
                return False
            health = self.machines.api.json_or_none("/api/v2/monitor/health") or {}
            seen = (health.get(part) or {}).get(f"latest_{part}_heartbeat")
            return not part or (seen is not None and datetime.fromisoformat(seen) > began)

        return is_back

    def _await_calls(self, more: int) -> None:
        before = self.deployment.dialled(self.since).total()
        if before < self.people:
            wait_for("more calls", lambda: self.deployment.dialled(self.since).total() >= before + more, 240)

    def _deferred(self) -> int:
        found = [one for run in self.singles.values() for one in self.machines.api.task_instances(*run)]
        return sum(one["state"] == "deferred" for one in found)

    def _state(self, dag_id: str, run: str) -> str:
        try:
            return self.machines.api.run_state(dag_id, run)
        except (ApiError, requests.RequestException):
            return "unknown"  # while the API server or its database is on its way back


def said(night: Night, seconds: float) -> str:
    """Return the figures of a night in one line."""
    dialled = night.deployment.dialled(night.since)
    return (
        f"{seconds:.0f} s: {len(dialled)} people called, {dialled.total()} requests, "
        f"{len(night.kills)} faults "
        f"({', '.join(night.kills)}), {night.tries()} further tries, "
        f"started again: {night.restarted()}"
    )


def now() -> float:
    """Return a clock for durations."""
    return time.monotonic()
