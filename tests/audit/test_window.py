"""Windows are read and judged by code of the audit's own, at any moment and in any place."""

from __future__ import annotations

import json
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_voiceinfra.audit.window import closed_in
from airflow_provider_voiceinfra.audit.window_text import DaysOff, Hours, Window, read_window

NEW_YORK, BERLIN = "America/New_York", "Europe/Berlin"
ALL, WORKDAYS = frozenset(range(7)), frozenset(range(5))


def is_open(text: str, local: str, *regions: str, zone: str = NEW_YORK, zones: tuple[str, ...] = ()) -> bool:
    """Return whether a window is open at a local time."""
    moment = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone))
    return not closed_in(read_window(text), moment, regions, zones or (zone,))


@pytest.mark.parametrize(
    "text",
    [
        "mon-fri 09:00-20:30",
        "MON - FRI 9:00 - 20:30",
        "monday,tue,wed-fri 09:00-20:30",
        "mon-fri09:00-20:30",
        '{"days": "mon-fri", "from": "09:00", "to": "20:30"}',
        '[{"days": ["mon-wed", "thu", "fri"], "from": "09:00", "to": "20:30"}]',
        '["mon-fri 09:00-20:30"]',
    ],
)
def test_each_way_to_write_hours_means_the_same(text: str) -> None:
    assert read_window(text) == Window((Hours(("",), WORKDAYS, 540, 1230),), (), None)


@pytest.mark.parametrize(
    "text",
    [
        "US-FL,US-PR sat-mon 10:00-13:00, 14:00-20:00 Europe/Berlin",
        json.dumps(
            [
                {"regions": regions, "days": days, "from": start, "to": end, "timezone": BERLIN}
                for regions, days, start, end in (
                    ("US-FL, PR", "sat-mon", "10:00", "13:00"),
                    (["us-fl", "PR"], ["sat", "sun", "monday"], "14:00", "20:00"),
                )
            ]
        ),
    ],
)
def test_regions_several_hours_and_a_zone(text: str) -> None:
    days = frozenset({5, 6, 0})
    hours = tuple(Hours(("US-FL", "PR"), days, start, end) for start, end in ((600, 780), (840, 1200)))
    assert read_window(text) == Window(hours, (), BERLIN)


