"""What there is to show of a campaign, for the command line, the pages and the log alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_provider_voiceinfra.campaigns.reporting.results import CANCELLED, OTHER, OUTCOMES, SKIPPED
from airflow_provider_voiceinfra.campaigns.reporting.status import has_failed, is_alive, meaning, state_of
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry

_PACE = ("rate", "allowed_rate", "limit", "expected_end")
_LINES = ("active", "max_active_calls")
WAITING_FOR = {
    "window": "until their calling window opens",
    "redial": "to be called again after a voicemail or a failure",
    "again": "to be sent again, since the API could not take the call",
    "answer": "for word of a call whose answer was lost",
}


def overview(
    entry: CampaignEntry, counts: Mapping[str, int], *, resume: str = "--resume", task: str | None = None
) -> dict[str, Any]:
    """Return all there is to show of a campaign, as plain JSON without anything personal.

    :param counts: its contacts by why they are skipped; used while it has said nothing of itself.
    :param resume: what takes a cancellation back, in the words of whoever shows this.
    :param task: the state of its task instance, as Airflow calls it; ``None`` if that is not known.
    """
    told, summary = entry.progress or {}, entry.summary
    alive = is_alive(entry)
    dials = entry.cancelled_at is None and summary is None and not has_failed(entry, task)
    return {
        "campaign_id": entry.campaign_id,
        "state": state_of(entry).value,
        "meaning": meaning(entry, resume=resume, task=task),
        **{name: getattr(entry, name) for name in ("conn_id", "dag_id", "run_id", "task_id", "map_index")},
        "started_at": _moment(entry.created_at),
        "seen_at": _moment(entry.runner_seen_at),
        "cancelled_at": _moment(entry.cancelled_at),
        "finished_at": _moment(entry.finished_at),
        **(_so_far(told, counts, entry) if summary is None else _in_the_end(summary)),
        # What only holds while somebody dials would mislead afterwards.
        **{name: told.get(name) if alive and dials else None for name in _PACE},
        **{name: told.get(name) if summary is None else None for name in _LINES},
        "waiting": {} if summary else _waiting(told, dials),
        "next_at": told.get("next_at") if dials else None,
        "obstacle": told.get("obstacle") if dials else None,
        "refusals": told.get("refusals", []),
        "summary": summary,
    }


def in_words(counts: Mapping[str, int], words: Mapping[str, str] | None = None) -> str:
    """Return counts as a part of a sentence, the highest first; ``none`` if all are zero.

    :param words: what to call what is counted, if not by its own name.
    """
    words = words or {}
    there = sorted(((number, name) for name, number in counts.items() if number), key=lambda one: -one[0])
    return ", ".join(f"{number} {words.get(name, name)}" for number, name in there) or "none"


def progress_in_words(progress: Mapping[str, Any]) -> str:
    """Return what a campaign tells of itself while it runs as a line of its log."""
    parts = [
        f"{progress['done']} of {progress['contacts']} contacts are done: {in_words(progress['outcomes'])}",
        f"{progress['active']} on the phone",
        f"waiting: {in_words(progress['waiting'], WAITING_FOR)}" + _next(progress),
        f"{progress['rate']:.1f} calls/s",
        f"expected end: {progress['expected_end'] or 'not known yet'}",
    ]
    return "; ".join([*parts, progress["obstacle"]] if progress["obstacle"] else parts)


def _next(progress: Mapping[str, Any]) -> str:
    return f" (the next at {progress['next_at']})" if progress.get("next_at") else ""


def summary_in_words(summary: Mapping[str, Any]) -> str:
    """Return how a campaign ended as a part of a sentence."""
    counted = {name: summary[name] for name in (*SKIPPED.values(), *OUTCOMES, OTHER)}
    return f"{summary['attempts']} calls; of {summary['contacts']} contacts: {in_words(counted)}"


def _so_far(told: Mapping[str, Any], counts: Mapping[str, int], entry: CampaignEntry) -> dict[str, Any]:
    # Who waits for a redial was called, and is done once there will be none.
    called = told.get("to_redial", {}) if entry.cancelled_at is not None else {}
    return {
        "contacts": told.get("contacts", counts.get("")),
        "done": told.get("done", 0) + sum(called.values()),
        "outcomes": dict(Counter(told.get("outcomes", {})) + Counter(called)),
        "skipped": told.get("skipped", {reason: number for reason, number in counts.items() if reason}),
        "calls_placed": told.get("placed", 0),
    }


def _in_the_end(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same numbers from a summary, which counts skipped rows among the contacts."""
    skipped = {reason: summary[name] for reason, name in SKIPPED.items() if summary.get(name)}
    contacts = summary["contacts"] - sum(skipped.values())
    return {
        "contacts": contacts,
        "done": contacts - summary[CANCELLED],
        "outcomes": {name: summary[name] for name in (*OUTCOMES, OTHER) if summary.get(name)},
        "skipped": skipped,
        "calls_placed": summary["attempts"],
    }


def _waiting(told: Mapping[str, Any], dials: bool) -> dict[str, int]:
    waiting = told.get("waiting", {})
    return {why: number for why, number in waiting.items() if number and (dials or why == "answer")}


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
