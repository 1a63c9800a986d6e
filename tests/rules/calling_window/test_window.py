from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.rules.calling_window.place import Place, place_of
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow
from airflow_provider_voiceinfra.rules.calling_window.zones import usable_zones
from airflow_provider_voiceinfra.rules.recipient import Recipient

UTC = timezone.utc
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTE = timedelta(minutes=1)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


# Around changes of the clock: an hour, half an hour, at midnight, backwards, a whole day; and quiet times.
MOMENTS = {
    "America/New_York": [utc(2026, 3, 8, 7), utc(2026, 11, 1, 6)],
    "Europe/London": [utc(2026, 3, 29, 1), utc(2026, 10, 25, 1)],
    "Australia/Lord_Howe": [utc(2026, 4, 4, 15), utc(2026, 10, 3, 15, 30)],
    "Pacific/Apia": [utc(2011, 12, 30, 10), utc(2010, 9, 26, 11)],
    "America/Sao_Paulo": [utc(2018, 11, 4, 3), utc(2019, 2, 17, 2)],
    "Africa/Casablanca": [utc(2026, 2, 15, 2), utc(2026, 3, 22, 2)],
    "Europe/Dublin": [utc(2026, 10, 25, 1)],
    "America/St_Johns": [utc(2026, 3, 8, 5, 30), utc(2026, 11, 1, 4, 30)],
    "Asia/Kathmandu": [utc(2026, 6, 1)],
    "Asia/Kolkata": [utc(2026, 6, 1)],
    "Pacific/Chatham": [utc(2026, 4, 4, 14), utc(2026, 9, 26, 14)],
    "Pacific/Honolulu": [utc(2026, 6, 1)],
}
ZONES = sorted(MOMENTS)
INSTANTS = sorted({moment for moments in MOMENTS.values() for moment in moments})


def zoned(*zones: str) -> Place:
    """Return a place of which only the zones are known."""
    return Place((), zones)


NOWHERE = Place((), None)


def clock_text(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


@st.composite
def window_specs(draw: st.DrawFn) -> list[dict[str, object]]:
    specs: list[dict[str, object]] = []
    for _ in range(draw(st.integers(1, 3))):
        days = draw(st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True))
        opens = draw(st.one_of(st.integers(0, 1439), st.sampled_from([0, 60, 90, 120, 150, 1380])))
        closes = draw(st.one_of(st.integers(0, 1440), st.sampled_from([0, 120, 180, 1440])))
        if closes == opens:
            closes = opens + 1
        specs.append({"days": days, "from": clock_text(opens), "to": clock_text(closes)})
    return specs


@st.composite
def moments(draw: st.DrawFn) -> datetime:
    return draw(st.sampled_from(INSTANTS)) + timedelta(minutes=draw(st.integers(-36 * 60, 36 * 60)))


zone_tuples = st.lists(st.sampled_from(ZONES), min_size=1, max_size=3, unique=True).map(tuple)


