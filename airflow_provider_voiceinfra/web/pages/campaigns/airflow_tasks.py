"""What Airflow's own database says of tasks; only its API server, which serves the pages, may read that."""

from __future__ import annotations

import logging

from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry

log = logging.getLogger(__name__)


def task_state(entry: CampaignEntry) -> str | None:
    """Return the state of the task instance that runs a campaign, or ran it last, as Airflow calls it.

    :return: ``None`` if there is no such task instance, or Airflow's database cannot be asked.
    """
    task = entry.task
    if task.dag_id is None or task.run_id is None or task.task_id is None:
        return None
    try:
        # Loaded by the API server alone, and there it is loaded already.
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        query = select(TaskInstance.state).where(
            TaskInstance.dag_id == task.dag_id,
            TaskInstance.run_id == task.run_id,
            TaskInstance.task_id == task.task_id,
            TaskInstance.map_index == (-1 if task.map_index is None else task.map_index),
        )
        with create_session() as session:
            state = session.scalar(query)
    except Exception as error:  # noqa: BLE001  a page that does not know it is better than none
        log.debug("Airflow's database could not be asked for a task's state: %s", type(error).__name__)
        return None
    return None if state is None else str(getattr(state, "value", state))
