"""Calls one number and waits for the end of the call without a worker."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraOutboundCallOperator


@dag(
    schedule=None,
    # A scheduler that stalls while a task defers costs the task a try, and so does a machine that goes down.
    default_args={"retries": 10, "retry_delay": timedelta(seconds=5)},
    params={"to_number": ""},
)
def one_call():
    VoiceInfraOutboundCallOperator(
        task_id="call",
        to_number="{{ params.to_number }}",
        wait_for_completion=True,
        deferrable=True,
    )


one_call()
