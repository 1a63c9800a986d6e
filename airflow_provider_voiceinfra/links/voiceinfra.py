"""The links that a task's page shows; each is nothing but an XCom that a task pushed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

RECORDING_XCOM_KEY = "recording_url"


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
        must be what is there already. A look-up that fails is left to raise: Airflow then logs it and stores
        nothing, where an empty answer would erase the address.

        :param operator: the task; not needed.
        :param ti_key: which task instance to look at.
        """
        # Loaded at the end of a task, not when a DAG file is parsed.
        from airflow.sdk.execution_time.xcom import XCom

        address = XCom.get_value(ti_key=ti_key, key=RECORDING_XCOM_KEY)
        return address if isinstance(address, str) else ""
