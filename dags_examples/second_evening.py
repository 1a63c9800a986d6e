"""Calls those again who were not reached the evening before.

Shows how one run works on the results of another: a task reads the file that
``voiceinfra_nightly_outreach`` (nightly_outreach.py) wrote the day before, keeps the customers who were not
reached, and hands them to a campaign of its own. A redial with a wait of a day would do too, but keep the
first run open, and its results unwritten, until then.

Needs the connection ``voiceinfra_default`` with an agent and a caller ID, and the results of an evening;
without them it fails and calls nobody. Let the params be those of the nightly DAG. For an older evening set
``evening``, such as ``2026-01-31``.
"""

from __future__ import annotations

import csv
import json
import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import CronTriggerTimetable, ObjectStoragePath, dag, task

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraCampaignOperator

HERE = Path(__file__).resolve().parent.as_uri()
AIRFLOW_HOME = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser().as_uri()
# Not "unknown": their phones may have rung, and somebody may have answered.
NOT_REACHED = ("voicemail", "failed", "expired")


@dag(
    dag_id="voiceinfra_second_evening",
    # The evenings after those of the nightly DAG, and later: who was out at five may be in at half past six.
    schedule=CronTriggerTimetable(
        "30 18 * * tue-sat", timezone="America/New_York", run_immediately=timedelta(0)
    ),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    params={
        "contacts": f"{HERE}/sample_contacts.csv",
        "do_not_call": f"{HERE}/sample_do_not_call.csv",
        "results": AIRFLOW_HOME,
        "evening": None,
        "calling_window": "mon-sat 09:00-20:00",
        "hours": 5,
    },
    tags=["voiceinfra"],
)
def second_evening():
    evening = "{{ params.evening or macros.ds_add(dag_run.run_after | ds, -1) }}"

    @task(show_return_value_in_logs=False)
    def not_reached(contacts: str, results: str) -> list[dict]:
        with ObjectStoragePath(results).open(encoding="utf-8") as file:
            outcomes = {line["contact_key"]: line["outcome"] for line in map(json.loads, file)}
        # The results tell who; the customers' own columns, such as their time zone, are in the contacts.
        with ObjectStoragePath(contacts).open(encoding="utf-8", newline="") as file:
            return [row for row in csv.DictReader(file) if outcomes.get(row["customer_id"]) in NOT_REACHED]

    VoiceInfraCampaignOperator(
        task_id="campaign",
        contacts=not_reached(
            "{{ params.contacts }}", f"{{{{ params.results }}}}/voiceinfra_nightly_{evening}.jsonl"
        ),
        contact_key="customer_id",
        # Read anew: since last evening somebody may have asked not to be called.
        do_not_call="{{ params.do_not_call }}",
        first_message="Hello, we could not reach you yesterday. We are calling about your next visit.",
        calling_window="{{ params.calling_window }}",
        deadline="{{ dag_run.run_after + macros.timedelta(hours=params.hours) }}",
        deferrable=True,
    )


second_evening()
