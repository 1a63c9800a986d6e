from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_voiceinfra.webhooks.signing import digest_in, sign, verify
from tests.sandbox.conftest import Received, Receiver
from tests.sandbox_process import SandboxProcess
from tests.support.waiting import until

pytestmark = pytest.mark.integration

SECRET = "sandbox-webhook-secret"
TEXTS = (
    "call_id event from_number to_number agent_id start_time end_time call_outcome recording_url transcript "
    "summary"
)
DOCUMENTED = {**dict.fromkeys(TEXTS.split(), str), "duration_seconds": int}


def is_signed(webhook: Received, secret: str = SECRET) -> bool:
    digest = digest_in(webhook.headers["X-VoiceInfra-Signature"])
    return digest is not None and verify([secret], webhook.body, digest)


def only_payload(receiver: Receiver) -> dict[str, Any]:
    (webhook,) = receiver.wait_for(1)
    return dict(json.loads(webhook.body))


def call_ids(receiver: Receiver) -> list[str]:
    return [json.loads(webhook.body)["call_id"] for webhook in receiver.received]


def test_every_documented_field_and_an_undocumented_object(
    signed: SandboxProcess, receiver: Receiver
) -> None:
    answer = signed.post_call(first_message="Hello from the clinic", variables={"day": "Monday"}).json()
    payload = only_payload(receiver)
    assert {name: type(payload[name]) for name in DOCUMENTED} == DOCUMENTED
    assert set(payload) - set(DOCUMENTED) == {"extracted_data"}
    assert isinstance(payload["extracted_data"], dict)
    assert (payload["call_id"], payload["event"]) == (answer["call_id"], "call.completed")
    assert (payload["from_number"], payload["to_number"]) == ("+12025550100", "+12025550101")
    lines = payload["transcript"].split("\n")
    assert lines[0] == "Agent: Hello from the clinic"
    assert all(line.startswith(("Agent: ", "Caller: ")) for line in lines)
    assert "day: Monday" in payload["transcript"]
    headers = receiver.received[0].headers
    assert headers["Content-Type"] == "application/json"
    assert headers["X-VoiceInfra-Event"] == "call.completed"


@pytest.mark.parametrize(
    ("number", "outcome", "talked", "recorded"),
    [
        ("+12025550101", "answered", True, True),
        ("+12025550107", "voicemail", False, True),
        ("+12025550108", "failed", False, False),
    ],
)
def test_outcome_follows_the_number(
    signed: SandboxProcess, receiver: Receiver, number: str, outcome: str, talked: bool, recorded: bool
) -> None:
    signed.post_call(to_number=number)
    payload = only_payload(receiver)
    assert payload["call_outcome"] == outcome
    assert bool(payload["transcript"]) is talked
    assert bool(payload["recording_url"]) is recorded
    assert (payload["duration_seconds"] > 0) is (outcome != "failed")


@pytest.mark.parametrize(
    ("setting", "form", "shape"),
    [
        ("signature_form", "hex", r"[0-9a-f]{64}"),
        ("signature_form", "HEX", r"[0-9A-F]{64}"),
        ("signature_form", "sha256=hex", r"sha256=[0-9a-f]{64}"),
        ("signature_form", "sha256=HEX", r"sha256=[0-9A-F]{64}"),
        ("webhook_times", "milliseconds", r"[-0-9]{10}T[:0-9]{8}\.[0-9]{3}Z"),
        ("webhook_times", "seconds", r"[-0-9]{10}T[:0-9]{8}Z"),
        ("webhook_times", "offset", r"[-0-9]{10}T[:0-9]{8}\.[0-9]{3}\+00:00"),
    ],
)
def test_each_form_of_signature_and_time(
    signed: SandboxProcess, receiver: Receiver, setting: str, form: str, shape: str
) -> None:
    signed.configure(**{setting: form}, webhook_secret="another-secret", extracted_field="analysis")
    signed.post_call()
    payload = only_payload(receiver)
    (webhook,) = receiver.received
    times = [payload["start_time"], payload["end_time"]]
    written = times if setting == "webhook_times" else [webhook.headers["X-VoiceInfra-Signature"]]
    assert all(re.fullmatch(shape, text) for text in written)
    assert is_signed(webhook, "another-secret")
    assert not is_signed(webhook)
    assert set(payload) - set(DOCUMENTED) == {"analysis"}


