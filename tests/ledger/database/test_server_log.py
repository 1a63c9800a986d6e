"""PostgreSQL logs each statement that fails: what happens every day must not write numbers there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

import pytest
from harness.postgres import PostgresServer

from airflow_provider_voiceinfra.calls import CompletionRecord
from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.records import Job
from tests.ledger.examples import CALL, CONN_ID, FIRST_TRY, SECOND_TRY, body
from tests.ledger.racing import Rival, after_statement

NUMBER = CALL.to_number.removeprefix("+")
FIRST_MOMENT = datetime(2026, 3, 1, tzinfo=timezone.utc)
SECRET = "Caller: my card is lost"
BODY = f'{{"to_number": "{CALL.to_number}", "transcript": "{SECRET}"}}'.encode()


def keep(ledger: CallLedger) -> None:
    ledger.keep_delivery(BODY, conn_id=CONN_ID, reason="it has no call_id")


def reject(ledger: CallLedger) -> None:
    ledger.note_rejection(CONN_ID, f"wrong signature, {NUMBER}")


def claim_call(ledger: CallLedger) -> None:
    ledger.claim(f"key of {NUMBER}", CALL, conn_id=CONN_ID, origin=FIRST_TRY)


def claim_calls(ledger: CallLedger) -> None:
    requests = [Job(f"key {number} of {NUMBER}", CALL, FIRST_TRY) for number in range(3)]
    ledger.claim_many(requests, conn_id=CONN_ID)


def accept_one_answer_twice(ledger: CallLedger) -> None:
    for key in (f"one of {NUMBER}", f"two of {NUMBER}"):
        entry, _ = ledger.claim(key, CALL, conn_id=CONN_ID)
        ledger.accept(entry, "call_1")


def record(ledger: CallLedger) -> None:
    raw = body("call_2", FIRST_MOMENT, transcript=SECRET)
    ledger.complete(CompletionRecord.from_body(raw), raw, conn_id=CONN_ID)


def run_campaign(ledger: CallLedger) -> None:
    for origin in (FIRST_TRY, SECOND_TRY):
        campaign = ledger.take_campaign(f"campaign for {NUMBER}", conn_id=CONN_ID, origin=origin)
        contact = ContactEntry(0, 1, CALL.to_number, CALL.to_request(), None)
        runner = str(campaign.runner)
        ledger.load_contacts(campaign.campaign_id, [contact, contact], loaded_by="x", runner=runner)
        ledger.release_campaign(campaign.campaign_id, runner)


USES: dict[str, Callable[[CallLedger], None]] = {
    "a kept delivery": keep,
    "a rejection": reject,
    "a campaign": run_campaign,
    "a claim": claim_call,
    "many claims": claim_calls,
    "an answer": accept_one_answer_twice,
    "a completion": record,
}
TABLES: dict[str, str] = {
    "a kept delivery": "deliveries",
    "a rejection": "rejections",
    "a claim": "calls",
    "many claims": "calls",
    "a completion": "completions",
}


@pytest.mark.parametrize("use", list(USES))
def test_what_is_repeated_is_not_in_the_log_of_the_server(
    postgres_server: PostgresServer, postgres_ledger_url: str, use: str
) -> None:
    ledger = CallLedger(postgres_ledger_url)
    ledger.check()
    before = len(postgres_server.log())
    for _ in range(3):
        USES[use](ledger)
    logged = postgres_server.log()[before:]
    assert "duplicate key" not in logged
    assert NUMBER not in logged
    assert SECRET not in logged


@pytest.mark.parametrize("use", list(TABLES))
def test_two_who_store_the_same_at_a_time_leave_nothing_in_the_log_of_the_server(
    postgres_server: PostgresServer, postgres_ledger_url: str, use: str
) -> None:
    ledger = CallLedger(postgres_ledger_url)
    ledger.check()
    before = len(postgres_server.log())
    rival = Rival(lambda: USES[use](ledger))
    after_statement(postgres_ledger_url, "INSERT", TABLES[use], rival)
    USES[use](ledger)
    rival.result()
    logged = postgres_server.log()[before:]
    assert NUMBER not in logged
    assert SECRET not in logged
    assert len(ledger.deliveries()) == (use == "a kept delivery")
    assert [found.number for found in ledger.rejections()] == ([2] if use == "a rejection" else [])
    assert len(ledger.calls()) == {"a claim": 1, "many claims": 3}.get(use, 0)
    assert ledger.last_sequence() == (use == "a completion")


def test_log_of_the_server_would_show_it(postgres_server: PostgresServer, postgres_ledger_url: str) -> None:
    """Or else the others would prove nothing: a statement that fails is in it."""
    ledger = CallLedger(postgres_ledger_url)
    ledger.check()
    before = len(postgres_server.log())
    with pytest.raises(LedgerUnavailableError), ledger._database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO nowhere VALUES ('14155550100')")
    assert "STATEMENT:  INSERT INTO nowhere VALUES ('14155550100')" in postgres_server.log()[before:]
