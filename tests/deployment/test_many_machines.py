"""The documented deployment of many machines: each is killed meanwhile, nobody is called twice."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from harness.processes import wait_for

from tests.deployment.conftest import Deployment, read_results
from tests.deployment.night import WORKERS, Night, now, said

pytestmark = [pytest.mark.integration, pytest.mark.deployment]

# The long form, which `make deployment` runs, has ten nights with more people.
NIGHTS = int(os.environ.get("VOICEINFRA_TEST_NIGHTS", "1"))
PEOPLE = int(os.environ.get("VOICEINFRA_TEST_CONTACTS", "48"))
SINGLES = 12
CALL_SECONDS = 6.0
# Until some have deferred at the same time: on a busy machine they begin many seconds after each other.
LONG_CALL_SECONDS = 20.0


def test_call_goes_through_a_worker_and_back(deployment: Deployment) -> None:
    api = deployment.machines.api
    run = deployment.run("one_call", to_number="+14155550100")

    assert api.wait_for_run("one_call", run, 240) == "success"

    assert deployment.dialled() == {"+14155550100": 1}
    [call] = deployment.sandbox.audit()["calls"]
    assert api.xcom("one_call", run, "call")["call_id"] == call["call_id"]


@pytest.mark.parametrize("number", range(NIGHTS))
def test_every_machine_is_killed_and_nobody_is_called_twice_or_lost(
    deployment: Deployment, tmp_path: Path, number: int
) -> None:
    began = now()
    deployment.sandbox.configure(call_seconds=LONG_CALL_SECONDS)
    deployment.receive_in_the_api_server()
    night = Night(deployment, tmp_path, PEOPLE)
    night.call_the_list()
    night.call(SINGLES)
    night.stall_scheduler(SINGLES // 3)
    deployment.sandbox.configure(call_seconds=CALL_SECONDS)
    deployment.receive_beside()
    night.kill_each(random.Random(number))
    wait_for("the night to be over", night.is_over, 600 + PEOPLE)

    dialled, lines = deployment.dialled(night.since), read_results(tmp_path / "results")
    outcomes = Counter(line["outcome"] for line in lines)
    print(said(night, now() - began), dict(outcomes))  # noqa: T201 # the long form is run for these figures
    assert set(night.states().values()) == {"success"}
    assert {number: times for number, times in dialled.items() if times > 1} == {}
    assert set(night.singles) <= set(dialled), "somebody was not called"
    assert Counter(line["to_number"] for line in lines) == Counter(night.listed)
    for line in lines:
        assert line["outcome"] == "unknown" or dialled[line["to_number"]] == 1
    assert all(night.campaigns_of(worker) for worker in WORKERS), "one worker has had no campaign"
    assert len(deployment.receivers.served) == 2, "one receiver has served nothing"
