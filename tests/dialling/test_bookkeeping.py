"""One thread writes for many: nothing is told of before it is stored, and nobody waits for ever."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.dialling.bookkeeping import Bookkeeper
from airflow_provider_voiceinfra.dialling.jobs import Dialled
from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, CallState, Job, Settlement
from tests.campaigns.live import CONN_ID, FlakyLedger, at_random
from tests.support.waiting import until

ORIGIN = CallOrigin("dag", "run", "task", -1, 1, "c", "key", 1, 1)
CALL = OutboundCall("+14155550100", agent_id="agent_demo", from_number="+14155550199")

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.usefixtures("impatient"),
]
Make = Callable[[Any], Bookkeeper]


@pytest.fixture
def told() -> list[Dialled]:
    return []


@pytest.fixture
def make(ledger: CallLedger, told: list[Dialled]) -> Iterator[Make]:
    made: list[Bookkeeper] = []
    campaign = ledger.campaigns.take("c", conn_id=CONN_ID, origin=ORIGIN)
    owner = Ownership("c", str(campaign.runner))

    def make(ledger: Any) -> Bookkeeper:
        made.append(Bookkeeper(ledger, owner, CONN_ID, None, told.append))
        return made[-1]

    yield make
    for books in made:
        books.close()


def job(key: object = "key") -> Job:
    return Job(str(key), CALL, ORIGIN)


def accepted(one: Job, entry: CallEntry | None, call_id: str) -> Dialled:
    assert entry is not None
    return Dialled(one, entry, settlement=Settlement(entry, CallState.ACCEPTED, call_id=call_id))


def state_of(ledger: CallLedger, key: object = "key") -> tuple[CallState, str | None]:
    entry = ledger.call_by_key(str(key))
    assert entry is not None
    return entry.state, entry.call_id


def test_of_many_threads_that_claim_one_key_one_may_dial(ledger: CallLedger, make: Make) -> None:
    makers = [make(ledger) for _ in range(3)]
    for key in range(8):
        with ThreadPoolExecutor(12) as pool:
            found = list(pool.map(lambda number, key=key: makers[number % 3].claim(job(key)), range(12)))
        assert sum(won for _, won in found) == 1


def test_what_is_told_of_is_stored(ledger: CallLedger, make: Make, told: list[Dialled]) -> None:
    books = make(ledger)
    entry, won = books.claim(job())
    assert won
    assert state_of(ledger) == (CallState.CLAIMED, None)
    books.settle(accepted(job(), entry, "call_1"))
    until(lambda: told)
    assert state_of(ledger) == (CallState.ACCEPTED, "call_1")
    assert told[0].entry == ledger.call_by_key("key")


def test_a_job_that_comes_again_makes_a_claim_of_its_own(ledger: CallLedger, make: Make) -> None:
    books, one = make(ledger), job()
    entry, _ = books.claim(one)
    assert entry is not None
    books.settle(Dialled(one, entry, again=True, settlement=Settlement(entry, CallState.REFUSED)))
    until(lambda: state_of(ledger)[0] is CallState.REFUSED)
    again, won = books.claim(one)
    assert won
    assert again is not None
    assert again.token != entry.token


def test_claims_that_come_soon_after_one_another_share_a_transaction(
    ledger: CallLedger, make: Make, told: list[Dialled], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, claim_many, have_come = [], ledger.claim_many, threading.Event()

    def counted(jobs: Sequence[Job], **options: Any) -> list[tuple[CallEntry, bool]]:
        asked.append(len(jobs))
        return claim_many(jobs, **options)

    monkeypatch.setattr(ledger, "claim_many", counted)
    owner = make(ledger)._claim_many.keywords["owner"]
    books = Bookkeeper(ledger, owner, CONN_ID, None, told.append, gather=have_come.wait)
    with ThreadPoolExecutor(5) as pool:
        claims = [pool.submit(books.claim, job(key)) for key in range(5)]
        until(lambda: books._items.qsize() == 4)  # the first is what the others are waited for with
        have_come.set()
        assert all(claim.result()[1] for claim in claims)
    books.close()
    assert asked == [5]


def test_a_claim_of_which_the_ledger_did_not_say_that_it_was_stored_is_still_the_callers(
    ledger: CallLedger, make: Make
) -> None:
    failures = iter(["after", "before", "after"])
    books = make(FlakyLedger(ledger, lambda name: next(failures, None)))
    entry, won = books.claim(job())
    assert won
    assert entry is not None
    assert state_of(ledger) == (CallState.CLAIMED, None)


def test_an_answer_outlasts_a_dead_ledger_and_its_call_id_is_in_the_log(
    ledger: CallLedger,
    make: Make,
    told: list[Dialled],
    caplog: pytest.LogCaptureFixture,
) -> None:
    away: list[bool] = []
    flaky = FlakyLedger(ledger, lambda name: "before" if away else None)
    books = make(flaky)
    entry, _ = books.claim(job())
    away.append(True)
    books.settle(accepted(job(), entry, "call_1"))
    until(lambda: flaky.failures["settle_many"] > 5)
    assert told == []
    assert "call_1" in caplog.text
    away.clear()
    until(lambda: told)
    assert state_of(ledger) == (CallState.ACCEPTED, "call_1")


def test_of_all_that_ring_while_the_ledger_is_away_each_call_id_is_in_the_log(
    ledger: CallLedger, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    away: list[bool] = []
    flaky = FlakyLedger(ledger, lambda name: "before" if away else None)
    books = make(flaky)
    entries = [books.claim(job(key))[0] for key in range(16)]
    away.append(True)
    for number, entry in enumerate(entries):
        books.settle(accepted(job(number), entry, f"call_{number}_"))
        if number == 7:  # the others come while it is tried again
            until(lambda: flaky.failures["settle_many"] > 2)
    until(lambda: flaky.failures["settle_many"] > 5)
    assert [caplog.text.count(f"call call_{number}_") for number in range(16)] == [1] * 16
    away.clear()
    until(lambda: state_of(ledger, 15) == (CallState.ACCEPTED, "call_15_"))


def test_a_claim_waits_for_a_dead_ledger_until_it_is_given_up(ledger: CallLedger, make: Make) -> None:
    flaky = FlakyLedger(ledger, lambda name: "before")
    books = make(flaky)
    with ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(books.claim, job(key)) for key in range(5)]
        until(lambda: flaky.failures["claim_many"] > 5)
        assert not any(claim.done() for claim in waiting)
        books.give_up_claims()
        assert [claim.result(30) for claim in waiting] == [(None, False)] * 5


class Poisoned(FlakyLedger):
    """A ledger that breaks, rather than being away, once it is asked to store a certain answer."""

    def __init__(self, ledger: CallLedger) -> None:
        super().__init__(ledger, lambda name: None)
        self.may_break = threading.Event()
        self.asked = threading.Event()

    def settle_many(self, settlements: Sequence[Settlement]) -> list[CallEntry]:
        self.asked.set()
        self.may_break.wait(30)
        if any(settlement.call_id == "poison" for settlement in settlements):
            raise ZeroDivisionError("a bug")
        return self._ledger.settle_many(settlements)


def test_when_the_thread_breaks_nobody_waits_for_ever_and_what_rings_is_stored(
    ledger: CallLedger, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    poisoned = Poisoned(ledger)
    books = make(poisoned)
    entries = {key: books.claim(job(key))[0] for key in ("busy", "bad", "good", "late")}
    books.settle(accepted(job("busy"), entries["busy"], "call_0"))  # held up, so that a batch gathers
    until(poisoned.asked.is_set)
    books.settle(accepted(job("bad"), entries["bad"], "poison"))
    books.settle(accepted(job("good"), entries["good"], "call_1"))
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(books.claim, job(key)) for key in ("first", "second", "third")]
        until(lambda: books._items.qsize() >= 5)
        poisoned.may_break.set()
        for claim in waiting:
            assert claim.result(30)[1] is False
    until(lambda: books.broken)
    books.settle(accepted(job("late"), entries["late"], "call_2"))
    assert books.claim(job("too late")) == (None, False)
    books.close()
    assert isinstance(books.broken, ZeroDivisionError)
    assert state_of(ledger, "good") == (CallState.ACCEPTED, "call_1")
    assert state_of(ledger, "late") == (CallState.ACCEPTED, "call_2")
    assert "Call poison was placed, and the ledger does not have it." in caplog.text


@pytest.mark.parametrize("seed", range(3))
def test_many_threads_and_a_ledger_that_fails_never_lock_each_other_out(
    ledger: CallLedger, make: Make, told: list[Dialled], seed: int
) -> None:
    books = make(FlakyLedger(ledger, at_random(seed, 0.3)))
    dialled: list[str] = []

    def dial(number: int) -> None:
        chance = random.Random(seed * 1000 + number)
        one = job(number % 60)  # some are asked for several times
        entry, won = books.claim(one)
        if won and entry is not None:
            dialled.append(one.key)
            books.settle(accepted(one, entry, f"call_{one.key}"))
        elif chance.random() < 0.5:
            books.settle(Dialled(one, entry))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(dial, range(150)))
    books.close()
    assert sorted(dialled) == sorted({str(number) for number in range(60)})
    assert {state_of(ledger, number) for number in range(60)} == {
        (CallState.ACCEPTED, f"call_{number}") for number in range(60)
    }
    assert len(told) >= 60


def test_only_a_ledger_that_is_away_is_asked_again(ledger: CallLedger, make: Make) -> None:
    class Broken(FlakyLedger):
        def claim_many(self, requests: object) -> None:
            raise ZeroDivisionError("a bug")

    books = make(Broken(ledger, lambda name: None))
    assert books.claim(job()) == (None, False)
    until(lambda: books.broken)
    assert not isinstance(books.broken, LedgerUnavailableError)


@pytest.mark.parametrize("whose", ["ours", "somebody else's"])
def test_a_claim_that_was_stored_without_a_word_and_then_given_up_is_given_back(
    ledger: CallLedger, make: Make, whose: str
) -> None:
    """Nothing was sent for it, so whoever goes on may call; a claim of somebody else stays."""
    if whose != "ours":
        ledger.claim("key", CALL, conn_id=CONN_ID, origin=ORIGIN)
    books = make(FlakyLedger(ledger, lambda name: "after" if name == "claim_many" else None))
    books.give_up_claims()
    assert books.claim(job()) == (None, False)
    assert state_of(ledger) == (CallState.CLAIMED, None)
    books.close()
    entry = ledger.call_by_key("key")
    assert entry is not None
    kept = (CallState.REFUSED, "interrupted") if whose == "ours" else (CallState.CLAIMED, None)
    assert (entry.state, entry.error_code) == kept


def test_closing_does_not_wait_for_a_ledger_that_stays_away(ledger: CallLedger, make: Make) -> None:
    away: list[bool] = []
    books = make(FlakyLedger(ledger, lambda name: "before" if away else "after"))
    books.give_up_claims()
    assert books.claim(job()) == (None, False)
    away.append(True)
    books.close()
    assert state_of(ledger) == (CallState.CLAIMED, None)
