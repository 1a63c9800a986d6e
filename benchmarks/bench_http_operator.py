"""How fast a campaign places calls, beside mapped HttpOperator tasks, in the same Airflow and side by side.

Run from the checkout, with apache-airflow-providers-http installed (``pip install --group bench``) and
PostgreSQL's server programs: ``python benchmarks/bench_http_operator.py --help``. Airflow uses PostgreSQL,
the LocalExecutor and its default of 32 tasks at a time. The sandbox has no rate limit. What counts is its
audit log, and the run as Airflow tells it.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "scripts"))
from harness.airflow import AirflowStack
from harness.postgres import PostgresServer, find_binaries
from harness.sandbox import connection_json

from tests.sandbox_process import SandboxProcess

ROOT = Path(__file__).resolve().parents[1]
SECRET = "bench-webhook-secret"
PARALLELISM = 32
RUN_TIMEOUT = 3600.0


@dataclass(frozen=True)
class Figures:
    """What one run came to.

    :param placing: seconds from the first to the last accepted call.
    :param running: seconds from the start of the DAG run to its end.
    """

    calls: int
    placing: float
    running: float

    @property
    def rate(self) -> float:
        """Calls per second while calls were placed."""
        return (self.calls - 1) / self.placing

    @property
    def run_rate(self) -> float:
        """Calls per second of the whole run."""
        return self.calls / self.running


@contextmanager
def deployment(folder: Path, calls: int, latency_ms: float) -> Iterator[tuple[AirflowStack, SandboxProcess]]:
    """Run Airflow, PostgreSQL and a sandbox."""
    binaries = find_binaries()
    if binaries is None:
        raise SystemExit("PostgreSQL's server programs are not installed.")
    with ExitStack() as stack:
        postgres = PostgresServer(binaries)
        stack.callback(postgres.stop)
        settings = {"webhook_secret": SECRET, "call_seconds": 0, "fault_numbers": False}
        sandbox = stack.enter_context(SandboxProcess(latency_ms=latency_ms, **settings))
        connection = connection_json(
            sandbox.base_url, SECRET, agent_id="agent_demo", from_number="+14155550199"
        )
        airflow = AirflowStack(
            folder,
            dags_folder=Path(__file__).with_name("dags"),
            sql_alchemy_conn=postgres.create_database("airflow"),
            parallelism=PARALLELISM,
            env={
                "AIRFLOW_CONN_VOICEINFRA_DEFAULT": connection,
                "AIRFLOW_CONN_VENDOR_API": connection.replace('"voiceinfra"', '"http"', 1),
                "AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN": postgres.create_database("ledger"),
                "BENCH_CALLS": str(calls),
            },
        )
        stack.enter_context(airflow)
        yield airflow, sandbox


def write_contacts(path: Path, rows: int) -> str:
    """Write contacts as CSV and return the file's path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["to_number"])
        writer.writerows([f"+1{212 + i // 100}55501{i % 100:02d}"] for i in range(rows))
    return str(path)


def measure(
    airflow: AirflowStack, sandbox: SandboxProcess, dag_id: str, calls: int, conf: dict[str, object]
) -> Figures:
    """Run a DAG and return how fast it called."""
    sandbox.reset()
    airflow.wait_for_dag(dag_id)
    run_id = airflow.api.trigger(dag_id, conf)
    state = airflow.api.wait_for_run(dag_id, run_id, RUN_TIMEOUT)
    accepted = sandbox.audit()["calls"]
    if state != "success" or len(accepted) != calls:
        raise RuntimeError(f"{dag_id} ended as {state}, with {len(accepted)} of {calls} calls.")
    run = airflow.api.request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
    return Figures(
        calls,
        seconds(accepted[0]["time"], accepted[-1]["time"]),
        seconds(run["start_date"], run["end_date"]),
    )


def seconds(since: str, until: str) -> float:
    """Return the time between two moments in ISO 8601."""
    began, ended = (datetime.fromisoformat(moment.replace("Z", "+00:00")) for moment in (since, until))
    return (ended - began).total_seconds()


def campaign(airflow: AirflowStack, sandbox: SandboxProcess, folder: Path, calls: int, lines: int) -> Figures:
    """Place calls with one campaign; its webhooks go to Airflow's own API server."""
    sandbox.configure(webhook_url=airflow.webhook_url())
    contacts = write_contacts(folder / f"contacts-{calls}.csv", calls)
    found = measure(airflow, sandbox, "bench_campaign", calls, {"contacts": contacts, "lines": lines})
    sandbox.configure(webhook_url="")  # an HttpOperator has nobody to tell, so it isn't slowed by webhooks
    return found


def show(name: str, found: Figures, base: Figures) -> None:
    """Print one line of the table."""
    print(
        f"{name:<30}{found.calls:>7}{found.placing:>14.1f}{found.rate:>10.2f}{found.rate / base.rate:>9.1f}x"
        f"{found.running:>12.1f}{found.run_rate:>10.2f}{found.run_rate / base.run_rate:>9.1f}x",
        flush=True,
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200, help="of both (default: %(default)s)")
    parser.add_argument(
        "--more",
        type=int,
        default=5000,
        help="calls of a larger campaign, whose rate has time to rise; 0 for none (default: %(default)s)",
    )
    parser.add_argument("--latency-ms", type=float, default=50.0, help="of the API, in milliseconds")
    options = parser.parse_args()
    if importlib.util.find_spec("airflow.providers.http") is None:
        raise SystemExit("apache-airflow-providers-http is not installed: pip install --group bench")
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    packages = ("airflow-provider-voiceinfra", "apache-airflow", "apache-airflow-providers-http")
    print(
        f"{', '.join(f'{name} {version(name)}' for name in packages)}, commit {commit or 'unknown'}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, "
        f"parallelism {PARALLELISM}, API latency {options.latency_ms:g} ms"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with deployment(folder / "airflow", options.calls, options.latency_ms) as (airflow, sandbox):
            # A first run writes what Python and Airflow keep, which no later one has to do.
            campaign(airflow, sandbox, folder, 10, 10)
            base = measure(airflow, sandbox, "bench_http", options.calls, {})
            names = ("calls/s", "ratio")
            rates = "".join(f"{name:>10}" for name in names)
            print(f"{'':<30}{'calls':>7}{'placing s':>14}{rates}{'DAG run s':>12}{rates}")
            show("HttpOperator, mapped", base, base)
            show("campaign", campaign(airflow, sandbox, folder, options.calls, options.calls), base)
            if options.more:
                more = campaign(airflow, sandbox, folder, options.more, 1000)
                show("campaign, longer", more, base)


if __name__ == "__main__":
    main()
