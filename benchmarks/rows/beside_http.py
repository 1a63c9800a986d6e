"""A campaign beside what people do without this package: one mapped HttpOperator task for each contact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import ClassVar

from deployment import PARALLELISM, ProcessorTime, deploy, seconds, write_contacts
from framework import AT_LEAST, Aim, Line, Measured, Row
from load import SECRET

from tests.receiver_process import ReceiverProcess

MAPPED, SMALL, LARGE = 100, 200, 5_000
LATENCY_MS = 50
LINES = (
    (f"{LARGE:,} calls", LARGE, 60.0),
    (f"{LARGE:,} calls, receiver on its own", LARGE, 100.0),
    (f"{SMALL} calls", SMALL, 12.0),
)
RUN = "whole DAG run"
Rates = dict[str, float]


class BesideHttp(Row):
    """Campaigns and mapped tasks in the same Airflow, one after the other."""

    name = "beside-http"
    what = (
        "Calls per second, from the first to the last that the API accepted, and of the whole DAG run: one "
        f"campaign (ours), and {MAPPED} mapped HttpOperator tasks (peer), in the same Airflow with [core] "
        f"parallelism {PARALLELISM}. The API has a latency of {LATENCY_MS} ms and no limit; PostgreSQL is "
        "below Airflow and the ledger. Webhooks come through Airflow's API server, or through a receiver in "
        "a process of its own. A campaign begins with 10 calls a second and doubles that every second, so "
        f"{SMALL} calls take 3.9 s at least, 51 a second, whatever the machine."
    )
    lines: ClassVar = tuple(
        line
        for name, _, times in LINES
        for line in (Line(name, "/s", (Aim(AT_LEAST, times, "peer"),)), Line(f"{name}, {RUN}", "/s"))
    )
    seconds = 390

    def open(self, stack: ExitStack) -> None:
        """Start everything, and run a small campaign, so that Python and Airflow write what they keep."""
        api = '{"conn_type": "http", "host": "{api}", "password": "vk_sandbox_key"}'
        self._deployment = deploy(stack, MAPPED, env={"AIRFLOW_CONN_VENDOR_API": api}, latency_ms=LATENCY_MS)
        receiver = stack.enter_context(ReceiverProcess(self._deployment.ledger_url, SECRET))
        self._receivers = (self._deployment.airflow.webhook_url(), receiver.webhook_url)
        for url in self._receivers:
            self._campaign("", 10, url)
        self.notes = []

    def measure(self, number: int) -> Mapping[str, Measured]:
        """Run the mapped tasks first, in the middle, or last."""
        through_airflow, alone = self._receivers
        runs: list[tuple[str, Callable[[], tuple[float, float]]]] = [
            (LINES[0][0], lambda: self._campaign(LINES[0][0], LARGE, through_airflow)),
            (LINES[1][0], lambda: self._campaign(LINES[1][0], LARGE, alone)),
            (LINES[2][0], lambda: self._campaign(LINES[2][0], SMALL, through_airflow)),
        ]
        runs.insert((0, 3, 1)[number % 3], ("", self._mapped))
        rates = {name: run() for name, run in runs}
        placing, whole = rates.pop("")
        found = {name: Measured(rate, peer=placing) for name, (rate, _) in rates.items()}
        return found | {f"{name}, {RUN}": Measured(rate, peer=whole) for name, (_, rate) in rates.items()}

    def _mapped(self) -> tuple[float, float]:
        # An HttpOperator has nobody to tell, so it isn't slowed by webhooks.
        self._deployment.sandbox.configure(webhook_url="")
        return self._run("Mapped tasks", "bench_http", MAPPED, {})

    def _campaign(self, name: str, calls: int, webhook_url: str) -> tuple[float, float]:
        self._deployment.sandbox.configure(webhook_url=webhook_url)
        contacts = write_contacts(self._deployment.folder / f"contacts-{calls}.csv", calls)
        return self._run(name, "bench_campaign", calls, {"contacts": contacts, "lines": min(calls, 1000)})

    def _run(self, what: str, dag_id: str, calls: int, conf: dict[str, object]) -> tuple[float, float]:
        """Return the calls per second of placing, and of the DAG run."""
        deployment = self._deployment
        deployment.sandbox.reset()
        with ProcessorTime() as used:
            whole = deployment.finish(dag_id, deployment.run(dag_id, conf))
        self.notes = [note for note in self.notes if not note.startswith(what)]
        self.notes.append(f"{what}, milliseconds of processor time a call, by process: {used.said(calls)}.")
        accepted = deployment.sandbox.audit()["calls"]
        if len(accepted) != calls:
            raise RuntimeError(f"{dag_id} placed {len(accepted)} of {calls} calls")
        placing = seconds(accepted[0]["time"], accepted[-1]["time"])
        return (calls - 1) / placing, calls / whole


ROWS = (BesideHttp,)
