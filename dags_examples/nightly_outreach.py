"""Calls everybody in a file every weekday evening, and leaves a file that says how each call went.

Shows a campaign on a schedule: from where its files come, when people may be called, who is called again,
who is not called at all, and when it ends. Run it by hand with other params to try something else.

Needs the connection ``voiceinfra_default`` with an agent and a caller ID. As it is, it calls the sample
next to this file and writes into ``AIRFLOW_HOME``. In production give URLs that each worker can read and
write, such as ``s3://aws_default@outreach/contacts.csv``.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import CronTriggerTimetable, dag, task

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraCampaignOperator

HERE = Path(__file__).resolve().parent.as_uri()
AIRFLOW_HOME = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser().as_uri()


@dag(
    dag_id="voiceinfra_nightly_outreach",
    # With no time to run late by, switching the DAG on at six does not start the run of five o'clock.
    schedule=CronTriggerTimetable(
        "0 17 * * mon-fri", timezone="America/New_York", run_immediately=timedelta(0)
    ),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    params={
        "contacts": f"{HERE}/sample_contacts.csv",
        "do_not_call": f"{HERE}/sample_do_not_call.csv",
        "results": AIRFLOW_HOME,
        "calling_window": "mon-fri 09:00-20:00",
        "redial": {"outcomes": ["voicemail", "failed"], "waits": [30, 60], "attempts": 3},
        "hours": 6,
    },
    tags=["voiceinfra"],
)
def nightly_outreach():
    campaign = VoiceInfraCampaignOperator(
        task_id="campaign",
        contacts="{{ params.contacts }}",
        # By its own id a customer is found again in the results; see second_evening.py.
        contact_key="customer_id",
        do_not_call="{{ params.do_not_call }}",
        first_message="Hello, we are calling about your next visit.",
        max_active_calls=20,
        # Where each person lives, not where Airflow runs.
        calling_window="{{ params.calling_window }}",
        redial="{{ params.redial | tojson }}",
        # Counted from the run, so that a retry has no more time than the first try. Then the night is over.
        deadline="{{ dag_run.run_after + macros.timedelta(hours=params.hours) }}",
        results_path="{{ params.results }}/voiceinfra_nightly_{{ dag_run.run_after | ds }}.jsonl",
        # While it waits for a window or a redial it holds no worker.
        deferrable=True,
    )

    @task
    def report(summary: dict) -> str:
        return f"{summary['answered']} of {summary['contacts']} answered, after {summary['attempts']} calls"

    report(campaign.output)


nightly_outreach()
