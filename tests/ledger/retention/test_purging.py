"""What is old goes some rows at a time, by connection, what was said before the rest; proof stays."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Table, update

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.database.schema import (
    calls,
    campaigns,
    completions,
    deliveries,
    suppressions,
)
from airflow_provider_voiceinfra.ledger.lists.values import CallFilter
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.ledger.retention import batches
from airflow_provider_voiceinfra.ledger.retention.purging import Purged
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from airflow_provider_voiceinfra.ledger.webhooks.records import Recorded
from tests.ledger.database.test_encryption import KEY, opened
from tests.ledger.examples import CALL, CONN_ID, body, claim, completed, execute, running
from tests.support.completions import keep_delivery, record

NOW = datetime.now(timezone.utc)
AGE, YOUNG = timedelta(days=90), timedelta(days=30)
BEFORE = NOW - AGE
AGED = {
    calls: "claimed_at",
    completions: "received_at",
    deliveries: "received_at",
    campaigns: "runner_seen_at",
}
SAID = {
    "transcript": "the blue giraffe",
    "summary": "giraffe",
    "recording_url": "https://recordings.example.com/giraffe.mp3",
    "extracted_data": {"animal": "giraffe"},
    "something_new": ["giraffe"],
}
NEVER: Any = lambda seconds: None  # noqa: E731


def age(ledger: CallLedger, days: int, *tables: Table) -> None:
    """Have all rows of some tables that are not old so far be so old."""
    moment = datetime.now(timezone.utc) - timedelta(days=days)
    for table in tables or AGED:
        column = table.c[AGED[table]]
        young = column > datetime.now(timezone.utc) - timedelta(days=1)
        execute(ledger, update(table).where(young).values({column: moment}))


def place(ledger: CallLedger, number: int, conn_id: str = CONN_ID, **fields: Any) -> None:
    """Have so many calls, each with its record."""
    for place in range(number):
        call_id = f"{conn_id}_{place}"
        entry, _ = ledger.claim(f"key {call_id}", CALL, conn_id=conn_id)
        ledger.accept(entry, call_id)
        record(ledger, body(call_id, **{**SAID, **fields}), conn_id=conn_id)


def begin_campaign(ledger: CallLedger, campaign_id: str, conn_id: str, contacts: int) -> None:
    ledger.campaigns.take(campaign_id, conn_id=conn_id, origin=CallOrigin("dag", "run", campaign_id, -1, 1))
    found = [ContactEntry(0, row, f"{row}", CALL.to_request(), None) for row in range(1, contacts + 1)]
    ledger.campaigns.load_contacts(campaign_id, found, loaded_by="r", runner=running(ledger, campaign_id))


def purge(ledger: CallLedger, before: datetime = BEFORE, **options: Any) -> Purged:
    return ledger.purge(before, pause=NEVER, **options)


def test_everything_old_goes_however_many_steps_it_takes(
    ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "AT_ONCE", 2)
    place(ledger, 5)
    for number in range(3):
        keep_delivery(ledger, b"%d" % number, conn_id=CONN_ID, reason="not_json")
    begin_campaign(ledger, "c", CONN_ID, 5)
    begin_campaign(ledger, "d", CONN_ID, 4)
    age(ledger, 100)
    place(ledger, 1, "young")
    assert purge(ledger) == Purged(calls=5, completions=5, deliveries=3, contacts=9)
    assert purge(ledger) == Purged()
    assert completed(ledger, "young_0").body is not None


def test_others_write_between_two_steps(ledger: CallLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "AT_ONCE", 1)
    place(ledger, 4)
    age(ledger, 100)
    stored: list[Recorded] = []

    def store(seconds: float) -> None:
        assert seconds > 0
        stored.append(record(ledger, body(f"between_{len(stored)}")))

    assert ledger.purge(BEFORE, pause=store).completions == 4
    assert len(stored) == 8
    assert set(stored) == {Recorded.NEW}


def test_only_what_went_through_a_connection_goes(ledger: CallLedger) -> None:
    for conn_id in ("sales", "support"):
        place(ledger, 2, conn_id)
        keep_delivery(ledger, b"x", conn_id=conn_id, reason="not_json")
        begin_campaign(ledger, conn_id, conn_id, 3)
        ledger.suppressions.add([Suppression("+14155550123", conn_id)])
    age(ledger, 100)
    ledger.suppressions.remove([one.id for one in ledger.suppressions.page()])
    execute(ledger, update(suppressions).values(removed_at=BEFORE - timedelta(days=1)))
    gone = purge(ledger, conn_id="sales")
    assert gone == Purged(calls=2, completions=2, deliveries=1, contacts=3, suppressions=1)
    assert ledger.completion("support_0") is not None
    assert [kept.conn_id for kept in ledger.deliveries.kept()] == ["support"]
    assert len(list(ledger.campaigns.all_contacts("support"))) == 3
    assert [one.conn_id for one in ledger.suppressions.page(only_in_force=False)] == ["support"]


@pytest.mark.parametrize("keys", [(), (KEY,)], ids=["plain", "encrypted"])
def test_what_was_said_goes_first_and_how_it_ended_stays(ledger_url: str, keys: tuple[str, ...]) -> None:
    ledger = opened(ledger_url, *keys)
    place(ledger, 2, call_outcome="voicemail")
    age(ledger, 40)
    place(ledger, 1, "young")
    before = ledger.lists.call_statistics(CallFilter())
    whole = completed(ledger, f"{CONN_ID}_0")
    assert purge(ledger, transcripts_before=NOW - YOUNG) == Purged(transcripts=2)
    assert purge(ledger, transcripts_before=NOW - YOUNG) == Purged()
    left = completed(ledger, f"{CONN_ID}_0")
    payload = whole.record().payload
    assert left.record().payload == {name: payload[name] for name in payload if name not in SAID}
    assert {**vars(left), "body": None, "erased": None} == {**vars(whole), "body": None}
    assert "giraffe" not in repr(left.body)
    assert completed(ledger, "young_0").record().payload["summary"] == "giraffe"
    after = ledger.lists.call_statistics(CallFilter())
    assert (after.calls, after.outcomes, after.durations) == (before.calls, before.outcomes, before.durations)
    # The rest goes when its time has come.
    age_rest = {"received_at": NOW - timedelta(days=100)}
    execute(ledger, update(completions).where(completions.c.erased.is_not(None)).values(age_rest))
    assert purge(ledger, transcripts_before=NOW - YOUNG).completions == 2


def test_webhook_that_comes_again_brings_no_text_back(ledger: CallLedger) -> None:
    place(ledger, 1)
    whole = completed(ledger, f"{CONN_ID}_0").body
    assert whole is not None
    age(ledger, 40)
    purge(ledger, transcripts_before=NOW - YOUNG)
    left = completed(ledger, f"{CONN_ID}_0")
    assert record(ledger, whole) is Recorded.DUPLICATE
    assert record(ledger, body(f"{CONN_ID}_0", transcript="another giraffe")) is Recorded.DUPLICATE
    assert completed(ledger, f"{CONN_ID}_0") == left
    assert ledger.deliveries.kept() == []


def test_webhook_of_another_account_is_kept_all_the_same(ledger: CallLedger) -> None:
    place(ledger, 1)
    age(ledger, 40)
    purge(ledger, transcripts_before=NOW - YOUNG)
    again = body(f"{CONN_ID}_0", transcript="of somebody else")
    assert record(ledger, again, conn_id="other", account="other") is Recorded.FOREIGN


def test_record_from_which_a_number_was_taken_still_loses_what_was_said(ledger: CallLedger) -> None:
    place(ledger, 1, transcript="call +14155550123, says the giraffe")
    sum(ledger.forgetting.forget("+14155550123", pause=NEVER))
    assert "giraffe" in repr(completed(ledger, f"{CONN_ID}_0").body)
    age(ledger, 40)
    assert purge(ledger, transcripts_before=NOW - YOUNG).transcripts == 1
    assert "giraffe" not in repr(completed(ledger, f"{CONN_ID}_0").body)


def test_suppressions_in_force_stay_and_those_over_go_with_the_rest(
    ledger: CallLedger,
) -> None:
    old, recent, to_come = NOW - timedelta(days=100), NOW - YOUNG, NOW + timedelta(days=1)
    ends = {"a": None, "b": to_come, "c": old, "d": recent}
    for conn_id, end in ends.items():
        ledger.suppressions.add([Suppression("+14155550123", conn_id, ends_at=end)])
    for conn_id, removed in {"e": old, "f": recent}.items():
        ledger.suppressions.add([Suppression("+14155550123", conn_id)])
        its = suppressions.c.conn_id == conn_id
        execute(ledger, update(suppressions).where(its).values(removed_at=removed))
    execute(ledger, update(suppressions).values(created_at=NOW - timedelta(days=1000)))
    assert purge(ledger) == Purged(suppressions=2)
    left = {one.conn_id for one in ledger.suppressions.page(only_in_force=False)}
    assert left == {"a", "b", "d", "f"}


def test_call_that_is_claimed_anew_meanwhile_is_left_alone(
    ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        ledger.refuse(claim(ledger, f"key {number}"), "rate_limited", "429")
    age(ledger, 100, calls)
    windows = batches.windows

    def claimed_meanwhile(*args: Any, **options: Any) -> Any:
        for rows in windows(*args, **options):
            if args[1] is calls and not ledger.calls(since=NOW - timedelta(days=1)):
                claim(ledger, "key 0")
            yield rows

    monkeypatch.setattr("airflow_provider_voiceinfra.ledger.retention.purging.windows", claimed_meanwhile)
    assert purge(ledger).calls == 2
    entry = ledger.call_by_key("key 0")
    assert entry is not None
    assert (entry.purged_at, entry.to_number) == (None, CALL.to_number)
