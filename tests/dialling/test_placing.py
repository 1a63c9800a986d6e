"""Nobody is called twice, whoever dies when; the audit log of the sandbox is the judge."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from multiprocessing.connection import Connection
from typing import Any

import pytest
from harness.postgres import PostgresServer

from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.calls import OutboundCall, PlacedCall
from airflow_provider_voiceinfra.connection import VoiceInfraConnection
from airflow_provider_voiceinfra.dialling import answers, placing, sending
from airflow_provider_voiceinfra.dialling.clocks import Clocks
from airflow_provider_voiceinfra.dialling.outcomes import (
    How,
    OnUnknown,
    Pending,
    Placement,
    UnknownPolicy,
    placement,
)
from airflow_provider_voiceinfra.dialling.placing import CallPlacer
from airflow_provider_voiceinfra.dialling.retrying import RetryBounds
from airflow_provider_voiceinfra.exceptions import (
    ApiUnreachableError,
    CallNotPlacedError,
    CallOutcomeUnknownError,
    ClaimLostError,
    IdempotencyConflictError,
    InvalidCallError,
    InvalidPhoneError,
    InvalidRequestError,
    LedgerUnavailableError,
    NotFoundError,
    RateLimitedError,
    UnauthorizedError,
)
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database import connect
from airflow_provider_voiceinfra.ledger.database.schema import calls
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, CallState
from tests.api.test_client import answering, http, server
from tests.sandbox_process import SandboxProcess
from tests.support.clocks import Clock
from tests.support.ledgers import ON_SQLITE
from tests.support.receivers import recording
from tests.support.waiting import until

API_KEY = "vk_sandbox_key"
CONN_ID = "voiceinfra_default"
CALL = OutboundCall("+14155550133", agent_id="agent_demo", from_number="+14155550134")
NUMBERS = (CALL.to_number, "+14155550134")
# Within which a request begins whose owner is paused, in seconds.
PAUSE = 0.5
KEY = f"dag/run/{CALL.to_number}"
FIRST_TRY = CallOrigin("dag", "run", "task", -1, 1)
SECOND_TRY = replace(FIRST_TRY, try_number=2)
THIRD_TRY = replace(FIRST_TRY, try_number=3)
WAIT = UnknownPolicy(900.0)
FAIL_NOW = UnknownPolicy(0.0)
REDIAL_NOW = UnknownPolicy(0.0, OnUnknown.REDIAL)


def no_sleep(seconds: float) -> None:
    """Let others run, but do not wait."""
    time.sleep(0.005)


def make_placer(ledger_url: str, base_url: str, **options: Any) -> CallPlacer:
    """Return a placer that waits for nobody longer than a test can."""
    timeout = options.pop("timeout", 5.0)
    options = {"bounds": RetryBounds(patience=30.0, sleep=no_sleep), "lease": 60.0, **options}
    client = VoiceInfraClient(VoiceInfraConnection(CONN_ID, API_KEY, base_url, timeout=timeout))
    return CallPlacer(CallLedger(ledger_url), client, conn_id=CONN_ID, **options)


@pytest.fixture(autouse=True)
def _nobody_is_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody wait for an owner that might be paused, but where one is."""
    assert placing.REDIAL_AFTER >= sending.BEGIN_WITHIN
    monkeypatch.setattr(placing, "REDIAL_AFTER", 0.0)


@pytest.fixture
def waited_for_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every claim be so old by its request that it is looked at again."""
    monkeypatch.setattr(sending, "FRESH_FOR", -1.0)


WAITED = pytest.mark.usefixtures("waited_for_the_rate")


@contextmanager
def raises(kind: type[Exception]) -> Iterator[Any]:
    """Expect an error of exactly this class that tells no secret."""
    with pytest.raises(kind) as caught:
        yield caught
    assert type(caught.value) is kind
    shown = repr(caught.value) + "".join(traceback.format_exception(caught.value))
    assert API_KEY not in shown
    assert not any(number[1:] in shown for number in NUMBERS)


class Stage:
    """The sandbox, a ledger, and placers of one call; unless said otherwise each has a client of its own."""

    def __init__(self, ledger_url: str, sandbox: SandboxProcess) -> None:
        self.url = ledger_url
        self.sandbox = sandbox
        self.ledger = CallLedger(ledger_url)
        self.ledger.check()
        self.owners: list[OwnerProcess] = []

    def placer(self, *, base_url: str | None = None, **options: Any) -> CallPlacer:
        return make_placer(self.url, base_url or self.sandbox.base_url, **options)

    def place(
        self,
        policy: UnknownPolicy = WAIT,
        origin: CallOrigin | None = None,
        call: OutboundCall = CALL,
        **options: Any,
    ) -> Placement:
        return self.placer(**options).place(KEY, call, policy, origin=origin, poll_interval=0.01)

    def fail(self, kind: type[Exception], *args: Any, **options: Any) -> Any:
        """Fail to place the call, and return the error."""
        with raises(kind) as caught:
            self.place(*args, **options)
        return caught.value

    def lose_answer(self) -> Pending:
        """Place a call that is accepted but whose answer is cut."""
        self.sandbox.fault("cut_after")
        result = self.placer().step(KEY, CALL, WAIT, origin=FIRST_TRY)
        assert isinstance(result, Pending)
        return result

    def start_owner(self, gate: str = "none") -> OwnerProcess:
        """Have another process place the call; if there is a gate, return once it waits there."""
        self.owners.append(OwnerProcess(self.url, self.sandbox.base_url, gate))
        if gate != "none":
            assert self.owners[-1].wait() == "at the gate"
        return self.owners[-1]

    @property
    def entry(self) -> CallEntry:
        entry = self.ledger.call_by_key(KEY)
        assert entry is not None
        return entry

    @property
    def rang(self) -> list[str]:
        """The calls that really ring."""
        return [call["call_id"] for call in self.sandbox.audit()["calls"]]

    @property
    def requests(self) -> int:
        return self.sandbox.counts()["requests"]


@pytest.fixture
def stage(ledger_url: str, sandbox: SandboxProcess) -> Iterator[Stage]:
    stage = Stage(ledger_url, sandbox)
    yield stage
    for owner in stage.owners:
        owner.stop()


@pytest.fixture
def webhooks(stage: Stage) -> Iterator[None]:
    """Have the sandbox's webhooks recorded in the ledger."""
    with recording(stage.sandbox, stage.ledger):
        yield


