"""The links that a task's page shows; each is nothing but an XCom that a task pushed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

RECORDING_XCOM_KEY = "recording_url"


class RecordingMixin:
    """Knows of a task whether it has pushed the address of a recording, so that nobody need ask Airflow."""

    recording_url = ""

    def push_recording(self, ti: Any, address: object) -> None:
        """Push the address, if there is one.

        :param ti: the task instance.
        """
        if isinstance(address, str) and address:
            ti.xcom_push(key=RECORDING_XCOM_KEY, value=address)
            self.recording_url = address


class VoiceInfraRecordingLink(BaseOperatorLink):
    """Opens the recording of the call; the task pushes its address as the XCom ``recording_url``."""

    name = "Recording"

    @property
    def xcom_key(self) -> str:
        """The XCom that holds the address; the only thing that the API server reads."""
        return RECORDING_XCOM_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that the task pushed; empty if it pushed none.

        Airflow calls this on the worker when the task ends, and stores the answer under the same key. So it
        must be what is there already. Operators of this package know what they pushed: asking for an XCom
        that is not there would write an error into the log of each task without a recording, and of each
        that defers. For another operator it is looked up. A lookup that fails is left to raise: Airflow then
        logs it and stores nothing, where an empty answer would erase the address.

        :param operator: the task.
        :param ti_key: which task instance to look at.
        """
        if isinstance(operator, RecordingMixin):
            return operator.recording_url
        # Loaded at the end of a task, not when a DAG file is parsed.
        from airflow.sdk.execution_time.xcom import XCom

        address = XCom.get_value(ti_key=ti_key, key=RECORDING_XCOM_KEY)
        return address if isinstance(address, str) else ""
