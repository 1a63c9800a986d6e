"""Shows a person what a campaign would do, and calls everybody once that person approves.

Shows the preview: it reads and checks what the campaign is given, counts, and calls nobody. A person reads
it in Airflow, under *Required Actions*, and approves or rejects. Without an answer within twelve hours, or
after a rejection, nobody is called.

Needs the connection ``voiceinfra_default`` with an agent and a caller ID.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import dag

from airflow_provider_voiceinfra.operators.voiceinfra import (
    VoiceInfraCampaignOperator,
    VoiceInfraCampaignPreviewOperator,
)

HERE = Path(__file__).resolve().parent.as_uri()

# Both are given the same, so that what was approved is what is called.
CAMPAIGN: dict[str, Any] = {
    "contacts": "{{ params.contacts }}",
    "contact_key": "customer_id",
    "do_not_call": "{{ params.do_not_call }}",
    "first_message": "Hello, this is a reminder of your {service} on {appointment}.",
    "max_active_calls": 20,
    "calling_window": "{{ params.calling_window }}",
    "deadline": "{{ dag_run.run_after + macros.timedelta(hours=24) }}",
}


@dag(
    dag_id="voiceinfra_approved_campaign",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    params={
        "contacts": f"{HERE}/sample_contacts.csv",
        "do_not_call": f"{HERE}/sample_do_not_call.csv",
        "calling_window": "mon-fri 09:00-20:00",
    },
    tags=["voiceinfra"],
)
def approved_campaign():
    preview = VoiceInfraCampaignPreviewOperator(task_id="preview", **CAMPAIGN)

    approve = ApprovalOperator(
        task_id="approve",
        subject="Call {{ ti.xcom_pull(task_ids='preview')['contacts'] }} people?",
        body="{{ ti.xcom_pull(task_ids='preview')['text'] }}",
        response_timeout=timedelta(hours=12),
        defaults="Reject",
    )

    preview >> approve >> VoiceInfraCampaignOperator(task_id="campaign", deferrable=True, **CAMPAIGN)


approved_campaign()
