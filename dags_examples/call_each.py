"""Calls a handful of people, each by a task of its own.

Shows dynamic task mapping: each call has its own log, state and retries, and can be cleared by itself.
Right for some dozens of people; for more, and for redials, deadlines and do-not-call lists, take the
campaign of nightly_outreach.py.

Needs the connection ``voiceinfra_default`` with an agent and a caller ID.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

from airflow.sdk import dag, task

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraOutboundCallOperator


@dag(
    dag_id="voiceinfra_call_each",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "to_numbers": ["+17025550101", "+17025550107", "+17025550108"],
        "calling_window": "08:00-20:00",
    },
    tags=["voiceinfra"],
)
def call_each():
    # Airflow would write what the task returns into its log, phone numbers and all.
    @task(show_return_value_in_logs=False)
    def on_duty(params: dict) -> list[str]:
        return params["to_numbers"]

    call = VoiceInfraOutboundCallOperator.partial(
        task_id="call",
        first_message="Hello, you are on duty tomorrow from eight o'clock. Can you make it?",
        calling_window="{{ params.calling_window }}",
        wait_for_completion=True,
        deferrable=True,
        completion_timeout=600,
        # Who was not reached is counted below; that is no reason for a task to fail.
        fail_on_outcomes=(),
        # How many are on the phone at once.
        max_active_tis_per_dagrun=5,
    ).expand(to_number=on_duty())

    @task
    def report(records: Iterable[dict]) -> dict[str, int]:
        return dict(Counter(record["call_outcome"] for record in records))

    report(call.output)


call_each()
