"""Calls that mapped tasks wait for: by webhook and one watcher, and by asking an API again and again."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import requests
from deployment import PARALLELISM, Statements, WorkerSeconds, deploy
from framework import Line, Measured, Row
from harness.processes import end, free_port, spawn, wait_for
from servers import is_healthy, temporary

CALLS = 1000 if os.environ.get("BENCH_LONG") else 25
# For how long it is counted what everybody's waiting costs, in seconds.
WAITING = 10.0
POLLABLE = Path(__file__).parents[1] / "pollable_api.py"
# Long enough for all tasks to begin to wait, whatever the machine; calls are ended at once, on request.
CALL_SECONDS = 7200
LINES = (
    Line(f"queries while {CALLS:,} wait, in {WAITING:g} s", ""),
    Line("queries, whole run", ""),
    Line("worker-seconds, whole run", "s"),
    Line("wall time until all wait", "s"),
    Line("wall time from the calls' end to the run's", "s"),
)


@dataclass
class Side:
    """One way to wait.

    :param wait_task: the task that waits, of the DAG.
    :param queries: how many there were so far.
    :param end: ends all calls.
    """

    dag_id: str
    wait_task: str
    queries: Callable[[], int]
    end: Callable[[], object]


class Waited(Row):
    """Our deferrable operator beside an HttpOperator and a deferrable HttpSensor, in the same Airflow."""

    name = "waited"
    what = (
        f"{CALLS:,} mapped calls, placed and waited for in the triggerer, [core] parallelism {PARALLELISM}: "
        "VoiceInfraOutboundCallOperator, whose queries are statements at the ledger's database (ours), and "
        "an HttpOperator and then an HttpSensor that asks every 5 s an API which, other than VoiceInfra's, "
        "can be asked, whose queries are requests to it (peer). All calls end at the same moment, when "
        f"all tasks have waited for {WAITING:g} s. `make bench` does it once, with 25 calls; `make "
        "bench-long` with 1,000."
    )
    lines: ClassVar = LINES
    rounds = 1
    seconds = 3 * 3600 if CALLS > 25 else 200

    def open(self, stack: ExitStack) -> None:
        """Start everything, the API that can be asked included."""
        port = free_port()
        log = temporary(stack, "pollable") / "pollable.log"
        process = spawn([sys.executable, str(POLLABLE), str(port)], env=os.environ, log=log)
        stack.callback(end, process)
        wait_for("the API that can be asked", lambda: is_healthy(port, "/counts"), 60)
        self._api = f"http://127.0.0.1:{port}"
        connection = f'{{"conn_type": "http", "host": "{self._api}"}}'
        env = {"AIRFLOW_CONN_POLLABLE_API": connection}
        self._deployment = deploy(stack, CALLS, env=env, call_seconds=CALL_SECONDS)
        sandbox = self._deployment.sandbox
        sandbox.configure(webhook_url=self._deployment.airflow.webhook_url())
        self._statements = Statements(self._deployment)
        stack.callback(self._statements.close)
        self._sides = {
            "ours": Side("bench_waited", "call", self._statements.count, sandbox.end_calls),
            "peer": Side("bench_polled", "one_call.wait", self._requests, self._end_polled),
        }

    def _requests(self) -> int:
        return sum(requests.get(f"{self._api}/counts", timeout=30).json().values())

    def _end_polled(self) -> Any:
        return requests.post(f"{self._api}/end", timeout=30).json()

    def measure(self, number: int) -> Mapping[str, Measured]:
        """Run both, ours first every other time."""
        names = list(self._sides) if number % 2 == 0 else list(reversed(self._sides))
        found = {name: self._run(self._sides[name]) for name in names}
        both = zip(LINES, found["ours"], found["peer"], strict=True)
        return {line.name: Measured(ours, peer=peer) for line, ours, peer in both}

    def _run(self, side: Side) -> tuple[float, ...]:
        """Return the figures of ``LINES``."""
        before, began = side.queries(), time.monotonic()
        with WorkerSeconds() as workers:
            run_id = self._deployment.run(side.dag_id)
            self._await_waiting(side, run_id)
            all_wait, since = time.monotonic(), side.queries()
            time.sleep(WAITING)
            meanwhile = side.queries() - since
            ended = time.monotonic()
            side.end()
            self._deployment.finish(side.dag_id, run_id)
            over = time.monotonic()
        whole = side.queries() - before
        return meanwhile, whole, workers.total, all_wait - began, over - ended

    def _await_waiting(self, side: Side, run_id: str) -> None:
        path = f"/api/v2/dags/{side.dag_id}/dagRuns/{run_id}/taskInstances"
        asked = {"task_id": side.wait_task, "state": "deferred", "limit": 1}
        while self._waiting(path, asked) < CALLS:
            state = self._deployment.airflow.api.run_state(side.dag_id, run_id)
            if state not in ("queued", "running"):
                raise RuntimeError(f"a run of {side.dag_id} ended as {state} before its calls did")
            time.sleep(0.5)

    def _waiting(self, path: str, asked: Mapping[str, Any]) -> int:
        return int(self._deployment.airflow.api.request("GET", path, **asked)["total_entries"])


ROWS = (Waited,)
