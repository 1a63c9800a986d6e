"""Of each connection the ledger remembers the last webhook that was not believed, and how many there were."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

from sqlalchemy import func, select

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.connect import database
from airflow_provider_voiceinfra.ledger.database.schema import rejections
from tests.ledger.racing import Rival, after_statement, in_a_thread

WRONG, OLD = "the signature does not fit", "it is too old"


def test_ledger_without_rejections_has_none(ledger: CallLedger) -> None:
    assert ledger.rejections() == []


def test_last_one_of_each_connection_is_told_with_their_number(ledger: CallLedger) -> None:
    began = datetime.now(timezone.utc)
    for conn_id, reason in (("a", WRONG), ("b", WRONG), ("", "no such connection"), ("a", OLD)):
        ledger.note_rejection(conn_id, reason)
    found = ledger.rejections()
    assert [(one.conn_id, one.reason, one.number) for one in found] == [
        ("a", OLD, 2),
        ("", "no such connection", 1),
        ("b", WRONG, 1),
    ]
    assert began <= found[-1].rejected_at <= found[0].rejected_at <= began + timedelta(minutes=1)


def test_rejections_without_end_take_one_row(ledger: CallLedger, ledger_url: str) -> None:
    for number in range(30):
        ledger.note_rejection("a", f"reason {number}")
    with database(ledger_url).reading() as connection:
        assert connection.execute(select(func.count()).select_from(rejections)).scalar_one() == 1


def test_first_ones_of_many_processes_at_once_are_all_counted(ledger: CallLedger) -> None:
    ledger.check()
    ready = threading.Barrier(8)

    def reject(_: int) -> None:
        ready.wait()
        ledger.note_rejection("a", WRONG)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(reject, range(8)))
    assert [one.number for one in ledger.rejections()] == [8]


def test_first_one_that_another_process_stores_in_the_middle_is_counted(postgres_database: str) -> None:
    # SQLite lets only one of them write; PostgreSQL shows each statement what is committed by then.
    ledger = CallLedger(postgres_database)
    ledger.check()
    after_statement(
        postgres_database,
        "UPDATE",
        "rejections",
        lambda: in_a_thread(lambda: ledger.note_rejection("a", OLD)),
    )
    ledger.note_rejection("a", WRONG)
    assert [(one.reason, one.number) for one in ledger.rejections()] == [(WRONG, 2)]


def test_ones_that_wait_for_each_other_are_all_counted(ledger: CallLedger, ledger_url: str) -> None:
    ledger.note_rejection("a", WRONG)
    rival = Rival(lambda: ledger.note_rejection("a", OLD))
    after_statement(ledger_url, "UPDATE", "rejections", rival)
    ledger.note_rejection("a", WRONG)
    rival.result()
    assert [(one.reason, one.number) for one in ledger.rejections()] == [(OLD, 3)]


def test_rejections_outlive_a_purge(ledger: CallLedger) -> None:
    # There is nothing of a person in them.
    ledger.note_rejection("a", WRONG)
    ledger.purge(datetime.now(timezone.utc) + timedelta(days=1))
    assert len(ledger.rejections()) == 1
