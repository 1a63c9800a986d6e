"""At which instants people may be called, by the clocks where they live; never asks what time it is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from airflow_provider_voiceinfra.campaigns.calling_window.rules import WEEK, parse_rules
from airflow_provider_voiceinfra.campaigns.calling_window.zones import zone_named, zones_for

__all__ = ["HORIZON", "CallingWindow", "zones_for"]

HORIZON = timedelta(days=14)
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
    it, and never where the clock is put forward over it.

    :param rules: the open seconds of a week from Monday, 00:00 local time: sorted, disjoint.
    :param timezone: the one zone whose clock counts; if not set, those of each contact.
    """

    rules: tuple[tuple[int, int], ...]
    timezone: str | None = None
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
        return cls(rules, zone)

    def is_open(self, at: datetime, zones: Sequence[str] | None = None) -> bool:
        """Return whether the hour is in calling hours in every zone.

        :param at: an aware time.
        :param zones: IANA names, as ``zones_for`` gives them; no matter if the window names its zone. Without
            any, no hour is known to be in calling hours.
        """
        second = _seconds(at)
        return any(start <= second < end for start, end in self._from(second, zones, stop=second + 1))

    def next_opening(self, at: datetime, zones: Sequence[str] | None = None) -> datetime | None:
        """Return the first open instant from ``at`` on, which is ``at`` itself if it is open.

        :param at: an aware time.
        :param zones: as for ``is_open``.
        :return: aware UTC; ``None`` if none of the next 14 days has calling hours in every zone.
        """
        second = _seconds(at)
        last = second + int(HORIZON.total_seconds())
        for start, _ in self._from(second, zones, stop=last + 1):
            if start <= second:
                return at.astimezone(timezone.utc)
            return _EPOCH + start * _SECOND if start <= last else None
        return None

    def closes_at(self, at: datetime, zones: Sequence[str] | None = None) -> datetime | None:
        """Return the first closed instant from ``at`` on, which is ``at`` itself if it is closed.

        :param at: an aware time.
        :param zones: as for ``is_open``.
        :return: aware UTC; ``None`` if it stays open for the next 14 days.
        """
        second = _seconds(at)
        last = second + int(HORIZON.total_seconds())
        open_until = second
        for start, end in self._from(second, zones, stop=last + 1):
            if start > open_until:
                break
            open_until = end
        if open_until == second:
            return at.astimezone(timezone.utc)
        return _EPOCH + open_until * _SECOND if open_until <= last else None

    def longest_opening(self, at: datetime, zones: Sequence[str] | None = None) -> timedelta:
        """Return how long the window is open at a time, at most, in the 14 days from ``at`` on.

        :param at: an aware time.
        :param zones: as for ``is_open``.
        :return: zero if it is never open.
        """
        second = _seconds(at)
        longest, begun, ended = 0, second, second
        for start, end in self._from(second, zones, stop=second + int(HORIZON.total_seconds())):
            begun, ended = (begun if start <= ended else start), end
            longest = max(longest, ended - begun)
        return longest * _SECOND

    def _from(self, second: int, zones: Sequence[str] | None, *, stop: int) -> Iterator[tuple[int, int]]:
        """Yield the open spans that end after a second and begin before another, cut where weeks meet."""
        names = (self.timezone,) if self.timezone else tuple(zones or ())
        if not names:
            return
        week = (second - _MONDAY) // WEEK
        while _MONDAY + week * WEEK < stop:
            spans = self._week(names, week)
            # Spans are disjoint: the first to end after the second is the last to start by it, or the next.
            at = bisect_right(spans, second, key=_start)
            yield from spans[at - 1 if at and spans[at - 1][1] > second else at :]
            week += 1

    def _week(self, names: tuple[str, ...], week: int) -> _Spans:
        """Return the spans of one week in UTC that are open in all of the zones."""
        spans = self._cache.get((names, week))
        if spans is None:
            first = _MONDAY + week * WEEK
            if len(names) == 1:
                spans = _merged(_open_spans(self.rules, zone_named(names[0]), first, first + WEEK))
            else:
                spans = self._week(names[:1], week)
                for name in names[1:]:
                    if not spans:
                        break
                    spans = list(_common(spans, self._week((name,), week)))
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[names, week] = spans
        return spans


def _start(span: tuple[int, int]) -> int:
    return span[0]


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
        low, high = known, min(known + _HOUR, end)
        changed = _offset(zone, high)
        if changed == offset:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            if _offset(zone, middle) == offset:
                low = middle
            else:
                high = middle
        yield start, high, offset
        start, offset = high, changed
    yield start, end, offset


def _offset(zone: ZoneInfo, second: int) -> int:
    local = datetime.fromtimestamp(second, zone).utcoffset()
    return 0 if local is None else int(local.total_seconds())


def _merged(spans: Iterable[tuple[int, int]]) -> _Spans:
    merged: _Spans = []
    for start, end in spans:
        if merged and merged[-1][1] >= start:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif start < end:
            merged.append((start, end))
    return merged


def _common(left: _Spans, right: _Spans) -> Iterator[tuple[int, int]]:
    one = two = 0
    while one < len(left) and two < len(right):
        start = max(left[one][0], right[two][0])
        end = min(left[one][1], right[two][1])
        if start < end:
            yield start, end
        if left[one][1] < right[two][1]:
            one += 1
        else:
            two += 1
