"""No request leaves that a rule does not allow at that moment, whichever way it takes to the door."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.connection import VoiceInfraConnection
from airflow_provider_voiceinfra.dialling import placing, sending
from airflow_provider_voiceinfra.dialling.clocks import Clocks
from airflow_provider_voiceinfra.dialling.dialler import Dialler
from airflow_provider_voiceinfra.dialling.guard import Guard
from airflow_provider_voiceinfra.dialling.outcomes import How, OnUnknown, Pending, UnknownPolicy
from airflow_provider_voiceinfra.dialling.placing import CallPlacer
from airflow_provider_voiceinfra.dialling.rate import AdaptivePace
from airflow_provider_voiceinfra.dialling.retrying import RetryBounds
from airflow_provider_voiceinfra.exceptions import CallNotAllowedError, CallNotPlacedError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, CallState, Job
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from airflow_provider_voiceinfra.rules.recipient import ANYBODY, Recipient
from airflow_provider_voiceinfra.rules.rule_set import Rules, RuleSet
from tests.ledger.racing import elsewhere
from tests.sandbox_process import SandboxProcess

CONN_ID = "voiceinfra_default"
CALL = OutboundCall("+12025550133", agent_id="agent_demo", from_number="+12025550134")
WAIT = UnknownPolicy(3e8)
REDIAL_NOW = UnknownPolicy(0.0, OnUnknown.REDIAL)
# 10:00 on a Monday in Washington, later than any clock of today; people may be called from 9 to 20.
MORNING = datetime(2030, 6, 3, 14, tzinfo=timezone.utc)
NIGHT = MORNING + timedelta(hours=12)
OPENS = MORNING + timedelta(hours=23)
RULES = RuleSet(connection=Rules.parse({"calling_window": "09:00-20:00"}))


class Door:
    """A ledger, the sandbox, and a wall clock that a test sets."""

    def __init__(self, ledger: CallLedger, sandbox: SandboxProcess) -> None:
        self.ledger = ledger
        self.sandbox = sandbox
        self.now = MORNING
        self.clocks = Clocks(now=lambda: self.now)
        self.counted: list[str] = []

    def client(self) -> VoiceInfraClient:
        return VoiceInfraClient(VoiceInfraConnection(CONN_ID, "vk_sandbox_key", self.sandbox.base_url))

    def placer(self, rules: RuleSet = RULES, **options: Any) -> CallPlacer:
        bounds = RetryBounds(patience=30.0, sleep=options.pop("sleep", lambda seconds: None))
        return CallPlacer(
            self.ledger,
            self.client(),
            conn_id=CONN_ID,
            bounds=bounds,
            clocks=self.clocks,
            guard=Guard(rules, self.clocks),
            count=self.counted.append,
            **options,
        )

    def place(
        self, rules: RuleSet = RULES, recipient: Recipient = ANYBODY, key: str | None = "key", **options: Any
    ) -> Any:
        placer = self.placer(rules, **options)
        if key is None:
            return placer.place_without_key(CALL, recipient=recipient)
        return placer.place(key, CALL, WAIT, recipient=recipient)

    def refusal(self, *args: Any, **options: Any) -> CallNotAllowedError:
        before = self.requests
        with pytest.raises(CallNotAllowedError) as caught:
            self.place(*args, **options)
        assert self.requests == before
        assert CALL.to_number not in str(caught.value)
        return caught.value

    @contextmanager
    def dialler(self, rules: RuleSet = RULES) -> Iterator[Dialler]:
        campaign = self.ledger.campaigns.take("campaign", conn_id=CONN_ID, origin=CallOrigin())
        dialler = Dialler(
            self.ledger,
            self.client,
            owner=Ownership("campaign", str(campaign.runner)),
            conn_id=CONN_ID,
            pace=AdaptivePace(),
            threads=2,
            clocks=self.clocks,
            guard=Guard(rules, self.clocks),
            count=self.counted.append,
        )
        try:
            yield dialler
        finally:
            dialler.close()

    @property
    def entry(self) -> CallEntry:
        [entry] = self.ledger.calls()
        return entry

    @property
    def requests(self) -> int:
        return self.sandbox.counts()["requests"]


@pytest.fixture
def door(ledger: CallLedger, sandbox: SandboxProcess) -> Door:
    return Door(ledger, sandbox)


@pytest.fixture(autouse=True)
def _nobody_is_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "REDIAL_AFTER", 0.0)


class TestWindow:
    @pytest.mark.parametrize("key", ["key", None])
    def test_nobody_is_called_outside_it_with_or_without_a_key(self, door: Door, key: str | None) -> None:
        door.now = NIGHT
        error = door.refusal(key=key)
        assert (error.code, error.allowed_from) == ("outside_calling_window", OPENS)
        entry = door.entry
        assert (entry.state, entry.error_code) == (CallState.REFUSED, "outside_calling_window")
        assert entry.allowed_from == OPENS
        assert door.counted == ["calls.not_allowed"]

    def test_error_names_the_window_that_is_closed_and_the_time_where_the_number_is(self, door: Door) -> None:
        door.now = NIGHT
        everywhere = Rules.parse({"calling_window": "00:00-24:00"})
        own = Rules.parse({"calling_window": f"US {' '.join(['10:00-11:00,'] * 9)} 12:00-13:00"})
        reason = door.refusal(rules=RuleSet(everywhere, RULES.connection, own)).reason
        assert "calling_window of the connection, 09:00-20:00 and calling_window of the task;" in reason
        assert "it is Mon 22:00 in America/New_York" in reason
        assert "[voiceinfra]" not in reason

    @pytest.mark.parametrize("key", ["key", None])
    def test_process_that_dies_right_after_its_claim_leaves_no_call_outside_it(
        self, door: Door, key: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def dies(*args: Any, **options: Any) -> None:
            raise SystemExit

        monkeypatch.setattr(CallLedger, "refuse", dies)
        door.now = NIGHT
        assert door.refusal(key=key).code == "outside_calling_window"
        assert door.entry.state is CallState.REFUSED

    def test_redial_outside_it_is_not_claimed(self, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
        door.sandbox.fault("cut_after")
        assert isinstance(door.placer().step("key", CALL, WAIT), Pending)
        before, door.now = door.entry, NIGHT
        monkeypatch.setattr(CallLedger, "claim_redial", None)
        door.counted.clear()
        with pytest.raises(CallNotAllowedError):
            door.placer().step("key", CALL, REDIAL_NOW)
        assert door.entry == before
        assert door.counted == ["calls.not_allowed"]

    def test_key_is_called_once_it_is_open_and_taken_up_after_that(self, door: Door) -> None:
        door.now = NIGHT
        door.refusal()
        door.now = OPENS
        placed = door.place()
        assert placed.how is How.PLACED
        door.now = NIGHT
        assert door.place().how is How.TAKEN_UP
        assert door.entry.allowed_from is None

    @pytest.mark.parametrize("place", ["deployment", "connection", "task"])
    def test_each_place_must_allow_it(self, door: Door, place: str) -> None:
        wide, narrow = (Rules.parse({"calling_window": hours}) for hours in ("09:00-20:00", "11:00-20:00"))
        rules = {name: narrow if name == place else wide for name in ("deployment", "connection", "task")}
        assert door.refusal(RuleSet(**rules)).allowed_from == MORNING + timedelta(hours=1)

    def test_time_zone_of_the_person_decides(self, door: Door) -> None:
        assert door.refusal(recipient=Recipient(timezone="America/Los_Angeles"))
        assert door.place(recipient=Recipient(timezone="America/New_York"))
        assert door.entry.timezone == "America/New_York"

    def test_it_may_close_while_the_rate_is_waited_for(self, door: Door) -> None:
        def wait() -> None:
            door.now = NIGHT

        assert door.refusal(before_send=wait).code == "outside_calling_window"

    def test_it_may_close_between_two_tries_of_a_request(self, door: Door) -> None:
        def sleep(seconds: float) -> None:
            door.now = NIGHT

        door.sandbox.fault("rate_limited")
        with pytest.raises(CallNotAllowedError):
            door.place(sleep=sleep)
        assert door.requests == 1
        assert door.entry.error_code == "outside_calling_window"

    def test_redial_is_asked_about_and_leaves_the_call_unknown(self, door: Door) -> None:
        door.sandbox.fault("cut_after")
        assert isinstance(door.placer().step("key", CALL, WAIT), Pending)
        door.now = NIGHT
        with pytest.raises(CallNotAllowedError):
            door.placer().step("key", CALL, REDIAL_NOW)
        assert door.requests == 1
        assert (door.entry.state, door.entry.redials) == (CallState.UNKNOWN, 0)

    def test_request_that_would_begin_after_the_closing_is_not_sent(
        self, door: Door, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The process is paused right after the look at the clock.
        door.now = MORNING + timedelta(hours=10) - timedelta(seconds=2)
        passed = [1000.0]
        door.clocks = replace(door.clocks, passed=lambda: passed[0])
        begun_by: list[float] = []
        place = VoiceInfraClient.place

        def slow(client: VoiceInfraClient, call: OutboundCall, *, begin_by: float) -> Any:
            begun_by.append(begin_by)
            return place(client, call)

        monkeypatch.setattr(VoiceInfraClient, "place", slow)
        door.place()
        assert begun_by == [1002.0]

    def test_exempt_number_is_called_at_any_hour_of_the_place_that_exempts_it(self, door: Door) -> None:
        door.now = NIGHT
        hours = {"calling_window": "09:00-20:00"}
        exempt = Rules.parse({**hours, "exempt_numbers": CALL.to_number})
        assert door.refusal(RuleSet(Rules.parse(hours), exempt))
        assert door.place(RuleSet(Rules(), exempt, Rules.parse(hours)))


class TestConsent:
    def test_nobody_is_called_without_it_where_it_is_required(self, door: Door) -> None:
        rules = RuleSet(connection=Rules.parse({"require_consent": True}))
        error = door.refusal(rules)
        assert (error.code, error.allowed_from) == ("no_consent", None)
        assert door.place(rules, Recipient(consent="form 12"))
        assert door.entry.consent == "form 12"


class TestCap:
    def test_call_beyond_it_is_refused_with_or_without_a_key(self, door: Door) -> None:
        rules = RuleSet(task=Rules.parse({"call_cap": "1/24h"}))
        assert door.place(rules, key="the first")
        for key in ("another", None):
            error = door.refusal(rules, key=key)
            assert error.code == "call_cap"
            assert error.allowed_from is not None

    def test_redial_counts_as_a_call(self, door: Door) -> None:
        rules = RuleSet(task=Rules.parse({"call_cap": "1/24h"}))
        door.sandbox.fault("cut_after")
        assert isinstance(door.placer(rules).step("key", CALL, WAIT), Pending)
        with pytest.raises(CallNotAllowedError):
            door.placer(rules).step("key", CALL, REDIAL_NOW)
        assert door.requests == 1


class TestSuppressed:
    @pytest.mark.parametrize("key", ["key", None])
    def test_nobody_who_is_suppressed_is_called_exempt_or_not(self, door: Door, key: str | None) -> None:
        door.ledger.suppressions.add([Suppression(CALL.to_number)])
        rules = RuleSet(Rules.parse({"exempt_numbers": CALL.to_number}))
        assert door.refusal(rules, key=key).code == "suppressed"
        assert door.counted == ["calls.not_allowed"]

    @pytest.mark.parametrize("when", ["while the rate is waited for", "between two tries"])
    def test_suppression_that_comes_late_is_honoured(
        self, door: Door, monkeypatch: pytest.MonkeyPatch, when: str
    ) -> None:
        def suppress(*_: float) -> None:
            elsewhere(door.ledger).suppressions.add([Suppression(CALL.to_number)])

        if when == "between two tries":
            door.sandbox.fault("rate_limited")
            options: dict[str, Any] = {"sleep": suppress}
        else:
            monkeypatch.setattr(sending, "FRESH_FOR", -1.0)
            options = {"before_send": suppress}
        before = door.requests
        with pytest.raises(CallNotAllowedError) as caught:
            door.place(**options)
        assert caught.value.code == "suppressed"
        assert door.requests == before + (when == "between two tries")

    def test_once_the_last_requests_are_awaited_none_is_sent(self, door: Door) -> None:
        """The moment between the claim and its request: whoever opts out has to wait for the request."""
        at_the_gate, go_on = threading.Event(), threading.Event()

        def gate() -> None:
            at_the_gate.set()
            assert go_on.wait(30)

        errors: list[BaseException] = []

        def place() -> None:
            try:
                door.place(before_send=gate)
            except BaseException as error:  # noqa: BLE001 # looked at below
                errors.append(error)

        caller = threading.Thread(target=place)
        caller.start()
        assert at_the_gate.wait(30)
        others = elsewhere(door.ledger).suppressions
        others.add([Suppression(CALL.to_number)])
        assert not others.await_last_requests([CALL.to_number], patience=0.0)
        go_on.set()
        caller.join(30)
        assert others.await_last_requests([CALL.to_number], patience=0.0)
        assert door.requests == (0 if errors else 1)


def job(number: str = CALL.to_number, position: int = 1, **values: Any) -> Job:
    origin = CallOrigin(campaign_id="campaign", contact_key=number, position=position, attempt=1)
    return Job(f"campaign/{number}/1", replace(CALL, to_number=number), origin, **values)


class TestDialler:
    def dial(self, dialler: Dialler, *jobs: Job) -> list[Any]:
        dialler.prolong(dialler._clocks.passed() + 60)
        dialler.submit(list(jobs))
        found: list[Any] = []
        while dialler.outstanding:
            found += dialler.wait(1.0)
        return found

    def test_job_outside_the_window_comes_back_unsent(self, door: Door) -> None:
        door.now = NIGHT
        with door.dialler() as dialler:
            [dialled] = self.dial(dialler, job())
        assert (dialled.again, door.requests) == (True, 0)
        assert door.entry.state is CallState.REFUSED

    def test_suppressed_one_is_over_with_its_reason(self, door: Door) -> None:
        door.ledger.suppressions.add([Suppression(CALL.to_number, reason="asked by mail")])
        with door.dialler() as dialler:
            [dialled] = self.dial(dialler, job())
        assert (dialled.again, dialled.error.code, door.requests) == (False, "suppressed", 0)
        assert "asked by mail" in str(dialled.entry.error_message)

    def test_capped_one_comes_back_with_the_moment_from_which_it_is_allowed(self, door: Door) -> None:
        rules = RuleSet(connection=Rules.parse({"call_cap": "1/24h"}))
        door.place(rules, key="a single call")
        with door.dialler(rules) as dialler:
            [dialled] = self.dial(dialler, job())
        assert (dialled.again, door.requests) == (True, 1)
        assert dialled.not_before == dialled.entry.allowed_from is not None

    def test_one_without_consent_is_over(self, door: Door) -> None:
        rules = RuleSet(connection=Rules.parse({"require_consent": True}))
        with door.dialler(rules) as dialler:
            found = self.dial(dialler, job(), job("+12025550135", 2, recipient=Recipient(consent="form 12")))
        assert door.requests == 1
        by_number = {one.job.call.to_number: one for one in found}
        assert by_number[CALL.to_number].error.code == "no_consent"
        assert by_number["+12025550135"].entry.state is CallState.ACCEPTED

    def test_claim_that_took_too_long_is_not_sent(self, door: Door) -> None:
        """A process that is paused in the midst of its claim has asked about the suppressions long ago."""
        paused_for = [0.0]
        door.clocks = replace(door.clocks, passed=lambda: time.monotonic() + paused_for[0])
        claim_many: Callable[..., Any] = door.ledger.claim_many

        def paused(*args: Any, **options: Any) -> Any:
            found = claim_many(*args, **options)
            paused_for[0] += sending.BEGIN_WITHIN + 1
            return found

        door.ledger.claim_many = paused  # type: ignore[method-assign]
        with door.dialler() as dialler:
            dialler.prolong(time.monotonic() + 60.0)
            dialler.submit([job()])
            [dialled] = dialler.wait(10.0)
        assert (dialled.again, door.requests) == (True, 0)


def test_rules_that_are_wrong_name_themselves() -> None:
    for name, value in (("call_cap", "3 a day"), ("calling_window", "always"), ("opt_out", "yes")):
        with pytest.raises(Exception, match=name):
            Rules.parse({name: value})


def test_not_allowed_is_a_kind_of_not_placed() -> None:
    assert issubclass(CallNotAllowedError, CallNotPlacedError)