def clock(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def slow_is_open(specs: list[dict[str, object]], at: datetime, zones: tuple[str, ...]) -> bool:
    """Ask the wall clock of every zone, with nothing of the code under test."""
    return all(any(_open_by_clock(spec, at.astimezone(ZoneInfo(zone))) for spec in specs) for zone in zones)


def _open_by_clock(spec: dict[str, object], local: datetime) -> bool:
    today, yesterday = DAYS[local.weekday()], DAYS[local.weekday() - 1]
    now, opens, closes = local.hour * 60 + local.minute, clock(str(spec["from"])), clock(str(spec["to"]))
    days = spec["days"]
    assert isinstance(days, list)
    if opens < closes:
        return today in days and opens <= now < closes
    return (today in days and opens <= now) or (yesterday in days and now < closes)


@settings(max_examples=200, deadline=None)
@given(specs=window_specs(), at=moments(), zones=zone_tuples, seconds=st.integers(0, 59))
def test_open_exactly_when_every_clock_says_so(
    specs: list[dict[str, object]], at: datetime, zones: tuple[str, ...], seconds: int
) -> None:
    at += timedelta(seconds=seconds, microseconds=seconds)
    assert CallingWindow.parse(specs).is_open(at, zoned(*zones)) is slow_is_open(specs, at, zones)


@settings(max_examples=60, deadline=None)
@given(specs=window_specs(), at=moments(), zones=zone_tuples)
def test_it_opens_in_the_first_open_minute_and_closes_in_the_first_closed_one(
    specs: list[dict[str, object]], at: datetime, zones: tuple[str, ...]
) -> None:
    window = CallingWindow.parse(specs)
    opens, closes = window.next_opening(at, zoned(*zones)), window.closes_at(at, zoned(*zones))
    for found, is_open in ((opens, True), (closes, False)):
        minute, last = at, min(found or at + timedelta(days=14), at + timedelta(days=2))
        while minute < last:
            assert slow_is_open(specs, minute, zones) is not is_open
            minute += MINUTE
        if found is not None:
            assert found.utcoffset() == timedelta(0)
            assert at <= found <= at + timedelta(days=14)
            assert slow_is_open(specs, found, zones) is is_open
            assert found == at or slow_is_open(specs, found - MINUTE, zones) is not is_open


@pytest.mark.parametrize("zone", ZONES)
def test_every_minute_around_a_change_of_the_clock(zone: str) -> None:
    specs: list[dict[str, object]] = [
        {"days": list(DAYS[:5]), "from": "01:15", "to": "02:45"},
        {"days": list(DAYS[4:]), "from": "23:30", "to": "00:30"},
    ]
    window = CallingWindow.parse(specs)
    for near in MOMENTS[zone]:
        at = near - timedelta(hours=30)
        for _ in range(60 * 60):
            assert window.is_open(at, zoned(zone)) is slow_is_open(specs, at, (zone,)), (zone, at)
            at += MINUTE


def test_an_hour_that_is_skipped_is_not_open_and_one_that_is_repeated_is_open_twice() -> None:
    zone = zoned("America/New_York")
    skipped, twice = CallingWindow.parse("sun 02:00-03:00"), CallingWindow.parse("sun 01:00-01:30")
    assert skipped.next_opening(utc(2026, 3, 8, 0), zone) == utc(2026, 3, 15, 6)
    for hour in (5, 6):
        assert twice.next_opening(utc(2026, 11, 1, hour - 1, 30), zone) == utc(2026, 11, 1, hour)
        assert twice.closes_at(utc(2026, 11, 1, hour), zone) == utc(2026, 11, 1, hour, 30)


def test_hours_over_midnight_belong_to_the_day_on_which_they_start() -> None:
    window = CallingWindow.parse({"days": "fri", "from": "22:00", "to": "02:00"})
    assert window.is_open(utc(2026, 6, 6, 1, 59), zoned("UTC"))  # Saturday
    assert not window.is_open(utc(2026, 6, 6, 2), zoned("UTC"))
    assert not window.is_open(utc(2026, 6, 5, 1), zoned("UTC"))  # Friday, after Thursday's midnight


def test_hours_over_the_end_of_the_week() -> None:
    assert CallingWindow.parse("sun 22:00-02:00").closes_at(utc(2026, 6, 7, 23), zoned("UTC")) == utc(
        2026, 6, 8, 2
    )


@pytest.mark.parametrize("zones", [("America/Los_Angeles", "Asia/Kolkata"), None, ()])
def test_without_a_common_hour_or_any_zone_it_never_opens(zones: tuple[str, ...] | None) -> None:
    window, at, place = CallingWindow.parse("09:00-17:00"), utc(2026, 6, 1, 18), Place((), zones)
    assert not window.is_open(at, place)
    assert window.next_opening(at, place) is None
    assert window.closes_at(at, place) == at
    assert window.longest_opening(at, place) == timedelta(0)


def test_always_open_never_closes() -> None:
    window = CallingWindow.parse("00:00-24:00")
    at = utc(2026, 10, 20, 1, 2, 3)
    assert window.next_opening(at, zoned("Europe/London")) == at
    assert window.closes_at(at, zoned("Europe/London")) is None


def test_a_named_zone_counts_for_everybody() -> None:
    window = CallingWindow.parse({"from": "09:00", "to": "20:00", "timezone": "America/New_York"})
    assert window.rules.timezone == "America/New_York"
    assert window.is_open(utc(2026, 6, 1, 13), zoned("Asia/Kolkata"))
    assert window.is_open(utc(2026, 6, 1, 13), NOWHERE)
    assert not window.is_open(utc(2026, 6, 1, 12, 59), NOWHERE)


def test_naive_times_are_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        CallingWindow.parse("09:00-20:00").is_open(datetime(2026, 6, 1), NOWHERE)  # noqa: DTZ001


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_voiceinfra.rules.calling_window.window._MAX_CACHED", 3)
    window = CallingWindow.parse("09:00-20:00")
    for week in range(10):
        window.is_open(utc(2026, 1, 1) + timedelta(weeks=week), zoned("UTC"))
    assert len(window._weeks) <= 3


SAME = [
    {"days": "mon-fri", "from": "09:00", "to": "20:00"},
    {"days": "Monday - Friday", "from": "9:00", "to": "20:00"},
    {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "20:00"},
    {"days": ["mon-wed", "thu", "fri"], "from": "09:00", "to": "20:00"},
    [
        {"days": "mon-fri", "from": "09:00", "to": "12:00"},
        {"days": "mon-fri", "from": "11:00", "to": "20:00"},
    ],
    "mon-fri 09:00-20:00",
    "mon,tue,wed 9:00 - 20:00; thu-fri 9:00-20:00;",
    ["mon-wed 09:00-20:00", {"days": "thu,fri", "from": "09:00", "to": "20:00"}],
    json.dumps({"days": "mon-fri", "from": "09:00", "to": "20:00"}),
    json.dumps([{"days": "mon-fri", "from": "09:00", "to": "20:00"}]),
]


@pytest.mark.parametrize("spec", SAME)
def test_ways_to_write_the_same_window(spec: object) -> None:
    window = CallingWindow.parse(spec)
    assert window == CallingWindow.parse(SAME[0])
    assert CallingWindow.parse(window) is window


def test_days_over_the_end_of_the_week() -> None:
    assert CallingWindow.parse("sat-mon 09:00-10:00") == CallingWindow.parse("mon,sat,sun 09:00-10:00")


def test_text_with_a_zone() -> None:
    window = CallingWindow.parse("mon-fri 09:00-20:00; sat 10:00-16:00 America/New_York")
    assert window.rules.timezone == "America/New_York"


BAD = {
    "number": (5, "not int"),
    "none": (None, "NoneType"),
    "empty list": ([], "no window"),
    "empty text": ("", "no window"),
    "list of numbers": ([5], "part 1: must be a mapping"),
    "no json": ('{"from": ', "not JSON"),
    "no times": ("mon-fri", "'mon-fri' is none"),
    "am and pm": ("9am-8pm", "'9am-8pm' is none: hours go from 00:00 to 24:00, without am and pm; write it"),
    "trailing pm": ("09:00-08:00pm", "without am and pm"),
    "typed dash": ("mon-fri 09:00\N{EN DASH}20:00", r"a plain hyphen \(-\) stands between two ends"),
    "to": ("09:00 to 20:00", "a hyphen stands between two ends, not 'to'"),
    "comma": (
        "mon-fri 09:00-20:00, sat 10:00-16:00",
        "a semicolon stands between parts, no comma; write it such as 'mon-fri 09:00-20:00; sat 10:00-16:00'",
    ),
    "missing to": ({"from": "09:00"}, "'to' is missing"),
    "missing from": ({"to": "09:00"}, "'from' is missing"),
    "other name": (
        {"start": "09:00", "to": "20:00"},
        "no field 'start'.*days, from, to, timezone, regions",
    ),
    "sexagesimal": ({"from": 540, "to": "20:00"}, "'from' is 540; write hours and minutes as text"),
    "late": ({"from": "09:00", "to": "24:01"}, "'to' is '24:01'"),
    "minutes": ({"from": "09:60", "to": "20:00"}, "'from' is '09:60'"),
    "no clock": ({"from": "nine", "to": "20:00"}, "'from' is 'nine'"),
    "from midnight": ({"from": "24:00", "to": "20:00"}, "write 00:00 and the day after"),
    "no time": ({"from": "09:00", "to": "09:00"}, "are the same"),
    "unknown day": ({"days": "mon-fry", "from": "09:00", "to": "20:00"}, "'days' has 'mon-fry'"),
    "no day": ({"days": [], "from": "09:00", "to": "20:00"}, "'days' has"),
    "day number": ({"days": 5, "from": "09:00", "to": "20:00"}, "'days' has 5"),
    "list of numbers as days": ({"days": [1], "from": "09:00", "to": "20:00"}, "'days' has 1"),
    "three ends": ({"days": "mon-tue-wed", "from": "09:00", "to": "20:00"}, "mon-tue-wed"),
    "zone": ({"from": "09:00", "to": "20:00", "timezone": "New York"}, "'New York' is no time zone"),
    "zone number": ({"from": "09:00", "to": "20:00", "timezone": 5}, "IANA name"),
    "zone folder": ({"from": "09:00", "to": "20:00", "timezone": "America"}, "no time zone"),
    "zone path": ({"from": "09:00", "to": "20:00", "timezone": "../UTC"}, "no time zone"),
    "own zone": ({"from": "09:00", "to": "20:00", "timezone": "localtime"}, "no time zone"),
    "two zones": (["09:00-10:00 UTC", "11:00-12:00 Asia/Kolkata"], "several time zones"),
    "second part": (["mon 09:00-10:00", {"from": "09:00"}], "part 2: 'to' is missing"),
}


@pytest.mark.parametrize(("spec", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_window_is_refused_with_the_field_and_the_remedy(spec: object, message: str) -> None:
    with pytest.raises(InvalidCallError, match=message) as caught:
        CallingWindow.parse(spec)
    assert caught.value.field == "calling_window"


@pytest.mark.parametrize(
    ("own", "number", "zones"),
    [
        ("Asia/Kolkata", "+14155550100", ("Asia/Kolkata",)),
        (None, "+14155550100", ("America/Los_Angeles",)),
        ("", "+442079460123", ("Europe/London",)),
        (None, "+15555550100", None),
        (None, "+999123456", None),
        (None, "nonsense", None),
    ],
)
def test_zones_are_those_of_the_contact_or_of_its_number(own: str | None, number: str, zones: Any) -> None:
    assert place_of(number, Recipient(own)).zones == zones


def test_an_unknown_own_zone_is_refused() -> None:
    with pytest.raises(InvalidCallError, match=r"timezone: 'Mars/Base' is no time zone"):
        place_of("+14155550100", Recipient("Mars/Base"))


def test_a_number_over_several_zones_is_called_when_all_are_awake() -> None:
    zones = place_of("+61491570156").zones
    assert zones is not None
    assert {"Australia/Perth", "Australia/Sydney"} <= set(zones)
    opening = CallingWindow.parse("09:00-20:00").next_opening(utc(2026, 6, 1, 15), zoned(*zones))
    assert opening is not None
    assert all(9 <= opening.astimezone(ZoneInfo(zone)).hour < 20 for zone in zones)


def test_a_zone_that_this_computer_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_zones(("America/New_York", "Mars/Base")) is None
    assert usable_zones(()) is None


@settings(max_examples=5, deadline=None)
@given(
    day=st.sampled_from(DAYS),
    opens=st.integers(0, 23),
    at=moments(),
    zones=st.lists(st.sampled_from(ZONES), min_size=1, max_size=2, unique=True).map(tuple),
)
def test_nothing_is_open_before_the_next_opening_in_two_weeks(
    day: str, opens: int, at: datetime, zones: tuple[str, ...]
) -> None:
    specs: list[dict[str, object]] = [{"days": [day], "from": f"{opens:02d}:00", "to": f"{opens:02d}:30"}]
    found = CallingWindow.parse(specs).next_opening(at, zoned(*zones))
    minutes = (at + MINUTE * step for step in range(14 * 24 * 60 + 1))
    assert found == next((minute for minute in minutes if slow_is_open(specs, minute, zones)), None)


def test_importing_costs_nothing() -> None:
    script = (
        "import sys, airflow_provider_voiceinfra.campaigns.contacts.reader; "
        "import airflow_provider_voiceinfra.rules.calling_window.window; "
        "print(sorted({'airflow', 'phonenumbers', 'pendulum', 'requests', 'sqlalchemy'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
