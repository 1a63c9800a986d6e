"""Calls whom a function names: first one person, then, if that one was not reached, all the others.

Shows ``@task.voiceinfra_call`` and ``@task.voiceinfra_campaign``: a function returns a number, the fields of
a call, or the contacts of a campaign, and the task does the rest, as the operators do.

Needs the connection ``voiceinfra_default`` with an agent and a caller ID.
"""

from __future__ import annotations

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException

CALLED = {
    "first_message": "Hello, the stock of the warehouse is low. Can you place an order tonight?",
    # By the clock where the number is. Outside these hours nobody is called.
    "calling_window": "{{ params.calling_window }}",
    "deferrable": True,
    "completion_timeout": 600,
}


@dag(
    dag_id="voiceinfra_taskflow",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params={
        "to_numbers": ["+17025550107", "+17025550101", "+17025550102"],
        "item": "paper",
        "calling_window": "08:00-20:00",
    },
    tags=["voiceinfra"],
)
def taskflow():
    # Who is not reached is the reason for the next task, and none for this one to fail.
    @task.voiceinfra_call(**CALLED, wait_for_completion=True, fail_on_outcomes=())
    def call_the_first(params: dict) -> dict:
        return {"to_number": params["to_numbers"][0], "variables": {"item": params["item"]}}

    @task.voiceinfra_campaign(**CALLED)
    def call_the_others(record: dict, params: dict) -> list[dict]:
        if record["call_outcome"] == "answered":
            raise AirflowSkipException("The first one was reached.")
        return [{"to_number": number, "item": params["item"]} for number in params["to_numbers"][1:]]

    call_the_others(call_the_first())


taskflow()
