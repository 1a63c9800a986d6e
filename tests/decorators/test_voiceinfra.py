"""The decorators: what a function returns is called, by the rules of the operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.decorators.voiceinfra import CALL_FIELDS
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


def test_key_of_the_decorator_must_not_vanish(sandbox: SandboxProcess) -> None:
    with pytest.raises(AirflowFailException, match="the DAG file sets idempotency_key"):
        run({"to_number": NUMBER, "idempotency_key": None}, idempotency_key="order-1")
    assert sandbox.counts()["requests"] == 0


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
