"""What a campaign's state means, together with what Airflow says of its task."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_voiceinfra.campaigns.reporting.status import (
    State,
    after_resuming,
    has_failed,
    meaning,
    state_of,
)
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry

PRESENT = datetime.now(timezone.utc)
# A process that runs has just shown itself, however long after this line the test is run.
SEEN = PRESENT + timedelta(days=1)
RUNNING = CampaignEntry(
    campaign_id="spring",
    conn_id="voiceinfra_default",
    dag_id="outreach",
    run_id="r1",
    task_id="call_all",
    map_index=-1,
    runner="somebody",
    runner_seen_at=SEEN,
    loads=1,
    loaded_by="r1",
    created_at=PRESENT,
    cancelled_at=None,
    finished_at=None,
    progress=None,
    summary=None,
)
IN_STATE = {
    State.RUNNING: RUNNING,
    State.WAITING: replace(RUNNING, runner=None),
    State.SILENT: replace(RUNNING, runner_seen_at=PRESENT - timedelta(hours=1)),
    State.CANCELLED: replace(RUNNING, runner=None, cancelled_at=PRESENT),
    State.FINISHED: replace(RUNNING, runner=None, finished_at=SEEN),
}


@pytest.mark.parametrize("task", ["failed", "upstream_failed"])
def test_a_failed_task_has_stopped_only_what_nobody_runs_and_is_not_over(task: str) -> None:
    assert {state: state_of(entry) for state, entry in IN_STATE.items()} == {state: state for state in State}

    stopped = {state for state, entry in IN_STATE.items() if has_failed(entry, task)}

    assert stopped == {State.WAITING, State.SILENT}
    for state, entry in IN_STATE.items():
        assert ("Its task has failed" in meaning(entry, task=task)) == (state in stopped)


@pytest.mark.parametrize("task", [None, "success", "removed", "a state of later versions"])
def test_what_airflow_says_changes_nothing_if_it_explains_nothing(task: str | None) -> None:
    for entry in IN_STATE.values():
        assert not has_failed(entry, task)
        assert meaning(entry, task=task) == meaning(entry)


def test_what_is_to_be_done_after_resuming_depends_on_who_runs_it() -> None:
    assert "within a second or so" in after_resuming(IN_STATE[State.RUNNING])
    assert "when its task runs again" in after_resuming(IN_STATE[State.WAITING])
    assert "Now clear task call_all of run r1 of DAG outreach" in after_resuming(IN_STATE[State.FINISHED])
