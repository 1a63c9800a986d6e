"""At which instants people may be called, by the clocks where they live; never asks what time it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain

from airflow_provider_voiceinfra.rules.calling_window.days_off import DaysOff
from airflow_provider_voiceinfra.rules.calling_window.openings import HORIZON, Openings
from airflow_provider_voiceinfra.rules.calling_window.place import Place
from airflow_provider_voiceinfra.rules.calling_window.rules import RegionHours, WindowRules, parse_rules
from airflow_provider_voiceinfra.rules.calling_window.spans import (
    LOOKED_AT,
    MONDAY,
    WEEK,
    Spans,
    common,
    merged,
    open_spans,
)
from airflow_provider_voiceinfra.rules.calling_window.text import as_text
from airflow_provider_voiceinfra.rules.calling_window.zones import zone_named

_MAX_CACHED = 4096
_MOST_NAMED = 5
# Of a single call, and of a campaign's contacts.
_PASS_ZONE = "pass timezone, or fill the column timezone"
_PASS_REGION = "pass region, or fill the column region"


@dataclass(frozen=True)
class CallingWindow(Openings):
    """Days and hours at which people may be called, by the clock on the wall.

    A local time from ``from`` up to, not including, ``to`` is open: twice where the clock is put back over
    it, and never where the clock is put forward over it. The zones of a place are no matter if the window
    names its zone.

    :param rules: what the window says, by region.
    """

    rules: WindowRules
    spec: str = field(default="", compare=False)
    """What the user wrote, as text that ``parse`` takes."""
    _regions: dict[tuple[str, ...], RegionHours] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _weeks: dict[tuple[RegionHours, tuple[str, ...], int], Spans] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def parse(cls, spec: object) -> CallingWindow:
        """Read what users write.

        :param spec: such as ``{"days": "mon-fri", "from": "09:00", "to": "20:00"}``, with ``"timezone"`` if
            one zone counts for everybody, and with ``"regions"``, ``"off"`` and ``"holidays"``; a list of
            such; the same as JSON; or ``"US-FL 08:00-20:00; US 08:00-21:00; off 2026-12-25"``, with the
            zone's name at the end if one counts for everybody. Without days it is every day. Hours that
            cross midnight belong to the day on which they start.
        :raises InvalidCallError: naming ``calling_window`` and what is wrong in it.
        """
        if isinstance(spec, CallingWindow):
            return spec
        return cls(parse_rules(spec), as_text(spec))

    def load_calendars(self) -> None:
        """Load the calendars of holidays that it names, which is otherwise done once they are needed.

        :raises InvalidCallError: naming ``calling_window`` if one, or the library, is not known here.
        """
        for _, days in self.rules.off:
            days.load()

    def why_never(self, place: Place) -> str | None:
        """Return why no hour of any week is in calling hours, and the remedy; ``None`` if some hour is.

        Days off are left out of account: they pass.
        """
        hours = self._hours(place.regions)._replace(off=DaysOff())
        names = self._zones(place)
        if hours.lacking:
            return _lacking(hours.lacking)
        if not names:
            return f"the number has no time zone, so no calling hours are known; {_PASS_ZONE}"
        if any(next(self._open(hours, names, second), None) for second in LOOKED_AT):
            return None
        if not hours.open:
            where = f" ({_listed(place.regions)})" if place.regions else ""
            return (
                f"the number may be in any of several regions{where}, whose parts of the calling window "
                f"share no hour; {_PASS_REGION}"
            )
        return (
            f"the number may be in any of {len(names)} time zones, which share no hour of the calling "
            f"window; {_PASS_ZONE}"
        )

    def spans(self, second: int, place: Place) -> Iterator[tuple[int, int]]:
        """Yield what is open in the weeks of the next 14 days, from a second since 1970 on."""
        return self._open(self._hours(place.regions), self._zones(place), second)

    def _hours(self, regions: tuple[str, ...]) -> RegionHours:
        hours = self._regions.get(regions)
        if hours is None:
            hours = self.rules.for_regions(regions)
            if len(self._regions) >= _MAX_CACHED:
                self._regions.clear()
            self._regions[regions] = hours
        return hours

    def _zones(self, place: Place) -> tuple[str, ...]:
        return (self.rules.timezone,) if self.rules.timezone else place.zones or ()

    def _open(self, hours: RegionHours, names: tuple[str, ...], second: int) -> Iterator[tuple[int, int]]:
        weeks = range((second - MONDAY) // WEEK, (second + HORIZON - MONDAY) // WEEK + 1) if names else ()
        start = end = second
        for opens, closes in chain.from_iterable(self._week(hours, names, week) for week in weeks):
            if closes <= second:
                continue
            if opens > end:  # weeks meet where a span goes on
                if start < end:
                    yield start, end
                start = opens
            end = closes
        if start < end:
            yield start, end

    def _week(self, hours: RegionHours, names: tuple[str, ...], week: int) -> Spans:
        """Return the spans of one week in UTC that are open in all of the zones."""
        spans = self._weeks.get((hours, names, week))
        if spans is None:
            first = MONDAY + week * WEEK
            if len(names) == 1:
                zone = zone_named(names[0])
                spans = merged(open_spans(hours.open, hours.off, zone, first, first + WEEK))
            else:
                spans = reduce(common, (self._week(hours, (name,), week) for name in names))
            if len(self._weeks) >= _MAX_CACHED:
                self._weeks.clear()
            self._weeks[hours, names, week] = spans
        return spans


def _lacking(regions: tuple[str, ...]) -> str:
    if not any(regions):
        return (
            "the number may be in any region, and no part of the calling window is for all regions; add one "
            f"without a region, or {_PASS_REGION}"
        )
    return (
        f"the number may be in {_listed(regions)}, for which the calling window has no part; add one, or one "
        f"without a region, or {_PASS_REGION}, if the person is in another one"
    )


def _listed(regions: tuple[str, ...]) -> str:
    shown = ", ".join(regions[:_MOST_NAMED])
    return f"{shown} and {len(regions) - _MOST_NAMED} others" if len(regions) > _MOST_NAMED else shown
