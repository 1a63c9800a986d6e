"""Runs one seed from its plan to its verdict."""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import databases, model, outputs
from tests.faults.families import plan_of
from tests.faults.plan import Plan, Task
from tests.faults.stage import Stage
from tests.faults.zygote import Zygote

# A run that takes longer than this has a process that hangs, in seconds.
RUN_SECONDS = 120.0
ROUND_SECONDS = 120.0
QUIET_SECONDS = 60.0
MOST_ROUNDS = 5
# Errors after which a retry comes to nothing else.
SETTLED = ("CallOutcomeUnknownError", "CallNotAllowedError")


@dataclass
class Verdict:
    """What a seed showed: sentences of what the package must not do, each beginning with its kind."""

    seed: int
    family: str
    seconds: float
    violations: list[str] = field(default_factory=list)
    folder: str = ""

    @property
    def kinds(self) -> list[str]:
        return sorted({violation.partition(":")[0] for violation in self.violations})


def run_seed(
    seed: int,
    zygote: Zygote,
    server: databases.Postgres | None,
    *,
    plant: str | None = None,
    family: str | None = None,
    keep: bool = False,
) -> Verdict:
    """Run one seed, on SQLite if there is no server.

    :param family: draw from this family only.
    :param keep: leave the files of a run that showed something.
    """
    plan, began = plan_of(seed, family), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"voiceinfra-faults-{seed}-"))
    name = f"faults_{uuid.uuid4().hex}"
    url = f"sqlite:///{folder / 'ledger.db'}"
    if server is not None:
        url = server.create_database(name).replace("postgresql+psycopg2", "postgresql")
    stage = Stage(plan, zygote, folder, url, server, plant)
    try:
        found = _run(plan, stage)
    finally:
        stage.stop()
        if server is not None:
            server.drop_database(name)
    verdict = Verdict(seed, plan.family, time.monotonic() - began, list(dict.fromkeys(found)), str(folder))
    if not (keep and found):
        shutil.rmtree(folder, ignore_errors=True)
    return verdict


def _run(plan: Plan, stage: Stage) -> list[str]:
    stage.start_receivers()
    stage.wait_for_receivers()
    found = []
    if not stage.run(plan.steps, RUN_SECONDS):
        return [f"hangs: after {RUN_SECONDS:g} s {_alive(stage)} still run"]
    stage.calm()
    stage.wait_for_receivers()
    for task in plan.tasks:
        if not _finish(stage, task):
            found.append(f"does not end: {task.name}, {_last_error(stage, task)}")
    found += outputs.at_first(stage)
    quieten(stage)
    # Somebody clears every task: who was called is taken up, and nobody is called for it.
    for task in plan.tasks:
        if not task.keyless:
            _once_more(stage, task)
    if not stage.run([], ROUND_SECONDS):
        return [*found, f"hangs: after {ROUND_SECONDS:g} s {_alive(stage)} still run, cleared"]
    quieten(stage)
    return found + model.violations(stage) + outputs.in_the_end(stage)


def _finish(stage: Stage, task: Task) -> bool:
    """Retry a task until it has a result; return whether it came to one."""
    for _ in range(MOST_ROUNDS):
        if _is_done(stage, task):
            return True
        _once_more(stage, task)
        if not stage.run([], ROUND_SECONDS):
            return False
    return _is_done(stage, task)


def _once_more(stage: Stage, task: Task) -> None:
    stage.start(task, max((one.try_number for one in stage.tries(task)), default=0) + 1)


def _is_done(stage: Stage, task: Task) -> bool:
    tries = stage.tries(task)
    if task.keyless:
        return True  # a bare request is not tried again
    if task.campaign is not None:
        # The newest try is the one that counts; one before it may have ended with an older list.
        last = max(tries, key=lambda one: one.try_number).diary.events if tries else []
        return any(event["event"] == "summary" and event["end"] == "finished" for event in last)
    settled = {
        event["mark"]
        for worker in tries
        for event in worker.diary.events
        if event["event"] == "pushed" or event.get("error") in SETTLED
    }
    return {key.mark for key in task.keys} <= settled


def quieten(stage: Stage) -> None:
    """Wait until all webhooks that are not lost have been taken."""
    until = time.monotonic() + QUIET_SECONDS
    while not stage.vendor.deliveries.is_quiet() and time.monotonic() < until:
        stage.vendor.deliveries.hurry()
        stage.run([], 0.1)
        time.sleep(0.05)


def _alive(stage: Stage) -> str:
    return ", ".join(worker.name for worker in stage.workers if worker.process.poll() is None)


def _last_error(stage: Stage, task: Task) -> str:
    errors = [
        event for worker in stage.tries(task) for event in worker.diary.events if event["event"] == "failed"
    ]
    return f"{errors[-1]['error']}: {errors[-1]['message']}" if errors else "without an error"
