"""Calls one number; another task waits for the end of the call, without a worker."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraOutboundCallOperator
from airflow_provider_voiceinfra.sensors.voiceinfra import VoiceInfraCallCompletedSensor


@dag(
    schedule=None,
    # A scheduler that stalls while a task defers costs the task a try, and so does a machine that goes down.
    default_args={"retries": 10, "retry_delay": timedelta(seconds=5)},
    params={"to_number": ""},
)
def call_then_wait():
    call = VoiceInfraOutboundCallOperator(task_id="call", to_number="{{ params.to_number }}")
    VoiceInfraCallCompletedSensor(task_id="wait", call_id=call.output, deferrable=True)


call_then_wait()
