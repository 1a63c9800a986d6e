"""The hook: a connection becomes a client, and calls with a key go through the ledger."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.deployment import open_ledger
from airflow_provider_voiceinfra.exceptions import (
    CallNotAllowedError,
    CallOutcomeUnknownError,
    ConfigurationError,
    InvalidCallError,
)
from airflow_provider_voiceinfra.hooks.voiceinfra import VoiceInfraHook
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from tests.hooks.conftest import connect
from tests.sandbox_process import SandboxProcess
from tests.support.completions import record as record_completion

CALL = OutboundCall("+14155550100")
PAST = datetime(2020, 1, 1, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def _connection(sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, ledger_url: str) -> None:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", ledger_url)
    connect(monkeypatch, sandbox.base_url)


@pytest.mark.parametrize(
    ("own", "used"),
    [
        ({}, ("agent_default", "+12025550100")),
        ({"agent_id": "agent_own", "from_number": "+12025550101"}, ("agent_own", "+12025550101")),
    ],
)
def test_connection_fills_in_the_agent_and_caller_that_a_call_does_not_name(
    sandbox: SandboxProcess, own: dict[str, Any], used: tuple[str, str]
) -> None:
    placed = VoiceInfraHook().place_call(replace(CALL, **own))
    [call] = sandbox.audit()["calls"]
    assert call["call_id"] == placed.call_id
    assert (call["agent_id"], call["from_number"]) == used


def test_calls_without_a_key_ring_each_time_and_are_all_in_the_ledger(sandbox: SandboxProcess) -> None:
    hook = VoiceInfraHook()
    placed = {hook.place_call(CALL).call_id for _ in range(2)}
    assert sandbox.counts()["accepted"] == 2
    assert {entry.call_id for entry in open_ledger().calls()} == placed


def test_client_that_anybody_gets_places_no_call(sandbox: SandboxProcess) -> None:
    client = VoiceInfraHook().get_conn()
    assert not hasattr(client, "place")
    client.probe()
    assert sandbox.counts()["calls"] == 0


def test_key_rings_once(sandbox: SandboxProcess) -> None:
    origin = CallOrigin(dag_id="outreach", run_id="r", task_id="t", map_index=-1, try_number=1)
    first = VoiceInfraHook().place_call(CALL, idempotency_key="order 7", origin=origin)
    again = VoiceInfraHook().place_call(CALL, idempotency_key="order 7")
    assert first.call_id == again.call_id
    assert sandbox.counts()["accepted"] == 1
    [entry] = open_ledger().calls()
    assert entry.origin == origin


def test_unknown_outcome_is_told_and_redialled_only_on_request(sandbox: SandboxProcess) -> None:
    sandbox.fault("error_before")
    hook = VoiceInfraHook()
    with pytest.raises(CallOutcomeUnknownError, match="It was not dialled again"):
        hook.place_call(CALL, idempotency_key="order 7", unknown_timeout=0)
    hook.place_call(CALL, idempotency_key="order 7", unknown_timeout=0, on_unknown="redial")
    assert sandbox.counts()["accepted"] == 1


def test_hooks_of_one_connection_keep_one_pace(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, sandbox.base_url, extra={"max_calls_per_second": 8})
    started = time.monotonic()
    for _ in range(3):
        VoiceInfraHook().place_call(CALL)
    assert time.monotonic() - started >= 0.25, "two intervals of an eighth of a second each"


def test_completion_holds_everything_including_the_transcript() -> None:
    assert VoiceInfraHook().completion("call_1") is None
    body = json.dumps({"call_id": "call_1", "transcript": "Agent: Hello."}).encode()
    record_completion(open_ledger(), body)
    record = VoiceInfraHook().completion("call_1")
    assert record is not None
    assert record.payload["transcript"] == "Agent: Hello."


@pytest.mark.parametrize(
    ("extra", "good", "says"),
    [
        ({"from_number": None}, True, "No from_number is set, so each task has to name its own."),
        ({"agent_id": ""}, True, "No agent_id is set, so each task has to name its own."),
        ({"note": "x", "team": "y"}, True, "Ignored: unknown extras 'note', 'team'."),
        ({"from_number": "0301234"}, False, "The connection's from_number: 03*** is not in E.164 form"),
        ({"agent_id": "a\tb"}, False, "The connection's agent_id: must be printable text"),
    ],
    ids=["no caller ID", "no agent", "unknown extras", "bad caller ID", "bad agent"],
)
def test_connection_test_tells_what_calls_would_take_from_it(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, extra: dict[str, str], good: bool, says: str
) -> None:
    connect(monkeypatch, sandbox.base_url, extra)
    found, sentence = VoiceInfraHook().test_connection()
    assert found is good
    assert sentence.startswith(
        f"The API key is accepted at {sandbox.base_url}, and a webhook secret is set. "
    )
    assert says in sentence


def test_connection_test_says_that_rules_for_every_connection_cannot_be_read(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, sandbox.base_url, {})
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__CALL_CAP", "often")
    found, sentence = VoiceInfraHook().test_connection()
    assert not found
    assert "[voiceinfra] call_cap 'often' is none" in sentence
    assert sentence.endswith("Until that is corrected, nobody is called.")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"password": ""}, "API key is missing", id="no key"),
        pytest.param({"host": "http://api.example.com/v1"}, "plain-http", id="plain http"),
        pytest.param({"conn_type": "http"}, "of type 'http'", id="another type"),
        pytest.param({"extra": {"timeout": "soon"}}, "'timeout' must be a number", id="bad timeout"),
        pytest.param({"extra": {"call_cap": "often"}}, "'call_cap' 'often' is none", id="bad rule"),
    ],
)
def test_bad_connection_is_refused_with_its_field_and_remedy(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], says: str
) -> None:
    connect(monkeypatch, **{"host": sandbox.base_url, **changes})
    good, message = VoiceInfraHook().test_connection()
    assert not good
    assert says in message
    assert "Connection 'voiceinfra_default': " not in message, "the Test button makes up an id"
    assert message[0].isupper()
    with pytest.raises(ConfigurationError, match=says):
        VoiceInfraHook().place_call(CALL)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"call": OutboundCall("0800 123")}, r"to_number: .*E\.164"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "None"}, "idempotency_key"),
        (
            {"idempotency_key": "order 7", "on_unknown": "redail"},
            "on_unknown must be 'fail' or 'redial', not 'redail'; did you mean",
        ),
    ],
    ids=["number", "no key", "key of nothing", "unknown policy"],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    sandbox: SandboxProcess, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        VoiceInfraHook().place_call(**{"call": CALL, **options})
    assert sandbox.counts()["requests"] == 0


def test_rules_hold_with_and_without_a_key_and_the_error_says_from_when_on(sandbox: SandboxProcess) -> None:
    hook = VoiceInfraHook()
    hook.place_call(CALL, call_cap="1/24h")
    for key in (None, "key"):
        with pytest.raises(CallNotAllowedError) as caught:
            hook.place_call(CALL, idempotency_key=key, call_cap="1/24h")
        assert caught.value.code == "call_cap"
        assert caught.value.allowed_from is not None
    assert sandbox.counts()["accepted"] == 1


@pytest.mark.parametrize("everywhere", [True, False])
def test_suppressed_number_is_not_called_any_more(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, everywhere: bool
) -> None:
    hook = VoiceInfraHook()
    assert hook.suppress(CALL.to_number, reason="asked by mail", all_connections=everywhere)
    with pytest.raises(CallNotAllowedError, match="asked by mail"):
        hook.place_call(CALL)
    [found] = open_ledger().suppressions.of_number(CALL.to_number)
    assert found.conn_id == (None if everywhere else "voiceinfra_default")
    assert sandbox.counts()["requests"] == 0


def test_what_is_no_number_is_not_suppressed() -> None:
    with pytest.raises(InvalidCallError, match="number"):
        VoiceInfraHook().suppress("4155550100")


@pytest.mark.parametrize("until", [PAST, PAST.isoformat(), datetime(2031, 1, 1), "next week"])  # noqa: DTZ001
def test_suppression_that_would_not_count_is_refused(until: Any) -> None:
    with pytest.raises(InvalidCallError, match="until: must be a moment"):
        VoiceInfraHook().suppress(CALL.to_number, until=until)


def test_suppression_may_end_at_a_moment_given_as_text() -> None:
    assert VoiceInfraHook().suppress(CALL.to_number, until="2131-01-01T00:00:00Z")
    [found] = open_ledger().suppressions.of_number(CALL.to_number)
    assert found.ends_at == datetime(2131, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize("limit", ["calling_window", "call_cap"])
@pytest.mark.parametrize("empty", ["", " ", "None", []])
def test_limit_that_came_to_nothing_is_refused(sandbox: SandboxProcess, limit: str, empty: Any) -> None:
    with pytest.raises(InvalidCallError, match=f"{limit}: is empty; leave it out"):
        VoiceInfraHook().place_call(CALL, **{limit: empty})
    assert sandbox.counts()["requests"] == 0