with_webhooks = pytest.mark.usefixtures("webhooks")


@pytest.fixture(autouse=True)
def nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert API_KEY not in caplog.text
    assert not any(number[1:] in caplog.text for number in NUMBERS)


class TestOneCall:
    def test_call_is_placed_and_stored(self, stage: Stage) -> None:
        counted: list[str] = []
        placed = stage.place(WAIT, FIRST_TRY, count=counted.append)
        assert placed.how is How.PLACED
        assert stage.rang == [placed.call.call_id]
        assert stage.entry == placed.entry
        assert (placed.entry.state, placed.entry.origin) == (CallState.ACCEPTED, FIRST_TRY)
        assert counted == ["calls.placed"]

    @pytest.mark.parametrize("origin", [None, FIRST_TRY, SECOND_TRY])
    def test_call_that_exists_is_taken_up(self, stage: Stage, origin: CallOrigin | None) -> None:
        first = stage.place(WAIT, FIRST_TRY)
        assert stage.place(REDIAL_NOW, origin) == Placement(first.call, first.entry, How.TAKEN_UP)
        assert stage.requests == 1

    def test_another_request_under_the_key_is_a_conflict(self, stage: Stage) -> None:
        stage.place()
        stage.fail(IdempotencyConflictError, call=replace(CALL, context="x"))
        assert stage.requests == 1

    def test_invalid_call_claims_nothing(self, stage: Stage) -> None:
        stage.fail(InvalidCallError, call=replace(CALL, to_number="4155550133"))
        assert (stage.ledger.calls(), stage.requests) == ([], 0)

    def test_purged_key_is_not_dialled_again(self, stage: Stage) -> None:
        first = stage.place()
        stage.ledger.purge(datetime.now(timezone.utc) + timedelta(seconds=1))
        assert stage.place(call=replace(CALL, context="whatever it was")).call == first.call
        assert stage.requests == 1


@dataclass(frozen=True)
class Row:
    """A row of the error table: what the API does, and what has to become of it."""

    fault: str | None
    settings: dict[str, Any]
    call: OutboundCall
    error: type[Exception]
    says: str
    state: CallState
    code: str
    rang: int = 0


def refused(error: type[Exception], code: str, says: str, call: OutboundCall = CALL, **settings: Any) -> Row:
    return Row(None, settings, call, error, says, CallState.REFUSED, code)


def lost(fault: str, code: str, says: str, rang: int = 0) -> Row:
    return Row(fault, {}, CALL, CallOutcomeUnknownError, says, CallState.UNKNOWN, code, rang)


NO_AGENT, INACTIVE = (replace(CALL, agent_id=name) for name in ("unknown_1", "inactive_1"))
ROWS = {
    "400": refused(
        InvalidRequestError, "validation_error", "Correct the request", from_numbers=["+14155550199"]
    ),
    "401": refused(UnauthorizedError, "unauthorized", "Check the API key", api_keys=["another"]),
    "404": refused(NotFoundError, "not_found", "Check agent_id", NO_AGENT),
    "404 agent": refused(NotFoundError, "invalid_agent", "Check agent_id", INACTIVE),
    "500": lost("error_before", "server_error", "HTTP 500"),
    "500 though accepted": lost("error_after", "server_error", "HTTP 500", 1),
    "502": lost("gateway_html", "server_error", "HTTP 502"),
    "502 though accepted": lost("gateway_html_after", "server_error", "HTTP 502", 1),
    "cut": lost("cut_before", "answer_lost", "no answer came back"),
    "cut though accepted": lost("cut_after", "answer_lost", "no answer came back", 1),
    "time-out": lost("hang_before", "answer_lost", "no answer came back"),
    "time-out though accepted": lost("hang", "answer_lost", "no answer came back", 1),
    "useless 2xx": lost("bad_json_2xx", "no_call_id", "was placed", 1),
}


