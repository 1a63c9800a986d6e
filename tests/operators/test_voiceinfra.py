"""The operator: one call for each task instance, its record, and its failures in Airflow's terms."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial, partialmethod
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.dialling.retrying import RetryBounds
from airflow_provider_voiceinfra.exceptions import CallNotPlacedError, CompletionTimeoutError
from airflow_provider_voiceinfra.hooks.voiceinfra import VoiceInfraHook
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallState
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraOutboundCallOperator
from airflow_provider_voiceinfra.tasks import template_fields
from airflow_provider_voiceinfra.triggers.voiceinfra import (
    VoiceInfraCallCompletedTrigger,
    VoiceInfraUnknownCallTrigger,
)
from tests.airflow_task import TaskInstance, task_context
from tests.operators.conftest import Connect
from tests.sandbox_process import SandboxProcess
from tests.support import completions

NUMBER = "+14155550100"


def operator(**options: Any) -> VoiceInfraOutboundCallOperator:
    return VoiceInfraOutboundCallOperator(task_id="call", **{"to_number": NUMBER, **options})


def run(**options: Any) -> Any:
    """Make an operator, fill in its templates, and execute it, as Airflow does."""
    task = operator(**options)
    task.render_template_fields({})
    return task.execute(task_context())


complete = partial(completions.complete, transcript="Agent: Hello.")


def test_call_id_is_returned_and_pushed(sandbox: SandboxProcess, ledger: CallLedger) -> None:
    ti = TaskInstance()
    call_id = operator(
        first_message="Hello.", call_context="A regular.", variables={"day": "Monday"}
    ).execute(task_context(ti))

    [call] = sandbox.audit()["calls"]
    assert call["call_id"] == call_id == ti.xcoms["call_id"]
    assert (call["first_message"], call["context"], call["variables"]) == (
        "Hello.",
        "A regular.",
        {"day": "Monday"},
    )
    [entry] = ledger.calls()
    assert (entry.origin.dag_id, entry.origin.task_id, entry.origin.try_number) == ("outreach", "call", 1)


def test_later_try_takes_up_the_call(sandbox: SandboxProcess, capfd: pytest.CaptureFixture[str]) -> None:
    first = operator().execute(task_context())
    assert operator().execute(task_context(TaskInstance(try_number=2))) == first
    log = capfd.readouterr().out
    assert f"Call {first}, accepted at" in log
    assert "instead of dialling again" in log
    assert sandbox.counts()["accepted"] == 1


@pytest.mark.parametrize(
    ("written", "field"),
    [("14155550100", "to_number"), ("1 415 555 0100", "to_number"), ("14155550100", "from_number")],
)
def test_an_error_about_a_number_stays_whole_where_airflow_masks_the_number(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, written: str, field: str
) -> None:
    masked: set[str] = set()
    monkeypatch.setattr(template_fields, "mask_secret", masked.add)
    task = operator(**{field: written})
    task.render_template_fields({})
    with pytest.raises(AirflowFailException, match=r"is not in E\.164 form: a plus sign") as caught:
        task.execute(task_context())
    assert written in masked
    assert not [number for number in masked if number in str(caught.value)]
    assert sandbox.counts()["requests"] == 0


@pytest.mark.parametrize(
    "other",
    [
        TaskInstance(run_id="another"),
        TaskInstance(dag_id="another"),
        TaskInstance(task_id="another"),
        TaskInstance(map_index=1),
    ],
    ids=["run", "dag", "task", "map index"],
)
def test_another_task_instance_dials_anew(sandbox: SandboxProcess, other: TaskInstance) -> None:
    operator().execute(task_context())
    operator().execute(task_context(other))
    assert sandbox.counts()["accepted"] == 2


def test_changed_request_for_a_call_that_exists_fails_for_good(sandbox: SandboxProcess) -> None:
    operator().execute(task_context())
    with pytest.raises(AirflowFailException, match="with another first_message"):
        operator(first_message="Changed.").execute(task_context())
    assert sandbox.counts()["accepted"] == 1


def test_refused_call_can_be_fixed_and_placed(sandbox: SandboxProcess) -> None:
    with pytest.raises(AirflowFailException, match="Check agent_id"):
        operator(agent_id="unknown_agent").execute(task_context())
    operator(agent_id="agent_right").execute(task_context(TaskInstance(try_number=2)))
    assert sandbox.counts()["accepted"] == 1


def test_outcome_that_no_call_may_ever_have_is_warned_of(
    sandbox: SandboxProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    operator(fail_on_outcomes=("busy", "faild")).execute(task_context())
    log = capfd.readouterr().out
    assert "fail_on_outcomes: VoiceInfra documents no outcome 'busy', only answered, voicemail, failed" in log
    assert "no outcome 'faild', only answered, voicemail, failed; did you mean 'failed'?" in log


def test_waiting_returns_the_record_without_its_transcript(ledger: CallLedger) -> None:
    ti = TaskInstance()
    call_id = operator().execute(task_context(ti))
    complete(ledger, call_id, recording_url="https://example.com/r.wav", lead_score=87)

    record = operator(wait_for_completion=True).execute(task_context(ti))

    assert record["call_id"] == call_id
    assert record["lead_score"] == 87
    assert "transcript" not in record
    assert ti.xcoms["recording_url"] == "https://example.com/r.wav"
    with_transcript = operator(wait_for_completion=True, include_transcript=True).execute(task_context())
    assert with_transcript["transcript"] == "Agent: Hello."


def when_waiting_begins(what: Callable[[str], Any], **options: Any) -> VoiceInfraOutboundCallOperator:
    """Return an operator that waits, and does something with the call's id the moment that it begins to."""

    class Waiting(VoiceInfraOutboundCallOperator):
        def _wait(self, context: Any, call_id: str) -> Any:
            what(call_id)
            return super()._wait(context, call_id)

    return Waiting(task_id="call", to_number=NUMBER, wait_for_completion=True, **options)


