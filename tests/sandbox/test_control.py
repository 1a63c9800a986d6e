from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
import requests

from tests.sandbox_process import SandboxProcess

pytestmark = pytest.mark.integration


def test_audit_can_be_read_from_a_sequence_number_on_and_by_kind(sandbox: SandboxProcess) -> None:
    sandbox.post_call()
    before = sandbox.audit()
    sandbox.post_call(to_number="+12025550102")
    news = sandbox.control("GET", "audit", since=before["last_seq"], kinds="calls")
    assert [call["to_number"] for call in news["calls"]] == ["+12025550102"]
    assert set(news) == {"calls", "last_seq"}


def test_reader_can_wait_for_the_next_entry(sandbox: SandboxProcess) -> None:
    since = sandbox.audit()["last_seq"]
    caller = threading.Timer(0.1, sandbox.post_call)
    caller.start()
    began = time.monotonic()
    news = sandbox.control("GET", "audit", since=since, wait=20)
    assert news["last_seq"] > since
    assert time.monotonic() - began < 10
    caller.join()


def test_waiting_in_vain_tells_what_the_log_held(sandbox: SandboxProcess) -> None:
    sandbox.post_call(to_number="+12025550123")
    with pytest.raises(AssertionError, match=r"not within 0\.1 s.*\+12025550123"):
        sandbox.wait_for(lambda audit: len(audit["calls"]) == 2, timeout=0.1)


def test_audit_holds_what_cannot_be_written_as_utf8(sandbox: SandboxProcess) -> None:
    sandbox.post_call(context="\ud800")
    assert sandbox.audit()["calls"][0]["context"] == "\ud800"


def test_reset_forgets_what_happened_and_what_was_to_come(sandbox: SandboxProcess) -> None:
    sandbox.configure(call_seconds=3600)
    sandbox.post_call()
    sandbox.fault("error_before", 5)
    sandbox.reset()
    assert set(sandbox.counts().values()) == {0}
    assert sandbox.post_call().status_code == 200
    assert sandbox.control("GET", "settings")["call_seconds"] == 3600
    sandbox.reset(settings=True)
    assert sandbox.control("GET", "settings")["call_seconds"] == 0


def test_wrong_setting_changes_nothing_and_an_unknown_fault_is_refused(sandbox: SandboxProcess) -> None:
    with pytest.raises(ValueError, match=r"422.*latency_ms: must be a number"):
        sandbox.configure(call_seconds=5, latency_ms="slow")
    assert sandbox.control("GET", "settings")["call_seconds"] == 0
    with pytest.raises(ValueError, match=r"422.*must be one of error_before"):
        sandbox.fault("explode")


@pytest.mark.parametrize("data", [b"[]", b"{", b"\xff"])
def test_body_that_is_no_object_is_refused(sandbox: SandboxProcess, data: bytes) -> None:
    response = requests.post(f"{sandbox.url}/_sandbox/reset", data=data)
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_setting")


def test_audit_file_holds_a_call_before_its_answer_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with SandboxProcess(audit_file=path, call_seconds=3600) as sandbox:
        with pytest.raises(requests.ReadTimeout):
            sandbox.post_call(to_number="+12025550194", timeout=0.3)
        sandbox.process.kill()  # type: ignore[union-attr]
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(entry["kind"], entry.get("to_number")) for entry in entries] == [
        ("calls", "+12025550194"),
        ("requests", "+12025550194"),
    ]
    assert entries[1]["accepted"]
