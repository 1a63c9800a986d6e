"""After a restore nobody is called whom the ledger may have forgotten, until somebody has looked."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import update

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.schema import campaigns
from airflow_provider_voiceinfra.ledger.records import Began, CallOrigin, CallState, Job
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from tests.ledger.examples import CALL, CONN_ID, campaign, claim, execute, stored, unknown

HOUR = timedelta(hours=1)
UNTIL = datetime.now(timezone.utc)
SINCE = UNTIL - 6 * HOUR
BETWEEN, AFTER = SINCE + HOUR, UNTIL + timedelta(seconds=1)


def origin(task: datetime | None, run: datetime | None, try_number: int | None = 1) -> CallOrigin:
    return CallOrigin("dag", "run", "task", -1, try_number, began=Began(task, run))


SAFE = origin(AFTER, AFTER)
NOBODY = CallOrigin()
MAY_HAVE_CALLED = {
    "began between": origin(BETWEEN, BETWEEN),
    "began before the backup": origin(SINCE - HOUR, SINCE - HOUR),
    "a second try": origin(AFTER, BETWEEN, 2),
    "which try is unknown": origin(AFTER, BETWEEN, None),
    "the start of the task is unknown": origin(None, BETWEEN),
    "the start of the run is unknown": origin(BETWEEN, None),
    "nobody": NOBODY,
}
CANNOT_HAVE = {
    "run began afterwards": SAFE,
    "second try of such a run": origin(AFTER + HOUR, AFTER, 2),
    "first try began afterwards": origin(AFTER, BETWEEN),
    "first try began afterwards, run unknown": origin(AFTER, None),
    "only the run is known": origin(None, AFTER, None),
}


def begin(ledger: CallLedger) -> None:
    ledger.quarantines.begin(SINCE, UNTIL)


def refused(ledger: CallLedger, key: str = "key", who: CallOrigin = NOBODY) -> bool:
    """Return whether a claim is refused since the ledger may have forgotten it."""
    try:
        _, won = ledger.claim(key, CALL, conn_id=CONN_ID, origin=who)
    except CallNotAllowedError as error:
        return (error.code, error.allowed_from) == (CallNotAllowedError.QUARANTINED, None)
    return not won


@pytest.mark.parametrize("who", MAY_HAVE_CALLED.values(), ids=MAY_HAVE_CALLED)
def test_who_may_have_called_meanwhile_calls_nobody_new(ledger: CallLedger, who: CallOrigin) -> None:
    begin(ledger)
    assert refused(ledger, who=who)
    entry = stored(ledger)
    assert (entry.state, entry.error_code) == (CallState.REFUSED, "quarantined")
    assert "quarantine --release" in str(entry.error_message)


@pytest.mark.parametrize("who", CANNOT_HAVE.values(), ids=CANNOT_HAVE)
def test_who_began_afterwards_calls(ledger: CallLedger, who: CallOrigin) -> None:
    begin(ledger)
    assert not refused(ledger, who=who)


def test_without_a_quarantine_everybody_calls(ledger: CallLedger) -> None:
    for number, who in enumerate(MAY_HAVE_CALLED.values()):
        assert not refused(ledger, f"key {number}", who)


def test_release_ends_it_and_the_task_calls_when_it_is_cleared(ledger: CallLedger) -> None:
    begin(ledger)
    begin(ledger)
    assert refused(ledger)
    assert refused(ledger)
    assert len(ledger.quarantines.release()) == 2
    assert ledger.quarantines.release() == []
    assert ledger.quarantines.active() == []
    assert not refused(ledger)


def test_calls_that_the_ledger_knows_are_taken_up(ledger: CallLedger) -> None:
    accepted = ledger.accept(claim(ledger), "call_1")
    begin(ledger)
    assert ledger.claim("key", CALL, conn_id=CONN_ID) == (accepted, False)


def test_call_that_was_refused_by_the_backup_may_have_been_placed_since(ledger: CallLedger) -> None:
    ledger.refuse(claim(ledger), "rate_limited", "429")
    begin(ledger)
    assert refused(ledger)
    assert not refused(ledger, who=SAFE)


def test_unknown_call_is_not_redialled(ledger: CallLedger) -> None:
    entry = unknown(ledger)
    begin(ledger)
    with pytest.raises(CallNotAllowedError) as caught:
        ledger.claim_redial(entry)
    assert caught.value.code == CallNotAllowedError.QUARANTINED
    assert stored(ledger).state is CallState.UNKNOWN
    assert ledger.claim_redial(stored(ledger), origin=SAFE).state is CallState.CLAIMED


def test_of_several_claims_only_those_are_refused_that_may_be_forgotten(ledger: CallLedger) -> None:
    begin(ledger)
    other = OutboundCall("+14155550123", agent_id="agent_demo", from_number=CALL.from_number)
    ledger.suppressions.add([Suppression("+14155550123")])
    jobs = [
        Job("1", CALL, SAFE),
        Job("2", CALL, MAY_HAVE_CALLED["began between"]),
        Job("3", other, SAFE),
        Job("4", other, MAY_HAVE_CALLED["began between"]),
    ]
    claimed = ledger.claim_many(jobs, conn_id=CONN_ID)
    assert [(entry.error_code, won) for entry, won in claimed] == [
        (None, True),
        ("quarantined", False),
        ("suppressed", False),
        ("quarantined", False),
    ]


def test_campaign_that_was_begun_before_the_backup_calls_nobody_new(ledger: CallLedger) -> None:
    for campaign_id, begun in (("before", SINCE - HOUR), ("afterwards", AFTER)):
        ledger.campaigns.take(campaign_id, conn_id=CONN_ID, origin=SAFE)
        its = campaigns.c.campaign_id == campaign_id
        execute(ledger, update(campaigns).where(its).values(created_at=begun))
    begin(ledger)
    for campaign_id, is_refused in (("before", True), ("afterwards", False)):
        who = replace(SAFE, campaign_id=campaign_id, position=1, attempt=1)
        assert refused(ledger, campaign_id, who) is is_refused


def test_campaign_is_refused_as_a_whole(ledger: CallLedger) -> None:
    ledger.campaigns.take("c", conn_id=CONN_ID, origin=SAFE)
    begun = campaign(ledger).created_at
    begin(ledger)
    ledger.quarantines.check(SAFE, begun)
    for who, created_at in ((SAFE, SINCE - HOUR), (MAY_HAVE_CALLED["began between"], begun)):
        with pytest.raises(CallNotAllowedError, match="the ledger was restored"):
            ledger.quarantines.check(who, created_at)


def test_one_that_is_begun_elsewhere_counts_at_once(ledger: CallLedger) -> None:
    assert not refused(ledger, "first")
    begin(CallLedger(ledger._database.url))
    assert refused(ledger, "second")


def test_those_in_force_are_listed(ledger: CallLedger) -> None:
    one = ledger.quarantines.begin(SINCE, UNTIL)
    assert (one.since, one.until, one.released_at) == (SINCE, UNTIL, None)
    assert ledger.quarantines.active() == [one]
    [ended] = ledger.quarantines.release()
    assert ended.id == one.id
    assert ended.released_at is not None


def test_when_somebody_began_is_not_stored_with_the_call(ledger: CallLedger) -> None:
    entry = claim(ledger, origin=SAFE)
    assert entry.origin == SAFE  # which compares nothing of it
    assert entry.origin.began == Began()
