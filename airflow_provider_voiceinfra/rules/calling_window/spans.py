"""The open seconds of a local week -> those of a week in UTC, in one zone; never asks what time it is."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache, partial
from zoneinfo import ZoneInfo

from airflow_provider_voiceinfra.rules.calling_window.days_off import DaysOff

DAY = 86_400
WEEK = 7 * DAY
MONDAY = 4 * DAY
"""The first one after the epoch, on which weeks are counted from here."""
_HOUR = 3600
# Mid January, March, July and October: the two weeks from each on have every combination of summer times,
# such as those in which Europe's clocks have been put back, and North America's have not.
LOOKED_AT = tuple(MONDAY + week * WEEK for week in (2924, 2932, 2950, 2963))
"""Seconds since 1970, before weeks of 2026 that stand for all others."""

Spans = list[tuple[int, int]]
"""Sorted, disjoint and not touching: from the first second in, to the first second out."""


def merged(spans: Iterable[tuple[int, int]]) -> Spans:
    """Return spans, which are sorted by their starts, as few that neither overlap nor touch."""
    found: Spans = []
    for start, end in spans:
        if found and found[-1][1] >= start:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif start < end:
            found.append((start, end))
    return found


def common(ours: Spans, theirs: Spans) -> Spans:
    """Return what is in both."""
    both = ((max(a[0], b[0]), min(a[1], b[1])) for a in ours for b in theirs)
    return merged((start, end) for start, end in both if start < end)


def open_spans(
    rules: Iterable[tuple[int, int]], off: DaysOff, zone: ZoneInfo, first: int, end: int
) -> Iterator[tuple[int, int]]:
    """Yield the open spans between two instants: those of local weeks, moved by the offset of the time.

    :param rules: the open seconds of a week from Monday, 00:00 local time.
    :param off: days that are closed from one midnight to the next.
    """
    days_off = off.between((first - DAY) // DAY, (end + DAY) // DAY)
    for start, stop, offset in _offsets(zone, first, end):
        week = (start + offset - MONDAY) // WEEK
        while (monday := MONDAY + week * WEEK - offset) < stop:
            for opens, closes in rules:
                if monday + closes > start and monday + opens < stop:
                    span = max(start, monday + opens), min(stop, monday + closes)
                    yield from _without(days_off, *span, offset) if days_off else [span]
            week += 1


def _without(days_off: frozenset[int], opens: int, closes: int, offset: int) -> Iterator[tuple[int, int]]:
    """Yield what is left of a span; days are those since 1970 by a clock with an offset."""
    for day in range((opens + offset) // DAY, (closes - 1 + offset) // DAY + 1):
        if day in days_off:
            midnight = day * DAY - offset
            if opens < midnight:
                yield opens, midnight
            opens = max(opens, midnight + DAY)
    if opens < closes:
        yield opens, closes


@lru_cache(maxsize=2048)
def _offsets(zone: ZoneInfo, first: int, end: int) -> tuple[tuple[int, int, int], ...]:
    """Return the stretches between two instants without a change of the clock, and its offset in seconds."""
    found = []
    start, offset = first, _offset(zone, first)
    for known in range(first, end, _HOUR):
        hour = range(known, min(known + _HOUR, end))
        changed = _offset(zone, hour.stop)
        if changed != offset:
            at = hour.start + bisect_left(hour, True, key=partial(_is_other, zone, offset))
            found.append((start, at, offset))
            start, offset = at, changed
    return (*found, (start, end, offset))


def _is_other(zone: ZoneInfo, offset: int, second: int) -> bool:
    return _offset(zone, second) != offset


def _offset(zone: ZoneInfo, second: int) -> int:
    local = datetime.fromtimestamp(second, zone).utcoffset()
    return 0 if local is None else int(local.total_seconds())
