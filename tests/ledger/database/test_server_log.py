"""PostgreSQL logs each statement that fails: what happens every day must not write numbers there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

import pytest
from harness.postgres import PostgresServer

from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.records import Job
from tests.ledger.examples import CALL, CONN_ID, FIRST_TRY, SECOND_TRY, complete
from tests.ledger.racing import Rival
from tests.support.completions import keep_delivery

NUMBER = CALL.to_number.removeprefix("+")
FIRST_MOMENT = datetime(2026, 3, 1, tzinfo=timezone.utc)
SECRET = "Caller: my card is lost"
BODY = f'{{"to_number": "{CALL.to_number}", "transcript": "{SECRET}"}}'.encode()


def keep(ledger: CallLedger) -> None:
    keep_delivery(ledger, BODY, conn_id=CONN_ID, reason="it has no call_id")


def reject(ledger: CallLedger) -> None:
    ledger.deliveries.note_rejection(CONN_ID, f"wrong signature, {NUMBER}")


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
    complete(ledger, "call_2", FIRST_MOMENT, transcript=SECRET)


def run_campaign(ledger: CallLedger) -> None:
    for origin in (FIRST_TRY, SECOND_TRY):
        campaign = ledger.campaigns.take(f"campaign for {NUMBER}", conn_id=CONN_ID, origin=origin)
        contact = ContactEntry(0, 1, CALL.to_number, CALL.to_request(), None)
        runner = str(campaign.runner)
        ledger.campaigns.load_contacts(campaign.campaign_id, [contact, contact], loaded_by="x", runner=runner)
        ledger.campaigns.release(campaign.campaign_id, runner)


Use = Callable[[CallLedger], None]
ADDS: dict[Use, str] = {
    keep: "deliveries",
    reject: "rejections",
    claim_call: "calls",
    claim_calls: "calls",
    record: "completions",
}


@pytest.fixture
def ledger(postgres_ledger_url: str) -> CallLedger:
    ledger = CallLedger(postgres_ledger_url)
    ledger.check()
    return ledger


@pytest.fixture
def logged(ledger: CallLedger, postgres_server: PostgresServer) -> Callable[[], str]:
    """Return what returns what the server has logged since the tables were made."""
    before = len(postgres_server.log())
    return lambda: postgres_server.log()[before:]


@pytest.mark.parametrize("use", [*ADDS, run_campaign, accept_one_answer_twice])
def test_what_is_repeated_is_not_in_the_log(ledger: CallLedger, logged: Callable[[], str], use: Use) -> None:
    for _ in range(3):
        use(ledger)
    assert "duplicate key" not in logged()
    assert NUMBER not in logged()
    assert SECRET not in logged()


@pytest.mark.parametrize("use", list(ADDS))
def test_two_who_store_the_same_at_a_time_leave_nothing_in_the_log_of_the_server(
    ledger: CallLedger, logged: Callable[[], str], use: Use
) -> None:
    rival = Rival(ledger, "INSERT", ADDS[use], lambda: use(ledger))
    use(ledger)
    rival.result()
    assert NUMBER not in logged()
    assert SECRET not in logged()
    assert len(ledger.deliveries.kept()) == (use is keep)
    assert [found.number for found in ledger.deliveries.rejections()] == ([2] if use is reject else [])
    assert len(ledger.calls()) == (use is claim_call) + 3 * (use is claim_calls)
    assert ledger.last_sequence() == (use is record)


def test_log_of_the_server_would_show_it(ledger: CallLedger, logged: Callable[[], str]) -> None:
    """Or else the others would prove nothing: a statement that fails is in it."""
    with pytest.raises(LedgerUnavailableError), ledger._database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO nowhere VALUES ('14155550100')")
    assert "STATEMENT:  INSERT INTO nowhere VALUES ('14155550100')" in logged()
