"""The campaigns of the integration tests; what they are to do is in the run's configuration."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraCampaignOperator


def conf(name: str, default: str = "") -> str:
    """Return a template for a value of the run's configuration."""
    return "{{ dag_run.conf.get('%s', '%s') }}" % (name, default)  # noqa: UP031 # braces are the template's


class Campaign(VoiceInfraCampaignOperator):
    """Takes an empty value for none: each run gives only what it is about."""

    must_not_vanish = ()  # type: ignore[assignment]


with DAG("it_campaign", schedule=None):
    Campaign(
        task_id="campaign",
        contacts=conf("contacts"),
        campaign_id=conf("campaign_id"),
        do_not_call=conf("do_not_call"),
        max_active_calls=conf("max_active_calls", "10"),
        max_calls_per_second=conf("max_calls_per_second"),
        calling_window=conf("calling_window"),
        redial="{{ dag_run.conf.get('redial', '') }}",
        results_path=conf("results_path"),
        unknown_timeout=30,
        completion_timeout=120,
        deferrable=True,
        # However often a worker is killed.
        retries=500,
        retry_delay=timedelta(seconds=0),
    )
