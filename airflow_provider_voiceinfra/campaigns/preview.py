"""What a campaign would do if it began now: whom it would call, when, with which words; calls nobody."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from airflow_provider_voiceinfra.campaigns.outcomes import EXPIRED
from airflow_provider_voiceinfra.campaigns.plan import CampaignSetup
from airflow_provider_voiceinfra.campaigns.reporting.result_files import check_results_path
from airflow_provider_voiceinfra.campaigns.reporting.results import SKIPPED
from airflow_provider_voiceinfra.connection import VoiceInfraConnection
from airflow_provider_voiceinfra.dialling.guard import Guard
from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.store import CallLedger
from airflow_provider_voiceinfra.masking import mask_numbers_in
from airflow_provider_voiceinfra.rules.calling_window.hours import CallingHours
from airflow_provider_voiceinfra.rules.calling_window.place import Place, place_of

# Numbers that the ledger is asked about at once.
_AT_ONCE = 500
# Groups of zones that are listed, those with the most contacts first.
_MOST_ZONES = 20
_SUPPRESSED, _CAPPED = CallNotAllowedError.SUPPRESSED, CallNotAllowedError.CALL_CAP
LEFT_OUT = (*(name for name in SKIPPED.values() if name != "withdrawn"), _SUPPRESSED, EXPIRED)
# Characters of a message that are shown for approval.
_MOST_CHARACTERS = 500


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
    _groups: Counter[tuple[str, datetime, datetime | None]] = field(default_factory=Counter)
    _times: dict[tuple[CallingHours, Place], tuple[datetime | None, datetime | None]] = field(
        default_factory=dict
    )

    def read(self, ledger: CallLedger, now: Callable[[], datetime]) -> None:
        """Read and check all that the campaign would, and ask the ledger what there is against each.

        :raises ContactsError: if the contacts as a whole would be refused.
        :raises CallNotAllowedError: if the ledger was restored, and the campaign would be refused.
        """
        setup = self.setup
        if setup.results_path:
            check_results_path(setup.results_path, (setup.contacts, setup.reading.get("do_not_call")))
        known = ledger.campaigns.get(setup.plan.campaign_id)
        ledger.quarantines.check(setup.origin, known.created_at if known else self.now)
        loader = setup.contact_loader(self.connection, self.guard, now)
        if setup.refuse_invalid:
            loader.refuse_invalid()
        for some in _in_chunks(row for row in loader.rows() if not row.skipped):
            numbers = [_number(row) for row in some]
            against = ledger.suppressions.against(
                numbers, conn_id=setup.conn_id, rules=self.guard.rules, now=self.now
            )
            for row, number in zip(some, numbers, strict=True):
                self._add(row, number, against.get(number))
        loader.refuse_if_none()
        self.counts.update({name: loader.counts[reason] for reason, name in SKIPPED.items()})
        self.left_out = [f"{row}" for row in loader.shown]

    def _add(self, row: ContactEntry, number: str, against: CallNotAllowedError | None) -> None:
        hours, place = self.guard.hours(number), place_of(number, row.recipient)
        opens, closes = self._opening(hours, place)
        free = None if against is None else against.allowed_from
        if against is not None and against.code == _SUPPRESSED:
            # It is dialled when its hours open, and refused for good if that is too early.
            if free is None or opens is None or free > opens:
                self.counts[_SUPPRESSED] += 1
                return
        elif free is not None:  # a cap, which puts it off
            opens = hours.next_opening(max(free, self.now), place)
            closes = opens and hours.closes_at(opens, place)
        deadline = self.setup.plan.deadline
        if opens is None or (deadline is not None and opens >= deadline):
            self.counts[EXPIRED] += 1
            return
        self.counts["contacts"] += 1
        self.counts[_CAPPED] += against is not None and against.code == _CAPPED
        if len(self.first_messages) < self.samples:
            message = (row.request or {}).get("first_message")
            self.first_messages.append(None if message is None else mask_numbers_in(message))
        self._groups[", ".join(place.zones or ()) or "not known", opens, closes] += 1

    def _opening(self, hours: CallingHours, place: Place) -> tuple[datetime | None, datetime | None]:
        if (hours, place) not in self._times:
            opens = hours.next_opening(self.now, place)
            self._times[hours, place] = opens, opens and hours.closes_at(opens, place)
        return self._times[hours, place]

    def summary(self, call_seconds: float) -> dict[str, Any]:
        """Return all of it as plain JSON.

        :param call_seconds: how long a call takes on average.
        """
        plan = self.setup.plan
        most = self.setup.max_calls_per_second or self.connection.max_calls_per_second
        contacts = self.counts["contacts"]
        turns = math.ceil(contacts / plan.max_active_calls) * call_seconds
        seconds = max(turns, contacts / most if most else 0.0)
        return {
            **{name: self.counts[name] for name in ("contacts", *LEFT_OUT)},
            "later_by_call_cap": self.counts[_CAPPED],
            "open_now": sum(number for (_, opens, _), number in self._groups.items() if opens <= self.now),
            "max_active_calls": plan.max_active_calls,
            "max_calls_per_second": most,
            "expected_minutes": round(seconds / 60, 1),
            "deadline": plan.deadline.isoformat() if plan.deadline else None,
            "left_out": self.left_out,
            "first_messages": self.first_messages,
            "hours": list(self._hours()),
        }

    def _hours(self) -> Iterator[dict[str, Any]]:
        """Yield when people can be called, by their zones, those with the most people first."""
        found: Counter[tuple[str, str | None, str | None]] = Counter()
        for (zones, opens, closes), number in self._groups.items():
            found[zones, None if opens <= self.now else _moment(opens), _moment(closes)] += number
        for (zones, starts, ends), number in found.most_common(_MOST_ZONES):
            yield {"zones": zones, "contacts": number, "opens_at": starts, "closes_at": ends}


def in_markdown(summary: dict[str, Any]) -> str:
    """Return a preview for a person who is to approve it."""
    left = [f"{summary[name]} {name}" for name in LEFT_OUT if summary[name]]
    rate = f", at most {summary['max_calls_per_second']:g} calls/s" if summary["max_calls_per_second"] else ""
    lines = [
        f"**{summary['contacts']} people would be called**, {summary['open_now']} of them now; "
        f"{summary['max_active_calls']} at a time{rate}: "
        f"about {summary['expected_minutes']:g} min, without redials and closed hours.",
    ]
    if summary["later_by_call_cap"]:
        lines.append(f"{summary['later_by_call_cap']} of them have to wait until a cap allows it.")
    if summary["deadline"]:
        lines.append(f"Nobody is called from {summary['deadline']} on.")
    lines += ["", "Left out: " + (", ".join(left) or "nobody") + "."]
    lines += [f"- {_plain(row)}" for row in summary["left_out"]]
    if summary["first_messages"]:
        lines += ["", "They would hear:"]
        messages = [message or "(the first line of the agent)" for message in summary["first_messages"]]
        lines += [line for message in messages for line in ("", f"> {_plain(message)}")]
    lines += ["", "| Zone | People | Opens | Closes |", "|---|---|---|---|"]
    for one in summary["hours"]:
        opens, closes = one["opens_at"] or "open now", one["closes_at"] or "-"
        lines.append(f"| {one['zones']} | {one['contacts']} | {opens} | {closes} |")
    others = summary["contacts"] - sum(one["contacts"] for one in summary["hours"])
    if others:
        lines.append(f"| other zones | {others} | | |")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Return what comes from a contact so that it is read as it is, whatever Markdown is in it."""
    line = " ".join(text.split())
    shown = line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}..."
    return re.sub(r"([\\`*_{}\[\]()<>#+!|&~-])", r"\\\1", shown)


def _number(row: ContactEntry) -> str:
    return str((row.request or {})["to_number"])


def _in_chunks(rows: Iterable[ContactEntry]) -> Iterator[list[ContactEntry]]:
    left = iter(rows)
    while some := list(islice(left, _AT_ONCE)):
        yield some


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="minutes")
