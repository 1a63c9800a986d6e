"""At which instants people may be called, by the clocks where they live; never asks what time it is."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from itertools import chain
from zoneinfo import ZoneInfo

from airflow_provider_voiceinfra.rules.calling_window.rules import WEEK, merged, parse_rules
from airflow_provider_voiceinfra.rules.calling_window.zones import zone_named

_HORIZON = 14 * 86_400
_HOUR = 3600
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = timedelta(seconds=1)
_MONDAY = 4 * 86_400  # the first one after the epoch, on which weeks are counted from here
_MAX_CACHED = 4096

# Sorted, disjoint and not touching: from the first second in, to the first second out.
_Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class CallingWindow:
    """Days and hours at which people may be called, by the clock on the wall.

    A local time from ``from`` up to, not including, ``to`` is open: twice where the clock is put back over
    it, and never where the clock is put forward over it. It is asked about at aware times, in the zones that
    ``zones_for`` gives, which are no matter if the window names its zone; without any, no hour is known to
    be in calling hours.

    :param rules: the open seconds of a week from Monday, 00:00 local time: sorted, disjoint.
    :param timezone: the one zone whose clock counts; if not set, those of each contact.
    """

    rules: tuple[tuple[int, int], ...]
    timezone: str | None = None
    spec: str = field(default="", compare=False)
    """What the user wrote, as text that ``parse`` takes."""
    _cache: dict[tuple[Sequence[str], int], _Spans] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def parse(cls, spec: object) -> CallingWindow:
        """Read what users write.

        :param spec: such as ``{"days": "mon-fri", "from": "09:00", "to": "20:00"}``, with ``"timezone"`` if
            one zone counts for everybody; a list of such; the same as JSON; or
            ``"mon-fri 09:00-20:00; sat 10:00-16:00"``, with the zone's name at the end if one counts
            for everybody. Without days it is every day. Hours that cross midnight belong to the day on
            which they start.
        :raises InvalidCallError: naming ``calling_window`` and what is wrong in it.
        """
        if isinstance(spec, CallingWindow):
            return spec
        rules, zone = parse_rules(spec)
        return cls(rules, zone, spec if isinstance(spec, str) else json.dumps(spec))

    def is_open(self, at: datetime, zones: Sequence[str] | None = None) -> bool:
        """Return whether the hour is in calling hours in every zone."""
        second = _seconds(at)
        return next(self._spans(second, zones), (None,))[0] == second

    def next_opening(self, at: datetime, zones: Sequence[str] | None = None) -> datetime | None:
        """Return the first open instant from ``at`` on, which is ``at`` itself if it is open.

        :return: aware UTC; ``None`` if none of the next 14 days has calling hours in every zone.
        """
        second = _seconds(at)
        for start, _ in self._spans(second, zones):
            if start == second:
                return at.astimezone(timezone.utc)
            return _EPOCH + start * _SECOND if start <= second + _HORIZON else None
        return None

    def closes_at(self, at: datetime, zones: Sequence[str] | None = None) -> datetime | None:
        """Return the first closed instant from ``at`` on, which is ``at`` itself if it is closed.

        :return: aware UTC; ``None`` if it stays open for the next 14 days.
        """
        second = _seconds(at)
        for start, end in self._spans(second, zones):
            if start == second:
                return _EPOCH + end * _SECOND if end <= second + _HORIZON else None
            break
        return at.astimezone(timezone.utc)

    def longest_opening(self, at: datetime, zones: Sequence[str] | None = None) -> timedelta:
        """Return how long the window is open at a time, at most, in the 14 days from ``at`` on."""
        return max((end - start for start, end in self._spans(_seconds(at), zones)), default=0) * _SECOND

    def _spans(self, second: int, zones: Sequence[str] | None) -> Iterator[tuple[int, int]]:
        """Yield what is open in the weeks of the next 14 days, from a second on."""
        names = (self.timezone,) if self.timezone else tuple(zones or ())
        weeks = range((second - _MONDAY) // WEEK, (second + _HORIZON - _MONDAY) // WEEK + 1) if names else ()
        start = end = second
        for opens, closes in chain.from_iterable(self._week(names, week) for week in weeks):
            if closes <= second:
                continue
            if opens > end:  # weeks meet where a span goes on
                if start < end:
                    yield start, end
                start = opens
            end = closes
        if start < end:
            yield start, end

    def _week(self, names: tuple[str, ...], week: int) -> _Spans:
        """Return the spans of one week in UTC that are open in all of the zones."""
        spans = self._cache.get((names, week))
        if spans is None:
            first = _MONDAY + week * WEEK
            if len(names) == 1:
                spans = merged(_open_spans(self.rules, zone_named(names[0]), first, first + WEEK))
            else:
                spans = self._week(names[:1], week)
                for name in names[1:]:
                    others = self._week((name,), week)
                    both = ((max(a[0], b[0]), min(a[1], b[1])) for a in spans for b in others)
                    spans = [(start, end) for start, end in both if start < end]
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[names, week] = spans
        return spans


def _seconds(at: datetime) -> int:
    """Return the whole seconds since 1970; clocks are changed at whole seconds only."""
    if at.tzinfo is None or at.utcoffset() is None:
        raise ValueError("at must be an aware time, such as datetime.now(timezone.utc)")
    return (at - _EPOCH) // _SECOND


def _open_spans(
    rules: Iterable[tuple[int, int]], zone: ZoneInfo, first: int, end: int
) -> Iterator[tuple[int, int]]:
    """Yield the open spans between two instants: those of local weeks, moved by the offset of the time."""
    for start, stop, offset in _offsets(zone, first, end):
        week = (start + offset - _MONDAY) // WEEK
        while (monday := _MONDAY + week * WEEK - offset) < stop:
            for opens, closes in rules:
                if monday + closes > start and monday + opens < stop:
                    yield max(start, monday + opens), min(stop, monday + closes)
            week += 1


def _offsets(zone: ZoneInfo, first: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the stretches between two instants without a change of the clock, and its offset in seconds."""
    start, offset = first, _offset(zone, first)
    for known in range(first, end, _HOUR):
        hour = range(known, min(known + _HOUR, end))
        changed = _offset(zone, hour.stop)
        if changed != offset:
            at = hour.start + bisect_left(hour, True, key=partial(_is_other, zone, offset))
            yield start, at, offset
            start, offset = at, changed
    yield start, end, offset


def _is_other(zone: ZoneInfo, offset: int, second: int) -> bool:
    return _offset(zone, second) != offset


def _offset(zone: ZoneInfo, second: int) -> int:
    local = datetime.fromtimestamp(second, zone).utcoffset()
    return 0 if local is None else int(local.total_seconds())
