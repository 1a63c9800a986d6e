"""A calling window as the ledger keeps it -> its hours and days off; of its own, not the guard's reading."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

EVERYWHERE = ""
"""Stands for the regions that a window does not name."""
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FULL = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_FIELDS = frozenset({"regions", "days", "from", "to", "timezone", "off", "holidays"})
_REGION = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", re.ASCII)
_SPAN = re.compile(r"(\d{1,2}:\d{2})-(\d{1,2}:\d{2})", re.ASCII)
# States' codes of what has a country's code of its own.
_TERRITORIES = ("AS", "GU", "MP", "PR", "VI")


class Hours(NamedTuple):
    """Hours of some days in some regions.

    :param days: on which they begin, Monday is 0.
    :param opens: minutes since midnight; ``closes``, which is not open any more, may be on the next day.
    """

    regions: tuple[str, ...]
    days: frozenset[int]
    opens: int
    closes: int


class DaysOff(NamedTuple):
    """Whole days on which nobody in some regions is called.

    :param calendars: of public holidays, such as ``US-RI``.
    """

    regions: tuple[str, ...]
    dates: frozenset[date]
    calendars: tuple[str, ...]


class Window(NamedTuple):
    """All that a calling window says.

    :param hours: without any, all are open but for the days off.
    :param timezone: the one zone whose clock counts; if not set, those where the person may be.
    """

    hours: tuple[Hours, ...]
    off: tuple[DaysOff, ...]
    timezone: str | None

    @property
    def names_regions(self) -> bool:
        """Whether it matters in which region somebody is."""
        named = [part.regions for part in self.hours] + [part.regions for part in self.off]
        return any(regions != (EVERYWHERE,) for regions in named)


@lru_cache(maxsize=1024)
def read_window(text: str) -> Window:
    """Read a window.

    :raises ValueError: if it cannot be read.
    """
    hours: list[Hours] = []
    off: list[DaysOff] = []
    zones: set[str] = set()
    for part in _parts(text):
        if not _FIELDS.issuperset(part):
            raise ValueError("a field of the window is not known")
        regions = tuple(_region(name) for name in _listed(part.get("regions"))) or (EVERYWHERE,)
        zones.update([part["timezone"]] if part.get("timezone") else [])
        is_off = "off" in part or "holidays" in part
        if is_off:
            dates = frozenset(date.fromisoformat(day) for day in _listed(part.get("off")))
            off.append(DaysOff(regions, dates, tuple(_listed(part.get("holidays")))))
        if not is_off or not part.keys().isdisjoint(("days", "from", "to")):
            days = frozenset(_days(_listed(part.get("days")))) or frozenset(range(7))
            hours.append(Hours(regions, days, _minutes(part.get("from")), _minutes(part.get("to"))))
    if len(zones) > 1 or not (hours or off):
        raise ValueError("the window has several time zones, or nothing in it")
    return Window(tuple(hours), tuple(off), next(iter(zones), None))


def _parts(text: str) -> Iterator[Mapping[str, Any]]:
    if text.lstrip()[:1] not in ("[", "{"):
        yield from _words(text)
        return
    found = json.loads(text)
    for part in found if isinstance(found, list) else [found]:
        if isinstance(part, str):
            yield from _words(part)
        elif isinstance(part, dict):
            yield {name: value for name, value in part.items() if value is not None}
        else:
            raise ValueError("a part of the window is neither text nor a mapping")


def _words(text: str) -> Iterator[Mapping[str, Any]]:
    for part in filter(None, map(str.strip, text.split(";"))):
        # A comma or a dash holds together what it stands between.
        close = re.sub(r"\s*([,-])\s*", r"\1", part)
        words = re.sub(r"(?<=[A-Za-z])(?=\d{1,2}:\d\d)", " ", close).split()
        found: dict[str, Any] = {}
        spans: list[list[str]] = []
        while words:
            _take(words, found, spans)
        for opens, closes in spans:
            yield {**found, "from": opens, "to": closes}
        if not spans:
            yield found


def _take(words: list[str], found: dict[str, Any], spans: list[list[str]]) -> None:
    """Take the next word, and what belongs to it, from the words of a part."""
    word = words.pop(0)
    pieces = word.split(",")
    if word.lower() in ("off", "holidays"):
        found[word.lower()] = words.pop(0) if words else ""
    elif all(_SPAN.fullmatch(piece) for piece in pieces):
        spans += [piece.split("-") for piece in pieces]
    elif spans or "off" in found or "holidays" in found:
        found["timezone"] = word
    elif all(_REGION.fullmatch(piece) for piece in pieces):
        found["regions"] = word
    else:
        found["days"] = word


def _listed(value: Any) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else value or []
    found = [str(part).strip() for part in parts]
    if isinstance(value, str) and not any(found):
        raise ValueError("a field of the window is empty")
    return [part for part in found if part]


def _region(name: str) -> str:
    code = name.upper()
    if not _REGION.fullmatch(code):
        raise ValueError("a region of the window is none")
    return code[3:] if code.startswith("US-") and code[3:] in _TERRITORIES else code


def _days(names: list[str]) -> Iterator[int]:
    for name in names:
        first, dash, last = (end.strip() for end in name.lower().partition("-"))
        day, end = _day(first), _day(last if dash else first)
        yield day
        while day != end:
            day = (day + 1) % 7
            yield day


def _day(name: str) -> int:
    return (_FULL if name in _FULL else _DAYS).index(name)


def _minutes(clock: Any) -> int:
    hours, colon, minutes = str(clock).strip().partition(":")
    if not colon:
        raise ValueError("an hour of the window is missing")
    return int(hours) * 60 + int(minutes)