@ON_SQLITE
class TestErrorTable:
    @pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
    def test_row(self, stage: Stage, row: Row) -> None:
        stage.sandbox.configure(**row.settings)
        if row.fault:
            stage.sandbox.fault(row.fault)
        counted: list[str] = []
        is_refused = row.state is CallState.REFUSED
        error = stage.fail(row.error, FAIL_NOW, FIRST_TRY, row.call, timeout=0.3, count=counted.append)
        entry = stage.entry
        assert (entry.state, entry.call_id, entry.error_code) == (row.state, None, row.code)
        assert error.code == row.code
        assert row.says in str(error)
        assert isinstance(error, CallNotPlacedError) == is_refused
        assert counted == ["calls.refused" if is_refused else "calls.unknown"]
        assert len(stage.rang) == row.rang
        # A retry sends again only what surely did not ring.
        stage.sandbox.reset(settings=True)
        if not is_refused:
            stage.fail(CallOutcomeUnknownError, FAIL_NOW, SECOND_TRY, row.call)
            assert stage.requests == 0
        elif row.call is CALL:
            stage.place(FAIL_NOW, SECOND_TRY)
            assert len(stage.rang) == 1

    def test_422_is_refused_and_may_be_corrected(self, stage: Stage) -> None:
        # No number that passes our own check is refused by the sandbox, so the answer is given by hand.
        with server(answering(http(422))) as url:
            stage.fail(InvalidPhoneError, base_url=url)
        assert stage.entry.state is CallState.REFUSED
        assert stage.place(call=replace(CALL, to_number="+14155550135")).how is How.PLACED

    @pytest.mark.parametrize("retry_after", ["seconds", "date", "none"])
    def test_429_is_sent_again_until_it_is_taken(self, stage: Stage, retry_after: str) -> None:
        stage.sandbox.configure(retry_after=retry_after)
        stage.sandbox.fault("rate_limited", 3)
        counted: list[str] = []
        placed = stage.place(count=counted.append)
        assert stage.rang == [placed.call.call_id]
        assert stage.requests == 4
        assert counted == ["calls.rate_limited"] * 3 + ["calls.placed"]
        assert placed.entry.dials == 1

    def test_429_without_end_is_refused_within_bounds(self, stage: Stage) -> None:
        stage.sandbox.fault("rate_limited", 1000)
        stage.fail(RateLimitedError, bounds=RetryBounds(patience=0.3, longest_wait=0.1))
        assert stage.entry.state is CallState.REFUSED
        assert 1 <= stage.requests < 1000
        stage.sandbox.reset()
        assert stage.place(WAIT, SECOND_TRY).entry.dials == 2
        assert len(stage.rang) == 1

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "https://voiceinfra.invalid/v1"])
    def test_api_that_cannot_be_reached_is_tried_again_and_then_refused(self, stage: Stage, url: str) -> None:
        tries: list[int] = []
        bounds = RetryBounds(patience=0.3, longest_wait=0.1)
        error = stage.fail(
            ApiUnreachableError, base_url=url, bounds=bounds, before_send=lambda: tries.append(1)
        )
        assert "Nothing was sent" in str(error)
        assert len(tries) > 1
        assert (stage.entry.state, stage.entry.error_code) == (CallState.REFUSED, "unreachable")
        assert stage.place(WAIT, SECOND_TRY).how is How.PLACED
        assert len(stage.rang) == 1


class TestUnknown:
    @WAITED
    def test_deadline_counts_from_the_last_request_and_nobody_redials_before(self, stage: Stage) -> None:
        pending = stage.lose_answer()
        assert pending.entry == stage.entry
        assert pending.deadline == pending.entry.renewed_at + timedelta(seconds=WAIT.timeout)
        assert pending.entry.renewed_at > pending.entry.claimed_at
        policy = replace(REDIAL_NOW, timeout=900.0)
        assert isinstance(stage.placer().step(KEY, CALL, policy, origin=SECOND_TRY), Pending)
        assert len(stage.rang) == 1

    @with_webhooks
    def test_call_is_adopted_from_its_webhook(self, stage: Stage) -> None:
        stage.sandbox.fault("cut_after")
        placed = stage.place()
        assert placed.how is How.ADOPTED
        assert stage.rang == [placed.call.call_id]
        assert stage.place(REDIAL_NOW).how is How.ADOPTED
        assert len(stage.rang) == 1

    @with_webhooks
    def test_webhook_that_comes_before_the_answer_changes_nothing(self, stage: Stage) -> None:
        stage.sandbox.fault("webhook_early")
        placed = stage.place()
        assert placed.how is How.PLACED
        assert stage.ledger.completion(placed.call.call_id) is not None

    def test_without_a_webhook_the_message_says_what_to_do(self, stage: Stage) -> None:
        stage.lose_answer()
        said = str(stage.fail(CallOutcomeUnknownError, FAIL_NOW, SECOND_TRY))
        for part in (
            "+1415***0133",
            f"{stage.entry.claimed_at:%Y-%m-%d %H:%M:%S} UTC",
            "no answer came back",
            "No completion record",
            "It was not dialled again",
            "vendor's dashboard",
            "clear this task",
            "airflow voiceinfra doctor",
            "on_unknown='redial'",
            "idempotency_key",
        ):
            assert part in said
        assert len(stage.rang) == 1

    @with_webhooks
    def test_candidates_that_cannot_be_told_apart_are_named(self, stage: Stage) -> None:
        stage.sandbox.configure(webhook_hold=True)
        stage.lose_answer()
        stage.sandbox.post_call(CALL.to_request())  # somebody else calls the same person
        stage.sandbox.configure(webhook_hold=False)
        until(lambda: len(stage.ledger.completions(stage.rang)) == 2)
        said = str(stage.fail(CallOutcomeUnknownError, FAIL_NOW))
        assert all(call_id in said for call_id in stage.rang)

    def test_redial_dials_once_more_and_never_again(self, stage: Stage) -> None:
        stage.lose_answer()
        stage.sandbox.fault("cut_after")
        error = stage.fail(CallOutcomeUnknownError, REDIAL_NOW, SECOND_TRY)
        assert "redialled once already" in str(error)
        for _ in range(3):
            stage.fail(CallOutcomeUnknownError, REDIAL_NOW, THIRD_TRY)
        assert len(stage.rang) == 2
        assert (stage.entry.dials, stage.entry.redials) == (2, 1)

    def test_redial_that_is_not_placed_leaves_the_first_dial_unknown(self, stage: Stage) -> None:
        stage.lose_answer()
        stage.sandbox.configure(api_keys=["another"])
        stage.fail(UnauthorizedError, REDIAL_NOW, SECOND_TRY)
        assert stage.entry.state is CallState.UNKNOWN
        stage.fail(CallOutcomeUnknownError, FAIL_NOW, THIRD_TRY)
        assert len(stage.rang) == 1
        # It was no dial, so there still is the one that was asked for.
        stage.sandbox.configure(api_keys=[API_KEY])
        assert stage.place(REDIAL_NOW, THIRD_TRY).how is How.PLACED
        assert len(stage.rang) == 2

    def test_of_many_that_want_to_redial_one_does(self, stage: Stage) -> None:
        stage.lose_answer()
        with ThreadPoolExecutor(6) as pool:
            results = list(pool.map(lambda _: stage.place(REDIAL_NOW), range(6)))
        assert stage.rang[1:] == list({result.call.call_id for result in results})

    def test_purged_unknown_call_is_not_redialled(self, stage: Stage) -> None:
        stage.lose_answer()
        stage.ledger.purge(datetime.now(timezone.utc) + timedelta(seconds=1))
        stage.fail(CallOutcomeUnknownError, REDIAL_NOW)
        assert len(stage.rang) == 1

    def test_answer_with_the_id_of_another_call_is_unknown(self, stage: Stage) -> None:
        with server(answering(http(200, b'{"call_id": "call_1"}'))) as url:
            first = stage.placer(base_url=url).place("first", CALL, FAIL_NOW)
            error = stage.fail(CallOutcomeUnknownError, FAIL_NOW, base_url=url)
        assert first.call.call_id == "call_1"
        assert error.code == "call_id_not_unique"
        assert "call_1" in str(error)