def test_waiting_in_the_worker_sees_the_record_come(ledger: CallLedger) -> None:
    record = when_waiting_begins(lambda call_id: complete(ledger, call_id)).execute(task_context())
    assert record["call_outcome"] == "answered"


def test_waiting_in_the_worker_ends_with_the_time_out_and_may_be_retried() -> None:
    with pytest.raises(CompletionTimeoutError, match="goes on or is already over"):
        operator(wait_for_completion=True, completion_timeout=0.05, poke_interval=0.01).execute(
            task_context()
        )


def test_waiting_outlasts_a_ledger_that_goes_away_once_the_call_is_placed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def lose(_call_id: str) -> None:
        monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", "sqlite:////nonexistent/ledger.db")

    with pytest.raises(CompletionTimeoutError):
        when_waiting_begins(lose, completion_timeout=0.05, poke_interval=0.01).execute(task_context())
    assert "Cannot look for its completion, trying again" in capfd.readouterr().out


def test_outcome_that_fails_the_task_leaves_the_record_in_xcom(ledger: CallLedger) -> None:
    ti = TaskInstance()
    call_id = operator().execute(task_context(ti))
    complete(ledger, call_id, "failed")
    with pytest.raises(AirflowFailException, match=f"{call_id} ended as 'failed'"):
        operator(wait_for_completion=True).execute(task_context(ti))
    assert ti.xcoms["return_value"]["call_outcome"] == "failed"
    without = TaskInstance()
    with pytest.raises(AirflowFailException, match="ended as 'failed'"):
        operator(wait_for_completion=True, do_xcom_push=False).execute(task_context(without))
    assert "return_value" not in without.xcoms
    for none in ((), None):
        assert operator(wait_for_completion=True, fail_on_outcomes=none).execute(task_context())


def test_deferred_wait_carries_the_call_and_ends_like_the_other(ledger: CallLedger) -> None:
    waiting = operator(wait_for_completion=True, deferrable=True, completion_timeout=60)
    with pytest.raises(TaskDeferred) as deferred:
        waiting.execute(task_context())
    trigger = deferred.value.trigger
    assert isinstance(trigger, VoiceInfraCallCompletedTrigger)
    [call_id] = trigger.call_ids or []
    assert trigger.deadline is not None
    assert trigger.not_before is not None

    event = {"status": "timed_out", "call_ids": [call_id]}
    with pytest.raises(CompletionTimeoutError):
        getattr(waiting, deferred.value.method_name)(task_context(), event)
    complete(ledger, call_id)
    record = getattr(waiting, deferred.value.method_name)(task_context(), event)
    assert record["call_outcome"] == "answered", "a record that came at the last moment counts"