@pytest.mark.parametrize(
    "text",
    [
        "FR 08:00-20:00; FR OFF 2026-12-25, 2027-01-01; holidays US-RI,FR",
        json.dumps(
            [
                {"regions": "FR", "from": "08:00", "to": "20:00", "off": ["2026-12-25", "2027-01-01"]},
                {"holidays": "US-RI, FR"},
            ]
        ),
    ],
)
def test_days_off(text: str) -> None:
    christmas, new_year = date(2026, 12, 25), date(2027, 1, 1)
    off = (
        DaysOff(("FR",), frozenset({christmas, new_year}), ()),
        DaysOff(("",), frozenset(), ("US-RI", "FR")),
    )
    assert read_window(text) == Window((Hours(("FR",), ALL, 480, 1200),), off, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[1]",
        "mon-fri",
        "09:00",
        "someday 09:00-20:00",
        "off christmas",
        "off",
        '{"from": "09:00"}',
        '{"from": "09:00", "to": "20:00", "except": "mon"}',
        '{"from": "09:00", "to": "20:00", "regions": "everywhere"}',
        "09:00-20:00 Europe/Berlin; 10:00-11:00 Europe/Paris",
        "{",
    ],
)
def test_what_cannot_be_read_is_never_taken_for_open(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 # any of them is noticed
        read_window(text)


@pytest.mark.parametrize(
    ("text", "local", "expected"),
    [
        ("09:00-20:00", "2026-03-04T08:59:59", False),
        ("09:00-20:00", "2026-03-04T09:00:00", True),
        ("09:00-20:00", "2026-03-04T19:59:59.999", True),
        ("09:00-20:00", "2026-03-04T20:00:00", False),
        ("09:00-09:30", "2026-03-04T09:29:00", True),
        ("09:00-09:30", "2026-03-04T09:30:00", False),
        ("00:00-24:00", "2026-03-04T23:59:59", True),
        ("mon-fri 09:00-20:00", "2026-03-07T12:00:00", False),
        ("sat-mon 09:00-20:00", "2026-03-08T12:00:00", True),
        ("sat-mon 09:00-20:00", "2026-03-10T12:00:00", False),
        ("fri 22:00-02:00", "2026-03-06T23:00:00", True),
        ("fri 22:00-02:00", "2026-03-07T01:59:00", True),
        ("fri 22:00-02:00", "2026-03-07T02:00:00", False),
        ("fri 22:00-02:00", "2026-03-06T01:00:00", False),
        ("fri 22:00-02:00", "2026-03-07T23:00:00", False),
        ("sun 22:00-02:00", "2026-03-09T01:00:00", True),
        ("off 2026-03-04", "2026-03-04T00:00:00", False),
        ("off 2026-03-04", "2026-03-05T00:00:00", True),
        ("tue 22:00-02:00; off 2026-03-04", "2026-03-04T01:00:00", False),
        ("tue 22:00-02:00; off 2026-03-03", "2026-03-04T01:00:00", True),
        ("09:00-20:00; holidays US", "2026-07-03T12:00:00", False),
        ("09:00-20:00; holidays US-RI", "2026-08-10T12:00:00", False),
        ("09:00-20:00; holidays US", "2026-08-10T12:00:00", True),
        ("09:00-20:00; holidays US", "2027-12-31T12:00:00", False),
        ("09:00-20:00 Europe/Berlin", "2026-03-04T12:00:00", True),
        ("09:00-20:00 Europe/Berlin", "2026-03-04T14:00:00", False),
    ],
)
def test_hours_and_days(text: str, local: str, expected: bool) -> None:
    assert is_open(text, local) is expected


def test_an_hour_that_is_repeated_is_open_twice() -> None:
    window = read_window("01:00-02:00")
    for fold in (0, 1):
        moment = datetime(2026, 11, 1, 1, 30, tzinfo=ZoneInfo(NEW_YORK), fold=fold)
        assert closed_in(window, moment, (), [NEW_YORK]) == []


def test_it_is_open_only_where_all_zones_are() -> None:
    zones = ("America/Chicago", NEW_YORK)
    assert is_open("09:00-20:00", "2026-03-04T19:59:00", zones=zones)
    assert not is_open("09:00-20:00", "2026-03-04T20:00:00", zones=zones)
    assert not is_open("09:00-20:00", "2026-03-04T09:59:00", zones=zones)


STATES = "US-FL 08:00-20:00; US 08:00-21:00; FR 10:00-13:00"


@pytest.mark.parametrize(
    ("text", "local", "regions", "expected"),
    [
        (STATES, "2026-03-04T20:30", ("US-GA",), True),
        (STATES, "2026-03-04T20:30", ("US-FL",), False),
        (STATES, "2026-03-04T20:30", ("US-FL", "US-GA"), False),
        (STATES, "2026-03-04T19:30", ("US-FL", "US-GA"), True),
        # Somebody in the US may be in Florida.
        (STATES, "2026-03-04T20:30", ("US",), False),
        (STATES, "2026-03-04T19:30", ("US",), True),
        (STATES, "2026-03-04T13:30", ("FR",), False),
        (STATES, "2026-03-04T12:30", ("FR",), True),
        # Nothing is said of Germany, nor of somebody who may be anywhere.
        (STATES, "2026-03-04T12:30", ("DE",), False),
        (STATES, "2026-03-04T12:30", (), False),
        (f"{STATES}; 09:00-18:00", "2026-03-04T17:30", ("DE",), True),
        (f"{STATES}; 09:00-18:00", "2026-03-04T18:30", ("US-GA",), True),
        (f"{STATES}; 09:00-18:00", "2026-03-04T12:30", (), True),
        (f"{STATES}; 09:00-18:00", "2026-03-04T13:30", (), False),
        ("US-FL 08:00-12:00; US-FL 14:00-20:00", "2026-03-04T15:00", ("US-FL",), True),
        ("09:00-18:00; US off 2026-03-04", "2026-03-04T12:00", ("US-FL",), False),
        ("09:00-18:00; US off 2026-03-04", "2026-03-04T12:00", ("FR",), True),
        ("09:00-18:00; US-FL off 2026-03-04", "2026-03-04T12:00", ("US",), False),
        ("09:00-18:00; US-FL off 2026-03-04", "2026-03-04T12:00", ("US-GA",), True),
        ("09:00-18:00; US-FL off 2026-03-04", "2026-03-04T12:00", (), False),
        ("09:00-18:00; off 2026-03-04", "2026-03-04T12:00", ("FR",), False),
    ],
)
def test_the_most_specific_region_decides(
    text: str, local: str, regions: tuple[str, ...], expected: bool
) -> None:
    assert is_open(text, local, *regions) is expected


def test_a_calendar_that_is_not_known_is_said_to_be_so() -> None:
    with pytest.raises(ValueError, match="calendar"):
        is_open("09:00-20:00; holidays XX", "2026-03-04T12:00:00")