@ON_SQLITE
class TestLedgerThatForgot:
    """A ledger that was restored from a backup no longer has the newest calls, which may have rung."""

    @pytest.fixture
    def forget(self, stage: Stage) -> Callable[..., None]:
        def forget(*_: object) -> None:
            with connect.database(stage.url).writing() as connection:
                connection.execute(calls.delete())

        return forget

    @pytest.mark.parametrize("before", ["lost its answer", "is claimed"])
    def test_call_that_is_gone_while_it_is_waited_for_is_not_dialled(
        self, stage: Stage, forget: Callable[..., None], before: str
    ) -> None:
        if before == "is claimed":
            stage.ledger.claim(KEY, CALL, conn_id=CONN_ID)  # by another process
        else:
            stage.lose_answer()
        rang, requests = stage.rang, stage.requests
        error = stage.fail(CallOutcomeUnknownError, WAIT, bounds=RetryBounds(sleep=forget))
        assert error.code == "gone_from_ledger"
        assert "not dialled again" in str(error)
        assert (stage.rang, stage.requests) == (rang, requests)

    def test_task_that_has_waited_for_it_does_not_dial(self, stage: Stage) -> None:
        with raises(CallOutcomeUnknownError) as caught:
            stage.placer().step(KEY, CALL, REDIAL_NOW, origin=SECOND_TRY, seen=True)
        assert caught.value.code == "gone_from_ledger"
        assert stage.requests == 0

    @pytest.mark.parametrize("fault", [None, "cut_after"])
    def test_answer_to_a_claim_that_is_gone_is_stored(
        self, stage: Stage, forget: Callable[..., None], fault: str | None
    ) -> None:
        placer = stage.placer()
        place = placer._client.place

        def forget_and_place(*args: Any, **options: Any) -> PlacedCall:
            forget()
            return place(*args, **options)

        placer._client.place = forget_and_place  # type: ignore[method-assign]
        if fault:
            stage.sandbox.fault(fault)
            with raises(CallOutcomeUnknownError):
                placer.place(KEY, CALL, FAIL_NOW, origin=FIRST_TRY)
            stage.fail(CallOutcomeUnknownError, FAIL_NOW, SECOND_TRY)
            assert stage.entry.state is CallState.UNKNOWN
        else:
            placed = placer.place(KEY, CALL, WAIT, origin=FIRST_TRY)
            assert stage.rang == [placed.call.call_id] == [stage.entry.call_id]
            again = stage.place(WAIT, SECOND_TRY)
            assert (again.how, again.call) == (How.TAKEN_UP, placed.call)
        assert len(stage.rang) == 1


