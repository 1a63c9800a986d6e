"""Nobody is called twice, whoever dies when; the audit log of the sandbox is the judge."""

from __future__ import annotations

import http.server
import logging
import multiprocessing
import os
import random
import signal
import sqlite3
import threading
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
from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy import event

from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.calls import OutboundCall, PlacedCall
from airflow_provider_voiceinfra.connection import VoiceInfraConnection
from airflow_provider_voiceinfra.dialling import placing
from airflow_provider_voiceinfra.dialling.outcomes import placement
from airflow_provider_voiceinfra.dialling.placing import (
    CallPlacer,
    How,
    OnUnknown,
    Pending,
    Placement,
    UnknownPolicy,
)
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
from airflow_provider_voiceinfra.ledger.database import connect, migrate
from airflow_provider_voiceinfra.ledger.database.schema import calls
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, CallState
from tests.sandbox_process import SandboxProcess
from tests.support.receivers import Recorder, recording
from tests.support.waiting import until

API_KEY = "vk_sandbox_key"
CONN_ID = "voiceinfra_default"
CALL = OutboundCall("+14155550133", agent_id="agent_demo", from_number="+14155550134")
NUMBERS = (CALL.to_number, "+14155550134")
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


@pytest.fixture
def sandbox(fresh_sandbox: SandboxProcess) -> SandboxProcess:
    return fresh_sandbox


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    ledger = CallLedger(ledger_url)
    ledger.check()
    return ledger


@pytest.fixture
def webhooks(sandbox: SandboxProcess, ledger: CallLedger) -> Iterator[Recorder]:
    """Have the sandbox's webhooks recorded in the ledger."""
    with recording(sandbox, ledger) as recorder:
        yield recorder


@pytest.fixture
def make(ledger: CallLedger, ledger_url: str, sandbox: SandboxProcess) -> Callable[..., CallPlacer]:
    def make(**options: Any) -> CallPlacer:
        return make_placer(ledger_url, options.pop("base_url", sandbox.base_url), **options)

    return make


@pytest.fixture(autouse=True)
def nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert API_KEY not in caplog.text
    assert not any(number[1:] in caplog.text for number in NUMBERS)


@contextmanager
def raises(kind: type[Exception]) -> Iterator[Any]:
    """Expect an error of exactly this class that tells no secret."""
    with pytest.raises(kind) as caught:
        yield caught
    assert type(caught.value) is kind
    shown = repr(caught.value) + "".join(traceback.format_exception(caught.value))
    assert API_KEY not in shown
    assert not any(number[1:] in shown for number in NUMBERS)


def accepted_ids(sandbox: SandboxProcess) -> list[str]:
    """Return the calls that really ring."""
    return [call["call_id"] for call in sandbox.audit()["calls"]]


def entry_of(ledger: CallLedger, key: str = KEY) -> CallEntry:
    entry = ledger.call_by_key(key)
    assert entry is not None
    return entry


