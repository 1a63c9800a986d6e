"""Places one call, waits for its end without holding a worker, and acts on what was said."""

from __future__ import annotations

from airflow.sdk import dag, task

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraOutboundCallOperator
from airflow_provider_voiceinfra.sensors.voiceinfra import VoiceInfraCallCompletedSensor


@dag(
    dag_id="voiceinfra_outbound_call",
    schedule=None,
    params={"to_number": "+14155550100", "calling_window": "08:00-20:00"},
    tags=["voiceinfra"],
)
def outbound_call():
    # The agent and the caller ID come from the connection "voiceinfra_default".
    call = VoiceInfraOutboundCallOperator(
        task_id="call",
        to_number="{{ params.to_number }}",
        first_message="Hello, this is a reminder of your appointment tomorrow at ten.",
        variables={"appointment": "tomorrow at ten"},
        # By the clock where the number is. Outside these hours the task fails, and says when it may call.
        calling_window="{{ params.calling_window }}",
    )

    wait = VoiceInfraCallCompletedSensor(
        task_id="wait",
        call_id=call.output,
        deferrable=True,
        timeout=600,
    )

    @task
    def report(record: dict) -> str:
        line = f"Call {record['call_id']} was {record['call_outcome']}: {record['summary']}"
        print(line)
        return line

    report(wait.output)


outbound_call()
