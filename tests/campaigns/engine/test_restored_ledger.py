"""A ledger that forgets calls under a running campaign, as after a restore: nobody is called twice."""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from airflow_provider_voiceinfra.calls import CompletionRecord, OutboundCall, PlacedCall
from airflow_provider_voiceinfra.campaigns.engine import runner
from airflow_provider_voiceinfra.campaigns.engine.runner import CampaignRunner, End
from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan, RedialPolicy
from airflow_provider_voiceinfra.dialling.dialler import Dialler
from airflow_provider_voiceinfra.dialling.rate import AdaptivePace
from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError, RateLimitedError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.database.connect import database
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions
from airflow_provider_voiceinfra.ledger.records import CallState
from tests.campaigns.live import CONN_ID, ORIGIN, numbers

CALLED = numbers(3)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TICK", 0.01)
    monkeypatch.setattr(runner, "SLOW_TICK", 0.05)
    monkeypatch.setattr(runner, "LEDGER_PAUSE", 0.02)


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    ledger = CallLedger(ledger_url)
    ledger.check()
    return ledger


class Phones:
    """Stands for the API: each call that it takes rings, and is over at once.

    :param refuse_first: whether the first request of each number meets the rate limit.
    """

    def __init__(self, ledger: CallLedger, *, outcome: str = "answered", refuse_first: bool = False) -> None:
        self.rang: Counter[str] = Counter()
        self._ledger = ledger
        self._outcome = outcome
        self._refuse_first = refuse_first
        self._refused: set[str] = set()

    def place(self, call: OutboundCall, **_: Any) -> PlacedCall:
        if self._refuse_first and call.to_number not in self._refused:
            self._refused.add(call.to_number)
            raise RateLimitedError("HTTP 429", retry_after=0.0)
        self.rang[call.to_number] += 1
        call_id = f"{call.to_number}/{self.rang[call.to_number]}"
        body = (
            f'{{"event": "call.completed", "call_id": "{call_id}", "call_outcome": "{self._outcome}"}}'
        ).encode()
        self._ledger.complete(CompletionRecord.from_body(body), body, conn_id=CONN_ID)
        return PlacedCall(call_id)

    def close(self) -> None:
        """There is nothing to close."""


class Restored:
    """A ledger that is exchanged for a backup of itself, once, between two heartbeats."""

    def __init__(self, ledger: CallLedger, restore: Callable[[Dialler], bool]) -> None:
        self._ledger = ledger
        self._restore = restore
        self.dialler: Dialler | None = None
        part: Any = copy.copy(ledger.campaigns)
        part.heartbeat = self._heartbeat
        self.campaigns = part

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def _heartbeat(self, *args: Any) -> Any:
        assert self.dialler is not None
        if self._restore(self.dialler):
            raise LedgerUnavailableError("the database was restarted")
        return self._ledger.campaigns.heartbeat(*args)


def run(ledger: CallLedger, phones: Phones, restore: Callable[[Dialler], bool], **plan: Any) -> End:
    taken = ledger.campaigns.take("campaign", conn_id=CONN_ID, origin=ORIGIN)
    request = {"agent_id": "agent_demo", "from_number": "+14155550199"}
    entries = [
        ContactEntry(0, row, number, {**request, "to_number": number}, None)
        for row, number in enumerate(CALLED, 1)
    ]
    ledger.campaigns.load_contacts("campaign", entries, loaded_by="load", runner=str(taken.runner))
    restored: Any = Restored(ledger, restore)
    client: Any = phones
    restored.dialler = dialler = Dialler(
        restored,
        lambda: client,
        conn_id=CONN_ID,
        pace=AdaptivePace(start=200.0),
        threads=2,
        owner=Ownership("campaign", str(taken.runner)),
    )
    try:
        end = CampaignRunner(
            CampaignPlan("campaign", max_active_calls=1, **plan),
            restored,
            dialler,
            runner=str(taken.runner),
            origin=ORIGIN,
        ).run()
    finally:
        dialler.close()
    assert isinstance(end, End)
    return end


def once(condition: Callable[[Dialler], bool], forget: Callable[[], bool]) -> Callable[[Dialler], bool]:
    done: list[bool] = []

    def restore(dialler: Dialler) -> bool:
        # What is in hand is for the ledger to keep; here it is about what was stored and is gone.
        if done or dialler.outstanding or not condition(dialler):
            return False
        done.append(True)
        return forget()

    return restore


@pytest.mark.parametrize("outage", [True, False], ids=["outage", "quiet"])
@pytest.mark.parametrize("refuse_first", [False, True], ids=["new in the backup", "refused in the backup"])
def test_whoever_was_called_before_a_restore_is_not_called_again(
    ledger: CallLedger, ledger_url: str, outage: bool, refuse_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor is anybody waited for: the campaign's time for lost answers is a quarter of an hour for each."""
    caplog.set_level(logging.WARNING)
    phones = Phones(ledger, refuse_first=refuse_first)

    def forget() -> bool:
        with database(ledger_url).writing() as connection:
            if refuse_first:
                connection.execute(
                    calls.update().values(state="refused", call_id=None, error_code="rate_limited")
                )
            else:
                connection.execute(delete(calls))
            if outage:
                connection.execute(delete(completions))
        return outage

    end = run(ledger, phones, once(lambda _: phones.rang.total() == 3, forget))

    assert end is End.FINISHED
    assert phones.rang == dict.fromkeys(CALLED, 1)
    states = {entry.idempotency_key: entry.state for entry in ledger.calls()}
    assert states == {f"campaign/{number}/1": CallState.UNKNOWN for number in CALLED}
    assert "restored" in caplog.text
    assert not any(number in caplog.text for number in CALLED)


def test_neither_is_a_redial_placed_twice(ledger: CallLedger, ledger_url: str) -> None:
    phones = Phones(ledger, outcome="voicemail")

    def forget() -> bool:
        with database(ledger_url).writing() as connection:
            connection.execute(delete(calls).where(calls.c.attempt == 2))
        return True

    redial = RedialPolicy(frozenset({"voicemail"}), (timedelta(0),), 2)
    end = run(ledger, phones, once(lambda _: phones.rang.total() == 6, forget), redial=redial)

    assert end is End.FINISHED
    assert phones.rang == dict.fromkeys(CALLED, 2)


def test_whoever_was_not_called_before_a_restore_is_called(ledger: CallLedger, ledger_url: str) -> None:
    """A request that placed nothing leaves nothing behind that could keep somebody from being called."""
    phones = Phones(ledger, refuse_first=True)

    def forget() -> bool:
        with database(ledger_url).writing() as connection:
            connection.execute(delete(calls))
        return True

    end = run(ledger, phones, once(lambda _: True, forget))

    assert end is End.FINISHED
    assert phones.rang == dict.fromkeys(CALLED, 1)
    assert {entry.state for entry in ledger.calls()} == {CallState.ACCEPTED}
