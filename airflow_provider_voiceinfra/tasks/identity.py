"""Which task instance it is: one value for all who claim, run, find again or name one."""

from __future__ import annotations

from typing import Any, NamedTuple


# No dataclass: each costs every DAG file that is parsed half a millisecond.
class TaskIdentity(NamedTuple):
    """A task instance, whichever try; every part may be missing."""

    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None

    @classmethod
    def of(cls, ti: Any) -> TaskIdentity:
        """Return that of an Airflow task instance, or of whatever else has these fields."""
        return cls(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)

    @property
    def path(self) -> str:
        """All parts in one text."""
        return "/".join(map(str, self))

    @property
    def name(self) -> str:
        """The task, with the index of a mapped one; for people."""
        mapped = f"[{self.map_index}]" if self.map_index is not None and self.map_index >= 0 else ""
        return f"{self.task_id}{mapped}"