@ON_SQLITE
class TestWithoutKey:
    def test_each_rings_and_each_is_in_the_ledger(self, stage: Stage) -> None:
        placed = [stage.placer().place_without_key(CALL, origin=FIRST_TRY) for _ in range(2)]
        assert [one.call.call_id for one in placed] == stage.rang
        assert {entry.call_id for entry in stage.ledger.calls()} == set(stage.rang)
        assert all(entry.origin == FIRST_TRY for entry in stage.ledger.calls())

    @with_webhooks
    @pytest.mark.parametrize("fault", [None, "cut_after"])
    def test_its_completion_is_not_taken_for_that_of_an_unknown_call(
        self, stage: Stage, fault: str | None
    ) -> None:
        stage.sandbox.fault("error_before")  # nothing rings
        stage.fail(CallOutcomeUnknownError, FAIL_NOW)
        if fault:
            stage.sandbox.fault(fault)
            with raises(CallOutcomeUnknownError) as caught:
                stage.placer().place_without_key(CALL)
            assert "no idempotency key" in str(caught.value)
        else:
            stage.placer().place_without_key(CALL)
        [call_id] = stage.rang
        until(lambda: stage.ledger.completion(call_id))
        stage.fail(CallOutcomeUnknownError, FAIL_NOW, SECOND_TRY)

    def test_refused_call_is_refused(self, stage: Stage) -> None:
        stage.sandbox.configure(api_keys=["another"])
        with raises(UnauthorizedError):
            stage.placer().place_without_key(CALL)
        assert [entry.state for entry in stage.ledger.calls()] == [CallState.REFUSED]


@ON_SQLITE
def test_placement_needs_the_id_of_a_call(ledger: CallLedger) -> None:
    entry, _ = ledger.claim(KEY, CALL, conn_id=CONN_ID)
    with pytest.raises(ClaimLostError, match="without a call_id"):
        placement(entry, How.PLACED)


def owner(pipe: Connection, ledger_url: str, base_url: str, gate: str) -> None:
    """Place the call in a process of its own, and wait at a gate, the first time, until told to go on."""
    reached: set[str] = set()

    def reach(name: str) -> None:
        is_first = name not in reached
        reached.add(name)
        if name == gate and is_first:
            pipe.send("at the gate")
            pipe.recv()

    placer = make_placer(ledger_url, base_url, before_send=lambda: reach("before POST"), count=reach)
    if gate == "before POST":
        sending.BEGIN_WITHIN, sending.FRESH_FOR = PAUSE, 60.0
    try:
        placed = placer.place(KEY, CALL, WAIT, origin=FIRST_TRY, poll_interval=0.01)
        pipe.send((placed.how.value, placed.call.call_id))
    except Exception as error:  # noqa: BLE001
        pipe.send(repr(error))


# A fresh process is forked from a server that has imported everything, so that hundreds are cheap.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.dialling.test_placing"])


class OwnerProcess:
    """Another process that places the call."""

    def __init__(self, ledger_url: str, base_url: str, gate: str) -> None:
        self.pipe, theirs = processes.Pipe()
        self.process = processes.Process(target=owner, args=(theirs, ledger_url, base_url, gate))
        self.process.start()
        theirs.close()

    def wait(self) -> Any:
        """Return what it says next."""
        assert self.pipe.poll(30), "the process says nothing"
        return self.pipe.recv()

    def go_on(self) -> None:
        self.pipe.send("go on")

    def signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def stop(self) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.pipe.close()


def kill_between_claim_and_post(stage: Stage) -> None:
    stage.start_owner("before POST").stop()


def kill_between_post_and_answer(stage: Stage) -> None:
    stage.sandbox.fault("hang")
    process = stage.start_owner()
    stage.sandbox.wait_for(lambda audit: audit["calls"])
    process.stop()


def kill_between_answer_and_accept(stage: Stage) -> None:
    stage.start_owner("calls.placed").stop()


RANG = [kill_between_post_and_answer, kill_between_answer_and_accept]
each_loss = pytest.mark.parametrize(
    ("lose", "rang", "code"),
    [
        (Stage.lose_answer, 1, "answer_lost"),
        (kill_between_claim_and_post, 0, "owner_died"),
        *((kill, 1, "owner_died") for kill in RANG),
    ],
)


class TestLostAnswer:
    """The answer was cut, or its owner was killed."""

    @with_webhooks
    @pytest.mark.parametrize("kill", RANG)
    def test_next_try_finds_the_call_by_its_webhook(self, stage: Stage, kill: Callable[..., Any]) -> None:
        kill(stage)
        placed = stage.place(WAIT, SECOND_TRY)
        assert placed.how is How.ADOPTED
        assert stage.rang == [placed.call.call_id]

    @each_loss
    def test_without_a_webhook_the_next_try_does_not_dial(
        self, stage: Stage, lose: Callable[..., Any], rang: int, code: str
    ) -> None:
        lose(stage)
        assert isinstance(stage.placer().step(KEY, CALL, WAIT, origin=SECOND_TRY), Pending)
        for _ in range(2):
            assert stage.fail(CallOutcomeUnknownError, FAIL_NOW, SECOND_TRY).code == code
        assert len(stage.rang) == rang

    @each_loss
    def test_redial_dials_once_more(
        self, stage: Stage, lose: Callable[..., Any], rang: int, code: str
    ) -> None:
        lose(stage)
        placed = stage.place(REDIAL_NOW, SECOND_TRY)
        assert placed.how is How.PLACED
        again = stage.place(REDIAL_NOW, THIRD_TRY)
        assert (again.how, again.call) == (How.TAKEN_UP, placed.call)
        assert stage.rang[rang:] == [placed.call.call_id]

    def test_try_of_the_same_number_waits_for_the_lease(self, stage: Stage) -> None:
        kill_between_claim_and_post(stage)
        error = stage.fail(CallOutcomeUnknownError, FAIL_NOW, FIRST_TRY, lease=0.2)
        assert error.code == "owner_silent"
        assert "no heartbeat" in str(error)
        assert stage.requests == 0


