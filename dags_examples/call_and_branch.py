"""Places a call, waits for its end in the same task, and takes a branch by how it went and what was said.

Shows the two things to branch by: ``call_outcome``, and what the agent was told to extract from the
conversation, here a lead score.

Needs the connection ``voiceinfra_default`` with an agent and a caller ID. The vendor does not document the
name of the field with the extracted data; the sandbox calls it ``extracted_data``. Look at a record of your
own.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraOutboundCallOperator


@dag(
    dag_id="voiceinfra_call_and_branch",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={"to_number": "+14155550100", "calling_window": "08:00-20:00"},
    tags=["voiceinfra"],
)
def call_and_branch():
    call = VoiceInfraOutboundCallOperator(
        task_id="call",
        to_number="{{ params.to_number }}",
        calling_window="{{ params.calling_window }}",
        wait_for_completion=True,
        deferrable=True,
        completion_timeout=600,
        # The branch below handles a failed call, so it must not fail this task.
        fail_on_outcomes=(),
    )

    @task.branch
    def choose(record: dict) -> str:
        if record["call_outcome"] != "answered":
            return "send_letter"
        extracted = record.get("extracted_data") or {}
        return "ring_back" if extracted.get("lead_score", 0) >= 50 else "thank"

    @task
    def ring_back() -> None:
        print("Interested; somebody will ring back.")

    @task
    def thank() -> None:
        print("Spoken to; nothing else to do.")

    @task
    def send_letter() -> None:
        print("Not reached by phone; a letter will do.")

    choose(call.output) >> [ring_back(), thank(), send_letter()]


call_and_branch()
