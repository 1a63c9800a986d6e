"""The decorators: what a function returns is called, by the rules of the operators."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.decorators.voiceinfra import CALL_FIELDS
from airflow_provider_voiceinfra.exceptions import VoiceInfraError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraOutboundCallOperator
from airflow_provider_voiceinfra.tasks import template_fields
from airflow_provider_voiceinfra.triggers.events import COMPLETED
from tests.airflow_task import TaskInstance, task_context
from tests.sandbox_process import SandboxProcess
from tests.support.completions import complete

NUMBER = "+14155550100"


def made(returns: Any, kind: str = "call", **options: Any) -> Any:
    """Return the operator of a decorated function, given what the function returns."""

    def whom(ds: str | None = None) -> Any:
        return returns(ds) if callable(returns) else returns

    with DAG("outreach", schedule=None):
        return getattr(task, f"voiceinfra_{kind}")(task_id="call", **options)(whom)().operator


def run(returns: Any, kind: str = "call", ti: TaskInstance | None = None, **options: Any) -> Any:
    operator = made(returns, kind, **options)
    context = {**task_context(ti), "ds": "2026-03-01"}
    operator.render_template_fields(context)
    return operator.execute(context)


def test_number_that_a_function_returns_is_called_once(sandbox: SandboxProcess) -> None:
    ti = TaskInstance()

    call_id = run(NUMBER, ti=ti)

    assert run(NUMBER) == call_id == ti.xcoms["call_id"]
    [call] = sandbox.audit()["calls"]
    assert (call["call_id"], call["to_number"]) == (call_id, NUMBER)


@pytest.mark.parametrize(
    "returned",
    [
        {"to_number": NUMBER, "first_message": "Hello.", "call_context": "A regular.", "variables": {"a": 1}},
        OutboundCall(NUMBER, first_message="Hello.", context="A regular.", variables={"a": 1}),
    ],
    ids=["mapping", "call"],
)
def test_fields_that_a_function_returns_go_before_those_of_the_decorator(
    sandbox: SandboxProcess, returned: Any
) -> None:
    run(returned, agent_id="agent_of_the_decorator", first_message="Not said.")

    [call] = sandbox.audit()["calls"]
    assert (call["first_message"], call["context"]) == ("Hello.", "A regular.")
    assert (call["variables"], call["agent_id"]) == ({"a": 1}, "agent_of_the_decorator")


def test_function_is_given_its_arguments_and_the_context(sandbox: SandboxProcess) -> None:
    run(lambda ds: {"to_number": NUMBER, "first_message": f"Today is {ds}."})

    [call] = sandbox.audit()["calls"]
    assert call["first_message"] == "Today is 2026-03-01."


def test_fields_are_arguments_of_the_operator() -> None:
    assert set(CALL_FIELDS) < set(VoiceInfraOutboundCallOperator.template_fields)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "the function returned NoneType"),
        ([NUMBER], "the function returned list"),
        ({"first_message": "Hello."}, "to_number: is missing in what the function returned"),
        ({"to_number": NUMBER, "number": 1}, "number.*is nothing that the function can return"),
        ({"to_number": NUMBER, "calling_window": None}, "calling_window.*is nothing that the function"),
        ({"to_number": NUMBER, "idempotency_key": "a"}, "idempotency_key.*is nothing that the function"),
        ("4155550100", "to_number"),
        ("", "to_number"),
    ],
)
def test_what_names_no_call_is_refused_before_anybody_is_called(
    sandbox: SandboxProcess, returned: Any, words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words) as caught:
        run(returned)
    assert NUMBER not in str(caught.value)
    assert sandbox.counts()["requests"] == 0


@pytest.mark.parametrize("name", ["timezone", "region", "consent"])
def test_what_says_where_a_person_is_must_not_come_to_nothing(sandbox: SandboxProcess, name: str) -> None:
    with pytest.raises(AirflowFailException, match=f"{name}: is empty in what the function returned"):
        run({"to_number": NUMBER, name: ""})
    assert sandbox.counts()["requests"] == 0


def test_text_that_is_none_leaves_that_of_the_decorator(sandbox: SandboxProcess) -> None:
    run({"to_number": NUMBER, "first_message": None}, first_message="Hello.")
    assert sandbox.audit()["calls"][0]["first_message"] == "Hello."


def test_function_that_skips_while_its_call_is_unknown_fails_the_task(sandbox: SandboxProcess) -> None:
    def nobody(ds: str) -> Any:
        raise AirflowSkipException("nobody is on duty")

    with pytest.raises(AirflowFailException, match="the outcome of its call is unknown"):
        made(nobody).resume_placing(task_context(), {"status": COMPLETED, "call_ids": []})


def test_rows_that_a_function_is_given_are_not_shown_in_rendered_templates(sandbox: SandboxProcess) -> None:
    rows = [{"Phone": "(415) 555-0199", "name": "Ann"}]
    with DAG("outreach", schedule=None):

        @task.voiceinfra_call
        def call(found: list[dict[str, str]], number: str) -> str:
            assert found == rows
            return number

        called: Any = call(rows, number=NUMBER)

    operator = called.operator
    operator.render_template_fields({})
    assert "555" not in str(operator.op_args)
    assert str(operator.op_args) == "[1 rows, not shown]"
    operator.execute(task_context())
    assert sandbox.audit()["calls"][0]["to_number"] == NUMBER


def test_argument_with_the_name_of_a_part_of_the_context_leaves_that_alone(sandbox: SandboxProcess) -> None:
    with DAG("outreach", schedule=None):

        @task.voiceinfra_call
        def call(dag_run: str | None = None) -> str:
            return NUMBER if dag_run == "north" else ""

        called: Any = call(dag_run="north")

    called.operator.execute(task_context())
    assert sandbox.counts()["accepted"] == 1


def test_function_may_skip_its_task(sandbox: SandboxProcess) -> None:
    def nobody(ds: str) -> Any:
        raise AirflowSkipException("nobody is on duty")

    with pytest.raises(AirflowSkipException, match="nobody is on duty"):
        run(nobody)
    assert sandbox.counts()["requests"] == 0


def test_number_is_masked_in_logs(sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    masked: set[str] = set()
    monkeypatch.setattr(template_fields, "mask_secret", masked.add)

    run({"to_number": NUMBER, "variables": {"call back": "+14155550102"}})

    assert {NUMBER, "+14155550102"} <= masked


def test_number_that_a_function_is_given_is_masked_in_any_form(monkeypatch: pytest.MonkeyPatch) -> None:
    masked: set[str] = set()
    monkeypatch.setattr(template_fields, "mask_secret", masked.add)
    with DAG("outreach", schedule=None):

        @task.voiceinfra_call(variables={"order": "4155550142"})
        def call(whom: str) -> str:
            return whom

        called: Any = call(whom="415-555-0199")

    called.operator.render_template_fields({})
    assert masked == {"415-555-0199"}


def test_another_number_in_a_retry_is_refused(sandbox: SandboxProcess) -> None:
    run(NUMBER)
    with pytest.raises(AirflowFailException, match="to_number"):
        run("+14155550102", ti=TaskInstance(try_number=2))
    assert sandbox.counts()["accepted"] == 1


def test_record_is_returned_after_waiting_in_the_triggerer(
    sandbox: SandboxProcess, ledger: CallLedger
) -> None:
    options: dict[str, Any] = {"wait_for_completion": True, "deferrable": True}
    with pytest.raises(TaskDeferred) as deferred:
        run(NUMBER, **options)
    [entry] = ledger.calls()
    assert entry.call_id is not None
    complete(ledger, entry.call_id, to_number=NUMBER)

    resumed = getattr(made(NUMBER, **options), deferred.value.method_name)
    record = resumed(task_context(), {"status": COMPLETED, "call_ids": [entry.call_id]})

    assert (record["call_id"], record["call_outcome"]) == (entry.call_id, "answered")
    assert sandbox.counts()["accepted"] == 1


def test_contacts_that_a_function_returns_are_called_once(sandbox: SandboxProcess) -> None:
    sandbox.configure(call_seconds=0.0)
    contacts: Callable[[str], Any] = lambda ds: [  # noqa: E731
        {"to_number": NUMBER, "name": ds}, {"to_number": "+14155550102", "name": ds}
    ]  # fmt: skip
    options: dict[str, Any] = {
        "first_message": "Hello {name}.",
        "completion_timeout": 0.2,
        "deferrable": False,
    }

    summary = run(contacts, "campaign", **options)
    run(contacts, "campaign", ti=TaskInstance(try_number=2), **options)

    assert summary["contacts"] == 2
    calls = sandbox.audit()["calls"]
    assert sorted(call["to_number"] for call in calls) == [NUMBER, "+14155550102"]
    assert {call["first_message"] for call in calls} == {"Hello 2026-03-01."}


def test_campaign_that_goes_on_after_a_pause_does_not_ask_the_function_again(sandbox: SandboxProcess) -> None:
    asked: list[str] = []

    def contacts(ds: str) -> list[dict[str, str]]:
        asked.append(ds)
        return [{"to_number": NUMBER}]

    options: dict[str, Any] = {"deferrable": True, "redial": {"waits": [60]}, "completion_timeout": 0.2}
    sandbox.configure(call_seconds=0.0)
    with pytest.raises(TaskDeferred):
        run(contacts, "campaign", calling_window=_closed_now(), **options)

    with pytest.raises(TaskDeferred):
        made(contacts, "campaign", calling_window=_closed_now(), **options).resume(
            {**task_context(), "ds": "2026-03-01"}
        )
    assert asked == ["2026-03-01"]


def _closed_now() -> str:
    """Return a calling window that opens some hours from now, everywhere."""
    opens = datetime.now(timezone.utc) + timedelta(hours=6)
    closes = opens + timedelta(hours=2)
    day, next_day = f"{opens:%H:00}", f"{closes:%H:00}"
    window = f"{day}-{next_day}" if day < next_day else f"{day}-24:00"
    return f"{window} UTC"


def test_campaign_that_is_killed_while_its_function_runs_calls_nobody(sandbox: SandboxProcess) -> None:
    operator: Any = made(lambda ds: [operator.on_kill(), {"to_number": NUMBER}][1:], "campaign")

    with pytest.raises(VoiceInfraError, match="The task was killed"):
        operator.execute({**task_context(), "ds": "2026-03-01"})
    assert sandbox.counts()["requests"] == 0


def test_function_of_a_campaign_that_returns_nothing_is_named(sandbox: SandboxProcess) -> None:
    with pytest.raises(AirflowFailException, match="contacts: the function returned nothing"):
        run(None, "campaign")


def test_result_cannot_be_parted_into_several_xcoms() -> None:
    with pytest.raises(TypeError, match="multiple_outputs: the task returns one value"):
        made(NUMBER, multiple_outputs=True)


@pytest.mark.parametrize(("kind", "name"), [("call", "to_number"), ("campaign", "contacts")])
def test_what_the_function_returns_cannot_be_said_twice(kind: str, name: str) -> None:
    with pytest.raises(TypeError, match=f"{name}: comes from the function"):
        made(NUMBER, kind, **{name: NUMBER})


def test_call_id_is_returned_whatever_the_function_says_that_it_returns(sandbox: SandboxProcess) -> None:
    with DAG("outreach", schedule=None):

        @task.voiceinfra_call
        def call() -> dict[str, str]:
            return {"to_number": NUMBER}

        called: Any = call()

    ti = TaskInstance()
    assert called.operator.execute(task_context(ti)) == ti.xcoms["call_id"]
    assert ti.xcoms.keys() == {"call_id"}


def test_each_of_a_number_of_mapped_tasks_calls_whom_its_argument_names(sandbox: SandboxProcess) -> None:
    numbers = [NUMBER, "+14155550102"]
    with DAG("outreach", schedule=None):

        @task.voiceinfra_call(first_message="Hello.")
        def call(number: str) -> str:
            return number

        mapped: Any = call.expand(number=numbers)

    for index, number in enumerate(numbers):
        operator = mapped.operator.unmap({"op_kwargs": {"number": number}})
        operator.execute(task_context(TaskInstance(map_index=index)))

    assert [call["to_number"] for call in sandbox.audit()["calls"]] == numbers


def test_async_function_is_refused_when_the_dag_is_read() -> None:
    async def whom() -> str:
        return NUMBER

    with DAG("outreach", schedule=None), pytest.raises(TypeError, match="must be a plain function"):
        task.voiceinfra_call(task_id="call")(whom)()