class TestLosers:
    def test_loser_gets_the_winners_call(self, stage: Stage) -> None:
        winner = stage.start_owner("before POST")
        loser = stage.start_owner()
        assert not loser.pipe.poll(0.2)
        winner.go_on()
        how, call_id = winner.wait()
        assert (how, loser.wait()) == ("placed", ("taken_up", call_id))
        assert stage.rang == [call_id]

    def test_owner_that_shows_signs_of_life_is_left_alone(self, stage: Stage) -> None:
        # Each look at the owner's claim finds it renewed, for much longer than a lease.
        entry, _ = stage.ledger.claim(KEY, CALL, conn_id=CONN_ID, origin=FIRST_TRY)
        looks: list[int] = []
        clock = Clock()

        def owner_goes_on(_seconds: float) -> None:
            clock.now += 50.0
            looks.append(1)
            if len(looks) < 12:
                stage.ledger.renew(entry)
            else:
                stage.ledger.accept(entry, "call_1")

        bounds, clocks = RetryBounds(sleep=owner_goes_on), Clocks(passed=clock)
        placed = stage.place(WAIT, FIRST_TRY, lease=60.0, bounds=bounds, clocks=clocks)
        assert placed.call.call_id == "call_1"
        assert stage.requests == 0

    def test_loser_of_a_refused_call_asks_for_itself(self, stage: Stage) -> None:
        entry, _ = stage.ledger.claim(KEY, CALL, conn_id=CONN_ID)

        def owner_gives_up(seconds: float) -> None:
            stage.ledger.refuse(entry, "interrupted", "before it was sent")

        assert stage.place(bounds=RetryBounds(sleep=owner_gives_up)).how is How.PLACED
        assert len(stage.rang) == 1

    def test_paused_owner_does_not_dial_after_others_have(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(placing, "REDIAL_AFTER", PAUSE)
        paused = stage.start_owner("before POST")
        paused.signal(signal.SIGSTOP)
        paused.go_on()
        placed = stage.place(REDIAL_NOW, SECOND_TRY)
        paused.signal(signal.SIGCONT)
        assert paused.wait() == ("taken_up", placed.call.call_id)
        assert stage.rang == [placed.call.call_id]

    def test_answer_of_a_paused_owner_is_kept_although_others_have_redialled(self, stage: Stage) -> None:
        paused = stage.start_owner("calls.placed")
        redial = stage.place(REDIAL_NOW, SECOND_TRY)
        paused.go_on()
        assert paused.wait() == ("taken_up", redial.call.call_id)
        first, second = stage.rang
        assert second == redial.call.call_id
        assert stage.ledger.call_by_id(first) is not None

    @pytest.mark.parametrize("redial", ["in its 429 loop", "refused for good"])
    def test_answer_of_a_paused_owner_keeps_a_redial_from_being_sent(self, stage: Stage, redial: str) -> None:
        paused = stage.start_owner("calls.placed")
        [first] = stage.rang
        stage.sandbox.configure(retry_after="none")
        if redial == "refused for good":
            stage.sandbox.fault("rate_limited")
            stage.fail(RateLimitedError, REDIAL_NOW, SECOND_TRY, bounds=RetryBounds(patience=0.0))
            paused.go_on()
            assert paused.wait() == ("placed", first)
            placed = stage.place(REDIAL_NOW, THIRD_TRY)
        else:
            stage.sandbox.fault("rate_limited", count=2)
            refused: list[int] = []

            def between_requests() -> None:
                refused.append(1)
                if len(refused) == 3:
                    paused.go_on()
                    assert paused.wait() == ("placed", first)

            placed = stage.place(REDIAL_NOW, SECOND_TRY, before_send=between_requests)
            assert len(refused) == 3
        assert (placed.how, placed.call.call_id) == (How.TAKEN_UP, first)
        assert stage.entry.call_id == first
        assert stage.rang == [first]

    def test_answer_that_comes_while_the_last_redial_is_refused_is_taken_up(self, stage: Stage) -> None:
        first_try, _ = stage.ledger.claim(KEY, CALL, conn_id=CONN_ID, origin=FIRST_TRY)
        stage.ledger.mark_unknown(first_try, "owner_died", "paused")
        stage.sandbox.configure(api_keys=["another"])

        def answered(name: str) -> None:
            if name == "calls.refused":
                stage.ledger.accept(first_try, "call_1")

        placed = stage.place(REDIAL_NOW, SECOND_TRY, count=answered)
        assert (placed.how, placed.call.call_id) == (How.TAKEN_UP, "call_1")

    @WAITED
    def test_claim_that_was_taken_over_before_the_request_is_not_sent(self, stage: Stage) -> None:
        def take_over() -> None:
            redial = stage.ledger.claim_redial(
                stage.ledger.mark_unknown(stage.entry, "owner_silent", "silent")
            )
            stage.ledger.accept(redial, "call_of_the_other")

        placed = stage.place(before_send=take_over)
        assert (placed.how, placed.call.call_id) == (How.TAKEN_UP, "call_of_the_other")
        assert stage.requests == 0

    @pytest.mark.parametrize("look", ["claim", "renew"])
    def test_owner_that_is_paused_after_its_last_look_does_not_dial_after_others_have(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch, look: str
    ) -> None:
        monkeypatch.setattr(sending, "BEGIN_WITHIN", 0.1)
        monkeypatch.setattr(sending, "FRESH_FOR", -1.0 if look == "renew" else 60.0)
        others: list[Placement] = []
        placer = stage.placer()
        attribute, owner = ("_claim", placer) if look == "claim" else ("renew", placer._ledger)
        looks = getattr(owner, attribute)

        def paused(*args: Any, **options: Any) -> Any:
            found = looks(*args, **options)
            if not others:
                begun = time.monotonic()
                others.append(stage.place(REDIAL_NOW, SECOND_TRY))
                until(lambda: time.monotonic() > begun + 0.1)
            return found

        monkeypatch.setattr(owner, attribute, paused)
        placed = placer.place(KEY, CALL, WAIT, origin=FIRST_TRY)
        assert (placed.how, placed.call) == (How.TAKEN_UP, others[0].call)
        assert stage.rang == [others[0].call.call_id]

    def test_redial_that_another_took_first_is_looked_up(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stage.lose_answer()
        placer = stage.placer()
        adopt = placer._ledger.adopt

        def adopt_in_vain(*args: Any, **options: Any) -> CallEntry:
            entry = adopt(*args, **options)
            stage.ledger.accept(stage.ledger.claim_redial(entry), "call_of_the_other")
            return entry

        # Between the look for a completion and the redial.
        monkeypatch.setattr(placer._ledger, "adopt", adopt_in_vain)
        placed = placer.place(KEY, CALL, REDIAL_NOW)
        assert (placed.how, placed.call.call_id) == (How.TAKEN_UP, "call_of_the_other")
        assert len(stage.rang) == 1


class Interrupt(BaseException):
    """What ends a task from outside, as a signal's handler raises it."""


def interrupt(*_: object) -> None:
    raise Interrupt


@ON_SQLITE
class TestInterrupted:
    @pytest.fixture
    def interrupt_after(self) -> Iterator[Callable[[float], None]]:
        before = signal.signal(signal.SIGALRM, interrupt)
        yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds) and None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    def test_interrupted_while_it_may_ring_is_unknown(
        self, stage: Stage, interrupt_after: Callable[[float], None]
    ) -> None:
        stage.sandbox.fault("hang")
        with pytest.raises(Interrupt):
            # Not sooner: in the midst of a claim an interpreter may drop what a signal's handler raises.
            stage.place(WAIT, FIRST_TRY, before_send=lambda: interrupt_after(0.5))
        assert (stage.entry.state, stage.entry.error_code) == (CallState.UNKNOWN, "interrupted")
        assert len(stage.rang) == 1

    @pytest.mark.parametrize(
        ("fault", "options"),
        [(None, {"before_send": interrupt}), ("rate_limited", {"bounds": RetryBounds(sleep=interrupt)})],
        ids=["before the first request", "between two requests"],
    )
    def test_interrupted_before_it_was_sent_is_no_call(
        self, stage: Stage, fault: str | None, options: dict[str, Any]
    ) -> None:
        if fault:
            stage.sandbox.fault(fault)
        with pytest.raises(Interrupt):
            stage.place(WAIT, FIRST_TRY, **options)
        assert (stage.entry.state, stage.entry.error_code) == (CallState.REFUSED, "interrupted")
        assert stage.place(WAIT, SECOND_TRY).how is How.PLACED
        assert len(stage.rang) == 1


class Outage(Stage):
    """A stage whose database can be made unusable for everybody, and usable again."""

    def __init__(self, url: str, sandbox: SandboxProcess, server: PostgresServer | None) -> None:
        super().__init__(url, sandbox)
        self._server = server
        self._holder: sqlite3.Connection | None = None

    def begin(self) -> None:
        if self._server is None:
            self._holder = sqlite3.connect(self.url.removeprefix("sqlite:///"), isolation_level=None)
            self._holder.execute("BEGIN IMMEDIATE")
            return
        name = self.url.rpartition("/")[2]
        self._server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        self._server.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )

    def end(self) -> None:
        if self._server is not None:
            name = self.url.rpartition("/")[2]
            self._server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        elif self._holder is not None:
            self._holder.close()
            self._holder = None

    def begin_at(self, moment: str) -> Callable[[str], None]:
        """Return what begins the outage when something is counted."""
        return lambda name: self.begin() if name == moment else None

    def soon_over(self) -> RetryBounds:
        """Return what ends the outage when somebody has waited for that twice."""
        waits: list[float] = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                self.end()

        return RetryBounds(sleep=sleep)


