"""The same calls as one campaign."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraCampaignOperator

with DAG("bench_campaign", schedule=None):
    VoiceInfraCampaignOperator(
        task_id="campaign",
        contacts="{{ dag_run.conf['contacts'] }}",
        max_active_calls="{{ dag_run.conf['lines'] }}",
    )
