from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

import pytest
import requests

from airflow_provider_voiceinfra.sandbox.faults import MEANINGS, NUMBER_FAULTS, Fault, outcome_of
from tests.sandbox.conftest import Receiver
from tests.sandbox_process import SandboxProcess

integration = pytest.mark.integration


def seen(sandbox: SandboxProcess, to_number: str = "+12025550101", *, timeout: float = 10) -> Any:
    """What a client gets: a status, or the class of the error that ``requests`` raises."""
    try:
        return sandbox.post_call(to_number=to_number, timeout=timeout).status_code
    except requests.RequestException as error:
        return type(error)


def patience(expected: Any) -> float:
    """How long to wait for an answer, in seconds: briefly only where none will come."""
    return 0.3 if expected is requests.ReadTimeout else 10


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
    Fault.WEBHOOK_NEVER: (200, True),
    Fault.WEBHOOK_TWICE: (200, True),
    Fault.WEBHOOK_THRICE: (200, True),
    Fault.WEBHOOK_EARLY: (200, True),
    Fault.WEBHOOK_BAD_SIGNATURE: (200, True),
    Fault.WEBHOOK_LATE: (200, True),
}


def test_every_fault_has_a_meaning_and_an_expectation() -> None:
    assert set(MEANINGS) == set(SEEN) == set(Fault)


@integration
@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.value)
def test_scripted_fault_is_what_the_client_sees_and_the_audit_tells_the_truth(
    sandbox: SandboxProcess, fault: Fault
) -> None:
    expected, accepted = SEEN[fault]
    sandbox.fault(fault.value)
    assert seen(sandbox, timeout=patience(expected)) == expected
    audit = sandbox.audit()
    (entry,) = audit["requests"]
    assert entry["fault"] == fault.value
    assert entry["accepted"] is accepted
    assert entry["status"] == (expected if isinstance(expected, int) else None)
    assert [call["call_id"] for call in audit["calls"]] == ([entry["call_id"]] if accepted else [])
    assert seen(sandbox) == 200, "a scripted fault strikes once"


@integration
@pytest.mark.parametrize("digits", NUMBER_FAULTS)
def test_last_two_digits_choose_the_fault(sandbox: SandboxProcess, digits: str) -> None:
    fault = NUMBER_FAULTS[digits]
    expected, accepted = SEEN[fault]
    number = f"+120255501{digits}"
    assert seen(sandbox, number, timeout=patience(expected)) == expected
    (entry,) = sandbox.audit()["requests"]
    assert (entry["fault"], entry["accepted"], entry["to_number"]) == (fault.value, accepted, number)


@integration
def test_fault_numbers_can_be_switched_off(sandbox: SandboxProcess) -> None:
    sandbox.configure(fault_numbers=False)
    assert [seen(sandbox, f"+120255501{digits}") for digits in NUMBER_FAULTS] == [200] * 10
    assert [call["call_outcome"] for call in sandbox.audit()["calls"]][7:9] == ["voicemail", "failed"]


@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        ("+12025550101", "answered"),
        ("+12025550107", "voicemail"),
        ("+12025550108", "failed"),
        ("+12025550197", "answered"),
        ("+12025550198", "answered"),
    ],
)
def test_last_digit_chooses_the_outcome_unless_it_is_a_fault_number(number: str, outcome: str) -> None:
    assert outcome_of(number, fault_numbers=True) == outcome


@integration
def test_scripted_faults_come_in_order_and_before_the_numbers(sandbox: SandboxProcess) -> None:
    sandbox.fault("error_after", 2)
    sandbox.fault("gateway_html")
    assert [seen(sandbox, "+12025550190") for _ in range(4)] == [500, 500, 502, 500]
    assert [entry["fault"] for entry in sandbox.audit()["requests"]] == [
        "error_after",
        "error_after",
        "gateway_html",
        "error_before",
    ]


@integration
def test_refusing_fault_also_strikes_an_invalid_request_but_not_a_bad_key(sandbox: SandboxProcess) -> None:
    sandbox.fault("error_before")
    assert sandbox.post_call({}, api_key="vk_wrong").status_code == 401
    assert sandbox.post_call({}).status_code == 500
    assert sandbox.post_call({}).status_code == 400


@integration
def test_fault_of_an_accepted_call_waits_for_a_valid_request(sandbox: SandboxProcess) -> None:
    sandbox.fault("error_after")
    assert sandbox.post_call({}).status_code == 400
    assert seen(sandbox) == 500


@integration
def test_random_faults_are_repeatable(sandbox: SandboxProcess) -> None:
    def run() -> list[Any]:
        sandbox.configure(fault_rate=0.5, faults=["error_before", "gateway_html"], seed=7)
        sandbox.reset()
        return [seen(sandbox) for _ in range(20)]

    first = run()
    assert set(first) == {200, 500, 502}
    assert run() == first


@integration
def test_useless_bodies_carry_no_call_id(sandbox: SandboxProcess) -> None:
    sandbox.fault("bad_json_2xx", 4)
    for _ in range(4):
        response = sandbox.post_call()
        assert response.status_code == 200
        with contextlib.suppress(json.JSONDecodeError):
            assert "call_id" not in response.json()
    assert sandbox.counts()["accepted"] == 4


@integration
def test_gateway_error_is_html(sandbox: SandboxProcess) -> None:
    response = sandbox.post_call(to_number="+12025550193")
    assert response.headers["Content-Type"].startswith("text/html")


@integration
def test_connection_is_cut_without_a_byte_even_on_a_reused_connection(sandbox: SandboxProcess) -> None:
    call = {"agent_id": "agent_demo", "from_number": "+12025550100", "to_number": "+12025550101"}
    with requests.Session() as session:
        session.headers["X-API-Key"] = sandbox.api_key
        url = f"{sandbox.base_url}/calls/outbound"
        assert session.post(url, json=call).status_code == 200
        sandbox.fault("cut_after")
        with pytest.raises(requests.ConnectionError):
            session.post(url, json=call, timeout=5)
        assert session.post(url, json=call).status_code == 200
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