def test_unknown_outcome_defers_until_the_webhook_tells(sandbox: SandboxProcess, ledger: CallLedger) -> None:
    sandbox.fault("cut_after")
    placing = operator(deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        placing.execute(task_context())
    assert isinstance(deferred.value.trigger, VoiceInfraUnknownCallTrigger)

    [call] = sandbox.audit()["calls"]
    request = {name: call[name] for name in ("agent_id", "from_number", "to_number")}
    complete(ledger, call["call_id"], **request)
    event = {"status": "completed", "call_ids": []}
    assert getattr(placing, deferred.value.method_name)(task_context(), event) == call["call_id"]
    assert sandbox.counts()["accepted"] == 1


def test_unknown_outcome_fails_for_good_after_its_time_out(
    sandbox: SandboxProcess, ledger: CallLedger
) -> None:
    sandbox.fault("error_before")
    with pytest.raises(AirflowFailException, match="It was not dialled again"):
        operator(unknown_timeout=0).execute(task_context())
    [entry] = ledger.calls()
    assert entry.state is CallState.UNKNOWN


def test_killed_task_says_that_the_call_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    operator().on_kill()
    assert "If a call was placed it goes on" in capfd.readouterr().out
    placing = operator()
    call_id = placing.execute(task_context())
    placing.on_kill()
    assert f"Call {call_id} goes on" in capfd.readouterr().out


def test_missing_webhook_secret_is_told_before_anybody_waits_in_vain(
    connect: Connect, capfd: pytest.CaptureFixture[str]
) -> None:
    connect(webhook_secret=None)
    operator().execute(task_context())
    assert "has no webhook secret" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["completion_timeout", "poke_interval", "unknown_timeout"])
