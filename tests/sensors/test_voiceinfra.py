"""The sensor: the same record in every mode, and failures in Airflow's terms."""

from __future__ import annotations

import re
import traceback
from datetime import datetime
from functools import partial
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.sensors.voiceinfra import VoiceInfraCallCompletedSensor
from airflow_provider_voiceinfra.triggers.voiceinfra import VoiceInfraCallCompletedTrigger
from tests.airflow_task import TaskInstance, task_context
from tests.support import completions

NUMBER = "+14155550100"
MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
each_mode = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


def sensor(**options: Any) -> VoiceInfraCallCompletedSensor:
    options = {"poke_interval": 0.01, "timeout": 5, **options}
    return VoiceInfraCallCompletedSensor(task_id="wait", **options)


complete = partial(completions.complete, to_number=NUMBER, transcript="Agent: Hello.")


class Ti(TaskInstance):
    """A task instance that the sensor's own machinery can ask for its first try."""

    def get_first_reschedule_date(self, context: Any) -> None:
        """Say that this is the first look."""


@each_mode
def test_record_that_is_there_is_returned(ledger: CallLedger, mode: dict[str, Any]) -> None:
    complete(ledger, "call_1", recording_url="https://example.com/r.wav", lead_score=87)
    ti = Ti()
    record = sensor(call_id="call_1", **mode).execute(task_context(ti))
    assert record["lead_score"] == 87
    assert datetime.fromisoformat(record["received_at"]).tzinfo is not None
    assert "transcript" not in record
    assert ti.xcoms["recording_url"] == "https://example.com/r.wav"
    record = sensor(call_id="call_1", include_transcript=True, **mode).execute(task_context(Ti()))
    assert record["transcript"] == "Agent: Hello."


@each_mode
def test_list_of_calls_gives_a_list_in_its_order_and_one_of_one_or_none_too(
    ledger: CallLedger, mode: dict[str, Any]
) -> None:
    for call_id in ("call_1", "call_2", "call_3"):
        complete(ledger, call_id)
    wanted = ["call_3", "call_1", "call_3"]
    records = sensor(call_id=wanted, **mode).execute(task_context(Ti()))
    assert [record["call_id"] for record in records] == wanted
    assert len(sensor(call_id=["call_1"], **mode).execute(task_context(Ti()))) == 1
    assert sensor(call_id=[], **mode).execute(task_context(Ti())) == []


@each_mode
@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, "call_first"),
        ({"outcomes": ("voicemail",)}, "call_second"),
        ({"since": "2020-03-01T20:00:00Z"}, "call_before"),
    ],
    ids=["since the run began", "with an outcome", "since a moment"],
)
def test_match_takes_the_first_record(
    ledger: CallLedger, mode: dict[str, Any], options: dict[str, Any], found: str
) -> None:
    complete(ledger, "call_before", lead_score=87)
    context = task_context(Ti())
    complete(ledger, "call_other", lead_score=1)
    complete(ledger, "call_first", lead_score=87)
    complete(ledger, "call_second", "voicemail", lead_score=87)
    record = sensor(match={"to_number": NUMBER, "lead_score": 87}, **options, **mode).execute(context)
    assert record["call_id"] == found


@each_mode
@pytest.mark.parametrize("options", [{"fail_on_outcomes": ("voicemail",)}, {"outcomes": ("answered",)}])
def test_unwanted_outcome_fails_for_good_and_leaves_the_record(
    ledger: CallLedger, mode: dict[str, Any], options: dict[str, Any]
) -> None:
    complete(ledger, "call_1", "voicemail")
    ti = Ti()
    with pytest.raises(AirflowFailException, match="call_1 ended as 'voicemail'"):
        sensor(call_id="call_1", **options, **mode).execute(task_context(ti))
    assert ti.xcoms["return_value"]["call_outcome"] == "voicemail"


def test_poking_goes_on_until_the_time_out(ledger: CallLedger) -> None:
    with pytest.raises(AirflowSensorTimeout, match=r"no completion record for call_1 within 0\.05 s"):
        sensor(call_id="call_1", timeout=0.05).execute(task_context(Ti()))
    with pytest.raises(AirflowSensorTimeout, match="no completion record matched to_number within"):
        sensor(match={"to_number": NUMBER}, timeout=0.05).execute(task_context(Ti()))


