"""Places a call, waits for its end in the same task, and takes a branch by how it went."""

from __future__ import annotations

from airflow.sdk import dag, task

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraOutboundCallOperator


@dag(
    dag_id="voiceinfra_call_and_branch",
    schedule=None,
    params={"to_number": "+14155550100"},
    tags=["voiceinfra"],
)
def call_and_branch():
    call = VoiceInfraOutboundCallOperator(
        task_id="call",
        to_number="{{ params.to_number }}",
        wait_for_completion=True,
        deferrable=True,
        completion_timeout=600,
        # The branch below handles a failed call, so it must not fail this task.
        fail_on_outcomes=(),
    )

    @task.branch
    def choose(record: dict) -> str:
        return "thank" if record["call_outcome"] == "answered" else "send_letter"

    @task
    def thank() -> None:
        print("Spoken to; nothing else to do.")

    @task
    def send_letter() -> None:
        print("Not reached by phone; a letter will do.")

    choose(call.output) >> [thank(), send_letter()]


call_and_branch()
