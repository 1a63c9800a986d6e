"""Whether a calling window was open at a moment, by the clock on every wall that may have counted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from airflow_provider_voiceinfra.audit.window_text import EVERYWHERE, DaysOff, Hours, Window


def local_times(moment: datetime, zones: Iterable[str]) -> dict[str, datetime]:
    """Return what the clocks of some zones showed at a moment."""
    return {name: moment.astimezone(_zone(name)) for name in zones}


def closed_in(window: Window, moment: datetime, regions: tuple[str, ...], zones: Iterable[str]) -> list[str]:
    """Return the zones by whose clocks the window was closed in any of some regions; none if it was open.

    :param moment: aware.
    :param regions: all that the person may have been in; none if it may have been any.
    :param zones: all that the person may have been in; no matter if the window names its own.
    """
    clocks = local_times(moment, [window.timezone] if window.timezone else zones)
    return [name for name, local in clocks.items() if not _is_open(window, local, regions)]


def _is_open(window: Window, local: datetime, regions: tuple[str, ...]) -> bool:
    if any(_is_off(days, local) for days in window.off if _concern(days, regions)):
        return False
    if not window.hours:
        return True
    names = _names_in(window.hours, regions or (EVERYWHERE,))
    return names is not None and all(
        any(name in part.regions and _is_within(part, local) for part in window.hours) for name in names
    )


@lru_cache(maxsize=4096)
def _names_in(hours: tuple[Hours, ...], regions: tuple[str, ...]) -> frozenset[str] | None:
    """Return which of a window's regions count for some regions; ``None`` if it says nothing of one of them.

    For each it is the most specific one that it lies in, and all that lie in it.
    """
    named = {name for part in hours for name in part.regions}
    found = set()
    for region in regions:
        own = next((name for name in (region, region.partition("-")[0], EVERYWHERE) if name in named), None)
        if own is None:
            return None
        found.add(own)
        found.update(name for name in named if region == EVERYWHERE or name.startswith(f"{region}-"))
    return frozenset(found)


def _is_within(part: Hours, local: datetime) -> bool:
    minute, today = local.hour * 60 + local.minute, local.weekday()
    if part.opens < part.closes:
        return today in part.days and part.opens <= minute < part.closes
    begun_today = today in part.days and minute >= part.opens
    begun_yesterday = (today - 1) % 7 in part.days and minute < part.closes
    return begun_today or begun_yesterday


def _concern(days: DaysOff, regions: tuple[str, ...]) -> bool:
    """Return whether days off are those of any place where somebody may be."""
    return not regions or any(
        name in (EVERYWHERE, region) or f"{region}-".startswith(f"{name}-") or name.startswith(f"{region}-")
        for name in days.regions
        for region in regions
    )


def _is_off(days: DaysOff, local: datetime) -> bool:
    today = local.date()
    return today in days.dates or any(today in _holidays(name, today.year) for name in days.calendars)


@lru_cache(maxsize=256)
def _holidays(calendar: str, year: int) -> frozenset[object]:
    # Imported late: it takes long, and need not be installed.
    try:
        from holidays import country_holidays
    except ImportError as error:
        raise ValueError("the library holidays is not installed") from error
    country, _, part = calendar.partition("-")
    try:
        # A holiday may be kept on the last day of the year before.
        return frozenset(country_holidays(country, subdiv=part or None, years=[year, year + 1]))
    except NotImplementedError as error:
        raise ValueError(f"the library holidays has no calendar {calendar}") from error


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r} here") from error
