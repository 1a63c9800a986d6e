"""What a campaign's state means, together with what Airflow says of its task."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_voiceinfra.campaigns.progress import Progress
from airflow_provider_voiceinfra.campaigns.reporting.status import CampaignStatus, overview, progress_in_words
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from airflow_provider_voiceinfra.ledger.campaigns.states import CampaignState
from tests.support.records import build

PRESENT = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
RUNNING = build(
    CampaignEntry,
    dag_id="outreach",
    run_id="r1",
    task_id="call_all",
    runner="somebody",
    runner_seen_at=PRESENT,
    loaded_by="r1",
)
IN_STATE = {
    CampaignState.RUNNING: RUNNING,
    CampaignState.WAITING: replace(RUNNING, runner=None),
    CampaignState.NO_HEARTBEAT: replace(RUNNING, runner_seen_at=PRESENT - timedelta(hours=1)),
    CampaignState.CANCELLED: replace(RUNNING, runner=None, cancelled_at=PRESENT),
    CampaignState.FINISHED: replace(RUNNING, runner=None, finished_at=PRESENT),
}


def status(entry: CampaignEntry, task: str | None = None) -> CampaignStatus:
    return CampaignStatus(entry, PRESENT, task)


@pytest.mark.parametrize("task", ["failed", "upstream_failed"])
def test_a_failed_task_has_stopped_only_what_nobody_runs_and_is_not_over(task: str) -> None:
    found = {state: status(entry).state for state, entry in IN_STATE.items()}
    assert found == {state: state for state in CampaignState}

    stopped = {state for state, entry in IN_STATE.items() if status(entry, task).has_failed}

    assert stopped == {CampaignState.WAITING, CampaignState.NO_HEARTBEAT}
    for state, entry in IN_STATE.items():
        assert ("Its task has failed" in status(entry, task).meaning()) == (state in stopped)


@pytest.mark.parametrize("task", [None, "success", "removed", "a state of later versions"])
def test_what_airflow_says_changes_nothing_if_it_explains_nothing(task: str | None) -> None:
    for entry in IN_STATE.values():
        assert not status(entry, task).has_failed
        assert status(entry, task).meaning() == status(entry).meaning()


def test_what_is_to_be_done_after_resuming_depends_on_who_runs_it() -> None:
    for state, says in {
        CampaignState.RUNNING: "within a second or so",
        CampaignState.WAITING: "when its task runs again",
        CampaignState.FINISHED: "Now clear task call_all of run r1 of DAG outreach",
    }.items():
        assert says in status(IN_STATE[state]).after_resuming()


PROGRESS = {
    "contacts": 10,
    "done": 4,
    "outcomes": {"answered": 3, "voicemail": 1},
    "waiting": {"redial": 2, "window": 4},
    "to_redial": {"voicemail": 1, "failed": 1},
}


def test_log_says_when_the_next_call_is_due() -> None:
    told = {**PROGRESS, "active": 0, "next_at": "2026-03-02T14:00:00+00:00"}
    progress = Progress.from_json(told)
    assert progress is not None
    said = progress_in_words(progress)
    assert "4 until their calling window opens, 2 to be called" in said
    assert "(the next at 2026-03-02T14:00:00+00:00)" in said
    assert "the next at" not in progress_in_words(replace(progress, next_at=None))


def test_who_waits_for_a_redial_was_called_once_the_campaign_is_cancelled() -> None:
    entry = replace(RUNNING, progress=PROGRESS)
    shown = overview(status(entry), {})
    assert (shown["done"], shown["outcomes"]) == (4, {"answered": 3, "voicemail": 1})
    assert shown["waiting"] == {"redial": 2, "window": 4}

    shown = overview(status(replace(entry, cancelled_at=PRESENT)), {})
    assert (shown["contacts"], shown["done"]) == (10, 6)  # so 4 were not called
    assert shown["outcomes"] == {"answered": 3, "voicemail": 2, "failed": 1}
