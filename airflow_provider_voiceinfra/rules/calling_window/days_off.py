"""Days on which nobody is called: dates, and calendars of public holidays; never asks what day it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import NamedTuple

from airflow_provider_voiceinfra.masking import mask_numbers_in
from airflow_provider_voiceinfra.rules.calling_window.text import error

_EPOCH = date(1970, 1, 1).toordinal()
_DATE_SHAPE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_CALENDAR = re.compile(r"([A-Z]{2})(?:-([A-Z0-9]{1,3}))?", re.ASCII)


class DaysOff(NamedTuple):
    """Days off, by the calendar on the wall.

    :param dates: as days since 1970.
    :param calendars: of the library ``holidays``, such as ``US-RI`` or ``FR``.
    """

    dates: frozenset[int] = frozenset()
    calendars: frozenset[str] = frozenset()

    def __or__(self, other: DaysOff) -> DaysOff:
        return DaysOff(self.dates | other.dates, self.calendars | other.calendars)

    def load(self) -> None:
        """Load the calendars, which is otherwise done once they are needed.

        :raises InvalidCallError: naming ``calling_window`` if the holidays of one are not known here.
        """
        self.between(0, 0)

    def between(self, first: int, last: int) -> frozenset[int]:
        """Return the days off among some days since 1970, both ends included, and perhaps others.

        :raises InvalidCallError: naming ``calling_window`` if the holidays of a calendar are not known.
        """
        if not self.calendars:
            return self.dates
        years = range(_date(first).year, _date(last).year + 1)
        return self.dates.union(*(_holidays(name, year) for name in self.calendars for year in years))


def read_dates(value: object, where: str) -> frozenset[int]:
    """Return dates as days since 1970.

    :param value: text such as ``"2026-12-25, 2027-01-01"``, a date, or a list of either.
    :raises InvalidCallError: naming ``calling_window`` and what is no date.
    """
    days = set()
    for one in _listed(value):
        if isinstance(one, datetime) or not isinstance(one, (str, date)):
            raise error(_dates_rule(one), where)
        try:
            day = date.fromisoformat(one.strip()) if isinstance(one, str) else one
        except ValueError as exc:
            raise error(_dates_rule(one), where) from exc
        days.add(day.toordinal() - _EPOCH)
    if not days:
        raise error(_dates_rule(value), where)
    return frozenset(days)


def read_calendars(value: object, where: str) -> frozenset[str]:
    """Return names of calendars; whether there are such is seen once they are needed.

    :param value: text such as ``"US-RI"`` or ``"US-RI, FR"``, or a list of such.
    :raises InvalidCallError: naming ``calling_window`` and what is no name.
    """
    names = [one.strip() if isinstance(one, str) else one for one in _listed(value)]
    wrong = [name for name in names if not (isinstance(name, str) and _CALENDAR.fullmatch(name))]
    if wrong or not names:
        shown = repr(wrong[0] if wrong else value)[:64]
        raise error(f"'holidays' has {shown}; name a calendar such as FR or US-RI", where)
    return frozenset(map(str, names))


def _listed(value: object) -> Sequence[object]:
    if isinstance(value, str):
        return [part for part in value.split(",") if part.strip()]
    return value if isinstance(value, (list, tuple)) else [value]


def _dates_rule(value: object) -> str:
    found = _DATE_SHAPE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found and mask_numbers_in(found[0]) != found[0]:
        # In words: an error masks what looks like a phone number, as these digits together do.
        year, month, day = found.groups()
        return f"'off' has day {day} of month {month} of {year}: no date; write dates such as 2026-12-25"
    return f"'off' has {repr(value)[:64]}; write dates such as 2026-12-25"


def _date(day: int) -> date:
    return date.fromordinal(day + _EPOCH)


@lru_cache(maxsize=1024)
def _holidays(calendar: str, year: int) -> frozenset[int]:
    # Imported late: it takes a quarter of a second, and need not be installed.
    try:
        from holidays import country_holidays
    except ImportError as exc:
        raise error(
            f"names the holidays of {calendar}, which the library 'holidays' knows: pip install holidays"
        ) from exc
    country, _, part = calendar.partition("-")
    try:
        found = country_holidays(country, subdiv=part or None, years=year)
    except NotImplementedError as exc:
        raise error(
            f"names the holidays of {calendar}, a calendar that the library 'holidays' does not have; write "
            "the days themselves, such as off 2026-12-25"
        ) from exc
    return frozenset(day.toordinal() - _EPOCH for day in found)
