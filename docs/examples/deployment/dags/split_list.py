"""Calls everybody in one file with eight campaigns, which all workers share.

Run it with `contacts` and `results`, a file and a folder that every worker reaches, such as
`s3://aws_default@outreach/contacts.csv` and `s3://aws_default@outreach/results`.
"""

from __future__ import annotations

import csv
from datetime import timedelta

from airflow.sdk import ObjectStoragePath, dag, task

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraCampaignOperator

PARTS = 8


@dag(
    schedule=None,
    # A machine that goes down takes a try with it; no try dials anybody again.
    default_args={"retries": 10, "retry_delay": timedelta(seconds=5)},
    params={"contacts": "", "results": "", "lines": 80, "calls_per_second": 8.0},
)
def split_list():
    @task
    def split(params: dict) -> list[dict]:
        """Return what each campaign is given; nobody is in two of them."""
        source, results = ObjectStoragePath(params["contacts"]), ObjectStoragePath(params["results"])
        with source.open("r", newline="") as file:
            rows = list(csv.DictReader(file))
        # The same number is in the same part, so that it is called once.
        numbers = sorted({row["to_number"] for row in rows})
        part_of = {number: place % PARTS for place, number in enumerate(numbers)}
        results.mkdir(parents=True, exist_ok=True)
        for part in range(PARTS):
            with (results / f"contacts_{part}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(row for row in rows if part_of[row["to_number"]] == part)
        return [
            {
                "contacts": str(results / f"contacts_{part}.csv"),
                "results_path": str(results / f"results_{part}.csv"),
            }
            for part in range(PARTS)
        ]

    VoiceInfraCampaignOperator.partial(
        task_id="campaign",
        # Each has its share of the lines and of the account's rate: they do not know of each other.
        max_active_calls=f"{{{{ params.lines // {PARTS} }}}}",
        max_calls_per_second=f"{{{{ params.calls_per_second / {PARTS} }}}}",
        deferrable=True,
    ).expand_kwargs(split())


split_list()
