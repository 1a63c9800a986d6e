"""The DAGs of the integration tests: one call each, to the number in the run's configuration."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraOutboundCallOperator
from airflow_provider_voiceinfra.sensors.voiceinfra import VoiceInfraCallCompletedSensor

RETRY = {"retries": 2, "retry_delay": timedelta(seconds=1)}
VARIANTS = {
    "bare": {},
    "waiting": {"wait_for_completion": True, "deferrable": True, "completion_timeout": 120},
    "holding": {"wait_for_completion": True, "poke_interval": 1, "completion_timeout": 120},
    "impatient": {"unknown_timeout": 6},
    "impatient_deferred": {"unknown_timeout": 6, "deferrable": True},
    "deferred": {"deferrable": True},
    "redialling": {"unknown_timeout": 6, "on_unknown": "redial"},
}
for name, options in VARIANTS.items():
    with DAG(f"it_{name}", schedule=None, default_args=RETRY, params={"to_number": ""}):
        VoiceInfraOutboundCallOperator(  # type: ignore[arg-type]
            task_id="call",
            to_number="{{ params.to_number }}",
            agent_id="{{ params.agent_id | default('agent_demo') }}",
            variables={"said_by": "a test"},
            **options,
        )

with DAG("it_mapped", schedule=None, default_args=RETRY, params={"to_numbers": []}):
    VoiceInfraOutboundCallOperator.partial(task_id="call").expand(to_number=["+14155550110", "+14155550111"])

with DAG("it_call_then_wait", schedule=None, default_args=RETRY):
    calls = VoiceInfraOutboundCallOperator(task_id="call", to_number="{{ params.to_number }}")
    VoiceInfraCallCompletedSensor(task_id="wait", call_id=calls.output, deferrable=True, timeout=120)  # type: ignore[arg-type]
