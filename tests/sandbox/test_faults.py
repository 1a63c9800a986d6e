from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

import pytest
import requests

from airflow_provider_voiceinfra.sandbox.faults import NUMBER_FAULTS, Fault, FaultPlan, outcome_of
from airflow_provider_voiceinfra.sandbox.settings import Settings
from tests.sandbox.conftest import Receiver
from tests.sandbox_process import SandboxProcess

integration = pytest.mark.integration


def seen(sandbox: SandboxProcess, expected: Any = None) -> Any:
    """What a client gets: a status, or the class of the error that ``requests`` raises."""
    try:
        # It waits briefly only where no answer will come.
        return sandbox.post_call(timeout=0.3 if expected is requests.ReadTimeout else 10).status_code
    except requests.RequestException as error:
        return type(error)


SEEN = {
    Fault.ERROR_BEFORE: (500, False),
    Fault.ERROR_AFTER: (500, True),
    Fault.CUT_BEFORE: (requests.ConnectionError, False),
    Fault.CUT_AFTER: (requests.ConnectionError, True),
    Fault.GATEWAY_HTML: (502, False),
    Fault.GATEWAY_HTML_AFTER: (502, True),
    Fault.HANG_BEFORE: (requests.ReadTimeout, False),
    Fault.HANG: (requests.ReadTimeout, True),
    Fault.BAD_JSON_2XX: (200, True),
    Fault.RATE_LIMITED: (429, False),
    **{fault: (200, True) for fault in Fault if fault.name.startswith("WEBHOOK")},
}


@integration
@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.value)
def test_scripted_fault_is_what_the_client_sees_and_the_audit_tells_the_truth(
    sandbox: SandboxProcess, fault: Fault
) -> None:
    expected, accepted = SEEN[fault]
    sandbox.fault(fault.value)
    assert seen(sandbox, expected) == expected
    audit = sandbox.audit()
    (entry,) = audit["requests"]
    assert entry["fault"] == fault.value
    assert entry["accepted"] is accepted
    assert entry["status"] == (expected if isinstance(expected, int) else None)
    assert [call["call_id"] for call in audit["calls"]] == ([entry["call_id"]] if accepted else [])
    assert seen(sandbox) == 200, "a scripted fault strikes once"


@pytest.mark.parametrize("digits", NUMBER_FAULTS)
def test_last_two_digits_choose_the_fault_unless_that_is_switched_off(digits: str) -> None:
    number = f"+120255501{digits}"
    assert FaultPlan().take(number, Settings()) is NUMBER_FAULTS[digits]
    assert FaultPlan().take(number, Settings(fault_numbers=False)) is None
    assert outcome_of(number, fault_numbers=True) == "answered"


@pytest.mark.parametrize(("digit", "outcome"), [("1", "answered"), ("7", "voicemail"), ("8", "failed")])
def test_last_digit_chooses_the_outcome(digit: str, outcome: str) -> None:
    assert outcome_of(f"+1202555010{digit}", fault_numbers=True) == outcome
    assert outcome_of(f"+1202555019{digit}", fault_numbers=False) == outcome


def test_scripted_faults_come_in_order_and_before_the_numbers() -> None:
    plan = FaultPlan()
    plan.script(Fault.ERROR_AFTER, 2)
    plan.script(Fault.GATEWAY_HTML, 1)
    assert plan.scripted == ["error_after", "error_after", "gateway_html"]
    met = [plan.take("+12025550190", Settings()) for _ in range(4)]
    assert met == [Fault.ERROR_AFTER, Fault.ERROR_AFTER, Fault.GATEWAY_HTML, Fault.ERROR_BEFORE]


def test_random_faults_are_repeatable() -> None:
    settings = Settings(fault_rate=0.5, faults=("error_before", "gateway_html"))
    plans = (FaultPlan(7), FaultPlan(7))
    first, second = ([plan.take("+12025550101", settings) for _ in range(20)] for plan in plans)
    assert set(first) == {None, Fault.ERROR_BEFORE, Fault.GATEWAY_HTML}
    assert second == first


@integration
def test_only_refusing_fault_strikes_an_invalid_request_and_none_a_bad_key(sandbox: SandboxProcess) -> None:
    sandbox.fault("error_before")
    assert sandbox.post_call({}, api_key="vk_wrong").status_code == 401
    assert sandbox.post_call({}).status_code == 500
    sandbox.fault("error_after")
    assert sandbox.post_call({}).status_code == 400
    assert seen(sandbox) == 500


@integration
def test_useless_bodies_carry_no_call_id_and_a_gateway_s_is_html(sandbox: SandboxProcess) -> None:
    sandbox.fault("bad_json_2xx", 4)
    for _ in range(4):
        response = sandbox.post_call()
        assert response.status_code == 200
        with contextlib.suppress(json.JSONDecodeError):
            assert "call_id" not in response.json()
    assert sandbox.counts()["accepted"] == 4
    gateway = sandbox.post_call(to_number="+12025550193")
    assert gateway.headers["Content-Type"].startswith("text/html")


@integration
def test_connection_is_cut_without_a_byte_even_on_a_reused_connection(sandbox: SandboxProcess) -> None:
    with requests.Session() as session:
        assert sandbox.post_call(session=session).status_code == 200
        sandbox.fault("cut_after")
        with pytest.raises(requests.ConnectionError):
            sandbox.post_call(session=session, timeout=5)
        assert sandbox.post_call(session=session).status_code == 200
    assert sandbox.counts()["accepted"] == 3


@integration
def test_client_that_dies_within_its_request_is_on_record(sandbox: SandboxProcess) -> None:
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /v1/calls/outbound HTTP/1.1\r\nHost: sandbox\r\nContent-Length: 100\r\n"
            b"X-API-Key: vk_sandbox_key\r\nContent-Type: application/json\r\n\r\n{"
        )
    audit = sandbox.wait_for(lambda audit: audit["requests"])
    assert (audit["requests"][0]["accepted"], audit["requests"][0]["code"]) == (False, "incomplete")


@integration
def test_early_webhook_arrives_before_the_answer(signed: SandboxProcess, receiver: Receiver) -> None:
    signed.configure(call_seconds=3600)
    response = signed.post_call(to_number="+12025550197")
    assert json.loads(receiver.received[0].body)["call_id"] == response.json()["call_id"]
