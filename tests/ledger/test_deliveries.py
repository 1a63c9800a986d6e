"""A signed webhook that could not be used is kept as it came, once, until a replay makes use of it.

Of each connection the ledger remembers the last webhook that was rejected, and how many there were.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from sqlalchemy import select

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.schema import rejections
from tests.ledger.conftest import ON_POSTGRES
from tests.ledger.examples import purge_all
from tests.ledger.racing import Rival, after_statement, at_once
from tests.support.completions import keep_delivery

BODY = b'\x00\xff{"event": "call.started", "to": "+14155550100"}'
WRONG, OLD = "the signature does not fit", "it is too old"


def keep(ledger: CallLedger, body: bytes = BODY, conn_id: str = "vi", event: str | None = None) -> None:
    keep_delivery(ledger, body, conn_id=conn_id, reason="another event", event=event)


def test_delivery_is_kept_as_it_came(ledger: CallLedger) -> None:
    keep(ledger, event="call.started")
    (kept,) = ledger.deliveries.kept()
    assert (kept.body, kept.conn_id, kept.reason, kept.event) == (BODY, "vi", "another event", "call.started")
    assert kept.received_at.tzinfo is timezone.utc
    assert kept.replayed_at is None
    assert ledger.deliveries.get(kept.id) == kept
    assert ledger.deliveries.get(kept.id + 1) is None
    assert "415555" not in repr(kept)


def test_same_bytes_are_kept_once_for_each_connection(ledger: CallLedger) -> None:
    for conn_id in ("vi", "vi", "other"):
        keep(ledger, conn_id=conn_id)
    assert [kept.conn_id for kept in ledger.deliveries.kept()] == ["other", "vi"]


def test_long_event_is_cut_to_its_column(ledger: CallLedger) -> None:
    keep(ledger, event="x" * 1000)
    assert ledger.deliveries.kept()[0].event == "x" * 255


def test_newest_come_first_without_those_that_were_replayed(ledger: CallLedger) -> None:
    for number in range(3):
        keep(ledger, str(number).encode())
    assert [kept.body for kept in ledger.deliveries.kept(limit=2)] == [b"2", b"1"]
    ledger.deliveries.mark_replayed(ledger.deliveries.kept()[1].id)
    assert [kept.body for kept in ledger.deliveries.kept()] == [b"2", b"0"]
    found = ledger.deliveries.kept(include_replayed=True)
    assert [kept.body for kept in found] == [b"2", b"1", b"0"]
    assert [kept.replayed_at is None for kept in found] == [True, False, True]


def test_last_one_of_each_connection_is_told_with_their_number(ledger: CallLedger) -> None:
    assert ledger.deliveries.rejections() == []
    began = datetime.now(timezone.utc)
    for conn_id, reason in (("a", WRONG), ("b", WRONG), ("", "no such connection"), ("a", OLD)):
        ledger.deliveries.note_rejection(conn_id, reason)
    found = ledger.deliveries.rejections()
    assert [(one.conn_id, one.reason, one.number) for one in found] == [
        ("a", OLD, 2),
        ("", "no such connection", 1),
        ("b", WRONG, 1),
    ]
    assert began <= found[-1].rejected_at <= found[0].rejected_at <= began + timedelta(minutes=1)


def test_many_of_many_processes_at_once_are_all_counted_in_one_row(ledger: CallLedger) -> None:
    ledger.check()
    at_once(lambda number: ledger.deliveries.note_rejection("a", f"reason {number}"))
    assert [row.number for row in ledger._database.rows(select(rejections))] == [8]
    purge_all(ledger)  # there is nothing of a person in it
    assert [one.number for one in ledger.deliveries.rejections()] == [8]


@ON_POSTGRES
def test_first_one_that_another_process_stores_in_the_middle_is_counted(ledger: CallLedger) -> None:
    # SQLite lets only one of them write; PostgreSQL shows each statement what is committed by then.
    after_statement(ledger, "UPDATE", "rejections", lambda: ledger.deliveries.note_rejection("a", OLD))
    ledger.deliveries.note_rejection("a", WRONG)
    assert [(one.reason, one.number) for one in ledger.deliveries.rejections()] == [(WRONG, 2)]


def test_ones_that_wait_for_each_other_are_all_counted(ledger: CallLedger) -> None:
    ledger.deliveries.note_rejection("a", WRONG)
    rival = Rival(ledger, "UPDATE", "rejections", lambda: ledger.deliveries.note_rejection("a", OLD))
    ledger.deliveries.note_rejection("a", WRONG)
    rival.result()
    assert [(one.reason, one.number) for one in ledger.deliveries.rejections()] == [(OLD, 3)]
