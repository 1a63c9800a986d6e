"""The little of a task instance that operators and sensors touch when they are run without Airflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any


@dataclass
class TaskInstance:
    """Stands in for Airflow's own; keeps what is pushed to XCom."""

    dag_id: str = "outreach"
    run_id: str = "manual__2026-03-01"
    task_id: str = "call"
    map_index: int = -1
    try_number: int = 1
    start_date: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    xcoms: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.xcoms[key] = value


@dataclass
class DagRun:
    """Stands in for Airflow's own."""

    start_date: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


def task_context(ti: TaskInstance | None = None, **dag_run: Any) -> Any:
    """Return the part of Airflow's context that operators and sensors read."""
    return {"ti": ti or TaskInstance(), "dag_run": DagRun(**dag_run)}
