"""The documented deployment of many machines: each is killed while people are called; nobody is called twice."""

from __future__ import annotations

import pytest

from tests.deployment.conftest import Deployment

pytestmark = pytest.mark.integration


def test_call_goes_through_a_worker_and_back(deployment: Deployment) -> None:
    api = deployment.machines.api
    run = deployment.run("one_call", to_number="+14155550100")

    assert api.wait_for_run("one_call", run, 120) == "success"

    assert deployment.dialled() == {"+14155550100": 1}
    [call] = deployment.sandbox.audit()["calls"]
    assert api.xcom("one_call", run, "call")["call_id"] == call["call_id"]
