"""Calls as they are often placed without this package: one mapped HttpOperator task for each contact."""

from __future__ import annotations

import json
import os

from airflow.providers.http.operators.http import HttpOperator
from airflow.sdk import DAG

CALLS = int(os.environ["BENCH_CALLS"])
BODIES = [
    json.dumps(
        {
            "agent_id": "agent_demo",
            "from_number": "+14155550199",
            "to_number": f"+1{212 + i // 100}55501{i % 100:02d}",
        }
    )
    for i in range(CALLS)
]

# No limit of Airflow's own but [core] parallelism: the default of 16 tasks for each DAG would halve the rate.
with DAG("bench_http", schedule=None, max_active_tasks=32):
    HttpOperator.partial(
        task_id="call",
        http_conn_id="vendor_api",
        endpoint="calls/outbound",
        method="POST",
        headers={"X-API-Key": "{{ conn.vendor_api.password }}", "Content-Type": "application/json"},
        response_check=lambda response: response.json()["status"] == "queued",
    ).expand(data=BODIES)
