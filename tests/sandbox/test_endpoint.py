from __future__ import annotations

import io
import time
import wave
from typing import Any

import pytest
import requests

from tests.sandbox.conftest import Receiver
from tests.sandbox_process import SandboxProcess

pytestmark = pytest.mark.integration

CALL: dict[str, Any] = {"agent_id": "agent_demo", "from_number": "+12025550100", "to_number": "+12025550101"}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in CALL.items() if key != name}


def test_accepted_call_is_queued_under_an_id_of_its_own(sandbox: SandboxProcess) -> None:
    answers = [sandbox.post_call(**CALL).json() for _ in range(3)]
    assert [answer["status"] for answer in answers] == ["queued"] * 3
    assert len({answer["call_id"] for answer in answers}) == 3
    assert [call["call_id"] for call in sandbox.audit()["calls"]] == [answer["call_id"] for answer in answers]


def test_every_documented_field_is_accepted_and_recorded(sandbox: SandboxProcess) -> None:
    fields = {**CALL, "first_message": "Hello", "context": "Be brief.", "variables": {"name": "A", "n": 1}}
    assert sandbox.post_call(fields).status_code == 200
    (call,) = sandbox.audit()["calls"]
    assert {name: call[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("body", "status", "code", "named"),
    [
        pytest.param({}, 400, "validation_error", "agent_id", id="empty"),
        pytest.param(without("agent_id"), 400, "validation_error", "agent_id", id="no-agent"),
        pytest.param(without("from_number"), 400, "validation_error", "from_number", id="no-from"),
        pytest.param(without("to_number"), 400, "validation_error", "to_number", id="no-to"),
        pytest.param({**CALL, "agent_id": ""}, 400, "validation_error", "agent_id", id="blank-agent"),
        pytest.param({**CALL, "to_number": 12025550101}, 400, "validation_error", "to_number", id="int-to"),
        pytest.param({**CALL, "context": ["a"]}, 400, "validation_error", "context", id="list-context"),
        pytest.param({**CALL, "variables": "a=b"}, 400, "validation_error", "variables", id="text-variables"),
        pytest.param([CALL], 400, "validation_error", "object", id="list"),
        pytest.param({**CALL, "to_number": "2025550101"}, 422, "invalid_phone", "to_number", id="national"),
        pytest.param({**CALL, "to_number": "+1 2025550101"}, 422, "invalid_phone", "to_number", id="space"),
        pytest.param({**CALL, "to_number": "+12025550101\n"}, 422, "invalid_phone", "to_number", id="line"),
        pytest.param({**CALL, "from_number": "+0"}, 422, "invalid_phone", "from_number", id="bad-from"),
        pytest.param({**CALL, "agent_id": "unknown_1"}, 404, "not_found", "agent", id="unknown"),
        pytest.param({**CALL, "agent_id": "inactive_1"}, 404, "invalid_agent", "agent", id="inactive"),
    ],
)
def test_bad_request_is_refused_as_documented(
    sandbox: SandboxProcess, body: Any, status: int, code: str, named: str
) -> None:
    response = sandbox.post_call(body)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert named in error["message"]
    audit = sandbox.audit()
    assert audit["calls"] == []
    assert [(entry["accepted"], entry["status"], entry["code"]) for entry in audit["requests"]] == [
        (False, status, code)
    ]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("text/plain", b"{}"),
        (None, b"{}"),
        ("application/json", b"{"),
        ("application/json", b'{"variables": NaN}'),
        ("application/json", b"\xff"),
        ("application/json", b"[" * 100_000),
    ],
    ids=["text", "no-type", "cut-off", "nan", "not-utf8", "deep"],
)
def test_what_is_not_json_is_a_validation_error(
    sandbox: SandboxProcess, kind: str | None, data: bytes
) -> None:
    headers = {"Content-Type": kind, "X-API-Key": sandbox.api_key}
    response = requests.post(f"{sandbox.base_url}/calls/outbound", data=data, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "validation_error")


def test_key_is_checked_before_anything_else_and_can_be_revoked(sandbox: SandboxProcess) -> None:
    wrong = sandbox.post_call({}, api_key="vk_wrong")
    missing = requests.post(f"{sandbox.base_url}/calls/outbound", data=b"?")
    for response in (wrong, missing):
        assert (response.status_code, response.json()["error"]["code"]) == (401, "unauthorized")
    sandbox.configure(api_keys=["vk_new", "vk_other"])
    assert sandbox.post_call(api_key="vk_sandbox_key").status_code == 401
    assert sandbox.post_call(api_key="vk_other").status_code == 200
    sandbox.configure(api_keys=[])
    assert sandbox.post_call(api_key="vk_other").status_code == 401


def test_lists_of_agents_and_numbers_are_the_account(sandbox: SandboxProcess) -> None:
    sandbox.configure(agents=["agent_a"], from_numbers=["+12025550100"])
    assert sandbox.post_call(agent_id="agent_a").status_code == 200
    assert sandbox.post_call(agent_id="agent_b").json()["error"]["code"] == "not_found"
    foreign = sandbox.post_call(agent_id="agent_a", from_number="+12025550102")
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (400, "validation_error")
    assert "from_number" in foreign.json()["error"]["message"]


def test_rate_limit_refuses_without_accepting(sandbox: SandboxProcess) -> None:
    sandbox.configure(rate_limit=0.001, rate_burst=2)
    responses = [sandbox.post_call() for _ in range(4)]
    assert [response.status_code for response in responses] == [200, 200, 429, 429]
    assert responses[-1].json()["error"]["code"] == "rate_limited"
    counts = sandbox.counts()
    assert (counts["accepted"], counts["rate_limited"], counts["calls"]) == (2, 2, 2)


def test_latency_delays_the_answer_but_not_the_call(sandbox: SandboxProcess) -> None:
    sandbox.configure(latency_ms=300)
    began = time.monotonic()
    assert sandbox.post_call().status_code == 200
    assert time.monotonic() - began >= 0.3
    with pytest.raises(requests.ReadTimeout):
        sandbox.post_call(timeout=0.1)
    assert sandbox.counts()["accepted"] == 2


def test_reused_connection_is_answered_without_delay(sandbox: SandboxProcess) -> None:
    with requests.Session() as session:
        seconds = [sandbox.post_call(session=session).elapsed.total_seconds() for _ in range(20)]
    # Nagle's algorithm would cost each of them 40 ms.
    assert min(seconds) < 0.03


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "calls/outbound"), ("GET", "calls/call_1"), ("POST", "calls")]
)
def test_there_is_no_other_endpoint(sandbox: SandboxProcess, method: str, path: str) -> None:
    response = requests.request(method, f"{sandbox.base_url}/{path}", headers={"X-API-Key": sandbox.api_key})
    assert response.status_code in (404, 405)
    assert response.json()["error"]["code"] == "not_found"


def test_recording_can_be_loaded_only_after_its_delay(signed: SandboxProcess, receiver: Receiver) -> None:
    signed.configure(recording_delay_seconds=60)
    signed.post_call()
    receiver.wait_for(1)
    call_id = signed.audit()["calls"][0]["call_id"]
    url = f"{signed.url}/recordings/{call_id}.wav"
    assert url.encode() in receiver.received[0].body
    assert requests.get(url).status_code == 404
    signed.configure(recording_delay_seconds=0)
    response = requests.get(url)
    assert response.headers["Content-Type"] == "audio/wav"
    with wave.open(io.BytesIO(response.content)) as audio:
        assert audio.getnframes() / audio.getframerate() == 1.0
    assert requests.get(f"{signed.url}/recordings/call_other.wav").status_code == 404
