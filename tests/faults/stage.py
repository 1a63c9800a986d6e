"""Runs a plan: starts the vendor, the receivers and the workers, and has happen to them what was drawn.

Steps do one of: ``start`` a task's try, ``kill`` or ``stop`` a process, ``storm`` (the vendor says 429),
``purge``, or what ``ledger_faults`` does to the ledger.
"""

from __future__ import annotations

import dataclasses
import signal
import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import requests
from harness.processes import free_port

from airflow_provider_voiceinfra.ledger import CallLedger
from tests.faults import databases, ledger_faults
from tests.faults.board import Board, Diary
from tests.faults.jobs import environment_of, job_of
from tests.faults.plan import Plan, Point, Step, Task
from tests.faults.vendor import Vendor
from tests.faults.zygote import Child, Zygote
from tests.support.waiting import until

TICK = 0.01
RECEIVER = "receiver"


@dataclasses.dataclass
class Worker:
    """One try of a task, or the receiver, alive or ended."""

    name: str
    task: Task
    try_number: int
    process: Child
    diary: Diary
    stopped_until: float | None = None
    go_on_label: str | None = None
    is_over: bool = False
    stops: list[float] = dataclasses.field(default_factory=list)
    """When it was stopped from outside, at no point of its own."""


class Stage:
    """The processes of one run, and the ledger under ``url``, on a server or else in a SQLite file."""

    def __init__(
        self,
        plan: Plan,
        zygote: Zygote,
        folder: Path,
        url: str,
        server: databases.Postgres | None,
        plant: str | None = None,
    ) -> None:
        self._zygote = zygote
        self.plan, self.folder, self.url, self.server, self.plant = plan, folder, url, server, plant
        self.server_logged = len(server.log()) if server else 0
        self.board = Board()
        self.workers: list[Worker] = []
        self.purged_at: list[float] = []
        self._calm = False
        names = [RECEIVER, f"{RECEIVER}-2"][: plan.receivers]
        self._ports = {name: free_port() for name in names}
        self._receivers: dict[str, Worker] = {}
        self.ledger = CallLedger(url)
        self.ledger.upgrade()
        self._breaker = ledger_faults.breaker(url, server, lambda: self._calm)
        self._used_url = server.pooled(url) if server is not None and plan.pooled else url
        addresses = [f"http://127.0.0.1:{port}" for port in self._ports.values()]
        self.vendor = Vendor(plan, addresses, self.board.tell, folder / "vendor.jsonl")

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def events(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return what the workers have told, in the order of time."""
        found = [one for worker in self.workers for one in worker.diary.events]
        found.sort(key=lambda one: one["at"])
        return [one for one in found if event in (None, one["event"])]

    def worker(self, name: str) -> Worker:
        return next(worker for worker in self.workers if worker.name == name)

    def tries(self, task: Task) -> list[Worker]:
        return [worker for worker in self.workers if worker.task.name == task.name]

    def run(self, steps: list[Step], seconds: float) -> bool:
        """Do steps, and wait until all workers have ended; return whether they did in time."""
        left, latest = list(steps), time.monotonic() + seconds
        while time.monotonic() < latest:
            self._look()
            due = [step for step in left if self._is_due(step)]
            for step in due:
                left.remove(step)
                self._do(step)
            alive = any(worker.process.poll() is None for worker in self.workers)
            if not due and not alive and not any(self._may_come(step) for step in left):
                self._look()
                # One that has ended this very moment may be what a step waits for.
                if not any(self._may_come(step) for step in left):
                    return True
            time.sleep(TICK)
        return False

    def start_receivers(self) -> None:
        for name in self._ports:
            self._start_receiver(name)

    def _start_receiver(self, name: str) -> None:
        process = self._zygote.start(
            RECEIVER, self.folder / f"{name}.log", self._environment,
            port=self._ports[name], plant=self.plant, ledger=self.url,
            **self._clocks_of(self.plan.receiver_clock),
        )  # fmt: skip
        diary = Diary(name, self.folder / "none")
        self._receivers[name] = Worker(name, Task(name), 1, process, diary)

    def wait_for_receivers(self) -> None:
        def answer() -> bool:
            self._look()
            with suppress(requests.RequestException):
                ports = self._ports.values()
                return all(requests.get(f"http://127.0.0.1:{port}/health", timeout=2).ok for port in ports)
            return False

        until(answer)

    def _clocks_of(self, clock: float) -> dict[str, Any]:
        jumps = [(self.board.began + at, by) for at, by in self.plan.jumps]
        return {"clock": clock, "jumps": jumps, "all_clocks": self.plan.all_clocks}

    def calm(self) -> None:
        """Have no more faults happen."""
        self._calm = True
        self.vendor.calm = True
        self._breaker.join()

    def start(self, task: Task, try_number: int, points: list[Point] = [], clock: float = 0.0) -> Worker:  # noqa: B006
        """Start a try of a task."""
        name = f"{task.name}.{try_number}"
        diary = Diary(name, self.folder / f"{name}.diary")
        job = job_of(self.plan, task, try_number, self.folder) | {
            **self._clocks_of(clock),
            "ledger": self._used_url,
            "vendor": self.vendor.url,
            "plant": self.plant,
            "diary": str(diary.path),
            "points": [dataclasses.asdict(point) for point in points],
        }
        process = self._zygote.start("worker", self.folder / f"{name}.log", self._environment, job=job)
        worker = Worker(name, task, try_number, process, diary)
        self.workers.append(worker)
        self.board.tell(f"{name}:launched")
        return worker

    def stop(self) -> None:
        """End everything."""
        self._calm = True
        for worker in self._everybody:
            worker.process.kill()
            worker.process.wait()
        self._breaker.join()
        self.vendor.stop()
        self.ledger._database.engine.dispose()

    @property
    def _environment(self) -> dict[str, str]:
        return environment_of(self.plan, self._used_url, self.vendor.url)

    @property
    def _everybody(self) -> list[Worker]:
        return [*self.workers, *self._receivers.values()]

    def _may_come(self, step: Step) -> bool:
        # What waits for something that cannot happen any more is left out.
        return step.do == "start" and self.board.at(step.on) is not None

    def _is_due(self, step: Step) -> bool:
        since, now = self.board.at(step.on), time.monotonic()
        return since is not None and now >= max(since + step.after, self.board.began + step.not_before)

    def _look(self) -> None:
        """Read what the workers have told, continue who was stopped long enough, and keep a receiver up."""
        for worker in self._everybody:
            if worker.is_over:
                continue
            ended = worker.process.poll() is not None  # before the diary is read to its end
            for event in worker.diary.read():
                self.board.tell(f"{worker.name}:{event['event']}")
                if event["event"] == "stopped":
                    self.board.tell(f"{worker.name}:stopped:{event['point']}")
                    worker.stopped_until = time.monotonic() + event["seconds"]
                    worker.go_on_label = event["until"]
            self._continue(worker)
            if ended:
                worker.is_over = True
                self.board.tell(f"{worker.name}:ended")
        for name, receiver in list(self._receivers.items()):
            if receiver.process.poll() is not None:
                self._start_receiver(name)  # as whatever supervises it would

    def _continue(self, worker: Worker) -> None:
        if worker.stopped_until is None:
            return
        early = worker.go_on_label is not None and self.board.at(worker.go_on_label) is not None
        # It tells before it stops, and would stop for ever if it were continued in between.
        if (early or time.monotonic() >= worker.stopped_until) and worker.process.is_stopped():
            worker.stopped_until = None
            self.board.tell(f"{worker.name}:continued")
            worker.process.send_signal(signal.SIGCONT)

    def _do(self, step: Step) -> None:
        if step.do in ledger_faults.FAULTS:
            self._breaker.begin(step.do, step.seconds)
        else:
            getattr(self, f"_do_{step.do}")(step)
        self.board.tell(f"did:{step.do}")

    def _do_start(self, step: Step) -> None:
        self.start(self.plan.task(step.who), step.try_number, step.points, step.clock)

    def _do_kill(self, step: Step) -> None:
        for worker in self._everybody:
            if worker.name == step.who:
                worker.process.kill()

    def _do_stop(self, step: Step) -> None:
        for worker in self._everybody:
            if worker.name == step.who and worker.process.poll() is None and worker.stopped_until is None:
                worker.stops.append(time.monotonic())
                worker.process.send_signal(signal.SIGSTOP)
                worker.stopped_until = time.monotonic() + step.seconds
                self.board.tell(f"{worker.name}:stopped")

    def _do_storm(self, step: Step) -> None:
        self.vendor.storm_until = time.monotonic() + step.seconds

    def _do_purge(self, step: Step) -> None:
        self.purged_at.append(time.monotonic())
        with suppress(Exception):  # the ledger may be locked, or away
            self.ledger.purge(datetime.now(timezone.utc) - timedelta(seconds=step.seconds))
