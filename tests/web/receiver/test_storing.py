"""Deliveries that arrive together are stored together, and each is answered after its commit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import pytest

from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.web.receiver import storing
from airflow_provider_voiceinfra.web.receiver.storing import Storing
from airflow_provider_voiceinfra.web.workers import BusyError, TooSlowError
from airflow_provider_voiceinfra.webhooks.receiving import Delivery, Outcome, Receipt


class Ledger:
    """Stores deliveries; what is named ``slow`` lasts until it is told to go on."""

    def __init__(self) -> None:
        self.transactions: list[list[str]] = []
        self.has_begun = threading.Event()
        self.may_end = threading.Event()

    def store(self, deliveries: Sequence[Delivery]) -> list[Receipt]:
        names = [one.body.decode() for one in deliveries]
        self.transactions.append(names)
        if "slow" in names:
            self.has_begun.set()
            assert self.may_end.wait(60)
        if "down" in names:
            raise LedgerUnavailableError("down")
        return [Receipt(Outcome.RECORDED, call_id=name) for name in names]


def delivery(name: str) -> Delivery:
    return Delivery("vendor", name.encode())


async def begun(ledger: Ledger) -> None:
    """Wait for the first transaction to be under way."""
    await asyncio.to_thread(ledger.has_begun.wait, 60)


def run(
    action: Callable[[Storing, Ledger], Awaitable[None]],
    *,
    seconds: float = 60.0,
    most_waiting: int = 10,
) -> tuple[Ledger, list[list[str | None]]]:
    """Do something with deliveries; return the ledger, and what was reported after each transaction."""
    ledger = Ledger()
    reported: list[list[str | None]] = []

    def after(_: Sequence[Delivery], receipts: Sequence[Receipt]) -> None:
        reported.append([one.call_id for one in receipts])

    async def main() -> None:
        store = Storing(ledger.store, after, seconds=seconds, most_waiting=most_waiting)
        try:
            await action(store, ledger)
        finally:
            ledger.may_end.set()

    asyncio.run(main())
    return ledger, reported


def test_those_that_come_meanwhile_share_the_next_transaction() -> None:
    async def action(store: Storing, ledger: Ledger) -> None:
        first = asyncio.create_task(store.store(delivery("slow")))
        await begun(ledger)
        others = [asyncio.create_task(store.store(delivery(name))) for name in ("a", "b", "c")]
        await asyncio.sleep(0)
        assert not any(other.done() for other in others)
        ledger.may_end.set()
        receipts = await asyncio.gather(first, *others)
        assert [receipt.call_id for receipt in receipts] == ["slow", "a", "b", "c"]
        assert (await store.store(delivery("d"))).call_id == "d"

    ledger, reported = run(action)
    assert ledger.transactions == [["slow"], ["a", "b", "c"], ["d"]]
    assert reported == ledger.transactions


def test_transaction_is_bounded_by_number_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "MOST_TOGETHER", 2)
    monkeypatch.setattr(storing, "MOST_BYTES", 5)

    async def action(store: Storing, ledger: Ledger) -> None:
        first = asyncio.create_task(store.store(delivery("slow")))
        await begun(ledger)
        names = ("a", "b", "c", "large", "d", "larger than that", "e")
        others = [asyncio.create_task(store.store(delivery(name))) for name in names]
        await asyncio.sleep(0)
        ledger.may_end.set()
        await asyncio.gather(first, *others)

    ledger, _ = run(action)
    assert ledger.transactions == [["slow"], ["a", "b"], ["c"], ["large"], ["d"], ["larger than that"], ["e"]]


def test_failure_is_told_to_all_who_were_in_the_transaction_and_to_nobody_else() -> None:
    async def action(store: Storing, ledger: Ledger) -> None:
        first = asyncio.create_task(store.store(delivery("slow")))
        await begun(ledger)
        others = [asyncio.create_task(store.store(delivery(name))) for name in ("a", "down")]
        await asyncio.sleep(0)
        ledger.may_end.set()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
        assert [type(answer) for answer in answers] == [
            Receipt,
            LedgerUnavailableError,
            LedgerUnavailableError,
        ]
        assert (await store.store(delivery("a"))).call_id == "a"

    _, reported = run(action)
    assert reported == [["slow"], ["a"]]


def test_transaction_that_hangs_is_given_up_and_the_next_one_goes_on_beside_it() -> None:
    async def action(store: Storing, ledger: Ledger) -> None:
        with pytest.raises(TooSlowError):
            await store.store(delivery("slow"))
        while True:
            with suppress(TooSlowError, BusyError):
                assert (await store.store(delivery("next"))).call_id == "next"
                return

    ledger, reported = run(action, seconds=0.2)
    assert ledger.transactions[0] == ["slow"]
    assert reported == [["next"]]


def test_those_that_find_too_many_waiting_are_put_off_at_once() -> None:
    async def action(store: Storing, ledger: Ledger) -> None:
        first = asyncio.create_task(store.store(delivery("slow")))
        await begun(ledger)
        others = [asyncio.create_task(store.store(delivery(name))) for name in ("a", "b")]
        await asyncio.sleep(0)
        assert store.is_full
        with pytest.raises(BusyError):
            await store.store(delivery("c"))
        ledger.may_end.set()
        await asyncio.gather(first, *others)
        assert not store.is_full

    ledger, _ = run(action, most_waiting=2)
    assert ledger.transactions == [["slow"], ["a", "b"]]


def test_sender_who_hangs_up_takes_nobody_along() -> None:
    async def action(store: Storing, ledger: Ledger) -> None:
        first = asyncio.create_task(store.store(delivery("slow")))
        await begun(ledger)
        others = [asyncio.create_task(store.store(delivery(name))) for name in ("a", "b")]
        await asyncio.sleep(0)
        others[0].cancel()
        first.cancel()
        await asyncio.sleep(0)
        ledger.may_end.set()
        assert (await others[1]).call_id == "b"

    ledger, _ = run(action)
    assert {name for names in ledger.transactions for name in names} >= {"slow", "b"}
