"""Threads that dial: what each answer leads to, what is not sent any more, and how they end."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_voiceinfra.calls import OutboundCall, PlacedCall
from airflow_provider_voiceinfra.dialling import dialler as dialler_module
from airflow_provider_voiceinfra.dialling.clocks import Clocks
from airflow_provider_voiceinfra.dialling.dialler import Dialler
from airflow_provider_voiceinfra.dialling.jobs import Dialled
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, CallState, Job
from tests.api.test_client import answering, http, server
from tests.campaigns.live import CONN_ID, Bench, FlakyLedger, at_random, numbers
from tests.sandbox_process import SandboxProcess
from tests.support.ledgers import ON_SQLITE
from tests.support.waiting import until

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.usefixtures("impatient"),
]


@pytest.fixture
def bench(ledger: CallLedger, sandbox: SandboxProcess) -> Bench:
    return Bench(ledger, sandbox)


def jobs(count: int, not_after: datetime | None = None) -> list[Job]:
    return [
        Job(
            f"campaign/{number}/1",
            OutboundCall(number, agent_id="agent_demo", from_number="+14155550199"),
            CallOrigin("dag", "run", "task", -1, 1, "campaign", number, position, 1),
            not_after,
        )
        for position, number in enumerate(numbers(count), 1)
    ]


@contextmanager
def closing(dialler: Dialler) -> Iterator[Dialler]:
    try:
        yield dialler
    finally:
        dialler.close()


def all_of(dialler: Dialler, found: list[Dialled] | None = None) -> list[Dialled]:
    """Wait for every job that is under way."""
    found = [] if found is None else found
    deadline = time.monotonic() + 30
    while dialler.outstanding:
        assert time.monotonic() < deadline, "a job never came back"
        found += dialler.wait(0.1)
    return found


def states(ledger: CallLedger) -> dict[str, int]:
    found = [entry.state.value for entry in ledger.calls(limit=10_000)]
    return {state: found.count(state) for state in set(found)}


def dial_one(dialler: Dialler, ledger: CallLedger) -> tuple[Dialled, CallEntry]:
    """Dial somebody; return what became of it, and the call as it is stored."""
    with closing(dialler):
        dialler.submit(jobs(1))
        [dialled] = all_of(dialler)
    entry = ledger.call_by_key(dialled.job.key)
    assert entry is not None
    assert dialled.entry == entry
    return dialled, entry


@ON_SQLITE
@pytest.mark.parametrize(
    ("fault", "settings", "state", "code"),
    [
        (None, {}, CallState.ACCEPTED, None),
        ("error_before", {}, CallState.UNKNOWN, "server_error"),
        ("error_after", {}, CallState.UNKNOWN, "server_error"),
        ("cut_after", {}, CallState.UNKNOWN, "answer_lost"),
        ("cut_before", {}, CallState.UNKNOWN, "answer_lost"),
        ("gateway_html", {}, CallState.UNKNOWN, "server_error"),
        ("hang", {}, CallState.UNKNOWN, "answer_lost"),
        ("bad_json_2xx", {}, CallState.UNKNOWN, "no_call_id"),
        ("rate_limited", {}, CallState.REFUSED, "rate_limited"),
        (None, {"api_keys": ["vk_other"]}, CallState.REFUSED, "unauthorized"),
        (None, {"agents": ["agent_other"]}, CallState.REFUSED, "not_found"),
        (None, {"from_numbers": ["+14155550198"]}, CallState.REFUSED, "validation_error"),
    ],
)
def test_every_answer_is_stored_as_what_it_means(
    bench: Bench,
    ledger: CallLedger,
    sandbox: SandboxProcess,
    fault: str | None,
    settings: dict[str, Any],
    state: CallState,
    code: str | None,
) -> None:
    dialler = bench.make_dialler(timeout=0.5)
    sandbox.configure(**settings)
    if fault:
        sandbox.fault(fault)
    dialled, entry = dial_one(dialler, ledger)
    assert (entry.state, entry.error_code, dialled.again) == (state, code, fault == "rate_limited")
    assert (dialled.error is None) is (state is CallState.ACCEPTED)


@ON_SQLITE
@pytest.mark.parametrize("code", ["rate_limited", "unauthorized", "interrupted", "not_found", "unreachable"])
@pytest.mark.parametrize(("status", "stored"), [(403, "refused"), (422, "invalid_phone")])
def test_the_apis_own_words_do_not_decide_how_the_campaign_goes_on(
    bench: Bench, ledger: CallLedger, code: str, status: int, stored: str
) -> None:
    """An API, or a gateway before it, may refuse in words that mean something else to us."""
    body = f'{{"error": {{"code": "{code}", "message": "no"}}}}'.encode()
    with server(answering(http(status, body))) as url:
        _, entry = dial_one(bench.make_dialler(base_url=url), ledger)
    assert (entry.state, entry.error_code) == (CallState.REFUSED, stored)
    assert code in str(entry.error_message)  # for people


def test_a_429_does_not_hold_the_campaign_up_for_days_whatever_it_asks_for(
    bench: Bench, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialler_module, "LONGEST_RETRY_AFTER", 0.1)
    sandbox.configure(rate_limit=0.05, rate_burst=1)  # so that Retry-After is 20 s
    with closing(bench.make_dialler()) as dialler:
        dialler.submit(jobs(2))
        found = all_of(dialler)
        assert sum(dialled.again for dialled in found) == 1
        dialler.submit([dialled.job for dialled in found if dialled.again])
        until(lambda: sandbox.counts()["requests"] == 3, 10)


def test_a_call_that_was_claimed_before_is_not_dialled(
    bench: Bench, ledger: CallLedger, sandbox: SandboxProcess
) -> None:
    [job] = jobs(1)
    claimed, _ = ledger.claim(job.key, job.call, conn_id=CONN_ID, origin=job.origin)
    with closing(bench.make_dialler()) as dialler:
        dialler.submit([job])
        [dialled] = all_of(dialler)
    assert (dialled.entry, dialled.again, dialled.error) == (claimed, False, None)
    assert sandbox.audit()["requests"] == []


class TestLateJobs:
    def test_a_late_job_is_not_even_claimed(self, bench: Bench, ledger: CallLedger) -> None:
        with closing(bench.make_dialler()) as dialler:
            dialler.submit(jobs(3, not_after=datetime.now(timezone.utc)))
            found = all_of(dialler)
        assert [(dialled.again, dialled.entry) for dialled in found] == [(True, None)] * 3
        assert states(ledger) == {}

    def test_a_job_that_became_late_while_it_was_claimed_is_not_sent_and_may_be_dialled_later(
        self, bench: Bench, ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        not_after = datetime.now(timezone.utc) + timedelta(seconds=1)

        def slow(name: str) -> None:
            if name == "claim_many":
                time.sleep(max(0.0, (not_after - datetime.now(timezone.utc)).total_seconds()))

        with closing(bench.make_dialler(FlakyLedger(ledger, slow))) as dialler:
            dialler.submit(jobs(1, not_after))
            [dialled] = all_of(dialler)
            assert dialled.again
            assert dialled.entry is not None
            assert (dialled.entry.state, dialled.entry.error_code) == (CallState.REFUSED, "interrupted")
            assert sandbox.audit()["requests"] == []
            dialler.submit(jobs(1))
            [dialled] = all_of(dialler)
        assert dialled.entry is not None
        assert dialled.entry.state is CallState.ACCEPTED
        assert len(sandbox.audit()["calls"]) == 1


class TestPauses:
    """Of the process, right before a request: what it has made sure of may hold no more when it goes on."""

    def test_a_request_that_would_begin_long_after_the_last_look_is_not_sent_but_may_be_later(
        self, bench: Bench, ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        held_up = [60.0]  # the client sees a dialler that has looked so many seconds ago
        clocks = Clocks(passed=lambda: time.monotonic() - held_up[0])
        with closing(bench.make_dialler(clocks=clocks)) as dialler:
            dialler.submit(jobs(1))
            [dialled] = all_of(dialler)
            assert dialled.again
            assert states(ledger) == {"refused": 1}
            assert sandbox.audit()["requests"] == []
            held_up[0] = 0.0
            dialler.submit(jobs(1))
            [dialled] = all_of(dialler)
        assert not dialled.again
        assert len(sandbox.audit()["calls"]) == 1

    @pytest.mark.parametrize(
        ("alive", "open_for", "latest"), [(30, None, 10), (4, None, 4), (30, 7, 7), (4, 7, 4)]
    )
    def test_neither_after_the_window_has_closed_nor_when_another_process_may_have_taken_over(
        self, bench: Bench, alive: float, open_for: float | None, latest: float
    ) -> None:
        asked: list[float] = []

        def place(call: OutboundCall, *, begin_by: float) -> PlacedCall:
            asked.append(begin_by)
            return PlacedCall("call_1")

        now = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
        client: Any = SimpleNamespace(place=place, close=lambda: None)
        clocks = Clocks(lambda: now, lambda: 1000.0)
        with closing(bench.make_dialler(make_client=lambda: client, clocks=clocks)) as dialler:
            dialler.prolong(1000.0 + alive)
            dialler.submit(jobs(1, None if open_for is None else now + timedelta(seconds=open_for)))
            all_of(dialler)
        assert asked == [1000.0 + latest]


class TestHolding:
    def test_queued_jobs_come_back_undialled_even_at_a_slow_pace(
        self, bench: Bench, sandbox: SandboxProcess
    ) -> None:
        with closing(bench.make_dialler(most=0.2, start=0.2)) as dialler:
            dialler.submit(jobs(20))
            until(lambda: sandbox.audit()["calls"])
            dialler.hold(True)
            seen = sandbox.counts()["requests"]
            found = all_of(dialler)
            assert sum(not dialled.again for dialled in found) == seen == sandbox.counts()["requests"]

    @pytest.mark.parametrize(
        ("stop", "go_on"),
        [
            (lambda dialler: dialler.hold(True), lambda dialler: dialler.hold(False)),
            (
                lambda dialler: dialler.prolong(time.monotonic() - 1),
                lambda dialler: dialler.prolong(time.monotonic() + 30),
            ),
        ],
        ids=["held", "after a sleep of the whole machine, until somebody has looked"],
    )
    def test_nothing_is_dialled_until_it_may_go_on(
        self, bench: Bench, ledger: CallLedger, sandbox: SandboxProcess, stop: Any, go_on: Any
    ) -> None:
        with closing(bench.make_dialler()) as dialler:
            stop(dialler)
            dialler.submit(jobs(5))
            assert all(dialled.again for dialled in all_of(dialler))
            assert sandbox.audit()["requests"] == []
            assert states(ledger) == {}
            go_on(dialler)
            dialler.submit(jobs(5))
            assert not any(dialled.again for dialled in all_of(dialler))
        assert len(sandbox.audit()["calls"]) == 5


class TestClosing:
    def test_answers_under_way_are_stored_and_nothing_is_sent_afterwards(
        self, bench: Bench, ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        sandbox.configure(latency_ms=500)
        dialler = bench.make_dialler()
        dialler.submit(jobs(16))
        until(lambda: len(sandbox.audit()["calls"]) >= 3)
        dialler.close()
        calls = {call["call_id"] for call in sandbox.audit()["calls"]}
        requests = sandbox.counts()["requests"]
        stored = ledger.calls(state=CallState.ACCEPTED)
        assert {entry.call_id for entry in stored} == calls
        assert CallState.CLAIMED.value not in states(ledger)
        dialler.hold(False)  # of no effect any more
        dialler.submit(jobs(20)[16:])
        assert dialler.wait(0.5) is not None
        assert sandbox.counts()["requests"] == requests

    def test_it_may_be_closed_while_the_ledger_is_away_and_nobody_is_dialled(
        self, bench: Bench, ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        flaky = FlakyLedger(ledger, lambda name: "before")
        dialler = bench.make_dialler(flaky)
        dialler.submit(jobs(10))
        until(lambda: flaky.failures["claim_many"] > 3)
        dialler.close()
        dialler.close()  # twice is no error
        assert sandbox.audit()["requests"] == []

    @pytest.mark.parametrize("seed", range(3))
    def test_held_let_go_and_closed_at_any_moment_it_never_hangs_or_forgets_a_call(
        self, bench: Bench, ledger: CallLedger, sandbox: SandboxProcess, seed: int
    ) -> None:
        chance = random.Random(seed)
        sandbox.configure(latency_ms=5, fault_rate=0.2, faults=["rate_limited", "cut_after", "error_before"])
        dialler = bench.make_dialler(FlakyLedger(ledger, at_random(seed, 0.1)), threads=12)
        queued, end = jobs(300), time.monotonic() + chance.uniform(0.2, 1.5)
        while time.monotonic() < end:
            dialler.hold(chance.random() < 0.3)
            take = min(dialler.room, chance.randrange(1, 9), len(queued))
            dialler.submit([queued.pop() for _ in range(take)])
            queued += [dialled.job for dialled in dialler.wait(0.02) if dialled.again]
        closer = threading.Thread(target=dialler.close)
        closer.start()
        closer.join(30)
        assert not closer.is_alive(), "it hangs"

        calls = sandbox.audit()["calls"]
        assert len({call["to_number"] for call in calls}) == len(calls)
        answered = {call["call_id"] for call in calls if call["fault"] != "cut_after"}
        assert {entry.call_id for entry in ledger.calls(state=CallState.ACCEPTED, limit=1000)} == answered


class TestCrashes:
    @pytest.mark.parametrize("what", ["the client", "what makes the clients"])
    def test_of_a_worker_comes_out_of_waiting(self, bench: Bench, what: str) -> None:
        def fail(*_: object, **_options: object) -> Any:
            raise ZeroDivisionError("a bug")

        client = SimpleNamespace(place=fail, close=lambda: None)
        make_client: Any = fail if what == "what makes the clients" else lambda: client
        dialler = bench.make_dialler(make_client=make_client, threads=3)
        with closing(dialler):
            dialler.submit(jobs(10))
            with pytest.raises(ZeroDivisionError):
                all_of(dialler)
        # Which the next process takes for unknown.
        assert ("claimed" in states(bench.ledger)) is (what == "the client")

    def test_of_the_thread_that_writes_ends_the_campaign_and_loses_no_call(
        self, bench: Bench, ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        class Broken(FlakyLedger):
            settled = 0

            def settle_many(self, settlements: Any) -> Any:
                self.settled += 1
                if self.settled == 3:
                    raise ZeroDivisionError("a bug")
                return self._ledger.settle_many(settlements)

        sandbox.configure(latency_ms=50)
        bench.load(numbers(60))
        plan = bench.plan(max_active_calls=60)
        with bench.running(plan, Broken(ledger, lambda name: None)) as ended:
            pass
        assert isinstance(ended[0], ZeroDivisionError)
        calls = {call["call_id"] for call in sandbox.audit()["calls"]}
        assert {entry.call_id for entry in ledger.calls(state=CallState.ACCEPTED)} == calls


def test_the_queue_is_short_at_a_slow_pace_so_that_what_is_urgent_does_not_wait(bench: Bench) -> None:
    for rate, room in ((0.1, 4), (5.0, 9), (500.0, 16)):
        with closing(bench.make_dialler(start=rate, most=rate)) as dialler:
            assert dialler.room == room
