"""What a campaign would do if it began now: whom it would call, when, with which words; calls nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from airflow_provider_voiceinfra.campaigns.plan import CampaignSetup
from airflow_provider_voiceinfra.campaigns.reporting.results import SKIPPED
from airflow_provider_voiceinfra.connection import VoiceInfraConnection
from airflow_provider_voiceinfra.dialling.guard import Guard
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.store import CallLedger
from airflow_provider_voiceinfra.rules.calling_window.hours import CallingHours
from airflow_provider_voiceinfra.rules.calling_window.place import Place, place_of

# Numbers that the ledger is asked about at once.
_AT_ONCE = 500
# Groups of zones that are listed, those with the most contacts first.
_MOST_ZONES = 20
_CLOSED = "closed for the next 14 days"


@dataclass
class CampaignPreview:
    """What a campaign would do, as it adds up row by row.

    :param now: when it would begin, aware.
    :param samples: how many opening lines are kept.
    """

    setup: CampaignSetup
    connection: VoiceInfraConnection
    guard: Guard
    now: datetime
    samples: int = 3
    counts: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)
    first_messages: list[str | None] = field(default_factory=list)
    _places: Counter[tuple[CallingHours, Place]] = field(default_factory=Counter)

    def read(self, ledger: CallLedger, now: Callable[[], datetime]) -> None:
        """Read and check all contacts, and ask the ledger what there is against each.

        :raises ContactsError: if the contacts as a whole would be refused.
        """
        loader = self.setup.contact_loader(self.connection, self.guard, now)
        if self.setup.refuse_invalid:
            loader.refuse_invalid()
        for some in _in_chunks(row for row in loader.rows() if not row.skipped):
            numbers = [_number(row) for row in some]
            against = ledger.suppressions.against(
                numbers, conn_id=self.setup.conn_id, rules=self.guard.rules, now=self.now
            )
            for row, number in zip(some, numbers, strict=True):
                self._add(row, number, against[number].code if number in against else None)
        self.counts.update({name: loader.counts[reason] for reason, name in SKIPPED.items()})
        self.left_out = [f"{row}" for row in loader.shown]

    def _add(self, row: ContactEntry, number: str, refused: str | None) -> None:
        if refused is not None:
            self.counts[refused] += 1
            return
        self.counts["contacts"] += 1
        if len(self.first_messages) < self.samples:
            self.first_messages.append((row.request or {}).get("first_message"))
        self._places[self.guard.hours(number), place_of(number, row.recipient)] += 1

    def summary(self, call_seconds: float) -> dict[str, Any]:
        """Return all of it as plain JSON.

        :param call_seconds: how long a call takes on average.
        """
        plan = self.setup.plan
        most = self.setup.max_calls_per_second or self.connection.max_calls_per_second
        hours = list(self._hours())
        contacts = self.counts["contacts"]
        seconds = max(contacts * call_seconds / plan.max_active_calls, contacts / most if most else 0.0)
        names = ("contacts", *SKIPPED.values(), "suppressed", "call_cap")
        return {
            **{name: self.counts[name] for name in names if name != "withdrawn"},
            "open_now": sum(one["contacts"] for one in hours if one["opens_at"] is None),
            "max_active_calls": plan.max_active_calls,
            "max_calls_per_second": most,
            "expected_minutes": round(seconds / 60, 1),
            "deadline": plan.deadline.isoformat() if plan.deadline else None,
            "left_out": self.left_out,
            "first_messages": self.first_messages,
            "hours": hours[:_MOST_ZONES],
        }

    def _hours(self) -> Iterator[dict[str, Any]]:
        """Yield when people can be called, by their zones, those with the most people first."""
        found: Counter[tuple[str, str | None, str | None]] = Counter()
        for (hours, place), number in self._places.items():
            opens, closes = hours.next_opening(self.now, place), None
            if opens is not None:
                closes = hours.closes_at(opens, place)
            starts = None if opens == self.now else _moment(opens) or _CLOSED
            found[", ".join(place.zones or ()) or "not known", starts, _moment(closes)] += number
        for (zones, starts, ends), number in found.most_common():
            yield {"zones": zones, "contacts": number, "opens_at": starts, "closes_at": ends}


def in_markdown(summary: dict[str, Any]) -> str:
    """Return a preview for a person who is to approve it."""
    names = (*SKIPPED.values(), "suppressed", "call_cap")
    left = {name: summary[name] for name in names if summary.get(name)}
    rate = f", at most {summary['max_calls_per_second']:g} calls/s" if summary["max_calls_per_second"] else ""
    lines = [
        f"**{summary['contacts']} people would be called**, {summary['open_now']} of them now; "
        f"{summary['max_active_calls']} at a time{rate}: "
        f"about {summary['expected_minutes']:g} min, without redials and closed hours.",
        "",
        "Left out: " + (", ".join(f"{number} {name}" for name, number in left.items()) or "nobody") + ".",
        *(f"- {row}" for row in summary["left_out"]),
    ]
    if summary["first_messages"]:
        lines += ["", "They would hear:"]
        lines += [f"> {message or '(the first line of the agent)'}" for message in summary["first_messages"]]
    lines += ["", "| Zone | People | Opens | Closes |", "|---|---|---|---|"]
    for one in summary["hours"]:
        opens, closes = one["opens_at"] or "open now", one["closes_at"] or "-"
        lines.append(f"| {one['zones']} | {one['contacts']} | {opens} | {closes} |")
    return "\n".join(lines)


def _number(row: ContactEntry) -> str:
    return str((row.request or {})["to_number"])


def _in_chunks(rows: Iterable[ContactEntry]) -> Iterator[list[ContactEntry]]:
    left = iter(rows)
    while some := list(islice(left, _AT_ONCE)):
        yield some


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="minutes")
