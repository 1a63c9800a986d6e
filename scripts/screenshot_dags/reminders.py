"""The DAGs that the pictures of the pages are taken of: a campaign of 500 people, and single calls."""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_voiceinfra.operators.voiceinfra import (
    VoiceInfraCampaignOperator,
    VoiceInfraOutboundCallOperator,
)


@dag(dag_id="nightly_reminders", schedule=None, tags=["voiceinfra"])
def nightly_reminders():
    """Remind everybody on the list."""
    VoiceInfraCampaignOperator(
        task_id="call_everybody",
        campaign_id="reminders/{{ run_id }}",
        contacts="{{ var.value.reminders }}",
        first_message="Hello, this is a reminder of your appointment on {appointment}.",
        call_context="The appointment can be moved to the next day, not cancelled.",
        max_active_calls=40,
        redial={"outcomes": ["voicemail", "failed"], "waits": [0.25]},
        completion_timeout=60,
        unknown_timeout=60,
        results_path="{{ var.value.reminders }}.results.csv",
        deferrable=True,
    )


@dag(
    dag_id="confirm_one_appointment", schedule=None, tags=["voiceinfra"], params={"to_number": "+14155550100"}
)
def confirm_one_appointment():
    """Call one person."""
    VoiceInfraOutboundCallOperator(
        task_id="call",
        to_number="{{ params.to_number }}",
        first_message="Hello, may I confirm your appointment on Friday at nine?",
        variables={"appointment": "Friday at nine"},
        wait_for_completion=True,
        unknown_timeout=600,
        deferrable=True,
    )


nightly_reminders()
confirm_one_appointment()
