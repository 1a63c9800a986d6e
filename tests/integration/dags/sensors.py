"""Every way to wait for the same call, side by side."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_voiceinfra.sensors.voiceinfra import VoiceInfraCallCompletedSensor

CALL = "{{ dag_run.conf['call_id'] }}"

with DAG("it_sensors", schedule=None):
    VoiceInfraCallCompletedSensor(task_id="poke", call_id=CALL, mode="poke", poke_interval=1, timeout=120)
    VoiceInfraCallCompletedSensor(
        task_id="reschedule", call_id=CALL, mode="reschedule", poke_interval=15, timeout=180
    )
    VoiceInfraCallCompletedSensor(task_id="deferrable", call_id=CALL, deferrable=True, timeout=120)
    VoiceInfraCallCompletedSensor(
        task_id="list", call_id=[CALL, "{{ dag_run.conf['other_call_id'] }}"], deferrable=True, timeout=120
    )
    VoiceInfraCallCompletedSensor(
        task_id="match",
        match={"to_number": "{{ dag_run.conf['to_number'] }}", "lead_score": 87},
        since="{{ dag_run.conf['since'] }}",
        deferrable=True,
        timeout=120,
    )
    VoiceInfraCallCompletedSensor(
        task_id="with_transcript", call_id=CALL, include_transcript=True, deferrable=True, timeout=120
    )
    VoiceInfraCallCompletedSensor(
        task_id="refuses_voicemail",
        call_id=CALL,
        fail_on_outcomes=("voicemail",),
        deferrable=True,
        timeout=120,
        retries=1,
    )

with DAG("it_sensor_timeout", schedule=None):
    VoiceInfraCallCompletedSensor(
        task_id="deferrable", call_id="call_never_over", deferrable=True, timeout=3, retries=1
    )
    VoiceInfraCallCompletedSensor(
        task_id="soft", call_id="call_never_over", deferrable=True, timeout=3, soft_fail=True
    )
    VoiceInfraCallCompletedSensor(task_id="poke", call_id="call_never_over", poke_interval=1, timeout=3)
