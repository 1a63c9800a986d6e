"""What there is to say of a campaign, what that means, and what to do: for pages, commands and logs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_voiceinfra.campaigns import outcomes
from airflow_provider_voiceinfra.campaigns.progress import Obstacle, Progress, WaitingFor
from airflow_provider_voiceinfra.campaigns.reporting.results import SKIPPED
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from airflow_provider_voiceinfra.ledger.campaigns.states import CampaignState, is_alive, is_over, state_of

WAITING_WORDS = {
    WaitingFor.WINDOW: "until their calling window opens",
    WaitingFor.CAP: "since their number was called as often as the cap allows",
    WaitingFor.REDIAL: "to be called again after a voicemail or a failure",
    WaitingFor.AGAIN: "to be sent again, since the API could not take the call",
    WaitingFor.ANSWER: "for word of a call whose answer was lost",
}
OUTCOME_WORDS = {outcomes.DO_NOT_CALL: "suppressed"}
"""What outcomes are called for people, where their own name does not say enough."""
OBSTACLE_WORDS = {
    Obstacle.RATE_LIMIT: "rate limit",
    Obstacle.UNREACHABLE: "the API cannot be reached",
    Obstacle.FAILING: "the API fails",
}

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


@dataclass(frozen=True)
class CampaignStatus:
    """How a campaign stands at a moment, which is aware.

    :param task: the state of its task instance, as Airflow calls it; ``None`` if that is not known.
    """

    entry: CampaignEntry
    now: datetime
    task: str | None = None

    @property
    def state(self) -> CampaignState:
        """What it is up to."""
        return state_of(self.entry, self.now)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, and does not go on."""
        return is_over(self.entry)

    @property
    def is_alive(self) -> bool:
        """Whether a process runs it, so that its figures are of this moment."""
        return is_alive(self.entry, self.now)

    @property
    def has_failed(self) -> bool:
        """Whether it has stopped before its end, and goes on only if somebody sees to it."""
        return self.task in _TASK_FAILED and self.state in (CampaignState.WAITING, CampaignState.NO_HEARTBEAT)

    @property
    def progress(self) -> Progress | None:
        """What it last said of itself; ``None`` if it has said nothing so far."""
        return Progress.from_json(self.entry.progress)

    @property
    def task_name(self) -> str:
        """Words for the task instance that runs it."""
        task = self.entry.task
        return f"task {task.name} of run {task.run_id} of DAG {task.dag_id}"

    def meaning(self, *, resume: str = "--resume") -> str:
        """Return what its state means, and what to do about it if there is anything to do.

        :param resume: what takes a cancellation back, in the words of whoever shows this.
        """
        if self.has_failed:
            return (
                "Its task has failed, so nobody else is called. The task's log says why; to go on with "
                f"everybody who is left, clear {self.task_name}."
            )
        if self.state is CampaignState.WAITING and self.task in _WHILE_WAITING:
            return _WHILE_WAITING[self.task]
        if self.state is CampaignState.CANCELLED:
            return self._meaning_of_cancelled(resume)
        if self.state is CampaignState.FINISHED:
            left = (self.entry.summary or {}).get(outcomes.CANCELLED)
            return (
                "It is over, but was cancelled before everybody was called; to go on, clear "
                f"{self.task_name}."
                if left
                else "It is over: nobody is left to be called."
            )
        if self.state is CampaignState.WAITING:
            return (
                "Nobody dials at present. Its task sleeps until there is something to do, or Airflow has yet "
                f"to run it again. If it has failed, its log says why; to go on, clear {self.task_name}."
            )
        if self.state is CampaignState.NO_HEARTBEAT:
            return (
                "No process of it has shown itself for a minute: it was killed, has lost the database, or is "
                "writing many results. The next try of its task goes on where it was; if none comes, clear "
                f"{self.task_name}."
            )
        if self.entry.loaded_by is None:
            return "Its contacts are being loaded; nobody is called before that is done."
        return "Its task is running."

    def _meaning_of_cancelled(self, resume: str) -> str:
        if self.is_over:
            return f"It is over. To go on with it after all, use {resume} and clear {self.task_name}."
        if self.is_alive:
            notices = "The running task notices within a second or so"
        elif self.entry.runner is None:
            notices = "Its task notices when it wakes up, within half a minute, or when Airflow runs it again"
        else:
            notices = "Its task has not shown itself for a minute, and notices when Airflow runs it again"
        return (
            f"Nobody else is dialled. {notices}. Calls under way go on: the API cannot cancel a call. Once "
            f"they are over, the task ends as failed, with its summary in XCom. {resume} takes this back."
        )

    def after_resuming(self) -> str:
        """Return what is to be done once its cancellation was taken back."""
        if self.is_over:
            return f"Now clear {self.task_name}: it goes on with everybody who was not called."
        if self.is_alive:
            return (
                f"It goes on within a second or so. If its task has failed already, clear {self.task_name}."
            )
        return f"It goes on when its task runs again. If that has failed already, clear {self.task_name}."


