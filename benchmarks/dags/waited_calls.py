"""Calls that are waited for in the triggerer: by our operator, and by a sensor that asks again and again."""

from __future__ import annotations

import json
import os

from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk import DAG, task_group

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraOutboundCallOperator

CALLS = int(os.environ["BENCH_CALLS"])
NUMBERS = [f"+1{212 + i // 100}55501{i % 100:02d}" for i in range(CALLS)]
BODIES = [
    json.dumps({"agent_id": "agent_demo", "from_number": "+14155550199", "to_number": number})
    for number in NUMBERS
]
# No limit of Airflow's own but [core] parallelism.
MOST = 32

with DAG("bench_waited", schedule=None, max_active_tasks=MOST):
    VoiceInfraOutboundCallOperator.partial(
        task_id="call", wait_for_completion=True, deferrable=True, fail_on_outcomes=()
    ).expand(to_number=NUMBERS)

with DAG("bench_polled", schedule=None, max_active_tasks=MOST):

    @task_group
    def one_call(body: str) -> None:
        """Place a call, and then ask for its record until there is one."""
        call = HttpOperator(
            task_id="call",
            http_conn_id="pollable_api",
            endpoint="calls/outbound",
            data=body,
            headers={"Content-Type": "application/json"},
            response_filter=lambda response: f"calls/{response.json()['call_id']}",
        )
        HttpSensor(
            task_id="wait",
            http_conn_id="pollable_api",
            endpoint=call.output,
            deferrable=True,
            poke_interval=5,
        )

    one_call.expand(body=BODIES)