class TestOneCall:
    def test_call_is_placed_and_stored(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        counted: list[str] = []
        placement = make(count=counted.append).place(KEY, CALL, WAIT, origin=FIRST_TRY)
        assert placement.how is How.PLACED
        assert accepted_ids(sandbox) == [placement.call.call_id]
        assert entry_of(ledger) == placement.entry
        assert (placement.entry.state, placement.entry.origin) == (CallState.ACCEPTED, FIRST_TRY)
        assert counted == ["calls.placed"]

    @pytest.mark.parametrize("origin", [None, FIRST_TRY, SECOND_TRY])
    def test_call_that_exists_is_taken_up(
        self, make: Callable[..., CallPlacer], sandbox: SandboxProcess, origin: CallOrigin | None
    ) -> None:
        first = make().place(KEY, CALL, WAIT, origin=FIRST_TRY)
        again = make().place(KEY, CALL, REDIAL_NOW, origin=origin)
        assert again == Placement(first.call, first.entry, How.TAKEN_UP)
        assert sandbox.counts()["requests"] == 1

    def test_another_request_under_the_key_is_a_conflict(
        self, make: Callable[..., CallPlacer], sandbox: SandboxProcess
    ) -> None:
        make().place(KEY, CALL, WAIT)
        with raises(IdempotencyConflictError):
            make().place(KEY, replace(CALL, context="x"), WAIT)
        assert sandbox.counts()["requests"] == 1

    def test_invalid_call_claims_nothing(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        with raises(InvalidCallError):
            make().place(KEY, replace(CALL, to_number="4155550133"), WAIT)
        assert ledger.calls() == []
        assert sandbox.counts()["requests"] == 0

    def test_purged_key_is_not_dialled_again(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        first = make().place(KEY, CALL, WAIT)
        ledger.purge(datetime.now(timezone.utc) + timedelta(seconds=1))
        again = make().place(KEY, replace(CALL, context="whatever it was"), WAIT)
        assert again.call == first.call
        assert sandbox.counts()["calls"] == 1


@dataclass(frozen=True)
class Row:
    """A row of the error table: what the API does, and what has to become of it."""

    fault: str | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    call: OutboundCall = CALL
    error: type[Exception] = CallOutcomeUnknownError
    says: str = ""
    state: CallState = CallState.REFUSED
    code: str | None = None
    rang: int = 0


ROWS = {
    "400": Row(
        settings=(("from_numbers", ["+14155550199"]),),
        error=InvalidRequestError,
        code="validation_error",
        says="Correct the request",
    ),
    "401": Row(
        settings=(("api_keys", ["another"]),),
        error=UnauthorizedError,
        code="unauthorized",
        says="Check the API key",
    ),
    "404 agent": Row(
        call=replace(CALL, agent_id="inactive_1"),
        error=NotFoundError,
        code="invalid_agent",
        says="Check agent_id",
    ),
    "404": Row(
        call=replace(CALL, agent_id="unknown_1"), error=NotFoundError, code="not_found", says="Check agent_id"
    ),
    "500": Row("error_before", state=CallState.UNKNOWN, code="server_error", says="HTTP 500"),
    "500 though accepted": Row(
        "error_after", state=CallState.UNKNOWN, code="server_error", says="HTTP 500", rang=1
    ),
    "502": Row("gateway_html", state=CallState.UNKNOWN, code="server_error", says="HTTP 502"),
    "502 though accepted": Row(
        "gateway_html_after", state=CallState.UNKNOWN, code="server_error", says="HTTP 502", rang=1
    ),
    "cut": Row("cut_before", state=CallState.UNKNOWN, code="answer_lost", says="no answer came back"),
    "cut though accepted": Row(
        "cut_after", state=CallState.UNKNOWN, code="answer_lost", says="no answer came back", rang=1
    ),
    "time-out": Row("hang_before", state=CallState.UNKNOWN, code="answer_lost", says="no answer came back"),
    "time-out though accepted": Row(
        "hang", state=CallState.UNKNOWN, code="answer_lost", says="no answer came back", rang=1
    ),
    "useless 2xx": Row("bad_json_2xx", state=CallState.UNKNOWN, rang=1, says="was placed"),
}


class TestErrorTable:
    @pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
    def test_row(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess, row: Row
    ) -> None:
        sandbox.configure(**dict(row.settings))
        if row.fault:
            sandbox.fault(row.fault)
        counted: list[str] = []
        with raises(row.error) as caught:
            make(timeout=0.3, count=counted.append).place(KEY, row.call, FAIL_NOW, origin=FIRST_TRY)
        entry = entry_of(ledger)
        assert (entry.state, entry.call_id) == (row.state, None)
        assert row.code in (entry.error_code, None)
        assert caught.value.code == entry.error_code
        assert row.says in str(caught.value)
        assert isinstance(caught.value, CallNotPlacedError) == (row.state is CallState.REFUSED)
        assert counted == ["calls.refused" if row.state is CallState.REFUSED else "calls.unknown"]
        assert len(accepted_ids(sandbox)) == row.rang
        # A retry sends again only what surely did not ring.
        sandbox.reset(settings=True)
        if row.state is CallState.REFUSED and row.call is CALL:
            make().place(KEY, row.call, FAIL_NOW, origin=SECOND_TRY)
            assert len(accepted_ids(sandbox)) == 1
        elif row.state is CallState.UNKNOWN:
            with raises(CallOutcomeUnknownError):
                make().place(KEY, row.call, FAIL_NOW, origin=SECOND_TRY)
            assert sandbox.counts()["requests"] == 0

    def test_422_is_refused_and_may_be_corrected(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        # No number that passes our own check is refused by the sandbox, so the answer is given by hand.
        raw = b"HTTP/1.1 422 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        with answering(raw) as url, raises(InvalidPhoneError):
            make(base_url=url).place(KEY, CALL, WAIT)
        assert entry_of(ledger).state is CallState.REFUSED
        corrected = replace(CALL, to_number="+14155550135")
        assert make().place(KEY, corrected, WAIT).how is How.PLACED

    @pytest.mark.parametrize("retry_after", ["seconds", "date", "none"])
    def test_429_is_sent_again_until_it_is_taken(
        self, make: Callable[..., CallPlacer], sandbox: SandboxProcess, retry_after: str
    ) -> None:
        sandbox.configure(retry_after=retry_after)
        sandbox.fault("rate_limited", 3)
        counted: list[str] = []
        placement = make(count=counted.append).place(KEY, CALL, WAIT)
        assert accepted_ids(sandbox) == [placement.call.call_id]
        assert sandbox.counts()["requests"] == 4
        assert counted == ["calls.rate_limited"] * 3 + ["calls.placed"]
        assert placement.entry.dials == 1

    def test_429_without_end_is_refused_within_bounds(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        sandbox.fault("rate_limited", 1000)
        with raises(RateLimitedError):
            make(bounds=RetryBounds(patience=0.5, longest_wait=0.1)).place(KEY, CALL, WAIT)
        assert entry_of(ledger).state is CallState.REFUSED
        assert 1 <= sandbox.counts()["requests"] < 1000
        sandbox.reset()
        assert make().place(KEY, CALL, WAIT, origin=SECOND_TRY).entry.dials == 2
        assert len(accepted_ids(sandbox)) == 1

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "https://voiceinfra.invalid/v1"])
    def test_api_that_cannot_be_reached_is_tried_again_and_then_refused(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess, url: str
    ) -> None:
        tries: list[int] = []
        bounds = RetryBounds(patience=0.5, longest_wait=0.1)
        with raises(ApiUnreachableError) as caught:
            make(base_url=url, bounds=bounds, before_send=lambda: tries.append(1)).place(KEY, CALL, WAIT)
        assert "Nothing was sent" in str(caught.value)
        assert len(tries) > 1
        assert (entry_of(ledger).state, entry_of(ledger).error_code) == (CallState.REFUSED, "unreachable")
        assert make().place(KEY, CALL, WAIT, origin=SECOND_TRY).how is How.PLACED
        assert len(accepted_ids(sandbox)) == 1


@contextmanager
def answering(raw: bytes) -> Iterator[str]:
    """Run a server that gives every request the same answer, and yield its base URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.wfile.write(raw)
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
        thread.join()


def lose_answer(make: Callable[..., CallPlacer], sandbox: SandboxProcess, **options: Any) -> Pending:
    """Place a call that is accepted but whose answer is cut."""
    sandbox.fault("cut_after")
    result = make(**options).step(KEY, CALL, WAIT, origin=FIRST_TRY)
    assert isinstance(result, Pending)
    return result


class TestUnknown:
    def test_deadline_counts_from_the_last_request(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        pending = lose_answer(make, sandbox)
        assert pending.entry == entry_of(ledger)
        assert pending.deadline == pending.entry.renewed_at + timedelta(seconds=WAIT.timeout)
        assert pending.entry.renewed_at > pending.entry.claimed_at

    def test_call_is_adopted_from_its_webhook(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess, webhooks: Recorder
    ) -> None:
        sandbox.fault("cut_after")
        placement = make().place(KEY, CALL, WAIT, poll_interval=0.01)
        assert placement.how is How.ADOPTED
        assert accepted_ids(sandbox) == [placement.call.call_id]
        assert make().place(KEY, CALL, REDIAL_NOW).how is How.ADOPTED
        assert len(accepted_ids(sandbox)) == 1

    def test_webhook_that_comes_before_the_answer_changes_nothing(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess, webhooks: Recorder
    ) -> None:
        sandbox.fault("webhook_early")
        placement = make().place(KEY, CALL, WAIT)
        assert placement.how is How.PLACED
        assert ledger.completion(placement.call.call_id) is not None

    def test_without_a_webhook_the_message_says_what_to_do(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        lose_answer(make, sandbox)
        with raises(CallOutcomeUnknownError) as caught:
            make().place(KEY, CALL, FAIL_NOW, origin=SECOND_TRY)
        said = str(caught.value)
        for part in (
            "+1415***0133",
            f"{entry_of(ledger).claimed_at:%Y-%m-%d %H:%M:%S} UTC",
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
        assert len(accepted_ids(sandbox)) == 1

    def test_candidates_that_cannot_be_told_apart_are_named(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess, webhooks: Recorder
    ) -> None:
        sandbox.configure(webhook_hold=True)
        lose_answer(make, sandbox)
        sandbox.post_call(CALL.to_request())  # somebody else calls the same person
        sandbox.configure(webhook_hold=False)
        until(lambda: len(ledger.completions(accepted_ids(sandbox))) == 2)
        with raises(CallOutcomeUnknownError) as caught:
            make().place(KEY, CALL, FAIL_NOW)
        assert all(call_id in str(caught.value) for call_id in accepted_ids(sandbox))

    def test_redial_dials_once_more_and_never_again(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        lose_answer(make, sandbox)
        sandbox.fault("cut_after")
        with raises(CallOutcomeUnknownError) as caught:
            make().place(KEY, CALL, REDIAL_NOW, origin=SECOND_TRY)
        assert "redialled once already" in str(caught.value)
        for _ in range(3):
            with raises(CallOutcomeUnknownError):
                make().place(KEY, CALL, REDIAL_NOW, origin=THIRD_TRY)
        assert len(accepted_ids(sandbox)) == 2
        assert (entry_of(ledger).dials, entry_of(ledger).redials) == (2, 1)

    def test_redial_that_is_answered_is_the_keys_call(
        self, make: Callable[..., CallPlacer], sandbox: SandboxProcess
    ) -> None:
        lose_answer(make, sandbox)
        placement = make().place(KEY, CALL, REDIAL_NOW, origin=SECOND_TRY)
        assert placement.how is How.PLACED
        assert accepted_ids(sandbox)[1:] == [placement.call.call_id]
        assert make().place(KEY, CALL, REDIAL_NOW, origin=THIRD_TRY).how is How.TAKEN_UP
        assert len(accepted_ids(sandbox)) == 2

    def test_redial_that_is_not_placed_leaves_the_first_dial_unknown(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        lose_answer(make, sandbox)
        sandbox.configure(api_keys=["another"])
        with raises(UnauthorizedError):
            make().place(KEY, CALL, REDIAL_NOW, origin=SECOND_TRY)
        assert entry_of(ledger).state is CallState.UNKNOWN
        with raises(CallOutcomeUnknownError):
            make().place(KEY, CALL, FAIL_NOW, origin=THIRD_TRY)
        assert len(accepted_ids(sandbox)) == 1
        # It was no dial, so there still is the one that was asked for.
        sandbox.configure(api_keys=[API_KEY])
        assert make().place(KEY, CALL, REDIAL_NOW, origin=THIRD_TRY).how is How.PLACED
        assert len(accepted_ids(sandbox)) == 2

    def test_redial_is_not_done_before_the_timeout(
        self, make: Callable[..., CallPlacer], sandbox: SandboxProcess
    ) -> None:
        lose_answer(make, sandbox)
        policy = replace(REDIAL_NOW, timeout=900.0)
        assert isinstance(make().step(KEY, CALL, policy, origin=SECOND_TRY), Pending)
        assert len(accepted_ids(sandbox)) == 1

    def test_of_many_that_want_to_redial_one_does(
        self, make: Callable[..., CallPlacer], sandbox: SandboxProcess
    ) -> None:
        lose_answer(make, sandbox)
        results: list[Any] = []
        threads = [
            threading.Thread(target=lambda: results.append(make().place(KEY, CALL, REDIAL_NOW)))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert accepted_ids(sandbox)[1:] == list({result.call.call_id for result in results})

    def test_purged_unknown_call_is_not_redialled(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        lose_answer(make, sandbox)
        ledger.purge(datetime.now(timezone.utc) + timedelta(seconds=1))
        with raises(CallOutcomeUnknownError):
            make().place(KEY, CALL, REDIAL_NOW)
        assert len(accepted_ids(sandbox)) == 1

    def test_answer_with_the_id_of_another_call_is_unknown(
        self, make: Callable[..., CallPlacer], ledger: CallLedger
    ) -> None:
        body = b'{"call_id": "call_1"}'
        raw = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        with answering(raw) as url:
            first = make(base_url=url).place("first", CALL, FAIL_NOW)
            with raises(CallOutcomeUnknownError) as caught:
                make(base_url=url).place("second", CALL, FAIL_NOW)
        assert first.call.call_id == "call_1"
        assert caught.value.code == "call_id_not_unique"
        assert "call_1" in str(caught.value)


class TestLedgerThatForgot:
    """A ledger that was restored from a backup no longer has the newest calls, which may have rung."""

    @staticmethod
    def forget(ledger_url: str) -> None:
        with connect.database(ledger_url).writing() as connection:
            connection.execute(calls.delete())

    def test_unknown_call_that_is_gone_is_not_dialled(
        self, make: Callable[..., CallPlacer], ledger_url: str, sandbox: SandboxProcess
    ) -> None:
        lose_answer(make, sandbox)
        forget = lambda seconds: self.forget(ledger_url)  # noqa: E731
        bounds = RetryBounds(patience=30.0, sleep=forget)
        with raises(CallOutcomeUnknownError) as caught:
            make(bounds=bounds).place(KEY, CALL, WAIT, origin=SECOND_TRY)
        assert caught.value.code == "gone_from_ledger"
        assert "not dialled again" in str(caught.value)
        assert len(accepted_ids(sandbox)) == 1

    def test_task_that_has_waited_for_it_does_not_dial(
        self, make: Callable[..., CallPlacer], sandbox: SandboxProcess
    ) -> None:
        with raises(CallOutcomeUnknownError) as caught:
            make().step(KEY, CALL, REDIAL_NOW, origin=SECOND_TRY, seen=True)
        assert caught.value.code == "gone_from_ledger"
        assert sandbox.counts()["requests"] == 0

    def test_claim_of_another_process_that_is_gone_is_not_taken(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, ledger_url: str, sandbox: SandboxProcess
    ) -> None:
        ledger.claim(KEY, CALL, conn_id=CONN_ID)
        forget = lambda seconds: self.forget(ledger_url)  # noqa: E731
        with raises(CallOutcomeUnknownError) as caught:
            make(bounds=RetryBounds(sleep=forget)).place(KEY, CALL, WAIT)
        assert caught.value.code == "gone_from_ledger"
        assert sandbox.counts()["requests"] == 0

    def forgetting(self, placer: CallPlacer, ledger_url: str) -> CallPlacer:
        """Have the ledger restored while the request of a placer is under way."""
        place = placer._client.place

        def forget_and_place(*args: Any, **options: Any) -> PlacedCall:
            self.forget(ledger_url)
            return place(*args, **options)

        placer._client.place = forget_and_place  # type: ignore[method-assign]
        return placer

    def test_answer_to_a_claim_that_is_gone_is_stored(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, ledger_url: str, sandbox: SandboxProcess
    ) -> None:
        placed = self.forgetting(make(), ledger_url).place(KEY, CALL, WAIT, origin=FIRST_TRY)
        assert accepted_ids(sandbox) == [placed.call.call_id] == [entry_of(ledger).call_id]
        again = make().place(KEY, CALL, WAIT, origin=SECOND_TRY)
        assert (again.how, again.call) == (How.TAKEN_UP, placed.call)
        assert len(accepted_ids(sandbox)) == 1

    def test_lost_answer_to_a_claim_that_is_gone_is_stored_as_unknown(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, ledger_url: str, sandbox: SandboxProcess
    ) -> None:
        sandbox.fault("cut_after")
        for placer, origin in ((self.forgetting(make(), ledger_url), FIRST_TRY), (make(), SECOND_TRY)):
            with raises(CallOutcomeUnknownError):
                placer.place(KEY, CALL, FAIL_NOW, origin=origin)
        assert entry_of(ledger).state is CallState.UNKNOWN
        assert len(accepted_ids(sandbox)) == 1


class TestWithoutKey:
    def test_each_rings_and_each_is_in_the_ledger(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        placed = [make().place_without_key(CALL, origin=FIRST_TRY) for _ in range(2)]
        assert [one.call.call_id for one in placed] == accepted_ids(sandbox)
        assert {entry.call_id for entry in ledger.calls()} == set(accepted_ids(sandbox))
        assert all(entry.origin == FIRST_TRY for entry in ledger.calls())

    def test_its_completion_is_not_taken_for_that_of_an_unknown_call(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, webhooks: Recorder, sandbox: SandboxProcess
    ) -> None:
        sandbox.fault("error_before")  # nothing rings
        with raises(CallOutcomeUnknownError):
            make().place(KEY, CALL, FAIL_NOW)
        placed = make().place_without_key(CALL)
        until(lambda: ledger.completion(placed.call.call_id))
        with raises(CallOutcomeUnknownError):
            make().place(KEY, CALL, FAIL_NOW, origin=SECOND_TRY)

    def test_lost_answer_is_unknown_at_once_and_makes_a_rival(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, webhooks: Recorder, sandbox: SandboxProcess
    ) -> None:
        sandbox.fault("error_before")
        with raises(CallOutcomeUnknownError):
            make().place(KEY, CALL, FAIL_NOW)
        sandbox.fault("cut_after")
        with raises(CallOutcomeUnknownError) as caught:
            make().place_without_key(CALL)
        assert "no idempotency key" in str(caught.value)
        [call_id] = accepted_ids(sandbox)
        until(lambda: ledger.completion(call_id))
        with raises(CallOutcomeUnknownError):
            make().place(KEY, CALL, FAIL_NOW, origin=SECOND_TRY)

    def test_refused_call_is_refused(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        sandbox.configure(api_keys=["another"])
        with raises(UnauthorizedError):
            make().place_without_key(CALL)
        assert [entry.state for entry in ledger.calls()] == [CallState.REFUSED]


def test_placement_needs_the_id_of_a_call(ledger: CallLedger) -> None:
    entry, _ = ledger.claim(KEY, CALL, conn_id=CONN_ID)
    with pytest.raises(ClaimLostError, match="without a call_id"):
        placement(entry, How.PLACED)


def owner(pipe: Connection, ledger_url: str, base_url: str, gate: str) -> None:
    """Place the call in a process of its own, and wait at a gate until told to go on."""

    def reach(name: str) -> None:
        if name == gate:
            pipe.send("at the gate")
            pipe.recv()

    placer = make_placer(ledger_url, base_url, before_send=lambda: reach("before POST"), count=reach)
    try:
        placement = placer.place(KEY, CALL, WAIT, origin=FIRST_TRY, poll_interval=0.01)
        pipe.send((placement.how.value, placement.call.call_id))
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

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.join()

    def stop(self) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.pipe.close()


@pytest.fixture
def start_owner(ledger_url: str, sandbox: SandboxProcess, ledger: CallLedger) -> Iterator[Any]:
    started: list[OwnerProcess] = []

    def start_owner(gate: str = "none") -> OwnerProcess:
        started.append(OwnerProcess(ledger_url, sandbox.base_url, gate))
        return started[-1]

    yield start_owner
    for process in started:
        process.stop()


StartOwner = Callable[..., OwnerProcess]


def kill_between_claim_and_post(start_owner: StartOwner, sandbox: SandboxProcess) -> None:
    process = start_owner("before POST")
    assert process.wait() == "at the gate"
    process.kill()


def kill_between_post_and_answer(start_owner: StartOwner, sandbox: SandboxProcess) -> None:
    sandbox.fault("hang")
    process = start_owner()
    sandbox.wait_for(lambda audit: audit["calls"])
    process.kill()


def kill_between_answer_and_accept(start_owner: StartOwner, sandbox: SandboxProcess) -> None:
    process = start_owner("calls.placed")
    assert process.wait() == "at the gate"
    process.kill()


KILLED_AFTER_POST = pytest.mark.parametrize(
    "killed", [kill_between_post_and_answer, kill_between_answer_and_accept]
)
KILLED = pytest.mark.parametrize(
    ("killed", "rang"),
    [
        (kill_between_claim_and_post, 0),
        (kill_between_post_and_answer, 1),
        (kill_between_answer_and_accept, 1),
    ],
)


class TestKilledOwner:
    @KILLED_AFTER_POST
    def test_next_try_finds_the_call_by_its_webhook(
        self,
        make: Callable[..., CallPlacer],
        sandbox: SandboxProcess,
        webhooks: Recorder,
        start_owner: StartOwner,
        killed: Callable[..., None],
    ) -> None:
        killed(start_owner, sandbox)
        placement = make().place(KEY, CALL, WAIT, origin=SECOND_TRY, poll_interval=0.01)
        assert placement.how is How.ADOPTED
        assert accepted_ids(sandbox) == [placement.call.call_id]

    @KILLED
    def test_without_a_webhook_the_next_try_does_not_dial(
        self,
        make: Callable[..., CallPlacer],
        ledger: CallLedger,
        sandbox: SandboxProcess,
        start_owner: StartOwner,
        killed: Callable[..., None],
        rang: int,
    ) -> None:
        killed(start_owner, sandbox)
        assert entry_of(ledger).state is CallState.CLAIMED
        assert isinstance(make().step(KEY, CALL, WAIT, origin=SECOND_TRY), Pending)
        for _ in range(2):
            with raises(CallOutcomeUnknownError) as caught:
                make().place(KEY, CALL, FAIL_NOW, origin=SECOND_TRY)
            assert caught.value.code == "owner_died"
        assert len(accepted_ids(sandbox)) == rang

    @KILLED
    def test_redial_dials_once_more(
        self,
        make: Callable[..., CallPlacer],
        sandbox: SandboxProcess,
        start_owner: StartOwner,
        killed: Callable[..., None],
        rang: int,
    ) -> None:
        killed(start_owner, sandbox)
        placement = make().place(KEY, CALL, REDIAL_NOW, origin=SECOND_TRY)
        assert make().place(KEY, CALL, REDIAL_NOW, origin=THIRD_TRY).call == placement.call
        assert accepted_ids(sandbox)[rang:] == [placement.call.call_id]

    def test_try_of_the_same_number_waits_for_the_lease(
        self,
        make: Callable[..., CallPlacer],
        ledger: CallLedger,
        sandbox: SandboxProcess,
        start_owner: StartOwner,
    ) -> None:
        kill_between_claim_and_post(start_owner, sandbox)
        with raises(CallOutcomeUnknownError) as caught:
            make(lease=0.2).place(KEY, CALL, FAIL_NOW, origin=FIRST_TRY)
        assert caught.value.code == "owner_silent"
        assert "no heartbeat" in str(caught.value)
        assert sandbox.counts()["requests"] == 0


class TestLosers:
    def test_loser_gets_the_winners_call(
        self, make: Callable[..., CallPlacer], sandbox: SandboxProcess, start_owner: StartOwner
    ) -> None:
        winner = start_owner("before POST")
        assert winner.wait() == "at the gate"
        loser = start_owner()
        assert not loser.pipe.poll(0.2)
        winner.go_on()
        how, call_id = winner.wait()
        assert (how, loser.wait()) == ("placed", ("taken_up", call_id))
        assert accepted_ids(sandbox) == [call_id]

    def test_owner_that_shows_signs_of_life_is_left_alone(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        # Each look at the owner's claim finds it renewed, for much longer than a lease.
        entry, _ = ledger.claim(KEY, CALL, conn_id=CONN_ID, origin=FIRST_TRY)
        looks: list[int] = []

        def owner_goes_on(_seconds: float) -> None:
            time.sleep(0.05)
            looks.append(1)
            if len(looks) < 12:
                ledger.renew(entry)
            else:
                ledger.accept(entry, "call_1")

        placer = make(lease=0.3, bounds=RetryBounds(sleep=owner_goes_on))
        assert placer.place(KEY, CALL, WAIT, origin=FIRST_TRY).call.call_id == "call_1"
        assert sandbox.counts()["requests"] == 0

    def test_loser_of_a_refused_call_asks_for_itself(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        entry, _ = ledger.claim(KEY, CALL, conn_id=CONN_ID)

        def owner_gives_up(seconds: float) -> None:
            ledger.refuse(entry, "interrupted", "before it was sent")

        placer = make(bounds=RetryBounds(sleep=owner_gives_up))
        assert placer.place(KEY, CALL, WAIT).how is How.PLACED
        assert len(accepted_ids(sandbox)) == 1

    def test_paused_owner_does_not_dial_after_others_have(
        self, make: Callable[..., CallPlacer], sandbox: SandboxProcess, start_owner: StartOwner
    ) -> None:
        paused = start_owner("before POST")
        assert paused.wait() == "at the gate"
        paused.signal(signal.SIGSTOP)
        paused.go_on()
        placement = make().place(KEY, CALL, REDIAL_NOW, origin=SECOND_TRY)
        paused.signal(signal.SIGCONT)
        assert paused.wait() == ("taken_up", placement.call.call_id)
        assert accepted_ids(sandbox) == [placement.call.call_id]

    def test_answer_of_a_paused_owner_is_kept_although_others_have_redialled(
        self,
        make: Callable[..., CallPlacer],
        ledger: CallLedger,
        sandbox: SandboxProcess,
        start_owner: StartOwner,
    ) -> None:
        paused = start_owner("calls.placed")
        assert paused.wait() == "at the gate"
        redial = make().place(KEY, CALL, REDIAL_NOW, origin=SECOND_TRY)
        paused.go_on()
        assert paused.wait() == ("taken_up", redial.call.call_id)
        first, second = accepted_ids(sandbox)
        assert second == redial.call.call_id
        assert ledger.call_by_id(first) is not None

    @pytest.mark.parametrize("redial", ["in its 429 loop", "refused for good"])
    def test_answer_of_a_paused_owner_keeps_a_redial_from_being_sent(
        self,
        make: Callable[..., CallPlacer],
        ledger: CallLedger,
        sandbox: SandboxProcess,
        start_owner: StartOwner,
        redial: str,
    ) -> None:
        paused = start_owner("calls.placed")
        assert paused.wait() == "at the gate"
        [first] = accepted_ids(sandbox)
        sandbox.configure(retry_after="none")
        if redial == "refused for good":
            sandbox.fault("rate_limited")
            with raises(RateLimitedError):
                make(bounds=RetryBounds(patience=0.0)).place(KEY, CALL, REDIAL_NOW, origin=SECOND_TRY)
            paused.go_on()
            assert paused.wait() == ("placed", first)
            placement = make().place(KEY, CALL, REDIAL_NOW, origin=THIRD_TRY)
        else:
            sandbox.fault("rate_limited", count=2)
            refused: list[int] = []

            def between_requests() -> None:
                refused.append(1)
                if len(refused) == 3:
                    paused.go_on()
                    assert paused.wait() == ("placed", first)

            placement = make(before_send=between_requests).place(KEY, CALL, REDIAL_NOW, origin=SECOND_TRY)
            assert len(refused) == 3
        assert (placement.how, placement.call.call_id) == (How.TAKEN_UP, first)
        assert entry_of(ledger).call_id == first
        assert accepted_ids(sandbox) == [first]

    def test_answer_that_comes_while_the_last_redial_is_refused_is_taken_up(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        first_try, _ = ledger.claim(KEY, CALL, conn_id=CONN_ID, origin=FIRST_TRY)
        ledger.mark_unknown(first_try, "owner_died", "paused")
        sandbox.configure(api_keys=["another"])

        def answered(name: str) -> None:
            if name == "calls.refused":
                ledger.accept(first_try, "call_1")

        placement = make(count=answered).place(KEY, CALL, REDIAL_NOW, origin=SECOND_TRY)
        assert (placement.how, placement.call.call_id) == (How.TAKEN_UP, "call_1")

    def test_claim_that_was_taken_over_before_the_request_is_not_sent(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess
    ) -> None:
        def take_over() -> None:
            redial = ledger.claim_redial(ledger.mark_unknown(entry_of(ledger), "owner_silent", "silent"))
            ledger.accept(redial, "call_of_the_other")

        placement = make(before_send=take_over).place(KEY, CALL, WAIT)
        assert (placement.how, placement.call.call_id) == (How.TAKEN_UP, "call_of_the_other")
        assert sandbox.counts()["requests"] == 0

    def test_owner_that_is_paused_after_its_last_look_does_not_dial_after_others_have(
        self,
        make: Callable[..., CallPlacer],
        sandbox: SandboxProcess,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(placing, "BEGIN_WITHIN", 0.1)
        renew = CallLedger.renew
        others: list[Placement] = []

        def paused(self: CallLedger, entry: CallEntry) -> None:
            renew(self, entry)
            if not others:
                begun = time.monotonic()
                others.append(make().place(KEY, CALL, REDIAL_NOW, origin=SECOND_TRY))
                until(lambda: time.monotonic() > begun + 0.1)

        placer = make()
        monkeypatch.setattr(placer._ledger, "renew", paused.__get__(placer._ledger))
        placement = placer.place(KEY, CALL, WAIT, origin=FIRST_TRY)
        assert (placement.how, placement.call) == (How.TAKEN_UP, others[0].call)
        assert accepted_ids(sandbox) == [others[0].call.call_id]

    def test_redial_that_another_took_first_is_looked_up(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, ledger_url: str, sandbox: SandboxProcess
    ) -> None:
        lose_answer(make, sandbox)

        def take_redial() -> None:
            ledger.accept(ledger.claim_redial(entry_of(ledger)), "call_of_the_other")

        # Between the look for a completion and the redial.
        after_next_write(ledger_url, take_redial)
        placement = make().place(KEY, CALL, REDIAL_NOW)
        assert (placement.how, placement.call.call_id) == (How.TAKEN_UP, "call_of_the_other")
        assert len(accepted_ids(sandbox)) == 1


def after_next_write(url: str, action: Callable[[], object]) -> None:
    """Do something once, right after the next transaction that writes was committed, in another thread."""
    waiting = [action]

    def on_commit(connection: DatabaseConnection) -> None:
        if waiting and connection.get_execution_options()[migrate.WRITING]:
            connection.connection.commit()  # SQLAlchemy tells before it does so itself
            with ThreadPoolExecutor(1) as pool:
                pool.submit(waiting.pop()).result()

    event.listen(connect.database(url).engine, "commit", on_commit)


class Interrupt(BaseException):
    """What ends a task from outside, as a signal's handler raises it."""


class TestInterrupted:
    @pytest.fixture
    def interrupt_after(self) -> Iterator[Callable[[float], None]]:
        def interrupt(*_: object) -> None:
            raise Interrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds) and None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    def test_interrupted_while_it_may_ring_is_unknown(
        self,
        make: Callable[..., CallPlacer],
        ledger: CallLedger,
        sandbox: SandboxProcess,
        interrupt_after: Callable[[float], None],
    ) -> None:
        sandbox.fault("hang")
        interrupt_after(0.5)
        with pytest.raises(Interrupt):
            make().place(KEY, CALL, WAIT, origin=FIRST_TRY)
        entry = entry_of(ledger)
        assert (entry.state, entry.error_code) == (CallState.UNKNOWN, "interrupted")
        assert len(accepted_ids(sandbox)) == 1

    @pytest.mark.parametrize("when", ["before the first request", "between two requests"])
    def test_interrupted_before_it_was_sent_is_no_call(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess, when: str
    ) -> None:
        def interrupt(*_: object) -> None:
            raise Interrupt

        if when == "between two requests":
            sandbox.fault("rate_limited")
            placer = make(bounds=RetryBounds(sleep=interrupt))
        else:
            placer = make(before_send=interrupt)
        with pytest.raises(Interrupt):
            placer.place(KEY, CALL, WAIT, origin=FIRST_TRY)
        entry = entry_of(ledger)
        assert (entry.state, entry.error_code) == (CallState.REFUSED, "interrupted")
        assert make().place(KEY, CALL, WAIT, origin=SECOND_TRY).how is How.PLACED
        assert len(accepted_ids(sandbox)) == 1


class Outage:
    """Makes the ledger's database unusable for everybody, and usable again."""

    def __init__(self, url: str, server: PostgresServer | None) -> None:
        self._url = url
        self._server = server
        self._holder: sqlite3.Connection | None = None

    def begin(self) -> None:
        if self._server is None:
            self._holder = sqlite3.connect(self._url.removeprefix("sqlite:///"), isolation_level=None)
            self._holder.execute("BEGIN IMMEDIATE")
            return
        name = self._url.rpartition("/")[2]
        self._server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        self._server.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )

    def end(self) -> None:
        if self._server is not None:
            name = self._url.rpartition("/")[2]
            self._server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        elif self._holder is not None:
            self._holder.close()
            self._holder = None


class TestLedgerOutage:
    @pytest.fixture
    def outage(
        self, ledger_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Outage]:
        monkeypatch.setattr(connect, "BUSY_TIMEOUT", 0.05)
        server = None if ledger_url.startswith("sqlite") else request.getfixturevalue("postgres_server")
        outage = Outage(ledger_url, server)
        yield outage
        outage.end()

    # The time-out is read when the ledger is opened, so it has to be set before.
    @pytest.fixture
    def ledger(self, outage: Outage, ledger_url: str) -> CallLedger:
        ledger = CallLedger(ledger_url)
        ledger.check()
        return ledger

    @pytest.fixture
    def begin_at(self, outage: Outage) -> Callable[[str], Callable[[str], None]]:
        def begin_at(moment: str) -> Callable[[str], None]:
            return lambda name: outage.begin() if name == moment else None

        return begin_at

    @pytest.fixture
    def soon_over(self, outage: Outage) -> RetryBounds:
        """End the outage when somebody has waited for that twice."""
        waits: list[float] = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                outage.end()

        return RetryBounds(sleep=sleep)

    def test_before_the_claim_nothing_is_sent(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess, outage: Outage
    ) -> None:
        outage.begin()
        with raises(LedgerUnavailableError) as caught:
            make().place(KEY, CALL, WAIT)
        assert "[voiceinfra] sql_alchemy_conn" in str(caught.value)
        outage.end()
        assert ledger.calls() == []
        assert sandbox.counts()["requests"] == 0
        assert make().place(KEY, CALL, WAIT).how is How.PLACED

    def test_before_the_request_nothing_is_sent_and_the_key_may_be_tried_again(
        self,
        make: Callable[..., CallPlacer],
        ledger: CallLedger,
        sandbox: SandboxProcess,
        outage: Outage,
        soon_over: RetryBounds,
    ) -> None:
        with raises(LedgerUnavailableError):
            make(before_send=outage.begin, bounds=soon_over).place(KEY, CALL, WAIT, origin=FIRST_TRY)
        assert sandbox.counts()["requests"] == 0
        entry = entry_of(ledger)
        assert (entry.state, entry.error_code) == (CallState.REFUSED, "ledger_unavailable")
        assert make().place(KEY, CALL, WAIT, origin=SECOND_TRY).how is How.PLACED
        assert len(accepted_ids(sandbox)) == 1

    def test_after_the_answer_it_is_held_until_it_can_be_stored(
        self,
        make: Callable[..., CallPlacer],
        ledger: CallLedger,
        sandbox: SandboxProcess,
        begin_at: Callable[[str], Callable[[str], None]],
        soon_over: RetryBounds,
    ) -> None:
        placement = make(count=begin_at("calls.placed"), bounds=soon_over).place(KEY, CALL, WAIT)
        assert placement.how is How.PLACED
        assert accepted_ids(sandbox) == [placement.call.call_id] == [entry_of(ledger).call_id]

    def test_answer_that_cannot_be_stored_is_told_and_not_dialled_again(
        self,
        make: Callable[..., CallPlacer],
        ledger: CallLedger,
        sandbox: SandboxProcess,
        outage: Outage,
        begin_at: Callable[[str], Callable[[str], None]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(placing, "STORE_PATIENCE", 0.0)
        with raises(LedgerUnavailableError) as caught:
            make(count=begin_at("calls.placed")).place(KEY, CALL, WAIT, origin=FIRST_TRY)
        (call_id,) = accepted_ids(sandbox)
        assert f"Call {call_id} was placed" in str(caught.value)
        outage.end()
        with raises(CallOutcomeUnknownError):
            make().place(KEY, CALL, FAIL_NOW, origin=SECOND_TRY)
        assert accepted_ids(sandbox) == [call_id]

    def test_lost_answer_that_cannot_be_stored_is_told_as_a_call_that_may_ring(
        self,
        make: Callable[..., CallPlacer],
        ledger: CallLedger,
        sandbox: SandboxProcess,
        outage: Outage,
        begin_at: Callable[[str], Callable[[str], None]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(placing, "STORE_PATIENCE", 0.0)
        sandbox.fault("cut_after")
        with raises(LedgerUnavailableError) as caught:
            make(count=begin_at("calls.unknown")).place(KEY, CALL, WAIT, origin=FIRST_TRY)
        assert "The call may have been placed. With an idempotency key a retry waits" in str(caught.value)
        outage.end()
        with raises(CallOutcomeUnknownError):
            make().place(KEY, CALL, FAIL_NOW, origin=SECOND_TRY)
        assert len(accepted_ids(sandbox)) == 1

    @pytest.mark.parametrize(
        ("fault", "moment", "state"),
        [
            ("cut_after", "calls.unknown", CallState.UNKNOWN),
            (None, "calls.refused", CallState.REFUSED),
        ],
    )
    def test_what_the_api_said_is_stored_once_that_is_possible(
        self,
        make: Callable[..., CallPlacer],
        ledger: CallLedger,
        sandbox: SandboxProcess,
        begin_at: Callable[[str], Callable[[str], None]],
        soon_over: RetryBounds,
        fault: str | None,
        moment: str,
        state: CallState,
    ) -> None:
        if fault:
            sandbox.fault(fault)
        else:
            sandbox.configure(api_keys=["another"])
        placer = make(count=begin_at(moment), bounds=soon_over)
        with raises(CallOutcomeUnknownError if fault else UnauthorizedError):
            placer.place(KEY, CALL, FAIL_NOW)
        assert entry_of(ledger).state is state

    @pytest.mark.parametrize("over", [True, False])
    def test_interrupted_while_the_answer_cannot_be_stored(
        self,
        make: Callable[..., CallPlacer],
        ledger: CallLedger,
        sandbox: SandboxProcess,
        outage: Outage,
        begin_at: Callable[[str], Callable[[str], None]],
        caplog: pytest.LogCaptureFixture,
        over: bool,
    ) -> None:
        def interrupt(_seconds: float) -> None:
            if over:
                outage.end()
            raise Interrupt

        placer = make(count=begin_at("calls.placed"), bounds=RetryBounds(sleep=interrupt))
        with pytest.raises(Interrupt):
            placer.place(KEY, CALL, WAIT, origin=FIRST_TRY)
        outage.end()
        (call_id,) = accepted_ids(sandbox)
        assert f"Call {call_id} was placed" in caplog.text
        assert entry_of(ledger).call_id == (call_id if over else None)
        # What cannot be known is not tried.
        with suppress(CallOutcomeUnknownError):
            make().place(KEY, CALL, FAIL_NOW, origin=SECOND_TRY)
        assert accepted_ids(sandbox) == [call_id]

    def test_claim_of_an_interrupted_call_stays_and_is_unknown_to_the_next_try(
        self, make: Callable[..., CallPlacer], ledger: CallLedger, sandbox: SandboxProcess, outage: Outage
    ) -> None:
        def interrupt() -> None:
            outage.begin()
            raise Interrupt

        with pytest.raises(Interrupt):
            make(before_send=interrupt).place(KEY, CALL, WAIT, origin=FIRST_TRY)
        outage.end()
        assert entry_of(ledger).state is CallState.CLAIMED
        with raises(CallOutcomeUnknownError):
            make().place(KEY, CALL, FAIL_NOW, origin=SECOND_TRY)
        assert sandbox.counts()["requests"] == 0


def racer(pipe: Connection, ledger_url: str, base_url: str, keys: list[str], seed: int) -> None:
    """Place all the calls in an order of one's own, and tell their ids."""
    placer = make_placer(ledger_url, base_url, timeout=30.0)
    pipe.send("ready")
    pipe.recv()
    found: dict[str, str] = {}
    for key in random.Random(seed).sample(keys, len(keys)):
        found[key] = placer.place(key, CALL, WAIT).call.call_id
    pipe.send(found)


def test_many_processes_race_for_many_keys_and_each_key_rings_once(
    ledger: CallLedger, ledger_url: str, sandbox: SandboxProcess
) -> None:
    keys = [f"key {number}" for number in range(200)]
    racers = []
    for seed in range(16):
        pipe, theirs = processes.Pipe()
        # Half of them go through the keys in the same order, and so meet at each of them.
        arguments = (theirs, ledger_url, sandbox.base_url, keys, seed if seed % 2 else 0)
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
    assert sorted(found[0].values()) == sorted(accepted_ids(sandbox))
    assert len(accepted_ids(sandbox)) == len(keys) == sandbox.counts()["requests"]
