"""A ledger that forgets calls under a running campaign, as after a restore: nobody is called twice."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from airflow_provider_voiceinfra.calls import OutboundCall, PlacedCall
from airflow_provider_voiceinfra.campaigns.engine import runner
from airflow_provider_voiceinfra.campaigns.engine.runner import End
from airflow_provider_voiceinfra.campaigns.plan import RedialPolicy
from airflow_provider_voiceinfra.exceptions import RateLimitedError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.connect import database
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions
from airflow_provider_voiceinfra.ledger.records import CallState
from tests.campaigns.live import Bench, FlakyLedger, numbers
from tests.support.completions import complete

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
    """Stands for the API and its client: each call that is placed rings, and is over at once.

    :param refuse_first: whether the first request of each number meets the rate limit.
    """

    api_key, base_url = "key", "http://127.0.0.1/v1"

    def __init__(self, ledger: CallLedger, *, outcome: str = "answered", refuse_first: bool = False) -> None:
        self.rang: Counter[str] = Counter()
        self.ledger = ledger
        self._outcome = outcome
        self._refuse_first = refuse_first
        self._refused: set[str] = set()

    def place(self, call: OutboundCall, **_: Any) -> PlacedCall:
        if self._refuse_first and call.to_number not in self._refused:
            self._refused.add(call.to_number)
            raise RateLimitedError("HTTP 429", retry_after=0.0)
        self.rang[call.to_number] += 1
        call_id = f"{call.to_number}/{self.rang[call.to_number]}"
        complete(self.ledger, call_id, self._outcome)
        return PlacedCall(call_id)

    def close(self) -> None:
        """There is nothing to close."""


def run(phones: Phones, is_time: Callable[[], bool], forget: Callable[[], bool], **plan: Any) -> None:
    """Run a campaign whose ledger is exchanged for a backup of itself, once, between two heartbeats.

    :param is_time: whether it is time for that.
    :param forget: takes out of the ledger what the backup has not; tells whether that is an outage.
    """
    client: Any = phones
    bench, done = Bench(phones.ledger, client), list[str]()
    bench.load(CALLED)

    def restore(name: str) -> str | None:
        # What is in hand is for the ledger to keep; here it is about what was stored and is gone.
        if name != "heartbeat" or done or not bench.dialler or bench.dialler.outstanding or not is_time():
            return None
        done.append(name)
        return "before" if forget() else None

    ledger, plan = FlakyLedger(bench.ledger, restore), {"max_active_calls": 1, **plan}
    assert bench.run(bench.plan(**plan), ledger, threads=2, make_client=lambda: client) is End.FINISHED
    assert done


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

    run(phones, lambda: phones.rang.total() == 3, forget)

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
    run(phones, lambda: phones.rang.total() == 6, forget, redial=redial)

    assert phones.rang == dict.fromkeys(CALLED, 2)


def test_whoever_was_not_called_before_a_restore_is_called(ledger: CallLedger, ledger_url: str) -> None:
    """A request that placed nothing leaves nothing behind that could keep somebody from being called."""
    phones = Phones(ledger, refuse_first=True)

    def forget() -> bool:
        with database(ledger_url).writing() as connection:
            connection.execute(delete(calls))
        return True

    run(phones, lambda: True, forget)

    assert phones.rang == dict.fromkeys(CALLED, 1)
    assert {entry.state for entry in ledger.calls()} == {CallState.ACCEPTED}
