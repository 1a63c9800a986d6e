"""The recording link says what the task pushed, and erases nothing."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from airflow.sdk import BaseOperator, TaskInstanceState
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetXCom, SetXCom, XComResult

from airflow_provider_voiceinfra.links.voiceinfra import RecordingMixin, VoiceInfraRecordingLink
from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraOutboundCallOperator
from airflow_provider_voiceinfra.sensors.voiceinfra import VoiceInfraCallCompletedSensor
from tests.airflow_task import TaskInstance

ADDRESS = "https://recordings.example.com/call-1.mp3"
TI_KEY = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=2)


class Supervisor:
    """Stands for the process that a task asks for XComs."""

    def __init__(self, stored: Any = None) -> None:
        self.stored = stored
        self.asked: list[GetXCom] = []
        self.pushes = 0
        self.broken = False

    def send(self, msg: Any) -> XComResult | None:
        if isinstance(msg, GetXCom):
            if self.broken:
                raise ConnectionError
            self.asked.append(msg)
            return XComResult(key=msg.key, value=self.stored)
        if isinstance(msg, SetXCom):
            self.stored = msg.value
            self.pushes += 1
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


@pytest.mark.parametrize(
    ("pushed", "shown"), [(ADDRESS, ADDRESS), *((one, "") for one in (None, "", ["a", "b"], 7))], ids=repr
)
def test_it_is_the_address_that_its_own_task_instance_pushed(
    supervisor: Supervisor, pushed: object, shown: str
) -> None:
    supervisor.stored = pushed
    assert link() == shown
    (asked,) = supervisor.asked
    assert (asked.key, asked.dag_id, asked.run_id) == ("recording_url", "d", "r")
    assert (asked.task_id, asked.map_index) == ("t", 2)


def test_a_failing_look_up_is_not_an_empty_link(supervisor: Supervisor) -> None:
    # Airflow would store the empty link over the address; an error makes it store nothing.
    supervisor.broken = True
    with pytest.raises(ConnectionError):
        link()


class Task(BaseOperator):
    operator_extra_links = (VoiceInfraRecordingLink(),)


def finalize(task: BaseOperator | None = None) -> None:
    """Let Airflow store the links of a task that has ended."""
    task = task or Task(task_id="t")
    ti: Any = SimpleNamespace(**vars(TI_KEY), task=task, start_date=None, end_date=None)
    context: Any = {}
    task_runner.finalize(ti, TaskInstanceState.SKIPPED, context, structlog.get_logger())


@pytest.mark.parametrize(("broken", "pushes"), [(False, 1), (True, 0)], ids=["read", "could not be read"])
def test_what_airflow_stores_at_the_end_erases_no_address(
    supervisor: Supervisor, broken: bool, pushes: int
) -> None:
    supervisor.stored, supervisor.broken = ADDRESS, broken
    finalize()
    assert (supervisor.stored, supervisor.pushes) == (ADDRESS, pushes)


OURS = [
    VoiceInfraOutboundCallOperator(task_id="t", to_number="+14155550100"),
    VoiceInfraCallCompletedSensor(task_id="t", call_id="call_1"),
]


@pytest.mark.parametrize("task", OURS, ids=lambda task: type(task).__name__)
def test_a_task_of_ours_that_pushed_no_address_asks_airflow_for_none(
    supervisor: Supervisor, task: BaseOperator
) -> None:
    # Airflow logs an error for each XCom that is looked for and is not there.
    finalize(copy.copy(task))
    assert supervisor.asked == []


@pytest.mark.parametrize("task", OURS, ids=lambda task: type(task).__name__)
def test_the_address_that_a_task_of_ours_pushed_stays(supervisor: Supervisor, task: BaseOperator) -> None:
    ti, task = TaskInstance(), copy.copy(task)
    assert isinstance(task, RecordingMixin)
    task.push_recording(ti, ADDRESS)
    supervisor.stored = ti.xcoms["recording_url"]
    finalize(task)
    assert supervisor.stored == ADDRESS


@pytest.mark.parametrize("address", [None, "", 7])
def test_what_is_no_address_is_not_pushed(address: object) -> None:
    ti, task = TaskInstance(), copy.copy(OURS[0])
    assert isinstance(task, RecordingMixin)
    task.push_recording(ti, address)
    assert ti.xcoms == {}


def test_the_link_has_a_name_and_the_key_that_tasks_push() -> None:
    assert VoiceInfraRecordingLink().name == "Recording"
    assert VoiceInfraRecordingLink().xcom_key == "recording_url"
