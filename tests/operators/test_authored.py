"""What a DAG file sets must not come to nothing when the task runs; only the file itself says "none"."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_voiceinfra.operators.voiceinfra import (
    VoiceInfraCampaignOperator,
    VoiceInfraOutboundCallOperator,
)
from airflow_provider_voiceinfra.sensors.voiceinfra import VoiceInfraCallCompletedSensor
from tests.airflow_task import TaskInstance, task_context
from tests.sandbox_process import SandboxProcess
from tests.sensors.test_voiceinfra import Ti

CALL, CAMPAIGN = VoiceInfraOutboundCallOperator, VoiceInfraCampaignOperator
ANN = "+14155550142"
CONTACTS = [{"to_number": ANN}]
FOREVER = {"completion_timeout": 0, "unknown_timeout": 0}
LIMITS = (
    "campaign_id",
    "max_calls_per_second",
    "calling_window",
    "redial",
    "do_not_call",
    "deadline",
    "results_path",
)
# A template gives text or, in a native DAG, the value: of a task that returned nothing, or an empty param.
NOTHINGS: Any = {"none": None, "empty": "", "blank": "  ", "list": []}
each_nothing = pytest.mark.parametrize(
    ("nothing", "native"),
    [("none", True), ("list", True), ("none", False), ("empty", False), ("blank", False), ("list", False)],
)


def dag(**options: Any) -> DAG:
    return DAG("outreach", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), **options)


def rendered(make: Callable[[], Any], *, native: bool = False) -> Any:
    """Return a task of a DAG once its templates are filled in, with what comes to nothing."""
    with dag(render_template_as_native_obj=native):
        task = make()
    task.render_template_fields({**NOTHINGS})
    return task


def campaign(**options: Any) -> VoiceInfraCampaignOperator:
    return CAMPAIGN(task_id="call", **{"contacts": CONTACTS, **FOREVER, **options})


def refusal(task: Any, ti: TaskInstance | None = None) -> str:
    with pytest.raises(AirflowFailException) as caught:
        task.execute(task_context(ti))
    return str(caught.value)


@each_nothing
@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_that_comes_to_nothing_is_refused_before_anybody_is_called(
    sandbox: SandboxProcess, name: str, nothing: str, native: bool
) -> None:
    said = refusal(rendered(lambda: campaign(**{name: "{{ " + nothing + " }}"}), native=native))
    if (name, nothing, native) == ("do_not_call", "list", False):
        assert "do_not_call: is a list written out as text" in said
        return
    assert f"{name}: the DAG file sets {name}, but it is empty now" in said
    assert "or write None in the DAG file if you want none" in said
    assert sandbox.counts()["requests"] == 0


@pytest.mark.parametrize("name", LIMITS)
def test_empty_text_in_the_dag_file_is_refused_too(sandbox: SandboxProcess, name: str) -> None:
    assert f"the DAG file sets {name}, but it is empty" in refusal(campaign(**{name: ""}))
    assert sandbox.counts()["requests"] == 0


@pytest.mark.parametrize("nothing", [None, [], ()], ids=repr)
def test_what_is_nothing_in_the_dag_file_is_none(sandbox: SandboxProcess, nothing: Any) -> None:
    task = rendered(lambda: campaign(**{name: nothing for name in LIMITS if name != "campaign_id"}))
    assert task.execute(task_context())["placed"] == 1


def test_default_arguments_are_part_of_the_dag_file(sandbox: SandboxProcess) -> None:
    with dag(default_args={"do_not_call": None, "deadline": None}):
        task = campaign()
    assert task.execute(task_context())["placed"] == 1
    with dag(default_args={"do_not_call": "{{ empty }}"}):
        task = campaign(campaign_id="another")
    task.render_template_fields({**NOTHINGS})  # type: ignore[typeddict-item]
    assert "the DAG file sets do_not_call" in refusal(task)


@pytest.mark.parametrize("field", ["days", "timezone"])
def test_a_part_of_the_window_that_comes_to_nothing_is_refused(sandbox: SandboxProcess, field: str) -> None:
    window = {"from": "00:00", "to": "24:00", field: "{{ none }}"}
    task = rendered(lambda: campaign(calling_window=window), native=True)
    assert f"the DAG file sets calling_window['{field}'], but it is empty" in refusal(task)
    text = json.dumps({**window, field: 0}).replace("0}", "{{ None | tojson }}}")
    task = rendered(lambda: campaign(calling_window=text))
    assert f"calling_window: '{field}' is null; give it a value, or leave it out" in refusal(task)
    assert sandbox.counts()["requests"] == 0

    always = {"from": "00:00", "to": "24:00", "days": None, "timezone": None}
    assert campaign(calling_window=always).execute(task_context())["placed"] == 1


def test_a_file_with_nothing_but_its_header_is_a_list_of_nobody(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    path = tmp_path / "do_not_call.csv"
    path.write_text("to_number\n")
    assert campaign(do_not_call=str(path)).execute(task_context())["placed"] == 1


def test_an_entry_of_the_do_not_call_list_that_comes_to_nothing_is_refused(sandbox: SandboxProcess) -> None:
    task = rendered(lambda: campaign(do_not_call=["+14155550143", "{{ empty }}"]))
    assert "do_not_call: entry 2" in refusal(task)
    assert sandbox.counts()["requests"] == 0


class TestMapped:
    """A mapped task, made from what other tasks gave it as Airflow makes it when it runs."""

    @staticmethod
    def upstream() -> Any:
        return BaseOperator(task_id="upstream").output

    def test_nothing_from_another_task_is_refused(self, sandbox: SandboxProcess) -> None:
        with dag():
            mapped = CAMPAIGN.partial(task_id="call", contacts=CONTACTS, **FOREVER).expand(
                do_not_call=self.upstream(), results_path=[None, ""]
            )
        assert "sets do_not_call" in refusal(mapped.unmap({"do_not_call": None, "results_path": None}))
        assert "sets results_path" in refusal(mapped.unmap({"do_not_call": [ANN], "results_path": ""}))
        assert sandbox.counts()["requests"] == 0

    def test_none_in_a_list_of_the_dag_file_is_none(self, sandbox: SandboxProcess) -> None:
        with dag():
            mapped = CAMPAIGN.partial(task_id="call", contacts=CONTACTS, deadline=None, **FOREVER).expand(
                do_not_call=[None, ["+14155550143"]]
            )
        assert mapped.unmap({"do_not_call": None}).execute(task_context())["placed"] == 1

    @pytest.mark.parametrize("strict", [True, False])
    def test_a_row_from_another_task_is_taken_at_its_word(
        self, sandbox: SandboxProcess, strict: bool
    ) -> None:
        with dag():
            partial = CALL.partial(task_id="call", **({} if strict else {"idempotency_key": "{{ ds }}"}))
            mapped = partial.expand_kwargs(self.upstream(), strict=strict)
        row = {"to_number": ANN, "idempotency_key": None}
        assert "sets idempotency_key" in refusal(mapped.unmap(row), TaskInstance(map_index=0))
        assert sandbox.counts()["requests"] == 0

    def test_what_a_row_from_another_task_leaves_out_is_left_out(self, sandbox: SandboxProcess) -> None:
        with dag():
            mapped = CALL.partial(task_id="call").expand_kwargs(self.upstream())
        assert mapped.unmap({"to_number": ANN}).execute(task_context(TaskInstance(map_index=0)))

    def test_a_row_of_the_dag_file_may_say_none(self, sandbox: SandboxProcess) -> None:
        row = {"to_number": ANN, "idempotency_key": None}
        with dag():
            rows = [row, self.upstream()]
            mapped = CALL.partial(task_id="call").expand_kwargs(rows)
        task = mapped.unmap(row)
        assert task.execute(task_context(TaskInstance(map_index=0)))
        assert "sets idempotency_key" in refusal(task, TaskInstance(map_index=1))

    def test_outcomes_that_should_fail_the_task_do_not_vanish(self, sandbox: SandboxProcess) -> None:
        with dag():
            mapped = CALL.partial(task_id="call", to_number=ANN).expand(fail_on_outcomes=self.upstream())
        assert "sets fail_on_outcomes" in refusal(mapped.unmap({"fail_on_outcomes": None}))
        assert sandbox.counts()["requests"] == 0


@each_nothing
def test_a_key_that_comes_to_nothing_does_not_become_the_run_s_own(
    sandbox: SandboxProcess, nothing: str, native: bool
) -> None:
    key = "{{ " + nothing + " }}"
    task = rendered(lambda: CALL(task_id="call", to_number=ANN, idempotency_key=key), native=native)
    assert "idempotency_key: the DAG file sets idempotency_key, but it is empty" in refusal(task)
    assert sandbox.counts()["requests"] == 0


@pytest.mark.parametrize("mode", [{"mode": "poke"}, {"deferrable": True}], ids=str)
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"match": "{{ none }}"}, "sets match,"),
        ({"match": {"order": "{{ none }}"}}, "sets match['order'],"),
        ({"match": {"order": 7}, "since": "{{ empty }}"}, "sets since,"),
    ],
    ids=["match", "field", "since"],
)
def test_a_sensor_does_not_wait_for_any_call_instead(
    mode: dict[str, Any], options: dict[str, Any], says: str
) -> None:
    options = {"task_id": "wait", "timeout": 0, **options, **mode}
    task = rendered(lambda: VoiceInfraCallCompletedSensor(**options), native=True)
    assert says in refusal(task, Ti())


def test_what_another_task_gives_a_mapped_one_fails_it_without_a_retry(sandbox: SandboxProcess) -> None:
    with dag():
        mapped = CAMPAIGN.partial(task_id="call", contacts=CONTACTS, **FOREVER).expand(redial=["sometimes"])
    assert "redial: is no JSON" in refusal(mapped.unmap({"redial": "sometimes"}))
    assert sandbox.counts()["requests"] == 0
