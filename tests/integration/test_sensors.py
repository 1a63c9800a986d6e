"""Every way to wait gives the same record, in a real Airflow, whenever the webhook comes."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from harness.processes import wait_for

from tests.integration.conftest import Deployment
from tests.support.airflow_versions import ASKS_TRIGGERS_ON_KILL

pytestmark = pytest.mark.integration

SAME = ("poke", "reschedule", "deferrable", "match")


def _payload(call_id: str, to_number: str) -> dict[str, Any]:
    return {
        "call_id": call_id,
        "event": "call.completed",
        "from_number": "+12025550100",
        "to_number": to_number,
        "agent_id": "agent_demo",
        "duration_seconds": 42,
        "start_time": "2026-03-01T20:00:00Z",
        "end_time": "2026-03-01T20:00:42Z",
        "call_outcome": "voicemail",
        "recording_url": "http://127.0.0.1:1/recording.wav",
        "transcript": "Agent: Please call us back.",
        "summary": "A message was left.",
        "lead_score": 87,
    }


@pytest.mark.parametrize(
    "early",
    [
        pytest.param(True, id="webhook before the sensors"),
        pytest.param(False, id="webhook after they wait", marks=pytest.mark.every_airflow),
    ],
)
def test_every_mode_returns_the_same_record(deployment: Deployment, early: bool) -> None:
    api, dag_id = deployment.airflow.api, "it_sensors"
    to_number = "+14155550140" if early else "+14155550141"
    call_id = f"call_{to_number[-4:]}"
    other = f"{call_id}_other"
    payloads = [_payload(call_id, to_number), _payload(other, "+14155550149")]
    since = datetime.now(timezone.utc).isoformat()

    def send() -> None:
        for payload in payloads:
            assert deployment.sandbox.send_webhook(payload)["attempts"][0]["status"] == 200

    if early:
        send()
    run = deployment.run(dag_id, call_id=call_id, other_call_id=other, to_number=to_number, since=since)
    if not early:
        for task_id in ("deferrable", "list", "match"):
            api.wait_for_task(dag_id, run, task_id, {"deferred"})
        api.wait_for_task(dag_id, run, "reschedule", {"up_for_reschedule"})
        send()
    assert api.wait_for_run(dag_id, run, timeout=180) == "failed", "refuses_voicemail fails"

    states = {task["task_id"]: task["state"] for task in api.task_instances(dag_id, run)}
    assert states.pop("refuses_voicemail") == "failed"
    assert set(states.values()) == {"success"}
    record = api.xcom(dag_id, run, "deferrable")
    assert record["received_at"]
    expected = {**payloads[0], "received_at": record["received_at"]}
    transcript = expected.pop("transcript")
    assert record == expected
    assert [api.xcom(dag_id, run, task_id) for task_id in SAME] == [record] * len(SAME)
    assert [entry["call_id"] for entry in api.xcom(dag_id, run, "list")] == [call_id, other]
    assert api.xcom(dag_id, run, "with_transcript") == {**record, "transcript": transcript}
    assert api.xcom(dag_id, run, "refuses_voicemail") == record
    assert api.task_instance(dag_id, run, "refuses_voicemail")["try_number"] == 1


@pytest.mark.every_airflow
def test_time_out_fails_or_skips_and_says_that_the_call_goes_on(deployment: Deployment) -> None:
    api, dag_id = deployment.airflow.api, "it_sensor_timeout"
    run = deployment.run(dag_id)

    assert api.wait_for_run(dag_id, run) == "failed"

    states = {task["task_id"]: task["state"] for task in api.task_instances(dag_id, run)}
    assert states == {"deferrable": "failed", "soft": "skipped", "poke": "failed"}
    assert api.task_instance(dag_id, run, "deferrable")["try_number"] == 1
    log = api.task_log(dag_id, run, "deferrable")
    assert "no completion record for call_never_over within 3 s" in log
    assert "airflow voiceinfra doctor" in log


@pytest.mark.every_airflow
def test_waiting_task_marked_failed_by_a_user_says_that_the_call_goes_on(deployment: Deployment) -> None:
    api, dag_id = deployment.airflow.api, "it_waiting"
    deployment.sandbox.configure(webhook_hold=True)
    try:
        run = deployment.run(dag_id, to_number="+14155550142")
        api.wait_for_task(dag_id, run, "call", {"deferred"})
        [call_id] = deployment.accepted("+14155550142")
        begun = f"Waiting for the completion of call {call_id}"
        wait_for("the trigger to run", lambda: begun in _everything_logged(deployment), 60)
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run}/taskInstances/call"
        api.request("PATCH", path, {"new_state": "failed"})
        assert api.wait_for_run(dag_id, run) == "failed"
        says = f"No longer waiting for call {call_id}; the API cannot cancel a call, so it goes on."
        if ASKS_TRIGGERS_ON_KILL:
            wait_for("the triggerer to say so", lambda: says in _everything_logged(deployment), 60)
        assert deployment.accepted("+14155550142") == [call_id]
    finally:
        deployment.sandbox.configure(webhook_hold=False)


def _everything_logged(deployment: Deployment) -> str:
    return "\n".join(path.read_text(errors="replace") for path in deployment.airflow.log_files())