# What the API does, when it becomes known here, and what is stored.
ANSWERS = {
    "accepted": ({}, None, "calls.placed", CallState.ACCEPTED),
    "lost": ({}, "cut_after", "calls.unknown", CallState.UNKNOWN),
    "refused": ({"api_keys": ["another"]}, None, "calls.refused", CallState.REFUSED),
}


class TestLedgerOutage:
    @pytest.fixture
    def outage(
        self,
        ledger_url: str,
        sandbox: SandboxProcess,
        request: pytest.FixtureRequest,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[Outage]:
        monkeypatch.setattr(connect, "BUSY_TIMEOUT", 0.05)  # read when the ledger is opened
        server = None if ledger_url.startswith("sqlite") else request.getfixturevalue("postgres_server")
        outage = Outage(ledger_url, sandbox, server)
        yield outage
        outage.end()

    def test_before_the_claim_nothing_is_sent(self, outage: Outage) -> None:
        outage.begin()
        error = outage.fail(LedgerUnavailableError)
        assert "[voiceinfra] sql_alchemy_conn" in str(error)
        outage.end()
        assert (outage.ledger.calls(), outage.requests) == ([], 0)
        assert outage.place().how is How.PLACED

    @WAITED
    def test_before_the_request_nothing_is_sent_and_the_key_may_be_tried_again(self, outage: Outage) -> None:
        options = {"before_send": outage.begin, "bounds": outage.soon_over()}
        outage.fail(LedgerUnavailableError, WAIT, FIRST_TRY, **options)
        assert outage.requests == 0
        assert (outage.entry.state, outage.entry.error_code) == (CallState.REFUSED, "ledger_unavailable")
        assert outage.place(WAIT, SECOND_TRY).how is How.PLACED
        assert len(outage.rang) == 1

    @pytest.mark.parametrize("answer", ANSWERS)
    def test_what_the_api_said_is_held_until_it_can_be_stored(self, outage: Outage, answer: str) -> None:
        settings, fault, moment, state = ANSWERS[answer]
        outage.sandbox.configure(**settings)
        if fault:
            outage.sandbox.fault(fault)
        with suppress(CallOutcomeUnknownError, UnauthorizedError):
            placed = outage.place(FAIL_NOW, count=outage.begin_at(moment), bounds=outage.soon_over())
            assert placed.how is How.PLACED
            assert outage.rang == [placed.call.call_id] == [outage.entry.call_id]
        assert outage.entry.state is state

    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            ("accepted", "Call {call_id} was placed, but the ledger could not be written"),
            ("lost", "The call may have been placed. With an idempotency key a retry waits"),
        ],
    )
    def test_answer_that_cannot_be_stored_is_told_and_not_dialled_again(
        self, outage: Outage, monkeypatch: pytest.MonkeyPatch, answer: str, says: str
    ) -> None:
        monkeypatch.setattr(answers, "STORE_PATIENCE", 0.0)
        _, fault, moment, _ = ANSWERS[answer]
        if fault:
            outage.sandbox.fault(fault)
        error = outage.fail(LedgerUnavailableError, WAIT, FIRST_TRY, count=outage.begin_at(moment))
        (call_id,) = outage.rang
        assert says.format(call_id=call_id) in str(error)
        outage.end()
        outage.fail(CallOutcomeUnknownError, FAIL_NOW, SECOND_TRY)
        assert outage.rang == [call_id]

    @pytest.mark.parametrize("over", [True, False])
    def test_interrupted_while_the_answer_cannot_be_stored(
        self, outage: Outage, caplog: pytest.LogCaptureFixture, over: bool
    ) -> None:
        def end_and_interrupt(_seconds: float) -> None:
            if over:
                outage.end()
            raise Interrupt

        bounds = RetryBounds(sleep=end_and_interrupt)
        with pytest.raises(Interrupt):
            outage.place(WAIT, FIRST_TRY, count=outage.begin_at("calls.placed"), bounds=bounds)
        outage.end()
        (call_id,) = outage.rang
        assert f"Call {call_id} was placed" in caplog.text
        assert outage.entry.call_id == (call_id if over else None)
        with suppress(CallOutcomeUnknownError):  # what cannot be known is not tried
            outage.place(FAIL_NOW, SECOND_TRY)
        assert outage.rang == [call_id]

    def test_claim_of_an_interrupted_call_stays_and_is_unknown_to_the_next_try(self, outage: Outage) -> None:
        def begin_and_interrupt() -> None:
            outage.begin()
            raise Interrupt

        with pytest.raises(Interrupt):
            outage.place(WAIT, FIRST_TRY, before_send=begin_and_interrupt)
        outage.end()
        assert outage.entry.state is CallState.CLAIMED
        outage.fail(CallOutcomeUnknownError, FAIL_NOW, SECOND_TRY)
        assert outage.requests == 0


