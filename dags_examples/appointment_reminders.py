"""Reminds customers of tomorrow's appointment, each at a decent hour where they live.

Shows a first message with ``{column}`` placeholders, which are filled in for each contact, and a calling
window by the customers' own clocks: that of the column ``timezone`` or, where it is empty, of the phone
number. Who could not be called in time is reported as ``expired``.

Needs the connection ``voiceinfra_default`` with an agent and a caller ID. As it is, it calls the sample
next to this file; in production let the param ``contacts`` be a URL that each worker can read.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import CronTriggerTimetable, dag

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraCampaignOperator

HERE = Path(__file__).resolve().parent.as_uri()


@dag(
    dag_id="voiceinfra_appointment_reminders",
    # When the first ones may be called, on the east coast; those further west follow by themselves.
    schedule=CronTriggerTimetable("0 10 * * *", timezone="America/New_York", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    params={
        "contacts": f"{HERE}/sample_contacts.csv",
        "do_not_call": f"{HERE}/sample_do_not_call.csv",
        "calling_window": "10:00-19:00",
        "hours": 14,
    },
    tags=["voiceinfra"],
)
def appointment_reminders():
    VoiceInfraCampaignOperator(
        task_id="campaign",
        contacts="{{ params.contacts }}",
        do_not_call="{{ params.do_not_call }}",
        first_message="Hello, this is a reminder of your {service} on {appointment}. Does it still suit you?",
        call_context="The appointment is for: {service}, {appointment}, by the customer's own clock.",
        # To count by one clock for everybody, name it: "10:00-19:00 America/New_York".
        calling_window="{{ params.calling_window }}",
        deadline="{{ dag_run.run_after + macros.timedelta(hours=params.hours) }}",
        deferrable=True,
    )


appointment_reminders()
