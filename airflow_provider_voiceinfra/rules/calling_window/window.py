"""At which instants people may be called, by the clocks where they live; never asks what time it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from airflow_provider_voiceinfra.rules.calling_window.openings import HORIZON, Openings
from airflow_provider_voiceinfra.rules.calling_window.place import Place
from airflow_provider_voiceinfra.rules.calling_window.rules import parse_rules
from airflow_provider_voiceinfra.rules.calling_window.spans import (
    LOOKED_AT,
    MONDAY,
    WEEK,
    Spans,
    common,
    merged,
    open_spans,
)
from airflow_provider_voiceinfra.rules.calling_window.zones import zone_named

_MAX_CACHED = 4096


@dataclass(frozen=True)
class CallingWindow(Openings):
    """Days and hours at which people may be called, by the clock on the wall.

    A local time from ``from`` up to, not including, ``to`` is open: twice where the clock is put back over
    it, and never where the clock is put forward over it. The zones of a place are no matter if
    the window names its zone.

    :param rules: the open seconds of a week from Monday, 00:00 local time: sorted, disjoint.
    :param timezone: the one zone whose clock counts; if not set, those of each contact.
    """

    rules: tuple[tuple[int, int], ...]
    timezone: str | None = None
    spec: str = field(default="", compare=False)
    """What the user wrote, as text that ``parse`` takes."""
    _cache: dict[tuple[tuple[str, ...], int], Spans] = field(
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

    def why_never(self, place: Place) -> str | None:
        """Return why no hour of any week is in calling hours, and the remedy; ``None`` if some hour is."""
        if any(next(self.spans(second, place), None) for second in LOOKED_AT):
            return None
        if not place.zones:
            why = "the number has no time zone, so no calling hours are known"
        else:
            zones = len(place.zones)
            why = f"the number may be in any of {zones} time zones, which share no hour of the calling window"
        return f"{why}; name one in a column timezone"

    def spans(self, second: int, place: Place) -> Iterator[tuple[int, int]]:
        """Yield what is open in the weeks of the next 14 days, from a second since 1970 on."""
        names = (self.timezone,) if self.timezone else place.zones or ()
        weeks = range((second - MONDAY) // WEEK, (second + HORIZON - MONDAY) // WEEK + 1) if names else ()
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

    def _week(self, names: tuple[str, ...], week: int) -> Spans:
        """Return the spans of one week in UTC that are open in all of the zones."""
        spans = self._cache.get((names, week))
        if spans is None:
            first = MONDAY + week * WEEK
            if len(names) == 1:
                spans = merged(open_spans(self.rules, zone_named(names[0]), first, first + WEEK))
            else:
                spans = self._week(names[:1], week)
                for name in names[1:]:
                    others = self._week((name,), week)
                    spans = common(spans, others)
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[names, week] = spans
        return spans
