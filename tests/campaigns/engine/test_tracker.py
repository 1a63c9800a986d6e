"""What a running campaign takes from the ledger, also when the ledger was restored under it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.campaigns.engine.tracker import CampaignTracker
from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan, RedialPolicy
from airflow_provider_voiceinfra.ledger.records import Job
from tests.campaigns.simulated import ORIGIN, Clock, MemoryLedger
from tests.dialling.test_bookkeeping import ORIGIN as CONTACT

CALL = OutboundCall("+14155550100", agent_id="agent_demo", from_number="+14155550199")


@pytest.mark.parametrize("others_since", [0, 1, 2], ids=["fewer", "as many", "more"])
def test_call_whose_webhook_comes_after_a_restore_ends(others_since: int) -> None:
    """The numbers that order completions begin anew where the backup ended."""
    clock = Clock(datetime(2026, 6, 1, 12, tzinfo=timezone.utc))
    ledger = MemoryLedger(clock)
    ledger.add(CALL.to_number)
    ids = []
    for attempt in range(1, 6):
        job = Job(f"c/key/{attempt}", CALL, replace(CONTACT, attempt=attempt))
        entry = ledger.claim(job)
        assert entry is not None
        ids.append(str(ledger.accept(entry).call_id))
    ledger.complete(ids[0], "answered")
    ledger.complete(ids[1], "answered")
    tracker = CampaignTracker(CampaignPlan("c"), ledger, ORIGIN, clock.clocks)  # type: ignore[arg-type]
    tracker.take_completions()
    assert list(tracker.lines.active) == [ids[4]]

    del ledger.completed[:]
    for call_id in ids[2 : 2 + others_since]:
        ledger.complete(call_id, "answered")
    ledger.complete(ids[4], "answered")
    tracker.take_completions()
    assert not tracker.lines.active
    assert len(ledger.completed) == others_since + 1


def test_webhook_that_comes_after_its_line_was_freed_counts_and_leads_to_a_redial() -> None:
    clock = Clock(datetime(2026, 6, 1, 12, tzinfo=timezone.utc))
    ledger: Any = MemoryLedger(clock)
    ledger.add(CALL.to_number)
    call_id = ledger.accept(ledger.claim(Job("c/key/1", CALL, CONTACT))).call_id
    plan = CampaignPlan("c", redial=RedialPolicy.parse({"waits": [0]}))
    tracker = CampaignTracker(plan, ledger, ORIGIN, clock.clocks)
    clock.now += plan.completion_timeout
    tracker.look_after_lines()
    assert (tracker.lines.in_use, tracker.counts.progress().outcomes) == (0, {"unknown": 1})

    ledger.complete(call_id, "voicemail")
    tracker.take_completions()
    assert (tracker.counts.progress().outcomes, tracker.outcomes_so_far()) == ({}, {"voicemail": 1})
    assert [job.place for job in tracker.agenda.take(clock.now, 1)] == [(CONTACT.position, 2)]
