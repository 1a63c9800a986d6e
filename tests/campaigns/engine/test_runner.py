"""Campaigns against the sandbox: lines, order, cancelling, all that the API answers, a ledger that fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from harness.processes import free_port

from airflow_provider_voiceinfra.campaigns.calling_window.window import CallingWindow
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
    CallRefusedError,
    CampaignBusyError,
    LedgerUnavailableError,
    UnauthorizedError,
    VoiceInfraError,
)
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.connect import database
from airflow_provider_voiceinfra.ledger.records import CallOrigin, Job
from tests.campaigns.calling_window.test_window import utc
from tests.campaigns.live import AREA_CODES, ORIGIN, Bench, FlakyLedger, at_random, numbers
from tests.campaigns.simulated import (
    MIN_PAUSE,
    Clock,
    Habits,
    Killed,
    MemoryLedger,
    SimulatedDialler,
    World,
)
from tests.sandbox_process import SandboxProcess
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
    monkeypatch.setattr(runner, "LEDGER_PAUSE", 0.02)
    monkeypatch.setattr(storing, "LONGEST_WAIT", 0.02)
    monkeypatch.setattr(obstacles, "FIRST_REST", timedelta(seconds=0.1))


@pytest.fixture(autouse=True)
def no_number_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG, logger="airflow_provider_voiceinfra")
    yield
    assert not any(f"{area}55501" in caplog.text for area in AREA_CODES)


class TestLines:
    def test_never_more_calls_at_once_than_lines_with_redials_and_429s(
        self, bench: Bench, sandbox: SandboxProcess
    ) -> None:
        sandbox.configure(rate_limit=40, rate_burst=5)
        sandbox.fault("rate_limited", 3)  # a slow machine need not reach the rate limit by itself
        called = numbers(60)
        bench.load(called)
        plan = bench.plan(max_active_calls=7, redial=VOICEMAIL_TWICE)

        assert bench.run(plan) is End.FINISHED

        assert bench.dialled() == {number: 2 if number.endswith("7") else 1 for number in called}
        assert sandbox.counts()["rate_limited"] > 0
        assert bench.most_at_once() <= 7

    def test_a_lost_webhook_frees_its_line_after_its_time_and_is_reported_as_unknown(
        self, bench: Bench, sandbox: SandboxProcess
    ) -> None:
        called = numbers(6)
        bench.load(called)
        sandbox.fault("webhook_never", 2)
        plan = bench.plan(max_active_calls=2, completion_timeout=SECOND)

        assert bench.run(plan) is End.FINISHED

        assert bench.dialled() == dict.fromkeys(called, 1)
        assert bench.most_at_once() <= 2
        assert bench.summary(plan)["unknown"] == 2
        assert bench.told[-1]["outcomes"] == {"unknown": 2, "answered": 4}

    def test_a_webhook_that_comes_after_its_line_was_freed_counts_and_leads_to_a_redial(
        self, bench: Bench, sandbox: SandboxProcess
    ) -> None:
        others = numbers(40, endings=range(6))
        bench.load(["+12025550107", *others])  # the first one is voicemail
        sandbox.configure(webhook_late_seconds=4)
        sandbox.fault("webhook_late")
        # Long enough for the webhooks of the others on a machine that is busy.
        plan = bench.plan(max_active_calls=1, completion_timeout=3 * SECOND, redial=VOICEMAIL_TWICE)

        assert bench.run(plan) is End.FINISHED

        assert bench.dialled() == {"+12025550107": 2, **dict.fromkeys(others, 1)}
        assert any(told["outcomes"].get("unknown") for told in bench.told)  # its line was freed
        assert bench.told[-1]["outcomes"] == {"voicemail": 1, "answered": 40}

    def test_calls_of_a_process_that_died_hold_their_lines_in_the_next_one(
        self, bench: Bench, sandbox: SandboxProcess
    ) -> None:
        called = numbers(12)
        bench.load(called)
        sandbox.configure(call_seconds=1)
        plan = bench.plan(max_active_calls=4)
        with bench.running(plan):
            until(lambda: len(sandbox.audit()["calls"]) >= 3)
            assert bench.runner is not None
            bench.runner.stop()

        assert bench.run(plan, origin=NEXT_TRY) is End.FINISHED

        assert bench.dialled() == dict.fromkeys(called, 1)
        assert bench.most_at_once() <= 4

    def test_the_process_that_lost_the_campaign_stops(self, bench: Bench, sandbox: SandboxProcess) -> None:
        called = numbers(40)
        bench.load(called)
        plan = bench.plan()
        with bench.running(plan, most=10) as ended:
            until(lambda: len(sandbox.audit()["calls"]) >= 3)
            taken = bench.take(NEXT_TRY)
        assert isinstance(ended[0], CampaignBusyError)
        assert len(bench.dialled()) < 40
        assert bench.run(plan, taken=taken, origin=NEXT_TRY) is End.FINISHED
        assert bench.dialled() == dict.fromkeys(called, 1)


class TestOrder:
    def test_redials_that_are_due_go_before_new_contacts(self, bench: Bench, sandbox: SandboxProcess) -> None:
        sandbox.configure(call_seconds=0)
        bench.load(["+12025550107", *numbers(30, endings=range(6))])
        plan = bench.plan(max_active_calls=1, redial=VOICEMAIL_TWICE)

        assert bench.run(plan, most=10) is End.FINISHED

        order = [call["to_number"] for call in sandbox.audit()["calls"]]
        assert order[0] == "+12025550107"
        assert "+12025550107" in order[1:6]

    def test_nobody_is_dialled_at_or_after_the_deadline(self, bench: Bench, sandbox: SandboxProcess) -> None:
        bench.load(numbers(100))
        deadline = datetime.now(timezone.utc) + timedelta(seconds=1.5)
        plan = bench.plan(deadline=deadline)

        assert bench.run(plan, most=20) is End.FINISHED

        audit = sandbox.audit()
        assert 0 < len(audit["calls"]) < 100
        # A request that was on its way arrives a little later.
        last = max(datetime.fromisoformat(request["time"]) for request in audit["requests"])
        assert last < deadline + SECOND
        told = bench.summary(plan)
        assert told["expired"] == 100 - len(audit["calls"])
        assert told["placed"] == len(audit["calls"])


class TestCancelling:
    @pytest.mark.parametrize("most", [2.0, None], ids=["slow pace", "fast"])
    def test_no_request_is_sent_after_it_and_the_run_ends_with_its_calls(
        self, bench: Bench, sandbox: SandboxProcess, most: float | None
    ) -> None:
        sandbox.configure(call_seconds=3)
        bench.load(numbers(300))
        plan = bench.plan(max_active_calls=200)
        with bench.running(plan, most=most, start=20.0) as ended:
            until(lambda: len(sandbox.audit()["calls"]) >= 2)
            assert bench.ledger.cancel_campaign(bench.campaign_id)
            cancelled_at = datetime.now(timezone.utc)
        assert ended == [End.CANCELLED]
        audit = sandbox.audit()
        last = max(datetime.fromisoformat(request["time"]) for request in audit["requests"])
        assert last < cancelled_at + timedelta(seconds=2)
        assert bench.summary(plan)["answered"] + bench.summary(plan).get("failed", 0) + bench.summary(
            plan
        ).get("voicemail", 0) == len(audit["calls"])
        assert bench.ledger.open_calls(bench.campaign_id) == []

    def test_a_cancellation_that_is_taken_back_goes_on_with_everybody(
        self, bench: Bench, sandbox: SandboxProcess
    ) -> None:
        called = numbers(30)
        bench.load(called)
        assert bench.ledger.cancel_campaign(bench.campaign_id)
        assert bench.run(bench.plan()) is End.CANCELLED
        assert bench.dialled() == {}
        assert bench.ledger.uncancel_campaign(bench.campaign_id)
        assert bench.run(bench.plan(), origin=NEXT_TRY) is End.FINISHED
        assert bench.dialled() == dict.fromkeys(called, 1)


class TestAnswers:
    @pytest.mark.parametrize(
        "fault",
        ["error_after", "cut_after", "gateway_html_after", "hang", "bad_json_2xx"],
    )
    def test_a_call_whose_answer_was_lost_is_found_by_its_webhook(
        self, bench: Bench, sandbox: SandboxProcess, fault: str
    ) -> None:
        called = numbers(6, endings=range(6))
        bench.load(called)
        sandbox.fault(fault, 3)
        plan = bench.plan(max_active_calls=3)

        assert bench.run(plan, timeout=1.0) is End.FINISHED

        assert bench.dialled() == dict.fromkeys(called, 1)
        assert bench.summary(plan) == {"contacts": 6, "placed": 6, "attempts": 6, "answered": 6}
        assert bench.told[-1]["placed"] == 6

    @pytest.mark.parametrize("fault", ["error_before", "cut_before", "gateway_html", "hang_before"])
    def test_a_request_without_an_answer_is_reported_as_unknown_and_never_sent_again(
        self, bench: Bench, sandbox: SandboxProcess, fault: str
    ) -> None:
        called = numbers(6, endings=range(6))
        bench.load(called)
        sandbox.fault(fault, 2)
        plan = bench.plan(max_active_calls=2, unknown_timeout=2 * SECOND)

        assert bench.run(plan, timeout=1.0) is End.FINISHED

        requests = [request["to_number"] for request in sandbox.audit()["requests"]]
        assert len(requests) == 6
        assert bench.dialled() == dict.fromkeys(called[2:], 1)
        assert bench.summary(plan) == {
            "contacts": 6,
            "placed": 4,
            "attempts": 4,
            "answered": 4,
            "unknown": 2,
        }
        # Nor by the next try, nor by one that comes when all times are over.
        assert bench.run(plan, origin=NEXT_TRY) is End.FINISHED
        assert len(sandbox.audit()["requests"]) == 6

    def test_an_unknown_call_is_redialled_like_any_other_once_its_webhook_says_voicemail(
        self, bench: Bench, sandbox: SandboxProcess
    ) -> None:
        bench.load(["+12025550107"])
        sandbox.fault("cut_after")
        assert bench.run(bench.plan(redial=VOICEMAIL_TWICE)) is End.FINISHED
        assert bench.dialled() == {"+12025550107": 2}
        assert bench.told[-1]["outcomes"] == {"voicemail": 1}

    def test_a_webhook_that_comes_long_before_the_answer_counts(
        self, bench: Bench, sandbox: SandboxProcess
    ) -> None:
        bench.load(numbers(3))
        sandbox.configure(latency_ms=500)
        sandbox.fault("webhook_early", 3)
        plan = bench.plan(completion_timeout=2 * SECOND)
        assert bench.run(plan) is End.FINISHED
        assert bench.told[-1]["outcomes"] == {"answered": 3}
        assert not any(told["outcomes"].get("unknown") for told in bench.told)

    def test_every_fault_at_once(self, bench: Bench, sandbox: SandboxProcess) -> None:
        called = numbers(100, endings=range(100))
        bench.load(called)
        sandbox.configure(webhook_late_seconds=1, call_seconds_jitter=0.5, latency_ms=20)
        plan = bench.plan(unknown_timeout=3 * SECOND, completion_timeout=3 * SECOND, max_active_calls=30)

        assert bench.run(plan, timeout=1.0) is End.FINISHED

        never = {number for number in called if number[-2:] in {"90", "93"}}
        assert bench.dialled() == dict.fromkeys(sorted(set(called) - never), 1)
        told = bench.summary(plan)
        assert told["unknown"] == len(never) + 1  # and the one whose webhook never comes
        assert told["contacts"] == 100
        assert bench.told[-1]["done"] == 100

    def test_refusals_of_single_contacts_do_not_stop_the_others(
        self, bench: Bench, sandbox: SandboxProcess
    ) -> None:
        called = numbers(40)
        bench.load(called)
        sandbox.configure(from_numbers=["+14155550199"])
        plan = bench.plan()
        with bench.running(plan, most=20) as ended:
            until(lambda: bench.dialled())
            sandbox.configure(agents=["agent_other"])  # 404 from here on
            until(lambda: sandbox.counts()["refused"] >= 12)
            sandbox.configure(agents=["agent_demo"])
        assert ended == [End.FINISHED]
        told = bench.summary(plan)
        assert told["refused"] == 40 - told["placed"] >= 12
        refusals = bench.told[-1]["refusals"]
        assert {refusal["code"] for refusal in refusals} == {"not_found"}
        assert all("***" in refusal["to_number"] for refusal in refusals)

    def test_what_a_person_may_have_fixed_is_tried_again_by_the_next_try_and_not_before(
        self, bench: Bench, sandbox: SandboxProcess
    ) -> None:
        called = numbers(30)
        bench.load(called)
        plan = bench.plan()
        with bench.running(plan, most=30):
            until(lambda: bench.dialled())
            sandbox.configure(agents=["agent_other"])
        refused = bench.summary(plan)["refused"]
        assert refused >= obstacles.MOST_REFUSALS
        before = sandbox.counts()["requests"]
        assert bench.run(plan) is End.FINISHED  # the same try, say after it slept
        assert sandbox.counts()["requests"] == before

        # More are refused than would stop a campaign of which nothing was ever accepted.
        assert bench.run(plan, origin=NEXT_TRY) is End.FINISHED
        assert sandbox.counts()["requests"] == before + refused
        sandbox.configure(agents=["agent_demo"])
        third_try = CallOrigin("dag", "run", "task", -1, 3)
        assert bench.run(plan, origin=third_try) is End.FINISHED
        assert bench.dialled() == dict.fromkeys(called, 1)

    @pytest.mark.parametrize(
        ("settings", "error"),
        [
            ({"api_keys": ["vk_other"]}, UnauthorizedError),
            ({"agents": ["agent_other"]}, CallRefusedError),
            ({"from_numbers": ["+14155550198"]}, CallRefusedError),
        ],
        ids=["401", "404", "400"],
    )
    def test_what_the_api_refuses_for_everybody_stops_the_campaign_and_loses_nobody(
        self, bench: Bench, sandbox: SandboxProcess, settings: dict[str, Any], error: type[Exception]
    ) -> None:
        called = numbers(60)
        bench.load(called)
        usual = sandbox.control("GET", "settings")
        sandbox.configure(**settings)

        with pytest.raises(error):
            bench.run(bench.plan())

        assert sandbox.counts()["requests"] < 60
        sandbox.configure(**{name: usual[name] for name in settings})
        assert bench.run(bench.plan(), origin=NEXT_TRY) is End.FINISHED
        assert bench.dialled() == dict.fromkeys(called, 1)


class TestApiOutOfReach:
    def test_an_api_that_only_fails_costs_few_contacts_their_call(
        self, bench: Bench, sandbox: SandboxProcess
    ) -> None:
        called = numbers(40)
        bench.load(called)
        sandbox.configure(fault_rate=1.0, faults=["error_before"])
        plan = bench.plan(unknown_timeout=SECOND)
        with bench.running(plan) as ended:
            until(lambda: bench.told and bench.told[-1]["obstacle"] == Obstacle.FAILING)
            sandbox.configure(fault_rate=0.0)
        assert ended == [End.FINISHED]
        told = bench.summary(plan)
        assert told["unknown"] == 40 - told["placed"] < 20
        assert sandbox.counts()["requests"] == 40

    def test_at_the_start_and_in_the_middle_nobody_is_lost(self, ledger: CallLedger) -> None:
        with SandboxProcess(call_seconds=0.1, port=free_port()) as sandbox, recording(sandbox, ledger):
            bench = Bench(ledger, sandbox)
            called = numbers(40)
            bench.load(called)
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

    def test_after_a_long_time_the_task_fails_and_the_next_try_calls_everybody(
        self, bench: Bench, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(obstacles, "PATIENCE", SECOND)
        called = numbers(5)
        bench.load(called)
        with pytest.raises(VoiceInfraError, match="cannot be reached"):
            bench.run(bench.plan(), base_url=f"http://127.0.0.1:{free_port()}/v1")
        assert bench.run(bench.plan(), origin=NEXT_TRY) is End.FINISHED
        assert bench.dialled() == dict.fromkeys(called, 1)


class TestLedgerThatFails:
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("share", [0.05, 0.2])
    def test_nobody_is_called_twice_or_lost_whatever_operation_fails(
        self, bench: Bench, sandbox: SandboxProcess, seed: int, share: float
    ) -> None:
        called = numbers(25)
        bench.load(called)
        sandbox.configure(call_seconds=0.05, rate_limit=60)
        plan = bench.plan(max_active_calls=6, redial=VOICEMAIL_TWICE, unknown_timeout=2 * SECOND)
        flaky = FlakyLedger(bench.ledger, at_random(seed, share))

        with bench.running(plan, flaky) as ended:
            pass

        assert ended == [End.FINISHED]
        assert flaky.failures.total() > 0
        assert bench.dialled() == {number: 2 if number.endswith("7") else 1 for number in called}
        assert bench.summary(plan).get("unknown", 0) == 0

    def test_with_lost_answers_as_well(self, bench: Bench, sandbox: SandboxProcess) -> None:
        called = numbers(30)
        bench.load(called)
        faults = ["cut_after", "error_before", "bad_json_2xx", "rate_limited", "webhook_early"]
        sandbox.configure(call_seconds=0.05, fault_rate=0.4, faults=faults)
        plan = bench.plan(max_active_calls=6, unknown_timeout=2 * SECOND)
        flaky = FlakyLedger(bench.ledger, at_random(7, 0.2))

        with bench.running(plan, flaky) as ended:
            pass

        assert ended == [End.FINISHED]
        assert max(bench.dialled().values()) == 1
        told = bench.summary(plan)
        assert len(bench.dialled()) + told.get("unknown", 0) == 30
        assert told.get("unknown", 0) == sum(
            request["fault"] == "error_before" for request in sandbox.audit()["requests"]
        )

    def test_it_is_away_for_a_while_and_nobody_is_dialled_meanwhile(
        self, bench: Bench, sandbox: SandboxProcess
    ) -> None:
        called = numbers(60)
        bench.load(called)
        away: list[bool] = []
        flaky = FlakyLedger(bench.ledger, lambda name: "before" if away else None)
        with bench.running(bench.plan(), flaky, most=30) as ended:
            until(lambda: len(bench.dialled()) >= 5)
            away.append(True)
            until(lambda: flaky.failures.total() > 20)
            seen = sandbox.counts()["requests"]
            until(lambda: flaky.failures.total() > 100)
            assert sandbox.counts()["requests"] == seen
            away.clear()
        assert ended == [End.FINISHED]
        assert bench.dialled() == dict.fromkeys(called, 1)

    def test_a_cancellation_while_it_was_away_stops_what_was_queued(
        self, bench: Bench, sandbox: SandboxProcess
    ) -> None:
        bench.load(numbers(60))
        away: list[bool] = []
        flaky = FlakyLedger(bench.ledger, lambda name: "before" if away else None)
        with bench.running(bench.plan(max_active_calls=50), flaky, most=3, start=3.0) as ended:
            until(lambda: len(bench.dialled()) >= 2)
            away.append(True)
            until(lambda: flaky.failures.total() > 20)
            bench.ledger.cancel_campaign(bench.campaign_id)
            seen = sandbox.counts()["requests"]
            away.clear()
        assert ended == [End.CANCELLED]
        assert sandbox.counts()["requests"] <= seen + 1

    def test_a_task_that_is_told_to_stop_while_it_is_away_stops_and_another_try_goes_on(
        self, bench: Bench
    ) -> None:
        called = numbers(40)
        bench.load(called)
        away: set[str] = set()
        flaky = FlakyLedger(bench.ledger, lambda name: "before" if name in away else None)
        with bench.running(bench.plan(), flaky, most=20) as ended:
            until(lambda: len(bench.dialled()) >= 2)
            away.add("claim_many")
            until(lambda: flaky.failures["claim_many"] > 5)  # so some wait for their claim
            away.update({"heartbeat", "completions_after", "count_contacts"})
            until(lambda: flaky.failures["heartbeat"] + flaky.failures["completions_after"])
            assert bench.runner is not None
            bench.runner.stop()
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


def noon() -> MemoryLedger:
    """Return a ledger with three contacts in New York, where it is noon on a Monday."""
    ledger = MemoryLedger(Clock(utc(2026, 6, 1, 16)))
    for line in range(3):
        ledger.add(f"+121255501{line:02d}")
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
    ledger: MemoryLedger,
    plan: CampaignPlan,
    world: World | None = None,
    min_pause: timedelta | None = MIN_PAUSE,
) -> End | Pause | None:
    """Return how the run ends within three minutes; ``None`` if it goes on."""
    world = world or World(ledger, Habits(queued=timedelta(0), step=timedelta(0)), seed=0)
    end, dialler = ledger.clock.now + 3 * MIN_PAUSE, SimulatedDialler(world)
    wait = dialler.wait

    def wait_for_a_while(timeout: float) -> list[Dialled]:
        if ledger.clock.now > end:
            raise Killed
        return wait(timeout)

    dialler.wait = wait_for_a_while  # type: ignore[method-assign]
    anything: Any = dialler, ledger
    campaign = runner.CampaignRunner(
        plan,
        anything[1],
        anything[0],
        runner="",
        origin=ORIGIN,
        min_pause=min_pause,
        clocks=ledger.clock.clocks,
    )
    try:
        return campaign.run()
    except Killed:
        return None


HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
NOON = utc(2026, 6, 1, 16)
CLOSED = CallingWindow.parse("14:00-17:00")


class TestPauses:
    """When the worker may be given back, until when, and what is to wake the campaign earlier."""

    def test_until_the_window_opens(self) -> None:
        assert decision(noon(), CampaignPlan("c", window=CLOSED)) == Pause(NOON + 2 * HOUR, None)

    def test_until_the_deadline_if_that_is_earlier(self) -> None:
        plan = CampaignPlan("c", window=CLOSED, deadline=NOON + HOUR)
        assert decision(noon(), plan) == Pause(NOON + HOUR, None)

    def test_until_a_redial_is_due(self) -> None:
        ledger = noon()
        for position in (1, 2, 3):
            placed(ledger, position, MINUTE * 5, "voicemail")
        plan = CampaignPlan("c", redial=RedialPolicy.parse({"waits": [30]}))
        assert decision(ledger, plan) == Pause(NOON + 30 * MINUTE, None)

    def test_until_all_are_off_the_phone_if_nobody_is_left(self) -> None:
        ledger = noon()
        placed(ledger, 1, MINUTE, "answered")
        placed(ledger, 2, 10 * MINUTE)
        placed(ledger, 3, 5 * MINUTE)
        assert decision(ledger, CampaignPlan("c")) == Pause(NOON + 50 * MINUTE, 1)

    def test_calls_that_were_given_up_do_not_count_among_all(self) -> None:
        ledger = noon()
        placed(ledger, 1, 2 * HOUR)
        placed(ledger, 2, 10 * MINUTE)
        placed(ledger, 3, 5 * MINUTE)
        assert decision(ledger, CampaignPlan("c")) == Pause(NOON + 50 * MINUTE, 2)

    def test_until_any_is_off_the_phone_if_somebody_waits_for_a_line(self) -> None:
        ledger = noon()
        placed(ledger, 1, 10 * MINUTE)
        placed(ledger, 2, 5 * MINUTE)
        assert decision(ledger, CampaignPlan("c", 2)) == Pause(NOON + 50 * MINUTE, 2)

    def test_until_any_is_off_the_phone_if_that_may_lead_to_a_redial(self) -> None:
        ledger = noon()
        for position in (1, 2, 3):
            placed(ledger, position, 5 * MINUTE)
        plan = CampaignPlan("c", redial=RedialPolicy.parse({"waits": [1]}))
        assert decision(ledger, plan) == Pause(NOON + 55 * MINUTE, 3)

    def test_until_all_are_off_the_phone_after_the_deadline(self) -> None:
        ledger = noon()
        placed(ledger, 1, 10 * MINUTE)
        placed(ledger, 2, 5 * MINUTE)
        plan = CampaignPlan("c", 2, deadline=NOON, redial=RedialPolicy.parse({"waits": [1]}))
        assert decision(ledger, plan) == Pause(NOON + 50 * MINUTE, 1)

    def test_not_while_somebody_is_due_who_cannot_be_dialled(self) -> None:
        ledger = noon()
        world = Unreachable(ledger, Habits(queued=timedelta(0), step=timedelta(0)), seed=0)
        assert decision(ledger, CampaignPlan("c", deadline=NOON + 9 * HOUR), world) is None

    def test_not_while_an_answer_is_missing(self) -> None:
        ledger = noon()
        habits = Habits(queued=timedelta(0), step=timedelta(0), answer_lost=1.0)
        assert decision(ledger, CampaignPlan("c"), World(ledger, habits, seed=0)) is None

    def test_not_right_after_something_has_happened(self) -> None:
        ledger = noon()
        for position in (1, 2, 3):
            placed(ledger, position, 5 * MINUTE)
        pause = decision(ledger, CampaignPlan("c"))
        assert isinstance(pause, Pause)
        assert ledger.clock.now >= NOON + MIN_PAUSE

    def test_not_for_less_than_a_minute(self) -> None:
        ledger = noon()
        for position in (1, 2, 3):
            placed(ledger, position, 5 * MINUTE, "voicemail")
        plan = CampaignPlan("c", redial=RedialPolicy.parse({"waits": [0.9], "attempts": 2}))
        assert decision(ledger, plan) is None or ledger.clock.now > NOON + 0.9 * MINUTE

    def test_not_unless_it_is_wanted(self) -> None:
        assert decision(noon(), CampaignPlan("c", window=CLOSED), min_pause=None) is None

    def test_a_cancelled_campaign_ends_as_soon_as_nobody_is_on_the_phone(self) -> None:
        ledger = noon()
        ledger.cancelled_at = NOON
        assert decision(ledger, CampaignPlan("c", window=CLOSED)) is End.CANCELLED
        placed(ledger, 1, MINUTE)
        assert decision(ledger, CampaignPlan("c", window=CLOSED)) is None


def test_a_cancellation_that_was_taken_back_does_not_end_what_was_on_the_phone_till_then() -> None:
    ledger = noon()
    ledger.add("+12125550101")
    placed(ledger, 1, MINUTE)
    ledger.cancelled_at = NOON
    world = World(ledger, Habits(queued=timedelta(0), step=timedelta(0)), seed=0)
    dialler, seen = SimulatedDialler(world), []
    wait = dialler.wait

    def note(timeout: float) -> list[Dialled]:
        seen.append(ledger.clock.now)
        if len(seen) == 3:  # long before the ledger is asked again
            ledger.cancelled_at = None
            ledger.complete("call 1/1", "answered")
        return wait(timeout)

    dialler.wait = note  # type: ignore[method-assign]
    anything: Any = ledger, dialler
    campaign = runner.CampaignRunner(
        CampaignPlan("c", 1), *anything, runner="", origin=ORIGIN, clocks=ledger.clock.clocks
    )
    assert campaign.run() is End.FINISHED
    assert [entry.call_outcome for entry in ledger.completed][:1] == ["answered"]
    assert len(ledger.completed) == len(ledger.contacts) > 1


def test_a_campaign_that_is_cancelled_while_it_looks_for_open_windows_does_not_keep_a_processor_busy() -> (
    None
):
    ledger = noon()
    for _ in range(5000):
        ledger.add("+12125550100")
    placed(ledger, 1, 10 * MINUTE)
    world = World(ledger, Habits(queued=timedelta(0), step=SECOND), seed=0)
    dialler, waited = SimulatedDialler(world), []
    wait = dialler.wait

    def note(timeout: float) -> list[Dialled]:
        waited.append(timeout)
        if len(waited) == 5:
            ledger.cancelled_at = ledger.clock.now
        return wait(timeout)

    dialler.wait = note  # type: ignore[method-assign]
    anything: Any = ledger, dialler
    campaign = runner.CampaignRunner(
        CampaignPlan("c", window=CLOSED), *anything, runner="", origin=ORIGIN, clocks=ledger.clock.clocks
    )
    assert campaign.run() is End.CANCELLED
    assert waited.count(0.0) < 100


def test_a_ledger_that_fails_half_way_has_all_its_connections_back(bench: Bench, ledger_url: str) -> None:
    bench.load(numbers(3))
    bench.sandbox.fault("cut_after", 3)
    bench.sandbox.configure(webhook_hold=True)
    with bench.running(bench.plan()):
        until(lambda: len(bench.dialled()) == 3)
        assert bench.runner is not None
        bench.runner.stop()
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
