"""The documented deployment, on one machine: databases, broker, processes, and a sandbox beside them."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness.machines import Machines
from harness.pgbouncer import find_pgbouncer
from harness.postgres import PostgresServer, find_binaries
from harness.redis import find_redis

from tests.deployment.balancer import Balancer
from tests.sandbox_process import SandboxProcess

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "deployment"
# What differs from the documented settings, so that a test need not wait for minutes: how soon Airflow sees
# that a machine is gone, and how soon a waiting task looks.
IMPATIENT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__VOICEINFRA__POLL_INTERVAL": "0.5",
    # Airflow's default; the other is gunicorn.
    "AIRFLOW__API__SERVER_TYPE": os.environ.get("VOICEINFRA_TEST_API_SERVER", "uvicorn"),
    "NO_PROXY": "*",
    "no_proxy": "*",
}
CALL_SECONDS = 2.0


class DurablePostgres(PostgresServer):
    """A server that keeps what it has committed when it is killed."""

    settings = ("max_connections=300",)


@dataclass
class Deployment:
    """Everything that a test needs."""

    machines: Machines
    sandbox: SandboxProcess
    postgres: PostgresServer
    receivers: Balancer

    def run(self, dag_id: str, **conf: Any) -> str:
        """Start a run of a DAG and return its id."""
        self.machines.wait_for_dag(dag_id)
        return self.machines.api.trigger(dag_id, conf)

    def dialled(self, since: int = 0) -> Counter[str]:
        """Return how often each number was requested, whatever the answer: the truth.

        :param since: ``last_seq`` of an earlier audit.
        """
        news = self.sandbox.control("GET", "audit", since=since, kinds="requests")
        return Counter(request["to_number"] for request in news["requests"])

    def receive_in_the_api_server(self) -> None:
        """Have Airflow's API server take the webhooks from now on."""
        self.sandbox.configure(webhook_url=self.machines.webhook_url())

    def receive_beside(self) -> None:
        """Have the receivers beside Airflow take the webhooks from now on, each in its turn."""
        self.sandbox.configure(webhook_url=f"{self.receivers.url}/webhooks")


def write_contacts(path: Path, numbers: Iterable[str]) -> str:
    """Write a list and return its path as the DAG takes it."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["to_number"], *([number] for number in numbers)])
    return path.as_uri()


def read_results(folder: Path) -> list[dict[str, str]]:
    """Return the lines of all parts' result files."""
    lines = []
    for path in sorted(folder.glob("results_*.csv")):
        with path.open(newline="") as file:
            lines += list(csv.DictReader(file))
    return lines


def _needed(program: Any, name: str) -> Any:
    if program is None:
        pytest.skip(f"no {name} is installed (Debian: apt-get install {name})")
    return program


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Start everything that the documentation's Compose file names."""
    pgbouncer = _needed(find_pgbouncer(), "pgbouncer")
    _needed(find_redis(), "redis-server")
    postgres = DurablePostgres(_needed(find_binaries(), "postgresql"))
    sandbox = SandboxProcess(call_seconds=CALL_SECONDS, webhook_retry_first=0.5, fault_numbers=False).start()
    try:
        machines = Machines(
            tmp_path_factory.mktemp("machines"),
            folder=FOLDER,
            postgres=postgres,
            pgbouncer=pgbouncer,
            env=IMPATIENT,
            connection={"host": sandbox.base_url, "password": sandbox.api_key},
        )
        sandbox.configure(
            webhook_url=machines.webhook_url(), webhook_secret=machines.secrets["WEBHOOK_SECRET"]
        )
        receivers = Balancer(list(machines.ports.values()))
        with machines:
            yield Deployment(machines, sandbox, postgres, receivers)
        receivers.close()
    finally:
        sandbox.stop()
        postgres.stop()
