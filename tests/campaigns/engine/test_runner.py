"""Campaigns against the sandbox: lines, order, cancelling, all that the API answers, a ledger that fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from harness.processes import free_port

from airflow_provider_voiceinfra.campaigns.engine import obstacles, runner
from airflow_provider_voiceinfra.campaigns.engine.runner import End, Pause
from airflow_provider_voiceinfra.campaigns.engine.tracker import CampaignTracker
from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan, RedialPolicy
from airflow_provider_voiceinfra.campaigns.progress import Obstacle
from airflow_provider_voiceinfra.dialling import storing
from airflow_provider_voiceinfra.dialling.clocks import Clocks
from airflow_provider_voiceinfra.dialling.jobs import Dialled
from airflow_provider_voiceinfra.exceptions import (
    ApiUnreachableError,
    CampaignBusyError,
    LedgerUnavailableError,
    VoiceInfraError,
)
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.connect import database
from airflow_provider_voiceinfra.ledger.records import CallOrigin, Job
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow
from tests.campaigns.live import AREA_CODES, ORIGIN, Bench, FlakyLedger, at_random, numbers
from tests.campaigns.simulated import (
    MIN_PAUSE,
    Habits,
    Killed,
    MemoryLedger,
    World,
    campaign,
)
from tests.rules.calling_window.test_window import utc
from tests.sandbox_process import SandboxProcess
from tests.support.ledgers import ON_SQLITE
from tests.support.receivers import recording
from tests.support.waiting import until

SECOND = timedelta(seconds=1)
NEXT_TRY = CallOrigin("dag", "run", "task", -1, 2)
VOICEMAIL_TWICE = RedialPolicy(frozenset({"voicemail"}), (timedelta(0),), 2)


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    ledger = CallLedger(ledger_url)
    ledger.check()
    return ledger


@pytest.fixture
def sandbox(fresh_sandbox: SandboxProcess, ledger: CallLedger) -> Iterator[SandboxProcess]:
    fresh_sandbox.configure(call_seconds=0.2)
    with recording(fresh_sandbox, ledger):
        yield fresh_sandbox


@pytest.fixture
def bench(sandbox: SandboxProcess, ledger: CallLedger) -> Bench:
    return Bench(ledger, sandbox)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TICK", 0.02)
    monkeypatch.setattr(runner, "SLOW_TICK", 0.1)
    monkeypatch.setattr(runner, "LEDGER_PAUSE", 0.02)
    monkeypatch.setattr(storing, "LONGEST_WAIT", 0.02)
    monkeypatch.setattr(obstacles, "FIRST_REST", timedelta(seconds=0.1))
    monkeypatch.setattr(obstacles, "LONGEST_REST", timedelta(seconds=0.4))


@pytest.fixture(autouse=True)
def no_number_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG, logger="airflow_provider_voiceinfra")
    yield
    assert not any(f"{area}55501" in caplog.text for area in AREA_CODES)


@ON_SQLITE
class TestLines:
    def test_never_more_calls_at_once_than_lines_with_redials_and_429s(self, bench: Bench) -> None:
        bench.sandbox.configure(rate_limit=40, rate_burst=5)
        bench.sandbox.fault("rate_limited", 3)  # a slow machine need not reach the rate limit by itself
        called = bench.load(numbers(60))
        plan = bench.plan(max_active_calls=7, redial=VOICEMAIL_TWICE)

        assert bench.run(plan) is End.FINISHED

        assert bench.dialled() == {number: 2 if number.endswith("7") else 1 for number in called}
        assert bench.sandbox.counts()["rate_limited"] > 0
        assert bench.most_at_once() <= 7

    def test_a_lost_webhook_frees_its_line_in_time_and_is_reported_as_unknown(self, bench: Bench) -> None:
        called = bench.load(numbers(6))
        bench.sandbox.fault("webhook_never", 2)
        plan = bench.plan(max_active_calls=2, completion_timeout=SECOND)

        assert bench.run(plan) is End.FINISHED

        assert bench.dialled() == dict.fromkeys(called, 1)
        assert bench.most_at_once() <= 2
        assert bench.summary(plan)["unknown"] == 2
        assert bench.told[-1]["outcomes"] == {"unknown": 2, "answered": 4}


class TestProcesses:
    def test_calls_of_a_process_that_died_hold_their_lines_in_the_next_one(self, bench: Bench) -> None:
        called = bench.load(numbers(12))
        bench.sandbox.configure(call_seconds=1)
        plan = bench.plan(max_active_calls=4)
        with bench.running(plan):
            until(lambda: len(bench.sandbox.audit()["calls"]) >= 3)
            bench.stop()

        assert bench.run(plan, origin=NEXT_TRY) is End.FINISHED

        assert bench.dialled() == dict.fromkeys(called, 1)
        assert bench.most_at_once() <= 4

    def test_the_process_that_lost_the_campaign_stops(self, bench: Bench) -> None:
        called = bench.load(numbers(40))
        plan = bench.plan()
        with bench.running(plan, most=10) as ended:
            until(lambda: len(bench.sandbox.audit()["calls"]) >= 3)
            taken = bench.take(NEXT_TRY)
        assert isinstance(ended[0], CampaignBusyError)
        assert len(bench.dialled()) < 40
        assert bench.run(plan, taken=taken, origin=NEXT_TRY) is End.FINISHED
        assert bench.dialled() == dict.fromkeys(called, 1)


@ON_SQLITE
class TestCancelling:
    @pytest.mark.parametrize("most", [2.0, None], ids=["slow pace", "fast"])
    def test_no_request_is_sent_after_it_and_calls_run_out(self, bench: Bench, most: float | None) -> None:
        bench.sandbox.configure(call_seconds=1)
        bench.load(numbers(300))
        plan = bench.plan(max_active_calls=200)
        with bench.running(plan, most=most, start=20.0) as ended:
            until(lambda: len(bench.sandbox.audit()["calls"]) >= 2)
            assert bench.ledger.campaigns.cancel(bench.campaign_id)
            cancelled_at = datetime.now(timezone.utc)
        assert ended == [End.CANCELLED]
        audit = bench.sandbox.audit()
        last = max(datetime.fromisoformat(request["time"]) for request in audit["requests"])
        assert last < cancelled_at + timedelta(seconds=2)
        summary = bench.summary(plan)
        ended_as = ("answered", "failed", "voicemail")
        assert sum(summary.get(outcome, 0) for outcome in ended_as) == len(audit["calls"])
        assert bench.ledger.campaigns.open_calls(bench.campaign_id) == []


@ON_SQLITE
class TestAnswers:
    @pytest.mark.parametrize(
        "fault",
        ["error_after", "cut_after", "gateway_html_after", "hang", "bad_json_2xx"],
    )
    def test_a_call_whose_answer_was_lost_is_found_by_its_webhook(self, bench: Bench, fault: str) -> None:
        called = bench.load(numbers(6, endings=range(6)))
        bench.sandbox.fault(fault, 3)
        plan = bench.plan(max_active_calls=3)

        assert bench.run(plan, timeout=1.0) is End.FINISHED

        assert bench.dialled() == dict.fromkeys(called, 1)
        assert bench.summary(plan) == {"contacts": 6, "placed": 6, "attempts": 6, "answered": 6}
        assert bench.told[-1]["placed"] == 6

    @pytest.mark.parametrize("fault", ["error_before", "cut_before", "gateway_html", "hang_before"])
    def test_a_request_without_an_answer_is_never_sent_again(self, bench: Bench, fault: str) -> None:
        called = bench.load(numbers(6, endings=range(6)))
        bench.sandbox.fault(fault, 2)
        plan = bench.plan(max_active_calls=2, unknown_timeout=SECOND)

        assert bench.run(plan, timeout=1.0) is End.FINISHED

        requests = [request["to_number"] for request in bench.sandbox.audit()["requests"]]
        assert len(requests) == 6
        assert bench.dialled() == dict.fromkeys(called[2:], 1)
        four = dict.fromkeys(("placed", "attempts", "answered"), 4)
        assert bench.summary(plan) == {"contacts": 6, **four, "unknown": 2}
        # Nor by the next try, nor by one that comes when all times are over.
        assert bench.run(plan, origin=NEXT_TRY) is End.FINISHED
        assert len(bench.sandbox.audit()["requests"]) == 6

    def test_an_unknown_call_whose_webhook_says_voicemail_is_redialled(self, bench: Bench) -> None:
        bench.load(["+12025550107"])
        bench.sandbox.fault("cut_after")
        assert bench.run(bench.plan(redial=VOICEMAIL_TWICE)) is End.FINISHED
        assert bench.dialled() == {"+12025550107": 2}
        assert bench.told[-1]["outcomes"] == {"voicemail": 1}

    def test_a_webhook_that_comes_long_before_the_answer_counts(self, bench: Bench) -> None:
        bench.load(numbers(3))
        bench.sandbox.configure(latency_ms=500)
        bench.sandbox.fault("webhook_early", 3)
        plan = bench.plan(completion_timeout=2 * SECOND)
        assert bench.run(plan) is End.FINISHED
        assert bench.told[-1]["outcomes"] == {"answered": 3}
        assert not any(told["outcomes"].get("unknown") for told in bench.told)

    def test_every_fault_at_once(self, bench: Bench) -> None:
        called = bench.load(numbers(100, endings=range(100)))
        bench.sandbox.configure(webhook_late_seconds=1, call_seconds_jitter=0.5, latency_ms=20)
        plan = bench.plan(unknown_timeout=2 * SECOND, completion_timeout=2 * SECOND, max_active_calls=30)

        assert bench.run(plan, timeout=1.0) is End.FINISHED

        never = {number for number in called if number[-2:] in {"90", "93"}}
        assert bench.dialled() == dict.fromkeys(sorted(set(called) - never), 1)
        told = bench.summary(plan)
        assert told["unknown"] == len(never) + 1  # and the one whose webhook never comes
        assert told["contacts"] == 100
        assert bench.told[-1]["done"] == 100

    def test_what_a_person_may_have_fixed_is_tried_again_by_the_next_try_alone(self, bench: Bench) -> None:
        called = bench.load(numbers(30))
        plan = bench.plan()
        with bench.running(plan, most=30):
            until(lambda: bench.dialled())
            bench.sandbox.configure(agents=["agent_other"])
        refused = bench.summary(plan)["refused"]
        assert refused >= obstacles.MOST_REFUSALS
        assert {refusal["code"] for refusal in bench.told[-1]["refusals"]} == {"not_found"}
        before = bench.sandbox.counts()["requests"]
        assert bench.run(plan) is End.FINISHED  # the same try, say after it slept
        assert bench.sandbox.counts()["requests"] == before

        # More are refused than would stop a campaign of which nothing was ever accepted.
        assert bench.run(plan, origin=NEXT_TRY) is End.FINISHED
        assert bench.sandbox.counts()["requests"] == before + refused
        bench.sandbox.configure(agents=["agent_demo"])
        third_try = CallOrigin("dag", "run", "task", -1, 3)
        assert bench.run(plan, origin=third_try) is End.FINISHED
        assert bench.dialled() == dict.fromkeys(called, 1)


@ON_SQLITE
class TestApiOutOfReach:
    def test_an_api_that_only_fails_costs_few_contacts_their_call(self, bench: Bench) -> None:
        bench.load(numbers(40))
        bench.sandbox.configure(fault_rate=1.0, faults=["error_before"])
        plan = bench.plan(unknown_timeout=SECOND)
        with bench.running(plan) as ended:
            until(lambda: bench.told and bench.told[-1]["obstacle"] == Obstacle.FAILING)
            bench.sandbox.configure(fault_rate=0.0)
        assert ended == [End.FINISHED]
        told = bench.summary(plan)
        assert told["unknown"] == 40 - told["placed"] < 20
        assert bench.sandbox.counts()["requests"] == 40

    def test_at_the_start_and_in_the_middle_nobody_is_lost(self, ledger: CallLedger) -> None:
        with SandboxProcess(call_seconds=0.1, port=free_port()) as sandbox, recording(sandbox, ledger):
            bench = Bench(ledger, sandbox)
            called = bench.load(numbers(40))
            plan = bench.plan(unknown_timeout=2 * SECOND, completion_timeout=2 * SECOND)
            sandbox.settings["port"] = int(sandbox.url.rsplit(":", 1)[1])
            receiver = sandbox.control("GET", "settings")["webhook_url"]
            sandbox.kill()
            with bench.running(plan, most=20) as ended:
                until(lambda: _obstacle(bench))
                sandbox.start()
                sandbox.configure(webhook_url=receiver)
                until(lambda: len(bench.dialled()) >= 5)
                first = bench.dialled()
                sandbox.kill()
                until(lambda: _obstacle(bench))
                sandbox.start()
                sandbox.configure(webhook_url=receiver)
            assert ended == [End.FINISHED]
            both = first + bench.dialled()
            assert max(both.values()) == 1
            told = bench.summary(plan)
            # What was under way when the API died is unknown; everybody else was called.
            assert told.get("unknown", 0) <= 10
            assert len(set(called) - set(both)) <= told.get("unknown", 0)
            assert told["contacts"] == 40
            assert told.get("expired", 0) == 0

    def test_after_a_long_time_it_fails_and_the_next_try_calls_everybody(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(obstacles, "PATIENCE", SECOND)
        called = bench.load(numbers(5))
        with pytest.raises(VoiceInfraError, match="cannot be reached"):
            bench.run(bench.plan(), base_url=f"http://127.0.0.1:{free_port()}/v1")
        assert bench.run(bench.plan(), origin=NEXT_TRY) is End.FINISHED
        assert bench.dialled() == dict.fromkeys(called, 1)


class TestLedgerThatFails:
    @pytest.mark.parametrize("seed", range(2))
    @pytest.mark.parametrize("share", [0.05, 0.2])
    def test_nobody_is_called_twice_or_lost(self, bench: Bench, seed: int, share: float) -> None:
        called = bench.load(numbers(25))
        bench.sandbox.configure(call_seconds=0.05, rate_limit=60)
        plan = bench.plan(max_active_calls=6, redial=VOICEMAIL_TWICE, unknown_timeout=2 * SECOND)
        flaky = FlakyLedger(bench.ledger, at_random(seed, share))

        with bench.running(plan, flaky) as ended:
            pass

        assert ended == [End.FINISHED]
        assert flaky.failures.total() > 0
        assert bench.dialled() == {number: 2 if number.endswith("7") else 1 for number in called}
        assert bench.summary(plan).get("unknown", 0) == 0

    def test_with_lost_answers_as_well(self, bench: Bench) -> None:
        bench.load(numbers(30))
        faults = ["cut_after", "error_before", "bad_json_2xx", "rate_limited", "webhook_early"]
        bench.sandbox.configure(call_seconds=0.05, fault_rate=0.4, faults=faults)
        plan = bench.plan(max_active_calls=6, unknown_timeout=2 * SECOND)
        with bench.running(plan, FlakyLedger(bench.ledger, at_random(7, 0.2))) as ended:
            pass
        assert ended == [End.FINISHED]
        assert max(bench.dialled().values()) == 1
        unknown = bench.summary(plan).get("unknown", 0)
        assert len(bench.dialled()) + unknown == 30
        requests = bench.sandbox.audit()["requests"]
        assert unknown == sum(request["fault"] == "error_before" for request in requests)

    @pytest.mark.parametrize("cancel", [False, True], ids=["goes on", "is cancelled"])
    def test_it_is_away_for_a_while_and_nobody_is_dialled_meanwhile(self, bench: Bench, cancel: bool) -> None:
        called = bench.load(numbers(60))
        away: list[bool] = []
        flaky = FlakyLedger(bench.ledger, lambda name: "before" if away else None)
        pace = {"most": 3.0, "start": 3.0} if cancel else {"most": 30.0}
        with bench.running(bench.plan(max_active_calls=50), flaky, **pace) as ended:
            until(lambda: len(bench.dialled()) >= 2)
            away.append(True)
            until(lambda: flaky.failures.total() > 20)
            seen = bench.sandbox.counts()["requests"]
            until(lambda: flaky.failures.total() > 100)
            assert bench.sandbox.counts()["requests"] == seen
            if cancel:
                bench.ledger.campaigns.cancel(bench.campaign_id)
            away.clear()
        if cancel:
            assert ended == [End.CANCELLED]
            assert bench.sandbox.counts()["requests"] <= seen + 1  # of what was queued
        else:
            assert ended == [End.FINISHED]
            assert bench.dialled() == dict.fromkeys(called, 1)

    def test_a_task_that_is_told_to_stop_while_it_is_away_stops(self, bench: Bench) -> None:
        called = bench.load(numbers(40))
        away: set[str] = set()
        flaky = FlakyLedger(bench.ledger, lambda name: "before" if name in away else None)
        with bench.running(bench.plan(), flaky, most=20) as ended:
            until(lambda: len(bench.dialled()) >= 2)
            away.add("claim_many")
            until(lambda: flaky.failures["claim_many"] > 5)  # so some wait for their claim
            away.update({"heartbeat", "completions_after", "count_contacts"})
            until(lambda: flaky.failures["heartbeat"] + flaky.failures["completions_after"])
            bench.stop()
        assert ended == [End.STOPPED]
        assert len(bench.dialled()) < 40
        assert bench.run(bench.plan(), origin=NEXT_TRY) is End.FINISHED
        assert bench.dialled() == dict.fromkeys(called, 1)


class Unreachable(World):
    """An API that nobody can reach."""

    def send(self, job: Job) -> Dialled:
        entry = self.ledger.claim(job)
        assert entry is not None
        refused = self.ledger.refuse(entry, "unreachable")
        return Dialled(job, refused, True, ApiUnreachableError("It is away."))


NOON = utc(2026, 6, 1, 16)  # on a Monday in New York
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
CLOSED = CampaignPlan("c", window=CallingWindow.parse("14:00-17:00"))
PROMPT = Habits(queued=timedelta(0), step=timedelta(0))


def noon(*calls: tuple[timedelta, str | None]) -> MemoryLedger:
    """Return a ledger with three contacts, at noon.

    :param calls: how long ago each was called, and how that ended right now; ``None`` if it has not ended.
    """
    ledger = MemoryLedger.at(NOON, 3)
    for position, (ago, outcome) in enumerate(calls, 1):
        placed(ledger, position, ago, outcome)
    return ledger


def placed(ledger: MemoryLedger, position: int, ago: timedelta, outcome: str | None = None) -> None:
    """Have a call placed some time ago, and ended now if it has an outcome."""
    now, contact = ledger.clock.now, ledger.contacts[position]
    ledger.clock.now = now - ago
    origin = CallOrigin(position=position, attempt=1)
    entry = ledger.claim(Job(f"c/{contact.contact_key}/1", contact.call, origin))
    assert entry is not None
    entry = ledger.accept(entry)
    ledger.clock.now = now
    if outcome:
        ledger.complete(str(entry.call_id), outcome)


def decision(
    world: MemoryLedger | World, plan: CampaignPlan, min_pause: timedelta | None = MIN_PAUSE
) -> End | Pause | None:
    """Return how the run ends within three minutes; ``None`` if it goes on."""
    world = world if isinstance(world, World) else World(world, PROMPT, seed=0)
    end = world.clock.now + 3 * MIN_PAUSE

    def be_killed_after_a_while(timeout: float) -> None:
        if world.clock.now > end:
            raise Killed

    world.on_wait = be_killed_after_a_while
    try:
        return campaign(world, plan, min_pause=min_pause).run()
    except Killed:
        return None


def redialling(*waits: float) -> CampaignPlan:
    return CampaignPlan("c", redial=RedialPolicy.parse({"waits": list(waits)}))


PAUSES = {
    "the window opens": ([], CLOSED, 120, None),
    "the deadline, if that is earlier": ([], replace(CLOSED, deadline=NOON + HOUR), 60, None),
    "a redial is due": ([(5, "voicemail")] * 3, redialling(30), 30, None),
    "all are off the phone if nobody is left": (
        [(1, "answered"), (10, None), (5, None)],
        CampaignPlan("c"),
        50,
        1,
    ),
    "all of those that were not given up are": (
        [(120, None), (10, None), (5, None)],
        CampaignPlan("c"),
        50,
        2,
    ),
    "any is off the phone if somebody waits for a line": (
        [(10, None), (5, None)],
        CampaignPlan("c", 2),
        50,
        2,
    ),
    "any is off the phone if that may lead to a redial": ([(5, None)] * 3, redialling(1), 55, 3),
    "all are off the phone after the deadline": (
        [(10, None), (5, None)],
        replace(redialling(1), max_active_calls=2, deadline=NOON),
        50,
        1,
    ),
}


class TestPauses:
    """When the worker may be given back, until when, and what is to wake the campaign earlier."""

    @pytest.mark.parametrize(("calls", "plan", "minutes", "below"), PAUSES.values(), ids=PAUSES)
    def test_until(self, calls: Any, plan: CampaignPlan, minutes: int, below: int | None) -> None:
        ledger = noon(*((ago * MINUTE, outcome) for ago, outcome in calls))
        assert decision(ledger, plan) == Pause(NOON + minutes * MINUTE, below)

    def test_not_while_somebody_is_due_who_cannot_be_dialled(self) -> None:
        world = Unreachable(noon(), PROMPT, seed=0)
        assert decision(world, CampaignPlan("c", deadline=NOON + 9 * HOUR)) is None

    def test_not_while_an_answer_is_missing(self) -> None:
        assert decision(World(noon(), replace(PROMPT, answer_lost=1.0), seed=0), CampaignPlan("c")) is None

    def test_not_right_after_something_has_happened(self) -> None:
        ledger = noon(*[(5 * MINUTE, None)] * 3)
        assert isinstance(decision(ledger, CampaignPlan("c")), Pause)
        assert ledger.clock.now >= NOON + MIN_PAUSE

    def test_not_for_less_than_a_minute(self) -> None:
        ledger = noon(*[(5 * MINUTE, "voicemail")] * 3)
        assert decision(ledger, redialling(0.9)) is None or ledger.clock.now > NOON + 0.9 * MINUTE

    def test_not_unless_it_is_wanted(self) -> None:
        assert decision(noon(), CLOSED, min_pause=None) is None

    def test_a_cancelled_campaign_ends_as_soon_as_nobody_is_on_the_phone(self) -> None:
        ledger = noon()
        ledger.cancelled_at = NOON
        assert decision(ledger, CLOSED) is End.CANCELLED
        placed(ledger, 1, MINUTE)
        assert decision(ledger, CLOSED) is None


def test_a_cancellation_that_was_taken_back_does_not_end_what_was_on_the_phone_till_then() -> None:
    ledger = noon((MINUTE, None))
    ledger.add("+12125550101")
    ledger.cancelled_at = NOON
    world, seen = World(ledger, PROMPT, seed=0), []

    def take_back(timeout: float) -> None:
        seen.append(timeout)
        if len(seen) == 3:  # long before the ledger is asked again
            ledger.cancelled_at = None
            ledger.complete("call 1/1", "answered")

    world.on_wait = take_back
    assert campaign(world, CampaignPlan("c", 1), min_pause=None).run() is End.FINISHED
    assert [entry.call_outcome for entry in ledger.completed][:1] == ["answered"]
    assert len(ledger.completed) == len(ledger.contacts) > 1


def test_a_campaign_cancelled_while_it_looks_for_open_windows_keeps_no_processor_busy() -> None:
    ledger = noon((10 * MINUTE, None))
    for _ in range(5000):
        ledger.add("+12125550100")
    world, waited = World(ledger, replace(PROMPT, step=SECOND), seed=0), []

    def cancel(timeout: float) -> None:
        waited.append(timeout)
        if len(waited) == 5:
            ledger.cancelled_at = ledger.clock.now

    world.on_wait = cancel
    assert campaign(world, CLOSED, min_pause=None).run() is End.CANCELLED
    assert waited.count(0.0) < 100


def test_a_ledger_that_fails_half_way_has_all_its_connections_back(bench: Bench, ledger_url: str) -> None:
    bench.load(numbers(3))
    bench.sandbox.fault("cut_after", 3)
    bench.sandbox.configure(webhook_hold=True)
    with bench.running(bench.plan()):
        until(lambda: len(bench.dialled()) == 3)
        bench.stop()
    flaky: Any = FlakyLedger(bench.ledger, lambda name: "before" if name == "call_by_hash" else None)
    errors = []
    for _ in range(20):
        with pytest.raises(LedgerUnavailableError) as caught:
            CampaignTracker(bench.plan(), flaky, ORIGIN, Clocks())
        errors.append(caught.value)  # as a log or an error tracker might
    pool: Any = database(ledger_url).engine.pool
    assert pool.checkedout() == 0


def test_contacts_of_two_campaigns_never_share_a_key(ledger: CallLedger, sandbox: SandboxProcess) -> None:
    # "a" with the contact "b/c", and "a/b" with the contact "c".
    for campaign_id, contact_key in (("a", "b/c"), ("a/b", "c"), ("a", "b%2Fc")):
        bench = Bench(ledger, sandbox, campaign_id)
        bench.load(["+12025550100"], keys=[contact_key])
        assert bench.run(bench.plan()) is End.FINISHED
    assert bench.dialled() == {"+12025550100": 3}


def _obstacle(bench: Bench) -> bool:
    return bool(bench.told) and bench.told[-1]["obstacle"] == Obstacle.UNREACHABLE