def racer(pipe: Connection, ledger_url: str, base_url: str, keys: list[str], seed: int) -> None:
    """Place all the calls in an order of one's own, and tell their ids."""
    placer = make_placer(ledger_url, base_url, timeout=30.0)
    pipe.send("ready")
    pipe.recv()
    found: dict[str, str] = {}
    for key in random.Random(seed).sample(keys, len(keys)):
        found[key] = placer.place(key, CALL, WAIT).call.call_id
    pipe.send(found)


def test_many_processes_race_for_many_keys_and_each_key_rings_once(stage: Stage) -> None:
    keys = [f"key {number}" for number in range(60)]
    racers = []
    for seed in range(8):
        pipe, theirs = processes.Pipe()
        # Half of them go through the keys in the same order, and so meet at each of them.
        arguments = (theirs, stage.url, stage.sandbox.base_url, keys, seed if seed % 2 else 0)
        process = processes.Process(target=racer, args=arguments)
        process.start()
        racers.append((process, pipe))
    for _, pipe in racers:
        assert pipe.recv() == "ready"
    for _, pipe in racers:
        pipe.send("go")
    found = [pipe.recv() for _, pipe in racers]
    for process, _ in racers:
        process.join()
    assert all(ids == found[0] for ids in found)
    assert sorted(found[0].values()) == sorted(stage.rang)
    assert len(stage.rang) == len(keys) == stage.requests
