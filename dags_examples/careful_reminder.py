"""Reminds somebody of an appointment only when the rules allow it, and never again once they say so.

Shows three parts of the rules in one call: ``on_not_allowed="wait"`` sleeps in the triggerer until calling
hours instead of failing, ``consent`` keeps with the call what proves that the person agreed, and an opt-out
that is said in the call ends all further ones.

Needs the connection ``voiceinfra_default`` with an agent and a caller ID, and these extras, so that a record
that says so suppresses the number, and nobody is called without consent::

    {"opt_out": "extracted_data.opt_out = true", "require_consent": true}

The vendor does not document the name of the field with the extracted data; look at a record of your own.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraOutboundCallOperator


@dag(
    dag_id="voiceinfra_careful_reminder",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "to_number": "+14155550100",
        "consent": "form 4711 of 2026-11-02",
        "calling_window": "08:00-20:00",
    },
    tags=["voiceinfra"],
)
def careful_reminder():
    call = VoiceInfraOutboundCallOperator(
        task_id="call",
        to_number="{{ params.to_number }}",
        first_message="Hello, I am an artificial voice, calling for your optician about tomorrow at ten.",
        call_context="If somebody wants no more calls, say goodbye at once, and extract opt_out as true.",
        consent="{{ params.consent }}",
        calling_window="{{ params.calling_window }}",
        # However often the run is started: three calls a day to one number, those of other DAGs included.
        call_cap="3/24h",
        on_not_allowed="wait",
        # The appointment is tomorrow; a call that would come later than this is worth nothing.
        not_allowed_timeout=14 * 3600,
        wait_for_completion=True,
        deferrable=True,
        completion_timeout=600,
        fail_on_outcomes=(),
    )

    @task
    def report(record: dict) -> str:
        extracted = record.get("extracted_data") or {}
        # The number is suppressed already; this is for lists that other systems keep.
        return "opted out" if extracted.get("opt_out") else record["call_outcome"]

    report(call.output)


careful_reminder()