def overview(
    status: CampaignStatus, counts: Mapping[str, int], *, resume: str = "--resume"
) -> dict[str, Any]:
    """Return all there is to show of a campaign, as plain JSON without anything personal.

    :param counts: its contacts by why they are skipped; used while it has said nothing of itself.
    :param resume: see ``CampaignStatus.meaning``.
    """
    entry, summary = status.entry, status.entry.summary
    told = status.progress or Progress(counts.get(""), {why: number for why, number in counts.items() if why})
    said = told.to_json()
    dials = entry.cancelled_at is None and summary is None and not status.has_failed
    # What only holds while somebody dials would mislead afterwards.
    pace = ("rate", "allowed_rate", "limit", "expected_end")
    return {
        "campaign_id": entry.campaign_id,
        "state": status.state.value,
        "meaning": status.meaning(resume=resume),
        "conn_id": entry.conn_id,
        **entry.task._asdict(),
        "started_at": _moment(entry.created_at),
        "seen_at": _moment(entry.runner_seen_at),
        "cancelled_at": _moment(entry.cancelled_at),
        "finished_at": _moment(entry.finished_at),
        **(_so_far(told, entry) if summary is None else _in_the_end(summary)),
        **{name: said[name] if status.is_alive and dials else None for name in pace},
        **{name: said[name] if summary is None else None for name in ("active", "max_active_calls")},
        "waiting": {} if summary else _waiting(told, dials),
        "next_at": said["next_at"] if dials else None,
        "obstacle": said["obstacle"] if dials else None,
        "refusals": said["refusals"],
        "summary": summary,
    }


def in_words(counts: Mapping[Any, int], words: Mapping[Any, str] | None = None) -> str:
    """Return counts as a part of a sentence, the highest first; ``none`` if all are zero.

    :param words: what to call what is counted, if not by its own name.
    """
    words = words or {}
    there = sorted(((number, name) for name, number in counts.items() if number), key=lambda one: -one[0])
    return ", ".join(f"{number} {words.get(name, name)}" for number, name in there) or "none"


def progress_in_words(progress: Progress) -> str:
    """Return what a campaign reports of itself while it runs as a line of its log."""
    expected, next_at = _moment(progress.expected_end), _moment(progress.next_at)
    following = f" (the next at {next_at})" if next_at else ""
    parts = [
        f"{progress.done} of {progress.contacts} contacts are done: {in_words(progress.outcomes)}",
        f"{progress.active} on the phone",
        f"waiting: {in_words(progress.waiting, WAITING_WORDS)}{following}",
        f"{progress.rate or 0.0:.1f} calls/s",
        f"expected end: {expected or 'not known yet'}",
    ]
    return "; ".join([*parts, OBSTACLE_WORDS[progress.obstacle]] if progress.obstacle else parts)


def summary_in_words(summary: Mapping[str, Any]) -> str:
    """Return how a campaign ended as a part of a sentence."""
    counted = {name: summary[name] for name in (*SKIPPED.values(), *outcomes.ALL)}
    return f"{summary['attempts']} calls; of {summary['contacts']} contacts: {in_words(counted)}"


def _so_far(told: Progress, entry: CampaignEntry) -> dict[str, Any]:
    # Who waits for a redial was called, and is done once there will be none.
    called = told.to_redial if entry.cancelled_at is not None else {}
    return {
        "contacts": told.contacts,
        "done": told.done + sum(called.values()),
        "outcomes": dict(Counter(told.outcomes) + Counter(called)),
        "skipped": dict(told.skipped),
        "calls_placed": told.placed,
    }


def _in_the_end(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same numbers from a summary, which counts skipped rows among the contacts."""
    # Who was suppressed while it ran was to be called, and has ended; its own list left out the rest.
    suppressed = summary.get("suppressed", 0)
    counted = {**summary, SKIPPED[outcomes.DO_NOT_CALL]: summary[outcomes.DO_NOT_CALL] - suppressed}
    skipped = {reason: counted[name] for reason, name in SKIPPED.items() if counted.get(name)}
    contacts = summary["contacts"] - sum(skipped.values())
    ended = {name: summary[name] for name in outcomes.ALL if summary.get(name)}
    return {
        "contacts": contacts,
        "done": contacts - summary[outcomes.CANCELLED],
        "outcomes": {**ended, outcomes.DO_NOT_CALL: suppressed} if suppressed else ended,
        "skipped": skipped,
        "calls_placed": summary["attempts"],
    }


def _waiting(told: Progress, dials: bool) -> dict[str, int]:
    there = {why: number for why, number in told.waiting.items() if number}
    return {why.value: number for why, number in there.items() if dials or why is WaitingFor.ANSWER}


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