def test_failed_delivery_is_repeated_with_growing_waits_until_it_is_taken(
    signed: SandboxProcess, receiver: Receiver
) -> None:
    signed.configure(webhook_retry_first=0.05)
    receiver.answers = [500, 404, 302, 200]
    signed.post_call()
    webhooks = receiver.wait_for(4)
    assert len({webhook.body for webhook in webhooks}) == 1
    deliveries = signed.wait_for(lambda audit: len(audit["deliveries"]) == 4)["deliveries"]
    seen = [(entry["attempt"], entry["status"], entry["delivered"]) for entry in deliveries]
    assert seen == [(1, 500, False), (2, 404, False), (3, 302, False), (4, 200, True)]
    times = [datetime.fromisoformat(entry["time"]) for entry in deliveries]
    waits = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert [wait >= least for wait, least in zip(waits, (0.05, 0.1, 0.2), strict=True)] == [True] * 3
    assert signed.counts()["deliveries_waiting"] == 0


def test_delivery_is_given_up_after_the_last_try(signed: SandboxProcess, receiver: Receiver) -> None:
    signed.configure(webhook_max_tries=3)
    receiver.answers = [500] * 10
    signed.post_call()
    signed.wait_for(lambda audit: len(audit["deliveries"]) == 3)
    counts = signed.counts()
    assert (counts["undelivered"], counts["delivered"], counts["deliveries_waiting"]) == (3, 0, 0)


def test_unreachable_receiver_is_an_error_on_record_and_tried_again(
    signed: SandboxProcess, receiver: Receiver
) -> None:
    # Port 9 is the discard service, which nothing on a test machine listens to.
    signed.configure(webhook_url="http://127.0.0.1:9/")
    signed.post_call()
    audit = signed.wait_for(lambda audit: len(audit["deliveries"]) >= 2)
    assert audit["deliveries"][0]["status"] is None
    assert audit["deliveries"][0]["error"].startswith("ConnectError")
    signed.configure(webhook_url=receiver.url)
    receiver.wait_for(1)


@pytest.mark.parametrize(("fault", "copies"), [("webhook_twice", 2), ("webhook_thrice", 3)])
def test_duplicates_are_the_same_bytes(
    signed: SandboxProcess, receiver: Receiver, fault: str, copies: int
) -> None:
    signed.fault(fault)
    signed.post_call()
    webhooks = receiver.wait_for(copies)
    assert len({webhook.body for webhook in webhooks}) == 1
    audit = signed.wait_for(lambda audit: len(audit["deliveries"]) == copies)
    assert sorted(entry["copy"] for entry in audit["deliveries"]) == list(range(1, copies + 1))


def test_dropped_webhook_is_never_sent(signed: SandboxProcess, receiver: Receiver) -> None:
    signed.post_call(to_number="+12025550195")
    kept = signed.post_call().json()["call_id"]
    signed.wait_for(lambda audit: audit["deliveries"])
    assert call_ids(receiver) == [kept]
    counts = signed.counts()
    assert (counts["calls_in_flight"], counts["deliveries_waiting"]) == (0, 0)


def test_wrongly_signed_webhook_is_followed_by_a_right_one(
    signed: SandboxProcess, receiver: Receiver
) -> None:
    receiver.answers = [401]
    signed.post_call(to_number="+12025550198")
    assert [is_signed(webhook) for webhook in receiver.wait_for(2)] == [False, True]


def test_late_webhook_comes_after_its_extra_wait(signed: SandboxProcess, receiver: Receiver) -> None:
    signed.configure(webhook_late_seconds=0.2)
    late = signed.post_call(to_number="+12025550199").json()["call_id"]
    prompt = signed.post_call().json()["call_id"]
    receiver.wait_for(2)
    assert call_ids(receiver) == [prompt, late]


