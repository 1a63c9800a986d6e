"""The demo's DAG: reminds everybody on tonight's list of their appointment, and reports how it went."""

from __future__ import annotations

from airflow.sdk import dag, task

from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraCampaignOperator

# An Airflow Variable says where tonight's files are.
FOLDER = "{{ var.value.outreach_folder }}"


@dag(dag_id="voiceinfra_demo_outreach", schedule=None, tags=["voiceinfra"])  # yours: schedule="0 18 * * *"
def outreach():
    """Call the list, then read the summary."""
    campaign = VoiceInfraCampaignOperator(
        task_id="call_everybody",
        campaign_id="{{ run_id }}",
        contacts=f"{FOLDER}/contacts.csv",
        do_not_call=f"{FOLDER}/do_not_call.txt",
        default_region="US",
        # A column of the file; the others go to the agent as variables.
        first_message="Hello, this is a reminder of your appointment on {appointment}.",
        max_active_calls=8,
        # Minutes; in earnest rather [60, 120].
        redial={"outcomes": ["voicemail", "failed"], "waits": [0.1], "attempts": 2},
        # In earnest add calling_window="08:00-20:00"; the demo has none, so that it can be tried at night.
        results_path=f"{FOLDER}/results.csv",
        deferrable=True,
    )

    @task
    def report(summary: dict) -> str:
        line = f"{summary['answered']} of {summary['placed']} people were reached."
        print(line)
        return line

    report(campaign.output)


outreach()
