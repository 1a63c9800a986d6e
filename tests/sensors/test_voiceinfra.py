"""The sensor: the same record in every mode, and failures in Airflow's terms."""

from __future__ import annotations

import re
import traceback
from datetime import datetime, timedelta, timezone
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


@each_mode
def test_transcript_comes_only_if_asked_for(ledger: CallLedger, mode: dict[str, Any]) -> None:
    complete(ledger, "call_1")
    record = sensor(call_id="call_1", include_transcript=True, **mode).execute(task_context(Ti()))
    assert record["transcript"] == "Agent: Hello."


@each_mode
def test_list_of_calls_gives_a_list_in_its_order(ledger: CallLedger, mode: dict[str, Any]) -> None:
    for call_id in ("call_1", "call_2", "call_3"):
        complete(ledger, call_id)
    wanted = ["call_3", "call_1", "call_3"]
    records = sensor(call_id=wanted, **mode).execute(task_context(Ti()))
    assert [record["call_id"] for record in records] == wanted


@each_mode
def test_list_of_one_stays_a_list_and_an_empty_one_too(ledger: CallLedger, mode: dict[str, Any]) -> None:
    complete(ledger, "call_1")
    assert len(sensor(call_id=["call_1"], **mode).execute(task_context(Ti()))) == 1
    assert sensor(call_id=[], **mode).execute(task_context(Ti())) == []


@each_mode
def test_match_takes_the_first_record_since_the_run_began(ledger: CallLedger, mode: dict[str, Any]) -> None:
    complete(ledger, "call_before", lead_score=87)
    context = task_context(Ti())
    complete(ledger, "call_other", lead_score=1)
    complete(ledger, "call_first", lead_score=87)
    complete(ledger, "call_second", lead_score=87)
    record = sensor(match={"to_number": NUMBER, "lead_score": 87}, **mode).execute(context)
    assert record["call_id"] == "call_first"


@each_mode
def test_match_counts_from_since(ledger: CallLedger, mode: dict[str, Any]) -> None:
    complete(ledger, "call_before")
    since = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    record = sensor(match={"to_number": NUMBER}, since=since, **mode).execute(task_context(Ti()))
    assert record["call_id"] == "call_before"


@each_mode
def test_match_waits_for_an_outcome(ledger: CallLedger, mode: dict[str, Any]) -> None:
    context = task_context(Ti())
    complete(ledger, "call_1", "voicemail")
    complete(ledger, "call_2", "answered")
    record = sensor(match={"to_number": NUMBER}, outcomes=("answered",), **mode).execute(context)
    assert record["call_id"] == "call_2"


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


def test_deferral_carries_the_calls_and_returns_their_records(ledger: CallLedger) -> None:
    waiting, context = sensor(call_id=["call_1", "call_2"], deferrable=True), task_context(Ti())
    trigger = deferred(waiting, context)
    assert trigger.call_ids == ["call_1", "call_2"]
    for call_id in trigger.call_ids:
        complete(ledger, call_id)
    records = waiting.execute_complete(context, {"status": "completed", "call_ids": trigger.call_ids})
    assert [record["call_id"] for record in records] == trigger.call_ids


def test_deferral_carries_the_match(ledger: CallLedger) -> None:
    context = task_context(Ti())
    waiting = sensor(match={"to_number": NUMBER}, outcomes=("answered",), deferrable=True)
    trigger = deferred(waiting, context)
    assert trigger.match == {"to_number": NUMBER}
    assert trigger.since == context["dag_run"].start_date.isoformat()
    complete(ledger, "call_1")
    record = waiting.execute_complete(context, {"status": "completed", "call_ids": ["call_1"]})
    assert record["call_id"] == "call_1"


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
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"call_id": ""}, "call_id"),
        ({"call_id": ["call_1", None]}, "call_id"),
        ({"call_id": 7}, "call_id"),
        ({"call_id": "['call_1', 'call_2']"}, "call_id"),
        ({"match": {}}, "match"),
        ({"match": {"to_number": NUMBER}, "since": "yesterday"}, "since"),
        ({"match": {"to_number": NUMBER}, "since": "2026-03-01T20:00:00"}, "time zone"),
    ],
)
def test_bad_argument_fails_for_good_and_is_named(
    ledger: CallLedger, mode: dict[str, Any], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(AirflowFailException, match=says):
        sensor(**options, **mode).execute(task_context(Ti()))


RECORD = {"call_id": "call_1", "to_number": NUMBER, "summary": "Is ill."}


@each_mode
@pytest.mark.parametrize(
    "call_id", [RECORD, [RECORD], str(RECORD), "x" * 256, "None", " "], ids=lambda value: str(value)[:20]
)
def test_what_cannot_be_a_call_id_is_refused_at_once_and_not_quoted(
    ledger: CallLedger, mode: dict[str, Any], call_id: Any
) -> None:
    with pytest.raises(AirflowFailException, match="call_id") as raised:
        sensor(call_id=call_id, **mode).execute(task_context(Ti()))
    assert NUMBER not in str(raised.value)
    assert "ill" not in str(raised.value)


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


@each_mode
@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"call_id": NUMBER}, "call_id: .* is a phone number and no call_id"),
        ({"call_id": ["call_1", "(415) 555-0100"]}, "call_id: .* is a phone number and no call_id"),
        ({"match": NUMBER}, "match: must be a mapping"),
        ({"match": {"to_number": NUMBER}, "since": NUMBER}, "since: must be a moment"),
    ],
)
def test_number_in_another_place_is_refused_and_not_shown(
    ledger: CallLedger,
    mode: dict[str, Any],
    options: dict[str, Any],
    field: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(AirflowFailException, match=field) as caught:
        sensor(**options, **mode).execute(task_context(Ti()))
    shown = "".join(traceback.format_exception(caught.value)) + capfd.readouterr().out
    assert "4155550100" not in re.sub(r"\D", "", shown)
