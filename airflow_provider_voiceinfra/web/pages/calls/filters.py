"""Reads the filter of a list of calls out of an address, and writes it into one; never asks the ledger."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from enum import Enum
from typing import Any, TypeVar

from fastapi import HTTPException

from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.ledger.lists.values import OPEN, Direction, Order
from airflow_provider_voiceinfra.ledger.records import CallState
from airflow_provider_voiceinfra.rules.calling_window.zones import zone_named
from airflow_provider_voiceinfra.web.pages.addresses import page_address
from airflow_provider_voiceinfra.web.pages.calls.rows import DIRECTIONS as DIRECTIONS_ELSEWHERE
from airflow_provider_voiceinfra.web.pages.calls.rows import STANDINGS

LABELS = {
    "conn_id": "Connection",
    "dag_id": "DAG",
    "run_id": "Run",
    "campaign_id": "Campaign",
    "outcome": "Outcome",
    "state": "State",
    "direction": "Direction",
    "digits": "Number",
    "since": "From",
    "until": "Until",
}
"""The fields of the filter, as the page calls them."""
OUTCOMES = {
    "answered": "answered",
    "voicemail": "voicemail",
    "failed": "failed",
    OPEN: STANDINGS[OPEN][0],
}
DIRECTIONS = {
    Direction.OUTBOUND.value: "placed from here",
    **{direction.value: word for direction, word in DIRECTIONS_ELSEWHERE.items()},
}
STATES = {
    CallState.ACCEPTED.value: "accepted: the API has taken it",
    CallState.REFUSED.value: "refused: nothing rang",
    CallState.UNKNOWN.value: "unknown: it may have rung",
    CallState.CLAIMED.value: "claimed: about to be sent",
}

_MOST_CHARACTERS = 250  # as the ledger's columns
_BETWEEN_DIGITS = re.compile(r"[\s().+/-]")
_DIGITS = re.compile(r"\d{4}", re.ASCII)
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?(?:Z|[+-]\d\d:\d\d)?", re.ASCII
)

_Choice = TypeVar("_Choice", bound=Enum)


@dataclass(frozen=True)
class Wanted:
    """Which calls a visitor asks for.

    :param since: aware UTC.
    :param until: aware UTC.
    """

    conn_id: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    campaign_id: str | None = None
    outcome: str | None = None
    state: CallState | None = None
    direction: Direction | None = None
    digits: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    order: Order = Order.NEWEST

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Wanted:
        """Read the query of an address.

        :raises HTTPException: 400, naming the field and what it takes.
        """
        given = {name: text for name in (*LABELS, "order", "zone") if (text := query.get(name, "").strip())}
        zone = given.pop("zone", "UTC")
        readers: dict[str, Callable[[str, str], Any]] = {
            "state": lambda name, text: _choice(name, text, CallState),
            "order": lambda name, text: _choice(name, text, Order),
            "direction": lambda name, text: _choice(name, text, Direction),
            "digits": _digits,
            "since": lambda name, text: _moment(name, text, zone),
            "until": lambda name, text: _moment(name, text, zone),
        }
        wanted = cls(**{name: readers.get(name, _text)(name, text) for name, text in given.items()})
        if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
            raise _bad("until", "it must be later than From")
        return wanted

    @property
    def filter(self) -> dict[str, Any]:
        """What is asked for, as fields of the ledger's filter."""
        return {name: value for name in LABELS if (value := getattr(self, name)) is not None}

    @property
    def chips(self) -> list[tuple[str, str, str | datetime, str]]:
        """The parts of the filter: field, label, value for people, and the address of the list without it."""
        found = []
        for name, value in self.filter.items():
            rest: dict[str, Any] = {name: None}
            found.append((name, LABELS[name], _told(name, value), replace(self, **rest).address()))
        return found

    def address(self, page: str = "calls", **more: str | None) -> str:
        """Return the address of a page that asks for the same.

        :param more: what else is asked of it.
        """
        asked = {one.name: _written(getattr(self, one.name)) for one in fields(self)}
        if self.order is Order.NEWEST:
            del asked["order"]
        return page_address(page, **asked, **more)


def _bad(name: str, remedy: str) -> HTTPException:
    label = LABELS.get(name, name.capitalize())
    return HTTPException(400, f"{label} ({name}) in this address cannot be used: {remedy}.")


def _text(name: str, text: str) -> str:
    if len(text) > _MOST_CHARACTERS:
        raise _bad(name, f"it has at most {_MOST_CHARACTERS} characters")
    if any(unicodedata.category(one) in ("Cc", "Cs") for one in text):
        raise _bad(name, "it holds a character that no name has, such as a line break; write it anew")
    return text


def _choice(name: str, text: str, choices: type[_Choice]) -> _Choice:
    try:
        return choices(text)
    except ValueError:
        possible = ", ".join(str(one.value) for one in choices)
        raise _bad(name, f"it is one of {possible}") from None


def _digits(name: str, text: str) -> str:
    digits = _BETWEEN_DIGITS.sub("", text)
    if not _DIGITS.fullmatch(digits):
        # As many as a mask shows: more would let people guess hidden ones, and would stand in servers' logs.
        raise _bad(name, "give the number's last four digits, and no more of it, such as 0123")
    return digits


def _moment(name: str, text: str, zone: str) -> datetime:
    try:
        place = zone_named(zone)
    except InvalidCallError:
        raise _bad("zone", "it is the name of a time zone, such as UTC or Europe/London") from None
    try:
        if not _MOMENT.fullmatch(text):
            raise ValueError
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        aware = moment if moment.tzinfo else moment.replace(tzinfo=place)
        return aware.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise _bad(name, "it is a date with a time, such as 2026-03-01T08:00") from None


def _written(value: object) -> str | None:
    if isinstance(value, datetime):
        return value.isoformat(timespec="auto").replace("+00:00", "Z")
    if isinstance(value, Enum):
        value = value.value
    return None if value is None else str(value)


def _told(name: str, value: object) -> str | datetime:
    if isinstance(value, datetime):
        return value
    text = _written(value) or ""
    if name == "digits":
        return f"ends in {text}"
    return {"outcome": OUTCOMES, "direction": DIRECTIONS}.get(name, {}).get(text, text)
