"""A signed webhook that could not be used is kept as it came, once, until a replay makes use of it.

Of each connection the ledger remembers the last webhook that was rejected, and how many there were.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

from sqlalchemy import func, select

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.connect import database
from airflow_provider_voiceinfra.ledger.database.schema import rejections
from tests.ledger.racing import Rival, after_statement, in_a_thread

BODY = b'\x00\xff{"event": "call.started", "to": "+14155550100"}'
WRONG, OLD = "the signature does not fit", "it is too old"


def keep(ledger: CallLedger, body: bytes = BODY, conn_id: str = "vi", event: str | None = None) -> None:
    ledger.deliveries.keep(body, conn_id=conn_id, reason="another event", event=event)


def test_delivery_is_kept_as_it_came(ledger: CallLedger) -> None:
    keep(ledger, event="call.started")
    (kept,) = ledger.deliveries.kept()
    assert (kept.body, kept.conn_id, kept.reason, kept.event) == (BODY, "vi", "another event", "call.started")
    assert kept.received_at.tzinfo is timezone.utc
    assert kept.replayed_at is None
    assert ledger.deliveries.get(kept.id) == kept
    assert "415555" not in repr(kept)


def test_same_bytes_are_kept_once_for_each_connection(ledger: CallLedger) -> None:
    for conn_id in ("vi", "vi", "other"):
        keep(ledger, conn_id=conn_id)
    assert [kept.conn_id for kept in ledger.deliveries.kept()] == ["other", "vi"]


def test_long_event_is_cut_to_its_column(ledger: CallLedger) -> None:
    keep(ledger, event="x" * 1000)
    assert ledger.deliveries.kept()[0].event == "x" * 255


def test_newest_come_first_and_no_more_than_asked_for(ledger: CallLedger) -> None:
    for number in range(3):
        keep(ledger, str(number).encode())
    assert [kept.body for kept in ledger.deliveries.kept(limit=2)] == [b"2", b"1"]


def test_replayed_delivery_is_shown_only_on_request(ledger: CallLedger) -> None:
    keep(ledger)
    (kept,) = ledger.deliveries.kept()
    ledger.deliveries.mark_replayed(kept.id)
    assert ledger.deliveries.kept() == []
    (replayed,) = ledger.deliveries.kept(include_replayed=True)
    assert replayed.replayed_at is not None
    assert replayed.id == kept.id


def test_unknown_delivery_is_none(ledger: CallLedger) -> None:
    assert ledger.deliveries.get(7) is None


def test_ledger_without_rejections_has_none(ledger: CallLedger) -> None:
    assert ledger.deliveries.rejections() == []


def test_last_one_of_each_connection_is_told_with_their_number(ledger: CallLedger) -> None:
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


def test_rejections_without_end_take_one_row(ledger: CallLedger, ledger_url: str) -> None:
    for number in range(30):
        ledger.deliveries.note_rejection("a", f"reason {number}")
    with database(ledger_url).reading() as connection:
        assert connection.execute(select(func.count()).select_from(rejections)).scalar_one() == 1


def test_first_ones_of_many_processes_at_once_are_all_counted(ledger: CallLedger) -> None:
    ledger.check()
    ready = threading.Barrier(8)

    def reject(_: int) -> None:
        ready.wait()
        ledger.deliveries.note_rejection("a", WRONG)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(reject, range(8)))
    assert [one.number for one in ledger.deliveries.rejections()] == [8]


def test_first_one_that_another_process_stores_in_the_middle_is_counted(postgres_database: str) -> None:
    # SQLite lets only one of them write; PostgreSQL shows each statement what is committed by then.
    ledger = CallLedger(postgres_database)
    ledger.check()
    after_statement(
        postgres_database,
        "UPDATE",
        "rejections",
        lambda: in_a_thread(lambda: ledger.deliveries.note_rejection("a", OLD)),
    )
    ledger.deliveries.note_rejection("a", WRONG)
    assert [(one.reason, one.number) for one in ledger.deliveries.rejections()] == [(WRONG, 2)]


def test_ones_that_wait_for_each_other_are_all_counted(ledger: CallLedger, ledger_url: str) -> None:
    ledger.deliveries.note_rejection("a", WRONG)
    rival = Rival(lambda: ledger.deliveries.note_rejection("a", OLD))
    after_statement(ledger_url, "UPDATE", "rejections", rival)
    ledger.deliveries.note_rejection("a", WRONG)
    rival.result()
    assert [(one.reason, one.number) for one in ledger.deliveries.rejections()] == [(OLD, 3)]


def test_rejections_outlive_a_purge(ledger: CallLedger) -> None:
    # There is nothing of a person in them.
    ledger.deliveries.note_rejection("a", WRONG)
    ledger.purge(datetime.now(timezone.utc) + timedelta(days=1))
    assert len(ledger.deliveries.rejections()) == 1
