"""Commands beside a real Airflow: what they find of the deployment, and of calls that its tasks placed."""

from __future__ import annotations

import json

import pytest

from tests.integration.conftest import Deployment

pytestmark = [pytest.mark.integration, pytest.mark.every_airflow]


def test_doctor_finds_nothing_to_fix(deployment: Deployment) -> None:
    found = json.loads(deployment.airflow.run_cli("voiceinfra", "doctor", "--output", "json").stdout)

    verdicts = {finding["name"]: finding["verdict"] for finding in found}
    assert {"connection", "API key", "ledger", "receiver", "test delivery"} <= set(verdicts)
    assert "failed" not in verdicts.values(), found


def test_calls_lists_what_a_run_has_called(deployment: Deployment) -> None:
    to_number, dag_id = "+14155550125", "it_bare"
    run = deployment.run(dag_id, to_number=to_number)
    assert deployment.airflow.api.wait_for_run(dag_id, run) == "success"

    listed = deployment.airflow.run_cli("voiceinfra", "calls", "--run-id", run, "--output", "json").stdout

    [call] = json.loads(listed)
    assert call["call_id"] == deployment.accepted(to_number)[0]
    assert (call["dag_id"], call["state"], call["to_number"]) == (dag_id, "accepted", "+1415***0125")