def test_held_webhooks_are_sent_in_the_order_asked_for(signed: SandboxProcess, receiver: Receiver) -> None:
    signed.configure(webhook_hold=True, webhook_order="shuffled")
    placed = [signed.post_call().json()["call_id"] for _ in range(12)]
    until(lambda: signed.counts()["deliveries_held"] == 12)
    assert receiver.received == []
    signed.configure(webhook_hold=False)
    receiver.wait_for(12)
    assert sorted(call_ids(receiver)) == sorted(placed)
    assert call_ids(receiver) != placed


def test_call_ends_at_its_time_or_when_told(signed: SandboxProcess, receiver: Receiver) -> None:
    signed.configure(call_seconds=3600)
    first, second = (signed.post_call().json()["call_id"] for _ in range(2))
    assert signed.counts()["calls_in_flight"] == 2
    assert signed.end_calls([second]) == 1
    receiver.wait_for(1)
    assert signed.end_calls() == 1
    receiver.wait_for(2)
    assert call_ids(receiver) == [second, first]
    assert signed.end_calls() == 0


def test_length_of_a_call_is_the_same_for_the_same_number(signed: SandboxProcess) -> None:
    signed.configure(call_seconds=100, call_seconds_jitter=50)
    for number in ("+12025550101", "+12025550101", "+12025550102"):
        signed.post_call(to_number=number)
    lengths = [call["seconds"] for call in signed.audit()["calls"]]
    assert lengths[0] == lengths[1] != lengths[2]
    assert all(100 <= length < 150 for length in lengths)


def test_webhook_by_hand_is_signed_its_answer_returned_and_may_be_filled_in(
    signed: SandboxProcess, receiver: Receiver
) -> None:
    sent = {"event": "call.completed", "call_id": "call_inbound", "to_number": "+12025550100"}
    receiver.answers = [503]
    result = signed.send_webhook(sent)
    assert [(attempt["status"], attempt["delivered"]) for attempt in result["attempts"]] == [(503, False)]
    webhook = receiver.received.pop()
    assert json.loads(webhook.body) == sent
    assert is_signed(webhook)
    result = signed.send_webhook({"to_number": "+12025550123", "note": "kept"}, fill=True)
    payload = only_payload(receiver)
    assert set(payload) == {*DOCUMENTED, "extracted_data", "note"}
    assert (payload["to_number"], payload["note"]) == ("+12025550123", "kept")
    assert result["call_id"] == payload["call_id"]


def test_webhook_by_hand_can_be_wrong_in_every_way(signed: SandboxProcess, receiver: Receiver) -> None:
    signed.send_webhook(raw="not json", signature="bogus", event="call.started")
    signed.send_webhook({"a": 1}, signature="")
    signed.send_webhook({"a": 1}, secret="old-secret", signature_form="sha256=HEX", copies=2)
    bogus, unsigned, *copies = receiver.wait_for(4)
    assert (bogus.body, bogus.headers["X-VoiceInfra-Signature"]) == (b"not json", "bogus")
    assert bogus.headers["X-VoiceInfra-Event"] == "call.started"
    assert "X-VoiceInfra-Signature" not in unsigned.headers
    expected = "sha256=" + sign("old-secret", b'{"a": 1}').upper()
    assert Counter(copy.headers["X-VoiceInfra-Signature"] for copy in copies) == {expected: 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "http://example.com/"}, "url: give an http"),
        ({"copies": 0}, "copies: must be from 1"),
        ({"copies": True}, "copies: must be of JSON type"),
        ({"payloads": {}}, "payloads: not known here"),
        ({"signature_form": "base64"}, "signature_form: must be one of"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_webhook_by_hand_that_makes_no_sense_is_refused(
    signed: SandboxProcess, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match="422") as caught:
        signed.send_webhook({}, **options)
    assert message in str(caught.value)


def test_no_url_means_no_webhook(sandbox: SandboxProcess) -> None:
    sandbox.post_call(to_number="+12025550197")
    counts = sandbox.counts()
    assert (counts["calls_in_flight"], counts["deliveries"], counts["deliveries_waiting"]) == (0, 0, 0)
