"""What a campaign's state means, together with what Airflow says of its task."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_voiceinfra.campaigns.progress import Progress
from airflow_provider_voiceinfra.campaigns.reporting.status import CampaignStatus, overview, progress_in_words
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from airflow_provider_voiceinfra.ledger.campaigns.states import CampaignState
from airflow_provider_voiceinfra.ledger.records import CallOrigin

PRESENT = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
RUNNING = CampaignEntry(
    campaign_id="spring",
    conn_id="voiceinfra_default",
    dag_id="outreach",
    run_id="r1",
    task_id="call_all",
    map_index=-1,
    runner="somebody",
    runner_seen_at=PRESENT,
    loads=1,
    loaded_by="r1",
    created_at=PRESENT,
    cancelled_at=None,
    finished_at=None,
    progress=None,
    summary=None,
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
    assert "within a second or so" in status(IN_STATE[CampaignState.RUNNING]).after_resuming()
    assert "when its task runs again" in status(IN_STATE[CampaignState.WAITING]).after_resuming()
    assert (
        "Now clear task call_all of run r1 of DAG outreach"
        in status(IN_STATE[CampaignState.FINISHED]).after_resuming()
    )


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


def test_who_waits_for_a_redial_was_called_once_the_campaign_is_cancelled(ledger_url: str) -> None:
    ledger = CallLedger(ledger_url)
    entry = ledger.campaigns.take("spring", conn_id="voiceinfra_default", origin=CallOrigin("dag"))
    running = overview(status(ledger.campaigns.heartbeat("spring", str(entry.runner), PROGRESS)), {})
    assert (running["done"], running["outcomes"]) == (4, {"answered": 3, "voicemail": 1})
    assert running["waiting"] == {"redial": 2, "window": 4}

    ledger.campaigns.cancel("spring")
    cancelled = ledger.campaigns.get("spring")
    assert cancelled is not None
    shown = overview(status(cancelled), {})
    assert (shown["contacts"], shown["done"]) == (10, 6)  # so 4 were not called
    assert shown["outcomes"] == {"answered": 3, "voicemail": 2, "failed": 1}

    ledger.campaigns.uncancel("spring")
    resumed = ledger.campaigns.get("spring")
    assert resumed is not None
    assert overview(status(resumed), {})["done"] == 4
