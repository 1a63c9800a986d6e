"""A whole Airflow with PostgreSQL below it and below the ledger, and the imitated API; for rows with DAGs."""

from __future__ import annotations

import csv
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
from harness.airflow import AirflowStack
from harness.postgres import PostgresServer, find_binaries
from load import SECRET
from servers import DurablePostgres, connection, temporary, without_driver
from sqlalchemy import create_engine, text

from airflow_provider_voiceinfra.ledger import CallLedger
from tests.sandbox_process import SandboxProcess

PARALLELISM = 32
LEDGER = "ledger"
RUN_SECONDS = 3600.0
# Between two looks at which tasks are running.
_LOOK = 0.25


class CountingPostgres(DurablePostgres):
    """A server that counts the statements of each database."""

    settings = (*DurablePostgres.settings, "shared_preload_libraries=pg_stat_statements")


@dataclass
class Deployment:
    """Airflow, the API and the folder for files."""

    airflow: AirflowStack
    sandbox: SandboxProcess
    postgres: PostgresServer
    ledger_url: str
    folder: Path

    def run(self, dag_id: str, conf: dict[str, object] | None = None) -> str:
        """Begin a run of a DAG and return its id."""
        self.airflow.wait_for_dag(dag_id)
        return self.airflow.api.trigger(dag_id, conf)

    def finish(self, dag_id: str, run_id: str) -> float:
        """Wait for the end of a run, and return how many seconds it took."""
        state = self.airflow.api.wait_for_run(dag_id, run_id, RUN_SECONDS)
        if state != "success":
            raise RuntimeError(f"a run of {dag_id} ended as {state}")
        run = self.airflow.api.request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
        return seconds(run["start_date"], run["end_date"])


def deploy(
    stack: ExitStack, calls: int, *, env: dict[str, str], latency_ms: float = 0, call_seconds: float = 0
) -> Deployment:
    """Start everything, and have the stack stop it.

    :param calls: how many calls the mapped tasks of the DAGs place.
    :param env: further variables for Airflow; ``{api}`` in a value stands for the API's address.
    """
    if find_spec("airflow.providers.http") is None:
        raise RuntimeError("apache-airflow-providers-http is not installed: pip install --group bench")
    binaries = find_binaries()
    if binaries is None:
        raise RuntimeError("PostgreSQL's server programs are not installed.")
    postgres = CountingPostgres(binaries)
    stack.callback(postgres.stop)
    settings: dict[str, Any] = {"webhook_secret": SECRET, "fault_numbers": False}
    sandbox = SandboxProcess(latency_ms=latency_ms, call_seconds=call_seconds, **settings)
    stack.enter_context(sandbox)
    ledger_url, folder = without_driver(postgres.create_database(LEDGER)), temporary(stack, "airflow")
    CallLedger(ledger_url).upgrade()  # as in an Airflow that has used it before
    airflow = AirflowStack(
        folder / "airflow",
        dags_folder=Path(__file__).with_name("dags"),
        sql_alchemy_conn=postgres.create_database("airflow"),
        parallelism=PARALLELISM,
        env={
            "AIRFLOW_CONN_VOICEINFRA_DEFAULT": connection(sandbox.base_url),
            "AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN": ledger_url,
            "BENCH_CALLS": str(calls),
            **{name: value.replace("{api}", sandbox.base_url) for name, value in env.items()},
        },
    )
    stack.enter_context(airflow)
    return Deployment(airflow, sandbox, postgres, ledger_url, folder)


def write_contacts(path: Path, rows: int) -> str:
    """Write contacts as CSV and return the file's path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["to_number"])
        writer.writerows([f"+1{212 + i // 100}55501{i % 100:02d}"] for i in range(rows))
    return str(path)


def seconds(since: str, until: str) -> float:
    """Return the time between two moments in ISO 8601."""
    began, ended = (datetime.fromisoformat(moment.replace("Z", "+00:00")) for moment in (since, until))
    return (ended - began).total_seconds()


class WorkerSeconds:
    """Counts, in a ``with`` statement, for how many seconds tasks have held a worker of the executor."""

    def __init__(self) -> None:
        self.total = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> WorkerSeconds:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._over.wait(_LOOK):
            busy, now = busy_workers(), time.monotonic()
            self.total += busy * (now - before)
            before = now


def busy_workers() -> int:
    """Return how many of the executor's workers have a task now, as their processes' titles tell."""
    titles = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            titles.append(" ".join(process.cmdline()))
    return sum("LocalExecutor: " in title and "<idle>" not in title for title in titles)


# What the processes below a deployment are, by what their titles hold; the first that fits counts.
KINDS = {
    "worker of the executor": ("LocalExecutor",),
    "scheduler": ("airflow scheduler", "airflow executor"),
    "triggerer": ("triggerer",),
    "DAG processor": ("dag-processor", "dag_processor", "airflow dag"),
    "API server": ("api-server", "api_server"),
    "imitated API": ("voiceinfra.sandbox", "sandbox"),
    "receiver": ("receiver_process",),
    "PostgreSQL": ("postgres",),
}


class ProcessorTime:
    """Counts, in a ``with`` statement, the processor seconds of each kind of process below this one."""

    def __init__(self) -> None:
        self.by_kind: Counter[str] = Counter()
        self._before: dict[int, float] = {}
        self._last: dict[int, tuple[str, float]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ProcessorTime:
        self._look()
        self._before = {pid: used for pid, (_, used) in self._last.items()}
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()
        for pid, (kind, used) in self._last.items():
            self.by_kind[kind] += used - self._before.get(pid, 0.0)

    def _watch(self) -> None:
        while not self._over.wait(_LOOK):
            self._look()

    def _look(self) -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                title = " ".join(process.cmdline())
                kind = next(
                    (kind for kind, words in KINDS.items() if any(word in title for word in words)), "rest"
                )
                self._last[process.pid] = kind, sum(process.cpu_times()[:2])

    def said(self, calls: int) -> str:
        """Return what a call took of each kind, in ms, what took most first."""
        parts = [f"{kind} {used / calls * 1000:.1f}" for kind, used in self.by_kind.most_common() if used > 0]
        return ", ".join(parts)


class Statements:
    """Counts the statements that the ledger's database is sent, transactions' begin and end aside."""

    def __init__(self, deployment: Deployment) -> None:
        self._engine = create_engine(deployment.postgres.url("postgres"), isolation_level="AUTOCOMMIT")
        self._run("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")

    def _run(self, statement: str) -> Any:
        with self._engine.connect() as connection:
            return connection.execute(text(statement))

    def count(self) -> int:
        """Return how many there were so far."""
        rows = self._run(
            "SELECT coalesce(sum(s.calls), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid "
            f"WHERE d.datname = '{LEDGER}' AND s.query !~* '^(begin|commit|rollback|set )'"
        )
        return int(rows.scalar_one())

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()
