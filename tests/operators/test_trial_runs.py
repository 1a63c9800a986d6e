"""A run that was made to test one task calls nobody from another; a test run says that its calls are real."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.cli.commands import task_command
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.context import set_current_context
from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import ConfigurationError
from airflow_provider_voiceinfra.hooks.voiceinfra import VoiceInfraHook
from airflow_provider_voiceinfra.operators.voiceinfra import (
    VoiceInfraCampaignOperator,
    VoiceInfraOutboundCallOperator,
)
from tests.airflow_task import TaskInstance, task_context
from tests.sandbox_process import SandboxProcess

NUMBER = "+14155550100"
TEMPORARY = task_command._generate_temporary_run_id()
WARNING = "This is a test run, and its calls are real"


@pytest.fixture(autouse=True)
def _not_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_TEST_MODE", raising=False)


def operators() -> dict[str, Any]:
    return {
        "call": VoiceInfraOutboundCallOperator(task_id="call", to_number=NUMBER),
        "campaign": VoiceInfraCampaignOperator(
            task_id="call", contacts=[{"to_number": NUMBER}], completion_timeout=0, unknown_timeout=0
        ),
    }


@pytest.mark.parametrize("kind", operators())
def test_the_scheduler_s_tasks_of_another_task_s_test_call_nobody(sandbox: SandboxProcess, kind: str) -> None:
    with pytest.raises(
        AirflowFailException, match="nobody is called: `airflow tasks test` made this run"
    ) as e:
        operators()[kind].execute(task_context(TaskInstance(run_id=TEMPORARY)))
    assert "Pause the DAG" in str(e.value)
    assert sandbox.counts()["requests"] == 0


@pytest.mark.parametrize("kind", operators())
def test_the_tested_task_calls_and_says_so(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    monkeypatch.setenv("AIRFLOW_TEST_MODE", "True")
    operators()[kind].execute(task_context(TaskInstance(run_id=TEMPORARY)))
    assert sandbox.counts()["accepted"] == 1
    log = capfd.readouterr().out
    assert f"{WARNING}: they go to {sandbox.base_url}." in log
    assert "calls everybody anew" in log


@pytest.mark.parametrize("key", ["order/1", None])
def test_code_that_calls_by_the_hook_is_kept_out_of_another_task_s_test(
    sandbox: SandboxProcess, key: str | None
) -> None:
    call = OutboundCall(to_number=NUMBER)
    context: Any = {"run_id": TEMPORARY}
    with set_current_context(context), pytest.raises(ConfigurationError, match="nobody is called"):
        VoiceInfraHook().place_call(call, idempotency_key=key)
    assert sandbox.counts()["requests"] == 0
    context = {"run_id": "manual__2026-03-01"}
    with set_current_context(context):
        VoiceInfraHook().place_call(call, idempotency_key=key)
    assert sandbox.counts()["accepted"] == 1


@pytest.mark.parametrize("tested", [False, True])
def test_a_run_says_that_it_calls_if_its_whole_dag_is_tested_and_only_then(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tested: bool
) -> None:
    if tested:
        supervisor: Any = SimpleNamespace()
        comms = InProcessSupervisorComms(supervisor=supervisor)
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
    operators()["call"].execute(task_context())
    assert sandbox.counts()["accepted"] == 1
    assert (WARNING in capfd.readouterr().out) is tested


def test_airflow_sets_what_the_tested_task_is_told_by() -> None:
    source = sys.modules[task_command.__name__].__file__
    assert source is not None
    with open(source) as file:
        assert 'env_vars = {"AIRFLOW_TEST_MODE": "True"}' in file.read()
