"""What a trigger reports to the task that it wakes, and when that may be; loads no trigger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, TypedDict

from airflow.sdk.configuration import conf

from airflow_provider_voiceinfra.exceptions import VoiceInfraError

# Airflow may learn only this long after a task has deferred that its process has ended: the supervisor can
# miss the end until its next heartbeat, [workers] min_heartbeat_interval seconds. Were the task running again
# by then, the scheduler would take the late report for the new process's and fail the task (seen on 3.3.2).
_REPORT_MARGIN = 3.0

COMPLETED = "completed"
TIMED_OUT = "timed_out"
_SHOWN = 5


class CompletionEvent(TypedDict):
    """What a trigger reports to the task that it wakes."""

    status: str
    call_ids: list[str]


def listed(call_ids: Sequence[str]) -> str:
    """Return the first of some call ids, and how many more there are, for a log."""
    shown = ", ".join(call_ids[:_SHOWN])
    return f"call {shown}" + (f" and {len(call_ids) - _SHOWN} more" if len(call_ids) > _SHOWN else "")


def read_event(event: Mapping[str, Any] | None) -> CompletionEvent:
    """Return a trigger's event.

    :raises VoiceInfraError: if it is missing, or none of ours.
    """
    status = event.get("status") if event else None
    call_ids = event.get("call_ids") if event else None
    if status not in (COMPLETED, TIMED_OUT) or not isinstance(call_ids, list):
        raise VoiceInfraError(f"the trigger sent an event that is not understood: status {status!r}")
    return CompletionEvent(status=status, call_ids=[str(call_id) for call_id in call_ids])


def earliest_wake_up() -> str:
    """Return the moment, ISO 8601, before which a task that defers now must not be woken up."""
    delay = conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0) + _REPORT_MARGIN
    return (datetime.now(timezone.utc) + timedelta(seconds=delay)).isoformat()
