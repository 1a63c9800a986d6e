"""What the state of a campaign is, in a word and in a sentence that says what to do."""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum

from airflow_provider_voiceinfra.campaigns.reporting.results import CANCELLED
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from airflow_provider_voiceinfra.ledger.lists.campaigns import RUNNER_LEASE

_TASK_FAILED = ("failed", "upstream_failed")
# What Airflow's word for the task of a campaign that nobody runs means.
_WHILE_WAITING = {
    "deferred": "Its task sleeps until there is something to do, and then goes on by itself.",
    "up_for_reschedule": "Its task sleeps until there is something to do, and then goes on by itself.",
    "up_for_retry": "Its last try failed, and its log says why. Airflow runs the task again by itself.",
    "scheduled": "Its task is about to run.",
    "queued": "Its task is about to run.",
    "restarting": "Its task is about to run again.",
}


class State(str, Enum):
    """What a campaign is up to."""

    RUNNING = "running"
    WAITING = "waiting"
    SILENT = "silent"
    CANCELLED = "cancelled"
    FINISHED = "finished"


def is_over(entry: CampaignEntry) -> bool:
    """Tell whether it has ended, and does not go on."""
    # One that goes on after its end is still marked as finished until its contacts are loaded anew.
    seen, finished = entry.runner_seen_at, entry.finished_at
    return finished is not None and (seen is None or seen <= finished)


def is_alive(entry: CampaignEntry) -> bool:
    """Tell whether a process runs it at present."""
    seen = entry.runner_seen_at
    recently = seen is not None and datetime.now(timezone.utc) - seen < RUNNER_LEASE
    return recently and entry.runner is not None and not is_over(entry)


def state_of(entry: CampaignEntry) -> State:
    """Return its state."""
    if entry.cancelled_at is not None:
        return State.CANCELLED
    if is_over(entry):
        return State.FINISHED
    if entry.runner is None:
        return State.WAITING
    return State.RUNNING if is_alive(entry) else State.SILENT


def has_failed(entry: CampaignEntry, task: str | None) -> bool:
    """Tell whether it has stopped before its end, and goes on only if somebody sees to it.

    :param task: the state of its task instance, as Airflow calls it; ``None`` if that is not known.
    """
    return task in _TASK_FAILED and state_of(entry) in (State.WAITING, State.SILENT)


def meaning(entry: CampaignEntry, *, resume: str = "--resume", task: str | None = None) -> str:
    """Return what a campaign's state means, and what to do about it if there is anything to do.

    :param resume: what takes a cancellation back, in the words of whoever shows this.
    :param task: the state of its task instance, as Airflow calls it; ``None`` if that is not known.
    """
    state = state_of(entry)
    if has_failed(entry, task):
        return (
            "Its task has failed, so nobody else is called. The task's log says why; to go on with everybody "
            f"who is left, clear {task_of(entry)}."
        )
    if state is State.WAITING and task in _WHILE_WAITING:
        return _WHILE_WAITING[task]
    if state is State.CANCELLED:
        return _meaning_of_cancelled(entry, resume)
    if state is State.FINISHED:
        left = (entry.summary or {}).get(CANCELLED)
        return (
            f"It is over, but was cancelled before everybody was called; to go on, clear {task_of(entry)}."
            if left
            else "It is over: nobody is left to be called."
        )
    if state is State.WAITING:
        return (
            "Nobody dials at present. Its task sleeps until there is something to do, or Airflow has yet to "
            f"run it again. If it has failed, its log says why; to go on, clear {task_of(entry)}."
        )
    if state is State.SILENT:
        return (
            "No process of it has shown itself for a minute: it was killed, has lost the database, or is "
            "writing many results. The next try of its task goes on where it was; if none comes, clear "
            f"{task_of(entry)}."
        )
    if entry.loaded_by is None:
        return "Its contacts are being loaded; nobody is called before that is done."
    return "Its task is running."


def _meaning_of_cancelled(entry: CampaignEntry, resume: str) -> str:
    if is_over(entry):
        return f"It is over. To go on with it after all, use {resume} and clear {task_of(entry)}."
    if is_alive(entry):
        notices = "The running task notices within a second or so"
    elif entry.runner is None:
        notices = "Its task notices when it wakes up, within half a minute, or when Airflow runs it again"
    else:
        notices = "Its task has not shown itself for a minute, and notices when Airflow runs it again"
    return (
        f"Nobody else is dialled. {notices}. Calls under way go on: the API cannot cancel a call. Once "
        f"they are over, the task ends as failed, with its summary in XCom. {resume} takes this back."
    )


def after_resuming(entry: CampaignEntry) -> str:
    """Return what is to be done once a campaign's cancellation was taken back."""
    if is_over(entry):
        return f"Now clear {task_of(entry)}: it goes on with everybody who was not called."
    if is_alive(entry):
        return f"It goes on within a second or so. If its task has failed already, clear {task_of(entry)}."
    return f"It goes on when its task runs again. If that has failed already, clear {task_of(entry)}."


def task_of(entry: CampaignEntry) -> str:
    """Return words for the task instance that runs a campaign."""
    mapped = f"[{entry.map_index}]" if entry.map_index is not None and entry.map_index >= 0 else ""
    return f"task {entry.task_id}{mapped} of run {entry.run_id} of DAG {entry.dag_id}"
