"""Calls the customers that a SQL query finds: a task returns rows, and the campaign takes them from XCom.

Shows contacts that come from a database: the query names its columns ``to_number`` and ``timezone``, and
every other column can be said in the first message and is a variable of the agent.

Needs the connection ``voiceinfra_default`` with an agent and a caller ID. The database is a sample in
memory. For your own, connect to it in the task, for example by SQLAlchemy, and keep the rest. XCom is made
for some thousand rows; for more, have the task write a CSV file and return its URL.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta

from airflow.sdk import dag, task

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraCampaignOperator

SAMPLE = """
CREATE TABLE invoices (number TEXT, phone TEXT, zone TEXT, amount REAL, days_late INTEGER, paid INTEGER);
INSERT INTO invoices VALUES
    ('INV-1', '+15035550121', 'America/Los_Angeles', 120.5, 12, 0),
    ('INV-2', '+16125550122', 'America/Chicago', 80, 31, 0),
    ('INV-3', '+13055550123', 'America/New_York', 45, 40, 1),
    ('INV-4', '+13055550124', 'America/New_York', 99.9, 2, 0);
"""
# No more than the calls need: XCom keeps it all.
LATE = """
SELECT phone AS to_number, zone AS timezone, number AS invoice, printf('%.2f', amount) AS amount
FROM invoices WHERE NOT paid AND days_late > ?
"""


@dag(
    dag_id="voiceinfra_customers_from_sql",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    params={"days_late": 7, "calling_window": "mon-fri 09:00-18:00"},
    tags=["voiceinfra"],
)
def customers_from_sql():
    # Airflow would write what the task returns into its log, phone numbers and all.
    @task(show_return_value_in_logs=False)
    def late_customers(params: dict) -> list[dict]:
        with closing(sqlite3.connect(":memory:")) as database:
            database.executescript(SAMPLE)
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(LATE, [params["days_late"]])]

    VoiceInfraCampaignOperator(
        task_id="campaign",
        contacts=late_customers(),
        first_message="Hello, this is about the invoice {invoice} over {amount} dollars.",
        calling_window="{{ params.calling_window }}",
        deferrable=True,
    )


customers_from_sql()
