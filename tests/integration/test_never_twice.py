"""Workers are killed and answers are lost; the API's audit log must never show a second call."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import pytest
from harness.processes import wait_for
from sqlalchemy import make_url

from airflow_provider_voiceinfra.ledger.records import CallState
from tests.integration.conftest import Deployment
from tests.integration.gate import Hold

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _open_gate(deployment: Deployment) -> Iterator[None]:
    yield
    deployment.gate.release()


def _kill_task(deployment: Deployment, dag_id: str, run: str) -> None:
    """Kill the process that executes the task, as an out-of-memory killer would."""
    instance = deployment.airflow.api.task_instance(dag_id, run, "call")
    deployment.airflow.task_processes(instance["id"])[-1].send_signal(signal.SIGKILL)


@contextmanager
def _calls_cannot_be_written(deployment: Deployment) -> Iterator[None]:
    url = make_url(deployment.ledger_url).set(drivername="postgresql")
    connection = psycopg2.connect(url.render_as_string(hide_password=False))
    try:
        connection.cursor().execute("LOCK TABLE voiceinfra_calls IN EXCLUSIVE MODE")
        yield
    finally:
        connection.rollback()
        connection.close()


@contextmanager
def _api_server_paused(deployment: Deployment) -> Iterator[None]:
    def is_api_server(process: object) -> bool:
        return "api" in " ".join(process.cmdline()) and "server" in " ".join(process.cmdline())  # type: ignore[attr-defined]

    deployment.airflow.kill(is_api_server, signal.SIGSTOP)
    try:
        yield
    finally:
        deployment.airflow.kill(is_api_server, signal.SIGCONT)


def test_killed_before_the_request_reached_the_api_fails_with_help(deployment: Deployment) -> None:
    api, to_number = deployment.airflow.api, "+14155550130"
    deployment.gate.arm(Hold.REQUEST)
    run = deployment.run("it_impatient", to_number=to_number)
    assert deployment.gate.held.wait(60)
    _kill_task(deployment, "it_impatient", run)
    deployment.gate.release()

    assert api.wait_for_run("it_impatient", run) == "failed"

    assert deployment.accepted(to_number) == []
    task = api.task_instance("it_impatient", run, "call")
    assert task["try_number"] == 2, "the killed try is retried, the unknown outcome is not"
    log = api.task_log("it_impatient", run, "call", 2)
    assert "It is unknown whether the call to +1415***0130" in log
    assert "on_unknown='redial'" in log


def test_killed_before_the_request_reached_the_api_redials_if_told_so(deployment: Deployment) -> None:
    api, to_number = deployment.airflow.api, "+14155550131"
    deployment.gate.arm(Hold.REQUEST)
    run = deployment.run("it_redialling", to_number=to_number)
    assert deployment.gate.held.wait(60)
    _kill_task(deployment, "it_redialling", run)
    deployment.gate.release()

    assert api.wait_for_run("it_redialling", run) == "success"

    [call_id] = deployment.accepted(to_number)
    assert api.xcom("it_redialling", run, "call", "call_id") == call_id


@pytest.mark.every_airflow
@pytest.mark.parametrize("dag_id", ["it_bare", "it_deferred"])
def test_killed_between_request_and_answer_finds_its_call_by_the_webhook(
    deployment: Deployment, dag_id: str
) -> None:
    to_number = {"it_bare": "+14155550132", "it_deferred": "+14155550133"}[dag_id]
    api = deployment.airflow.api
    deployment.gate.arm(Hold.ANSWER)
    run = deployment.run(dag_id, to_number=to_number)
    assert deployment.gate.held.wait(60)
    _kill_task(deployment, dag_id, run)
    deployment.gate.release()

    assert api.wait_for_run(dag_id, run) == "success"

    [call_id] = deployment.accepted(to_number)
    assert api.xcom(dag_id, run, "call", "call_id") == call_id
    assert "was found by its webhook" in api.task_log(dag_id, run, "call", 2)


def test_killed_between_answer_and_ledger_finds_its_call_by_the_webhook(deployment: Deployment) -> None:
    api, to_number = deployment.airflow.api, "+14155550134"
    deployment.gate.arm(Hold.ANSWER)
    run = deployment.run("it_bare", to_number=to_number)
    assert deployment.gate.held.wait(60)
    with _calls_cannot_be_written(deployment):
        deployment.gate.release()
        log = "The API accepted the call to +1415***0134"
        wait_for("the answer", lambda: log in api.task_log("it_bare", run, "call"), 60)
        _kill_task(deployment, "it_bare", run)

    assert api.wait_for_run("it_bare", run) == "success"

    [call_id] = deployment.accepted(to_number)
    assert api.xcom("it_bare", run, "call", "call_id") == call_id


@pytest.mark.every_airflow
def test_killed_between_ledger_and_xcom_takes_up_its_call(deployment: Deployment) -> None:
    api, to_number = deployment.airflow.api, "+14155550135"
    deployment.gate.arm(Hold.ANSWER)
    run = deployment.run("it_bare", to_number=to_number)
    assert deployment.gate.held.wait(60)
    instance = api.task_instance("it_bare", run, "call")
    with _api_server_paused(deployment):
        deployment.gate.release()

        def accepted() -> bool:
            return bool(deployment.ledger.calls(to_number=to_number, state=CallState.ACCEPTED))

        wait_for("the ledger to know the call", accepted, 60)
        deployment.airflow.task_processes(instance["id"])[-1].send_signal(signal.SIGKILL)

    assert api.wait_for_run("it_bare", run) == "success"

    [call_id] = deployment.accepted(to_number)
    assert api.xcom("it_bare", run, "call", "call_id") == call_id
    assert "instead of dialling again" in api.task_log("it_bare", run, "call", 2)


@pytest.mark.parametrize("dag_id", ["it_bare", "it_deferred"])
def test_lost_answer_is_found_by_the_webhook(deployment: Deployment, dag_id: str) -> None:
    to_number = "+14155550192"  # accepted, and the connection cut
    api = deployment.airflow.api
    before = set(deployment.accepted(to_number))
    run = deployment.run(dag_id, to_number=to_number)

    assert api.wait_for_run(dag_id, run) == "success"

    [call_id] = set(deployment.accepted(to_number)) - before
    assert api.xcom(dag_id, run, "call", "call_id") == call_id
    assert api.task_instance(dag_id, run, "call")["try_number"] == 1


@pytest.mark.parametrize("dag_id", ["it_impatient", "it_impatient_deferred"])
def test_failing_api_without_a_webhook_fails_once_with_help(deployment: Deployment, dag_id: str) -> None:
    to_number = "+14155550190"  # 500, and nothing accepted
    api = deployment.airflow.api
    run = deployment.run(dag_id, to_number=to_number)

    assert api.wait_for_run(dag_id, run) == "failed"

    assert api.task_instance(dag_id, run, "call")["try_number"] == 1
    assert "It is unknown whether the call" in api.task_log(dag_id, run, "call")
    assert deployment.accepted(to_number) == []
