"""What users write for a calling window -> open seconds of a week by region; errors name the field to fix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.rules.calling_window.area_regions import lies_in
from airflow_provider_voiceinfra.rules.calling_window.days_off import DaysOff, read_calendars, read_dates
from airflow_provider_voiceinfra.rules.calling_window.regions import region_named
from airflow_provider_voiceinfra.rules.calling_window.spans import DAY, WEEK, Spans, common, merged
from airflow_provider_voiceinfra.rules.calling_window.text import EXAMPLE, error, windows
from airflow_provider_voiceinfra.rules.calling_window.zones import zone_named

EVERYWHERE = ""
"""Stands for all regions: of the hours of a window, for those that it does not name."""
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY_NUMBERS = {name: number for number, day in enumerate(_DAYS) for name in (day, day[:3])}
_OF_HOURS = ("days", "from", "to")
FIELDS = (*_OF_HOURS, "timezone", "regions", "off", "holidays")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)


class RegionHours(NamedTuple):
    """What holds in some regions at once.

    :param open: the open seconds of a week from Monday, 00:00 local time: sorted, disjoint.
    :param lacking: those of the regions that the window says nothing of, so that it is never open.
    """

    open: tuple[tuple[int, int], ...]
    off: DaysOff
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True)
class WindowRules:
    """What a window says, by region.

    :param hours: the open seconds of a week.
    :param off: the days off, which add to those of less specific regions.
    :param timezone: the one zone whose clock counts for everybody, if named.
    """

    hours: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]
    off: tuple[tuple[str, DaysOff], ...] = ()
    timezone: str | None = None

    def for_regions(self, regions: Iterable[str]) -> RegionHours:
        """Return what holds in all of some regions; without any, everywhere."""
        hours, regions = dict(self.hours), tuple(regions)
        found = {region: _named(hours, region) for region in regions or (EVERYWHERE,)}
        lacking = tuple(region for region, names in found.items() if not names)
        if lacking:
            return RegionHours((), DaysOff(), lacking)
        used = [list(hours[name]) for name in sorted(set().union(*found.values()))]
        off = [days for name, days in self.off if not regions or any(_touches(name, r) for r in regions)]
        together: Spans = reduce(common, used)
        return RegionHours(tuple(together), reduce(or_, off, DaysOff()))


def _named(hours: Mapping[str, Any], region: str) -> set[str]:
    """Return whose hours hold in a region that may be narrower or wider; none if nobody's do.

    Somebody who is in a country may be in each of its parts.
    """
    country = region.partition("-")[0]
    own = next((name for name in (region, country, EVERYWHERE) if name in hours), None)
    if own is None:
        return set()
    if region == EVERYWHERE:
        return set(hours)
    return {own, *(name for name in hours if lies_in(name, region))}


def _touches(name: str, region: str) -> bool:
    return name == EVERYWHERE or lies_in(name, region) or lies_in(region, name)


def parse_rules(spec: object) -> WindowRules:
    """Return what a window says.

    :param spec: a mapping, a list of mappings, either as JSON, or text.
    :raises InvalidCallError: naming ``calling_window`` and what is wrong in it.
    """
    parts = list(windows(spec))
    if not parts:
        raise error("has no window; leave it out to call at any hour")
    hours: dict[str, list[tuple[int, int]]] = {}
    off: dict[str, DaysOff] = {}
    zones = set()
    for number, window in enumerate(parts, 1):
        where = f"part {number}: " if len(parts) > 1 else ""
        _check_fields(window, where)
        days_off = _days_off(window, where)
        spans = list(_spans(window, where))
        for region in _regions(window, where):
            if spans:
                hours.setdefault(region, []).extend(spans)
            if days_off != DaysOff():
                off[region] = off.get(region, DaysOff()) | days_off
        zones.add(_zone(window, where))
    zones.discard(None)
    if len(zones) > 1:
        raise error(f"names several time zones ({', '.join(sorted(map(str, zones)))}); name one, once")
    return WindowRules(
        tuple((region, _disjoint(spans)) for region, spans in sorted(hours.items()))
        # Days off alone leave every other hour open.
        or ((EVERYWHERE, ((0, WEEK),)),),
        tuple(sorted(off.items(), key=lambda item: item[0])),
        next(iter(zones), None),
    )


def _check_fields(window: Mapping[str, Any], where: str) -> None:
    unknown = [name for name in window if name not in FIELDS]
    if unknown:
        raise error(f"has no field {unknown[0]!r}; there are {', '.join(FIELDS)}", where)


def _days_off(window: Mapping[str, Any], where: str) -> DaysOff:
    dates, calendars = window.get("off"), window.get("holidays")
    return DaysOff(
        frozenset() if dates is None else read_dates(dates, where),
        frozenset() if calendars is None else read_calendars(calendars, where),
    )


def _regions(window: Mapping[str, Any], where: str) -> list[str]:
    value = window.get("regions")
    if value is None:
        return [EVERYWHERE]
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or not parts or not all(isinstance(part, str) for part in parts):
        raise error(f"'regions' has {repr(value)[:64]}; write US-FL, or US-FL,FR, or leave it out", where)
    try:
        return [region_named(part) for part in parts]
    except InvalidCallError as exc:
        raise error(f"'regions': {exc.rule}", where) from exc


def _spans(window: Mapping[str, Any], where: str) -> Iterator[tuple[int, int]]:
    off_only = window.get("off") is not None or window.get("holidays") is not None
    if off_only and all(window.get(name) is None for name in _OF_HOURS):
        return
    opens, closes = _clock(window, "from", where), _clock(window, "to", where)
    if opens == DAY:
        raise error("'from' is 24:00; write 00:00 and the day after", where)
    if opens == closes:
        raise error("'from' and 'to' are the same; for a whole day write 00:00 and 24:00", where)
    if closes < opens:
        closes += DAY
    for day in _days(window.get("days"), where):
        yield day * DAY + opens, day * DAY + closes


def _clock(window: Mapping[str, Any], name: str, where: str) -> int:
    """Return a time of day in seconds since midnight."""
    value = window.get(name)
    if value is None:
        raise error(f"{name!r} is missing; write it such as {EXAMPLE}", where)
    found = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    seconds = int(found[1]) * 3600 + int(found[2]) * 60 if found else DAY + 1
    if found is None or int(found[2]) > 59 or seconds > DAY:
        shown = repr(value)[:64]
        raise error(f'{name!r} is {shown}; write hours and minutes as text, from "00:00" to "24:00"', where)
    return seconds


def _days(value: object, where: str) -> set[int]:
    """Return days as numbers, Monday is 0."""
    if value is None:
        return set(range(7))
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or not parts:
        raise error(_days_rule(value), where)
    days: set[int] = set()
    for part in parts:
        names = part.lower().split("-") if isinstance(part, str) else [""]
        ends = [_DAY_NUMBERS.get(name.strip()) for name in names]
        first, last = ends[0], ends[-1]
        if first is None or last is None or len(ends) > 2:
            raise error(_days_rule(part), where)
        days.update((first + step) % 7 for step in range((last - first) % 7 + 1))
    return days


def _days_rule(value: object) -> str:
    return (
        f"'days' has {repr(value)[:64]}; write mon-fri, or mon,wed,sat, or leave it out for every day; a "
        "region before it is in capitals, such as US-FL"
    )


def _zone(window: Mapping[str, Any], where: str) -> str | None:
    name = window.get("timezone")
    if name is None:
        return None
    if not isinstance(name, str) or not name:
        raise error(f"'timezone' must be an IANA name such as America/New_York, not {repr(name)[:64]}", where)
    try:
        zone_named(name)
    except InvalidCallError as exc:
        raise error(f"'timezone' {exc.rule}", where) from exc
    return name


def _disjoint(spans: Spans) -> tuple[tuple[int, int], ...]:
    """Return spans sorted and merged; what crosses the end of Sunday goes on at the start of Monday."""
    cut = [(start, min(end, WEEK)) for start, end in spans]
    cut += [(0, end - WEEK) for _, end in spans if end > WEEK]
    return tuple(merged(sorted(cut)))
