"""The campaign that was put to sleep before all other tests."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.integration.conftest import Deployment, Sleeper

pytestmark = pytest.mark.integration


def test_campaign_wakes_up_when_its_window_opens(deployment: Deployment, sleeper: Sleeper) -> None:
    api = deployment.airflow.api
    assert api.wait_for_run(sleeper.dag_id, sleeper.run, 180) == "success"

    [call] = [call for call in deployment.sandbox.audit()["calls"] if call["to_number"] == sleeper.to_number]
    assert datetime.fromisoformat(call["time"]) >= sleeper.opens
    assert "waiting in the triggerer" in api.task_log(sleeper.dag_id, sleeper.run, "campaign")
