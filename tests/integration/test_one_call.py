"""One call from the DAG to its record, in a real Airflow; the sandbox's audit log is the judge."""

from __future__ import annotations

import pytest
from harness.processes import wait_for

from tests.integration.conftest import Deployment

pytestmark = pytest.mark.integration


@pytest.mark.every_airflow
def test_call_is_placed_and_its_record_reaches_xcom(deployment: Deployment) -> None:
    api = deployment.airflow.api
    run = deployment.run("it_call_then_wait", to_number="+14155550120")

    assert api.wait_for_run("it_call_then_wait", run) == "success"

    [call_id] = deployment.accepted("+14155550120")
    assert api.xcom("it_call_then_wait", run, "call", "call_id") == call_id
    assert api.xcom("it_call_then_wait", run, "call") == call_id
    record = api.xcom("it_call_then_wait", run, "wait")
    assert record["call_id"] == call_id
    assert record["call_outcome"] == "answered"
    assert "transcript" not in record
    assert api.xcom("it_call_then_wait", run, "wait", "recording_url") == record["recording_url"]


@pytest.mark.every_airflow
@pytest.mark.parametrize("dag_id", ["it_waiting", "it_holding"])
def test_operator_waits_for_the_record_itself(deployment: Deployment, dag_id: str) -> None:
    to_number = {"it_waiting": "+14155550121", "it_holding": "+14155550122"}[dag_id]
    api = deployment.airflow.api
    run = deployment.run(dag_id, to_number=to_number)

    assert api.wait_for_run(dag_id, run) == "success"

    [call_id] = deployment.accepted(to_number)
    assert api.xcom(dag_id, run, "call", "call_id") == call_id
    assert api.xcom(dag_id, run, "call")["call_id"] == call_id


@pytest.mark.every_airflow
def test_failed_call_fails_the_task_at_once_but_leaves_its_record(deployment: Deployment) -> None:
    api = deployment.airflow.api
    run = deployment.run("it_waiting", to_number="+14155550128")

    assert api.wait_for_run("it_waiting", run) == "failed"

    task = api.task_instance("it_waiting", run, "call")
    assert task["try_number"] == 1
    assert api.xcom("it_waiting", run, "call")["call_outcome"] == "failed"
    assert "ended as 'failed'" in api.task_log("it_waiting", run, "call")
    assert len(deployment.accepted("+14155550128")) == 1


@pytest.mark.every_airflow
def test_mapped_tasks_place_one_call_each(deployment: Deployment) -> None:
    numbers = ("+14155550110", "+14155550111")
    # Campaigns of other tests call numbers of the same range.
    before = {number: deployment.accepted(number) for number in numbers}
    run = deployment.run("it_mapped")

    assert deployment.airflow.api.wait_for_run("it_mapped", run) == "success"

    for number in numbers:
        assert len(deployment.accepted(number)) == len(before[number]) + 1


@pytest.mark.every_airflow
def test_cleared_task_takes_up_its_call_instead_of_dialling_again(deployment: Deployment) -> None:
    api = deployment.airflow.api
    run = deployment.run("it_bare", to_number="+14155550123")
    assert api.wait_for_run("it_bare", run) == "success"
    [call_id] = deployment.accepted("+14155550123")

    api.clear("it_bare", run, ["call"])
    wait_for("the second try", lambda: api.task_instance("it_bare", run, "call")["try_number"] == 2, 60)
    assert api.wait_for_run("it_bare", run) == "success"

    assert deployment.accepted("+14155550123") == [call_id]
    assert api.xcom("it_bare", run, "call") == call_id
    log = api.task_log("it_bare", run, "call", 2)
    assert call_id in log
    assert "instead of dialling again" in log


@pytest.mark.parametrize(
    ("to_number", "agent_id", "says"),
    [
        pytest.param("+1415555", "agent_demo", "to_number", id="number refused before sending"),
        pytest.param("+14155550124", "unknown_agent", "Check agent_id", id="404"),
        pytest.param("+14155550124", "inactive_agent", "invalid_agent", id="404 inactive"),
    ],
)
def test_refusal_fails_without_retry_and_says_what_to_do(
    deployment: Deployment, to_number: str, agent_id: str, says: str
) -> None:
    api = deployment.airflow.api
    run = deployment.run("it_bare", to_number=to_number, agent_id=agent_id)

    assert api.wait_for_run("it_bare", run) == "failed"

    assert api.task_instance("it_bare", run, "call")["try_number"] == 1
    assert says in api.task_log("it_bare", run, "call")
    assert deployment.accepted(to_number) == []
