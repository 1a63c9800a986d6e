"""A real Airflow on PostgreSQL, a sandbox, a gate between them, and the ledger that they share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from airflow.configuration import conf
from harness.airflow import AirflowStack
from harness.postgres import PostgresServer
from harness.sandbox import connection_json

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.keys import Encryption
from tests.integration.gate import Gate
from tests.sandbox_process import SandboxProcess

WEBHOOK_SECRET = "it-webhook-secret-7f3a9c"
API_KEY = "vk_it_key_51c2e8d0"
CALL_SECONDS = 2.0
TRANSCRIPT = "Agent: "
NUMBER = re.compile(r"\+1\d{10}")
# Beside admin, one for each role of Airflow's simple auth manager.
USERS = {"viewer": "viewer", "user": "user", "op": "op"}
DAGS = Path(__file__).with_name("dags")
EXAMPLES = Path(__file__).parents[2] / "dags_examples"


@dataclass
class Deployment:
    """Everything that a test needs to play a night with."""

    airflow: AirflowStack
    sandbox: SandboxProcess
    gate: Gate
    ledger: CallLedger
    ledger_url: str

    def run(self, dag_id: str, **conf: object) -> str:
        """Start a run of a DAG and return its id."""
        self.airflow.wait_for_dag(dag_id)
        return self.airflow.api.trigger(dag_id, conf)

    def accepted(self, to_number: str) -> list[str]:
        """Return the ids of the calls that the API accepted for a number: the truth."""
        return [call["call_id"] for call in self.sandbox.audit()["calls"] if call["to_number"] == to_number]


def assert_nothing_secret_was_logged(airflow: AirflowStack) -> None:
    """Look through every log that an Airflow and its tasks have written."""
    for path in airflow.log_files():
        text = path.read_text(errors="replace")
        for secret in (API_KEY, WEBHOOK_SECRET, TRANSCRIPT):
            assert secret not in text, path
        assert NUMBER.search(text) is None, f"{path}: {NUMBER.search(text)}"


def bundles(*folders: Path) -> str:
    """Return the setting that lets one Airflow take its DAGs from several folders."""
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    return json.dumps(
        [{"name": path.name, "classpath": local, "kwargs": {"path": str(path)}} for path in folders]
    )


@contextmanager
def running(postgres_server: PostgresServer, folder: Path, path: str = "") -> Iterator[Deployment]:
    """Run everything.

    :param path: what Airflow is served under.
    """
    name = path.replace("/", "_")
    ledger_url = postgres_server.create_database(f"it_ledger{name}")
    metadata_url = postgres_server.create_database(f"it_airflow{name}")
    sandbox = SandboxProcess(
        api_keys=[API_KEY], webhook_secret=WEBHOOK_SECRET, call_seconds=CALL_SECONDS, webhook_retry_first=0.5
    ).start()
    gate = Gate(sandbox.base_url)
    airflow = AirflowStack(
        folder,
        dags_folder=DAGS,
        sql_alchemy_conn=metadata_url,
        parallelism=8,
        users=USERS,
        path=path,
        stop_seconds=2.0,
        env=_environment(gate, ledger_url),
    )
    sandbox.configure(webhook_url=airflow.webhook_url())
    try:
        with airflow:
            ledger = CallLedger(ledger_url, encryption=Encryption((airflow.fernet_key,)))
            yield Deployment(airflow, sandbox, gate, ledger, ledger_url)
        assert_nothing_secret_was_logged(airflow)  # after all that the tests have done with it
    finally:
        gate.close()
        sandbox.stop()


def _environment(gate: Gate, ledger_url: str) -> dict[str, str]:
    return {
        "AIRFLOW_CONN_VOICEINFRA_DEFAULT": connection_json(
            gate.base_url,
            WEBHOOK_SECRET,
            agent_id="agent_demo",
            from_number="+12025550100",
            api_key=API_KEY,
        ),
        "AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN": ledger_url,
        "AIRFLOW__VOICEINFRA__POLL_INTERVAL": "0.5",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        # So that the tests, too, can read and write what the pages put into addresses.
        "AIRFLOW__API__SECRET_KEY": conf.get_mandatory_value("api", "secret_key"),
        # A proxy of this machine would be asked for hosts that are not there.
        "NO_PROXY": "*",
        "no_proxy": "*",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": bundles(DAGS, EXAMPLES),
    }


@pytest.fixture(scope="session")
def deployment_at_the_root(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Start everything once for all integration tests of a process that need no browser."""
    with running(postgres_server, tmp_path_factory.mktemp("airflow")) as deployment:
        yield deployment


@pytest.fixture(scope="session")
def deployment(deployment_at_the_root: Deployment) -> Deployment:
    """Return what a test plays its night with; for those in a browser it is another."""
    return deployment_at_the_root


@dataclass
class Sleeper:
    """A campaign that waits for its window while other tests run."""

    run: str
    opens: datetime
    dag_id: str = "it_campaign"
    to_number: str = "+15125550110"


@pytest.fixture(scope="session")
def sleeper(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Sleeper:
    """Start it; its window opens in some minutes."""
    # Windows open on the minute, and a wait of less than one is not worth sleeping for.
    opens = (datetime.now(timezone.utc) + timedelta(seconds=150 + 59)).replace(second=0, microsecond=0)
    folder = tmp_path_factory.mktemp("sleeper")
    contacts = folder / "contacts.csv"
    contacts.write_text(f"to_number\n{Sleeper.to_number}\n")
    run = deployment.run(
        Sleeper.dag_id,
        contacts=str(contacts),
        results_path=str(folder / "results.csv"),
        campaign_id="it-window",
        calling_window=f"{opens:%H:%M}-{opens + timedelta(hours=1):%H:%M} UTC",
    )
    return Sleeper(run, opens)