@pytest.mark.parametrize("value", ["soon", None, -1, float("inf"), float("nan"), True])
def test_duration_that_is_none_is_refused_before_a_call_could_be_placed(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a number of seconds"):
        operator(**{name: value})


def test_durations_may_be_timedeltas(ledger: CallLedger) -> None:
    waiting = operator(
        wait_for_completion=True,
        completion_timeout=timedelta(milliseconds=10),
        poke_interval=timedelta(milliseconds=1),
        unknown_timeout=timedelta(minutes=1),
    )
    with pytest.raises(CompletionTimeoutError, match=r"within 0.01 s"):
        waiting.execute(task_context())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"on_unknown": "guess"}, "on_unknown must be 'fail' or 'redial'"),
        ({"on_unknown": "redail"}, "not 'redail'; did you mean 'redial'"),
        ({"fail_on_outcomes": "failed,voicemail"}, "must be a list .* not the text 'failed,voicemail'"),
        (
            {"wait_for_completion": True, "completion_timeout": 0},
            "completion_timeout must be above 0 with wait_for_completion=True",
        ),
    ],
)
def test_what_is_never_right_is_refused_when_the_dag_is_parsed(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        operator(**options)


def test_what_is_nearly_that_is_taken() -> None:
    assert operator(fail_on_outcomes="failed").fail_on_outcomes == ("failed",)
    assert operator(completion_timeout=0)


def test_the_api_s_word_context_is_named_by_the_one_that_is_used_here() -> None:
    with pytest.raises(TypeError, match="the API's context is call_context here"):
        operator(context="A regular.")


def test_placeholder_of_a_campaign_is_warned_of(capfd: pytest.CaptureFixture[str]) -> None:
    operator(first_message="Hello {name}.", call_context='{"a": 1}').execute(task_context())
    log = capfd.readouterr().out
    assert "first_message: {name} is not filled in but said as it stands" in log
    assert "write a Jinja template here, such as {{ params.name }}" in log
    assert "call_context" not in log


TEXTS = ("to_number", "agent_id", "from_number", "first_message", "call_context")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"to_number": "0800 123"}, "to_number"),
        ({"to_number": None}, "to_number: is missing"),
        ({"to_number": "+1 415 555 0100 x"}, "to_number"),
        ({"from_number": "12025550100"}, "from_number"),
        ({"first_message": 7}, "first_message"),
        ({"agent_id": NUMBER}, "agent_id"),
        ({"voiceinfra_conn_id": NUMBER}, "voiceinfra_conn_id"),
        ({"variables": {"when": object()}}, "variables"),
        ({"variables": NUMBER}, "variables"),
        ({"variables": {NUMBER: object()}}, "variables"),
        ({"variables": "{{ {'day': 'Monday'} }}"}, "variables: .* render_template_as_native_obj=True"),
        ({"completion_timeout": NUMBER, "wait_for_completion": True}, "completion_timeout"),
        ({"on_unknown": NUMBER}, "on_unknown"),
        ({"fail_on_outcomes": NUMBER}, "fail_on_outcomes"),
        *(({name: "{{ none }}"}, f"{name}: .* an upstream task that returned nothing") for name in TEXTS),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_meant_fails_for_good_by_name_and_nobody_is_called_and_no_number_shown(
    sandbox: SandboxProcess, options: dict[str, Any], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((AirflowFailException, ValueError), match=says) as caught:
        run(**options)
    shown = "".join(traceback.format_exception(caught.value)) + capfd.readouterr().out
    assert "4155550100" not in re.sub(r"\D", "", shown)
    assert sandbox.counts()["requests"] == 0


def test_default_without_its_plus_names_the_connection_and_how_a_uri_has_it(
    sandbox: SandboxProcess, connect: Connect
) -> None:
    connect(from_number=" 12025550100")
    says = r"from_number: of connection 'voiceinfra_default': 1202\*\*\*0100 is not in E.164 form.*write %2B"
    with pytest.raises(AirflowFailException, match=says):
        operator().execute(task_context())
    assert operator(from_number="+12025550101").execute(task_context())


def test_same_key_of_ones_own_is_one_call_across_runs_also_if_it_was_rendered_to_a_number(
    sandbox: SandboxProcess,
) -> None:
    first = operator(idempotency_key=4711).execute(task_context())
    again = operator(idempotency_key="4711").execute(task_context(TaskInstance(run_id="another")))
    assert again == first
    assert sandbox.counts()["accepted"] == 1


def test_task_that_is_killed_while_it_waits_to_dial_dials_no_more(
    sandbox: SandboxProcess, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.fault("rate_limited")
    placing = operator()
    # Airflow tells a task that it is killed from a signal handler, and lets it run on for some seconds.
    monkeypatch.setattr(
        RetryBounds, "__init__", partialmethod(RetryBounds.__init__, sleep=lambda _: placing.on_kill())
    )
    with pytest.raises(CallNotPlacedError, match="killed before the call was placed"):
        placing.execute(task_context())
    assert sandbox.counts()["accepted"] == 0
    [entry] = ledger.calls()
    assert (entry.state, entry.error_code) == (CallState.REFUSED, "killed")
    operator().execute(task_context(TaskInstance(try_number=2)))
    assert sandbox.counts()["accepted"] == 1


class TestRules:
    """What a rule does not allow is not sent, and the task does what ``on_not_allowed`` says."""

    @pytest.fixture
    def at_night(self, monkeypatch: pytest.MonkeyPatch) -> datetime:
        """Have calling hours begin in an hour; return when."""
        opens = datetime.now(timezone.utc).replace(second=0, microsecond=0) + timedelta(hours=1)
        window = f"{opens:%H:%M}-{opens + timedelta(hours=2):%H:%M} UTC"
        monkeypatch.setenv("AIRFLOW__VOICEINFRA__CALLING_WINDOW", window)
        return opens

    def test_task_fails_without_retry_and_says_from_when_on(
        self, sandbox: SandboxProcess, at_night: datetime
    ) -> None:
        with pytest.raises(AirflowFailException, match=r"CallNotAllowedError: .*outside") as caught:
            run()
        assert f"{at_night:%Y-%m-%d %H:%M}" in str(caught.value)
        assert sandbox.counts()["requests"] == 0

    def test_task_is_skipped(self, sandbox: SandboxProcess, at_night: datetime) -> None:
        with pytest.raises(AirflowSkipException, match="outside the calling hours"):
            run(on_not_allowed="skip")
        assert sandbox.counts()["requests"] == 0

    def test_task_waits_without_a_worker_and_asks_again(
        self, sandbox: SandboxProcess, at_night: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(TaskDeferred) as deferred:
            run(on_not_allowed="wait")
        assert deferred.value.trigger.moment == at_night
        with pytest.raises(TaskDeferred):  # the hours were changed meanwhile
            self.resume(deferred.value)
        monkeypatch.delenv("AIRFLOW__VOICEINFRA__CALLING_WINDOW")
        assert self.resume(deferred.value) == sandbox.audit()["calls"][0]["call_id"]

    def test_task_in_a_trial_run_which_is_handed_the_event_alone_goes_on_too(
        self, sandbox: SandboxProcess
    ) -> None:
        # As ``dag.test()`` resumes a task: without what it was deferred with.
        operator(on_not_allowed="wait").resume_when_allowed(task_context(), event="2026-03-01T09:00:00Z")
        assert sandbox.counts()["requests"] == 1

    def resume(self, deferred: TaskDeferred) -> Any:
        task = operator(on_not_allowed="wait")
        return getattr(task, deferred.method_name)(task_context(), event=None, **(deferred.kwargs or {}))

    @pytest.mark.parametrize(("timeout", "waited"), [(1800, 0), (3700, 3400)])
    def test_it_does_not_begin_to_wait_for_what_comes_too_late(
        self, sandbox: SandboxProcess, at_night: datetime, timeout: int, waited: int
    ) -> None:
        task = operator(on_not_allowed="wait", not_allowed_timeout=timeout)
        began = datetime.now(timezone.utc) - timedelta(seconds=waited)
        with pytest.raises(AirflowFailException, match="not_allowed_timeout ends before that"):
            task.resume_when_allowed(task_context(), None, since=began.isoformat())

    def test_nobody_waits_for_a_suppressed_number(self, sandbox: SandboxProcess, ledger: CallLedger) -> None:
        ends = datetime.now(timezone.utc) + timedelta(minutes=1)
        ledger.suppressions.add([Suppression(NUMBER, reason="asked by mail", ends_at=ends)])
        with pytest.raises(AirflowFailException, match="asked by mail"):
            run(on_not_allowed="wait")

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"call_cap": "1/24h"}, "the cap 1/24h"),
            ({"calling_window": "08:00-20:00", "timezone": "Mars/Base"}, "timezone"),
            ({"region": "US-XX", "calling_window": "08:00-20:00"}, "region"),
            ({"call_cap": "often"}, "call_cap"),
            ({"consent": "x" * 256}, "consent"),
        ],
    )
    def test_rules_of_the_task_count(
        self, sandbox: SandboxProcess, options: dict[str, Any], says: str
    ) -> None:
        VoiceInfraHook().place_call(OutboundCall(NUMBER))
        with pytest.raises((AirflowFailException, ValueError), match=says):
            run(**options)
        assert sandbox.counts()["accepted"] == 1

    @pytest.mark.parametrize("name", ["calling_window", "call_cap", "timezone", "region", "consent"])
    def test_rule_that_came_to_nothing_lifts_no_limit(self, sandbox: SandboxProcess, name: str) -> None:
        with pytest.raises(AirflowFailException, match=f"the DAG file sets {name}"):
            run(**{name: "{{ '' }}"})
        assert sandbox.counts()["requests"] == 0

    def test_rule_of_the_connection_counts_and_what_allowed_the_call_is_kept(
        self, sandbox: SandboxProcess, ledger: CallLedger, connect: Connect
    ) -> None:
        connect(call_cap="1/24h", require_consent="true")
        with pytest.raises(AirflowFailException, match="no consent"):
            run()
        assert run(consent="form 12", region="US-CA", timezone="America/Los_Angeles")
        [entry] = [entry for entry in ledger.calls() if entry.call_id]
        assert entry.recipient == ("America/Los_Angeles", "US-CA", "form 12")
        assert entry.rules_id is not None

    def test_connection_whose_rules_cannot_be_read_places_no_call(
        self, sandbox: SandboxProcess, connect: Connect
    ) -> None:
        connect(calling_window="sometimes")
        with pytest.raises(AirflowFailException, match="extra 'calling_window'"):
            run()
        assert sandbox.counts()["requests"] == 0
