"""Deletes what is old from the ledger every night; calls nobody.

What was said in calls goes first, after 14 days: transcripts, summaries, recordings and extracted data. How
the calls ended stays for 90 days, for statistics and for people who ask. Calls through the connection
``collections`` have to be proven for longer, so there how they ended stays for two years; leave that task out
if you have no such connection, or it fails. The last task names none, and takes what no other one does: what
went through a connection added later, and suppressions for all connections that are over. Its age is the
longest, since it takes what the others keep, too. Numbers that must not be called stay as long as that holds.

Set the ages to what you must keep, and to what you may.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.sdk import dag

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraPurgeOperator


@dag(
    dag_id="voiceinfra_ledger_retention",
    schedule="30 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    tags=["voiceinfra"],
)
def ledger_retention():
    VoiceInfraPurgeOperator(
        task_id="purge_default",
        voiceinfra_conn_id="voiceinfra_default",
        older_than="90d",
        transcripts_older_than="14d",
    )
    VoiceInfraPurgeOperator(
        task_id="purge_collections",
        voiceinfra_conn_id="collections",
        older_than="104w",
        transcripts_older_than="180d",
    )
    VoiceInfraPurgeOperator(
        task_id="purge_everything",
        older_than="104w",
        transcripts_older_than="180d",
    )


ledger_retention()
