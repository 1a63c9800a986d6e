"""Suppressions can be stored by the thousand, and are found by what a person knows of a number."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from tests.support.completions import complete

MANY = [f"+1415555{number:04}" for number in range(1200)]


def test_there_may_be_more_than_one_transaction_takes(ledger: CallLedger) -> None:
    wanted = [Suppression(number) for number in MANY]
    assert ledger.suppressions.add(iter(wanted)) == len(MANY)
    assert ledger.suppressions.add(wanted) == 0
    assert ledger.suppressions.count() == len(MANY)


def test_of_many_numbers_a_call_that_is_being_placed_is_found(ledger: CallLedger) -> None:
    entry, _ = ledger.claim(
        "key", OutboundCall(MANY[-1], "agent_1", "+12025550100"), conn_id="sales", origin=CallOrigin()
    )
    assert ledger.suppressions.await_last_requests(MANY[:-1], patience=0)
    assert not ledger.suppressions.await_last_requests(MANY, patience=0)
    ledger.accept(entry, "call_1")
    assert ledger.suppressions.await_last_requests(MANY, patience=0)


def test_list_goes_on_page_by_page_and_can_be_of_those_that_end_in_four_digits(ledger: CallLedger) -> None:
    ledger.suppressions.add(
        [Suppression("+14155550123"), Suppression("+14155550124", "sales"), Suppression("+12125550123", "hr")]
    )
    find = ledger.suppressions.page
    newest = find(limit=2)
    assert [one.conn_id for one in [*newest, *find(before=newest[-1].id, limit=2)]] == ["hr", "sales", None]
    assert [one.conn_id for one in find(digits="0123")] == ["hr", None]
    assert [one.number for one in find(digits="0123", conn_ids=["sales"])] == ["+14155550123"]
    assert [one.conn_id for one in find(conn_ids=["sales"])] == ["sales", None]
    assert find(conn_ids=[], digits="0124") == []


def test_one_that_is_over_or_removed_is_listed_only_if_that_is_asked_for(ledger: CallLedger) -> None:
    past = datetime.now(timezone.utc) - timedelta(days=1)
    ledger.suppressions.add([Suppression("+14155550123", ends_at=past), Suppression("+14155550124")])
    [removed] = ledger.suppressions.of_number("+14155550124")
    ledger.suppressions.remove([removed.id])

    assert ledger.suppressions.page() == []
    both = ledger.suppressions.page(only_in_force=False)
    assert [one.number for one in both] == ["+14155550124", "+14155550123"]
    assert not any(one.is_in_force(datetime.now(timezone.utc)) for one in both)
    assert ledger.suppressions.get(removed.id) == both[0]
    assert ledger.suppressions.get(removed.id + 1) is None


def test_completions_since_a_moment_follow_a_sequence_number(ledger: CallLedger) -> None:
    now = datetime.now(timezone.utc)
    assert ledger.sequence_before(now - timedelta(days=1)) == 0
    complete(ledger, "call_1")
    complete(ledger, "call_2")
    listed = ledger.completions_after(ledger.sequence_before(now - timedelta(days=1)))
    assert [one.call_id for one in listed] == ["call_1", "call_2"]
    assert ledger.completions_after(ledger.sequence_before(listed[1].received_at)) == listed[1:]
    assert ledger.completions_after(ledger.sequence_before(now + timedelta(days=1))) == []