def test_poking_outlasts_a_dead_ledger(ledger: CallLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", "sqlite:////nonexistent/folder/ledger.db")
    assert not sensor(call_id="call_1").poke(task_context(Ti()))
    with pytest.raises(AirflowSensorTimeout, match="no completion record for call_1 within"):
        sensor(call_id="call_1", timeout=0.05).execute(task_context(Ti()))


def test_rescheduling_gives_the_worker_back(ledger: CallLedger) -> None:
    with pytest.raises(AirflowRescheduleException):
        sensor(call_id="call_1", mode="reschedule").execute(task_context(Ti()))


def deferred(waiting: VoiceInfraCallCompletedSensor, context: Any) -> VoiceInfraCallCompletedTrigger:
    with pytest.raises(TaskDeferred) as raised:
        waiting.execute(context)
    assert raised.value.method_name == "execute_complete"
    assert raised.value.timeout is not None
    trigger = raised.value.trigger
    assert isinstance(trigger, VoiceInfraCallCompletedTrigger)
    return trigger


@pytest.mark.parametrize(
    "options",
    [{"call_id": ["call_1", "call_2"]}, {"match": {"to_number": NUMBER}, "outcomes": ("answered",)}],
)
def test_deferral_carries_what_is_waited_for_and_returns_the_records(
    ledger: CallLedger, options: dict[str, Any]
) -> None:
    waiting, context = sensor(deferrable=True, **options), task_context(Ti())
    trigger = deferred(waiting, context)
    carried = {"call_id": trigger.call_ids} if trigger.call_ids else {"match": trigger.match}
    assert carried.items() <= options.items()
    assert trigger.since == (context["dag_run"].start_date.isoformat() if trigger.match else None)
    for call_id in ("call_1", "call_2"):
        complete(ledger, call_id)
    ids = trigger.call_ids or ["call_1"]
    found = waiting.execute_complete(context, {"status": "completed", "call_ids": ids})
    assert [record["call_id"] for record in (found if trigger.call_ids else [found])] == ids


def test_time_out_names_what_is_missing(ledger: CallLedger) -> None:
    waiting = sensor(call_id=["call_1", "call_2"], deferrable=True)
    complete(ledger, "call_1")
    event = {"status": "timed_out", "call_ids": ["call_1", "call_2"]}
    with pytest.raises(AirflowSensorTimeout, match="no completion record for call_2 within 5 s"):
        waiting.execute_complete(task_context(Ti()), event)
    complete(ledger, "call_2")
    assert len(waiting.execute_complete(task_context(Ti()), event)) == 2, "the last moment counts"


def test_time_out_of_a_match_does_not_tell_the_number(ledger: CallLedger) -> None:
    waiting = sensor(match={"to_number": NUMBER}, deferrable=True)
    with pytest.raises(AirflowSensorTimeout, match="no completion record matched to_number") as raised:
        waiting.execute_complete(task_context(Ti()), {"status": "timed_out", "call_ids": []})
    assert NUMBER not in str(raised.value)


def test_time_out_skips_a_soft_sensor(ledger: CallLedger) -> None:
    waiting = sensor(call_id="call_1", deferrable=True, soft_fail=True)
    event = {"status": "timed_out", "call_ids": ["call_1"]}
    with pytest.raises(AirflowSkipException):  # Airflow resumes a deferred task in this way
        waiting.resume_execution("execute_complete", {"event": event}, task_context(Ti()))


def test_killed_sensor_says_that_the_calls_go_on(capfd: pytest.CaptureFixture[str]) -> None:
    sensor(call_id="call_1").on_kill()
    assert "the calls go on" in capfd.readouterr().out


@pytest.mark.parametrize("options", [{}, {"call_id": "call_1", "match": {"to_number": NUMBER}}])
def test_exactly_one_of_call_id_and_match_is_needed(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="exactly one of call_id and match"):
        sensor(**options)


@each_mode
@pytest.mark.parametrize("soft", ["soft_fail", "never_fail"])
def test_unwanted_outcome_skips_a_soft_sensor(ledger: CallLedger, mode: dict[str, Any], soft: str) -> None:
    complete(ledger, "call_1", "voicemail")
    with pytest.raises(AirflowSkipException):
        sensor(call_id="call_1", outcomes=["answered"], **{soft: True}, **mode).execute(task_context(Ti()))


@each_mode
def test_outcome_that_no_call_may_ever_have_is_warned_of(
    ledger: CallLedger, mode: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    complete(ledger, "call_1")
    sensor(call_id="call_1", fail_on_outcomes=["anwered"], **mode).execute(task_context(Ti()))
    with pytest.raises(AirflowFailException):
        sensor(call_id="call_1", outcomes=["anwered"], **mode).execute(task_context(Ti()))
    log = capfd.readouterr().out
    for name in ("outcomes", "fail_on_outcomes"):
        assert f"{name}: VoiceInfra documents no outcome 'anwered'" in log
    assert "did you mean 'answered'?" in log


@pytest.mark.parametrize("name", ["outcomes", "fail_on_outcomes"])
def test_one_outcome_may_be_given_as_text_and_no_other_text(name: str) -> None:
    assert getattr(sensor(call_id="call_1", **{name: "answered"}), name) == ("answered",)
    with pytest.raises(ValueError, match=f"{name} must be a list .* not the text 'anwered'; did you mean"):
        sensor(call_id="call_1", **{name: "anwered"})


RECORD = {"call_id": "call_1", "to_number": NUMBER, "summary": "Is ill."}


@each_mode
@pytest.mark.parametrize(
    ("options", "says"),
    [
        *(({"call_id": value}, "call_id: ") for value in ("", " ", "None", 7, ["call_1", None], "x" * 256)),
        *(
            ({"call_id": value}, "call_id: ")
            for value in ("['call_1', 'call_2']", RECORD, [RECORD], str(RECORD))
        ),
        ({"call_id": NUMBER}, "call_id: .* is a phone number and no call_id"),
        ({"call_id": ["call_1", "(415) 555-0100"]}, "call_id: .* is a phone number and no call_id"),
        ({"match": {}}, "match: must be a mapping"),
        ({"match": NUMBER}, "match: must be a mapping"),
        (
            {"match": {"to_number": NUMBER}, "since": "yesterday"},
            "since: must be a moment with its time zone",
        ),
        (
            {"match": {"to_number": NUMBER}, "since": "2026-03-01T20:00:00"},
            "since: must be a moment with its time",
        ),
        ({"match": {"to_number": NUMBER}, "since": NUMBER}, "since: must be a moment"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_argument_fails_for_good_and_is_named_and_not_shown(
    ledger: CallLedger,
    mode: dict[str, Any],
    options: dict[str, Any],
    says: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(AirflowFailException, match=says) as caught:
        sensor(**options, **mode).execute(task_context(Ti()))
    shown = "".join(traceback.format_exception(caught.value)) + capfd.readouterr().out
    assert "4155550100" not in re.sub(r"\D", "", shown)
    assert "ill" not in str(caught.value)
