"""The recording link says what the task pushed, and erases nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetXCom, SetXCom, XComResult

from airflow_provider_voiceinfra.links.voiceinfra import VoiceInfraRecordingLink

ADDRESS = "https://recordings.example.com/call-1.mp3"
TI_KEY = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=2)


class Supervisor:
    """Stands for the process that a task asks for XComs."""

    def __init__(self, stored: Any = None) -> None:
        self.stored = stored
        self.asked: list[GetXCom] = []

    def send(self, msg: Any) -> XComResult | None:
        if isinstance(msg, GetXCom):
            self.asked.append(msg)
            return XComResult(key=msg.key, value=self.stored)
        if isinstance(msg, SetXCom):
            self.stored = msg.value
        return None


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


def link() -> str:
    operator: Any = None
    key: Any = TI_KEY
    return VoiceInfraRecordingLink().get_link(operator, ti_key=key)


def test_it_is_the_xcom_s_own_value(supervisor: Supervisor) -> None:
    supervisor.stored = ADDRESS

    assert link() == ADDRESS


def test_it_asks_for_its_own_task_instance_only(supervisor: Supervisor) -> None:
    link()

    (asked,) = supervisor.asked
    assert (asked.key, asked.dag_id, asked.run_id, asked.task_id, asked.map_index) == (
        "recording_url",
        "d",
        "r",
        "t",
        2,
    )


@pytest.mark.parametrize("pushed", [None, "", ["a", "b"], 7], ids=repr)
def test_it_is_empty_if_no_address_was_pushed(supervisor: Supervisor, pushed: object) -> None:
    supervisor.stored = pushed

    assert link() == ""


def test_a_failing_look_up_is_not_an_empty_link(monkeypatch: pytest.MonkeyPatch) -> None:
    # Airflow would store the empty link over the address; an error makes it store nothing.
    class Broken:
        def send(self, msg: Any) -> None:
            raise ConnectionError

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Broken(), raising=False)

    with pytest.raises(ConnectionError):
        link()


class Task(BaseOperator):
    operator_extra_links = (VoiceInfraRecordingLink(),)


def finalize() -> None:
    """Run the part of Airflow that stores links when a task ends."""
    task: Any = Task(task_id="t")
    for item in task.operator_extra_links:
        value, key = item.get_link(operator=task, ti_key=TI_KEY), item.xcom_key
        task_runner._xcom_push_to_db(_task_instance(task), key=key, value=value)


def _task_instance(task: BaseOperator) -> Any:
    return SimpleNamespace(**vars(TI_KEY), task=task)


def test_storing_the_link_leaves_a_pushed_address_as_it_is(supervisor: Supervisor) -> None:
    supervisor.stored = ADDRESS

    finalize()

    assert supervisor.stored == ADDRESS


def test_the_link_has_a_name_and_the_key_that_tasks_push() -> None:
    assert VoiceInfraRecordingLink().name == "Recording"
    assert VoiceInfraRecordingLink().xcom_key == "recording_url"
