"""The calling window compared with an oracle that was written apart, wherever numbers can be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers.phonenumberutil import COUNTRY_CODE_TO_REGION_CODE, PhoneNumberType
from phonenumbers.tzdata import TIMEZONE_DATA

from airflow_provider_voiceinfra.rules.calling_window.hours import CallingHours
from airflow_provider_voiceinfra.rules.calling_window.place import Place, place_of
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow
from airflow_provider_voiceinfra.rules.recipient import Recipient
from tests.rules.calling_window import oracle
from tests.rules.calling_window.oracle import HORIZON, STEP, Part, Window, all_open, where

UTC = timezone.utc
AMERICAN = [f"+1{code}5550100" for code in range(200, 1000)]
MONTH = timedelta(days=30)


@cache
def numbers() -> list[str]:
    """Return a number of every area code of +1, of every kind in every country, and of no country."""
    found = dict.fromkeys(AMERICAN)
    kinds = [kind for kind in PhoneNumberType.values() if kind != PhoneNumberType.UNKNOWN]
    for code, countries in COUNTRY_CODE_TO_REGION_CODE.items():
        for country in countries:
            for kind in kinds if country not in ("001", "US", "CA") else []:
                example = phonenumbers.example_number_for_type(country, kind)
                if example:
                    found[phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)] = None
        found[f"+{code}11"] = found[f"+{code}773111632"] = None
    return list(found)


def ours(windows: list[Window]) -> CallingHours:
    return CallingHours(tuple(CallingWindow.parse(str(window)) for window in windows))


BUSY = Window(
    (
        Part(("US-FL", "US-OK"), spans=((420, 1200),)),  # of which an hour is not in that of the country
        Part(("US",), spans=((480, 1260),)),
        Part(("FR",), (0, 1, 2, 3, 4), ((600, 780), (840, 1200))),
        Part(("CA-NS",), spans=((540, 1290),)),
        Part(("CA-PE",), (0, 1, 2, 3, 4), ((600, 1080),)),
        Part(spans=((540, 1020), (1320, 120))),
        Part(("FR",), off=(date(2026, 7, 14),)),
        Part(("US-RI",), calendars=("US-RI",)),
        Part(off=(date(2026, 12, 25), date(2028, 2, 29))),
    )
)
# Summer, the changes of North America's and Europe's clocks, days off, the turn of the year, a leap day.
CHOSEN = [
    datetime(2026, 7, 14, 0, tzinfo=UTC),
    datetime(2026, 8, 10, 0, tzinfo=UTC),
    datetime(2026, 10, 25, 0, tzinfo=UTC),
    datetime(2026, 11, 1, 5, tzinfo=UTC),
    datetime(2026, 12, 25, 0, tzinfo=UTC),
    datetime(2026, 12, 31, 22, tzinfo=UTC),
    datetime(2027, 3, 14, 6, tzinfo=UTC),
    datetime(2028, 2, 29, 0, tzinfo=UTC),
]


def test_a_number_may_be_exactly_where_the_raw_data_says() -> None:
    for number in numbers():
        regions, zones = where(number)
        found = place_of(number)
        assert (set(found.regions), set(found.zones or ())) == (regions, zones), number


@pytest.mark.parametrize("day", CHOSEN, ids=str)
def test_every_number_is_called_when_every_place_that_it_may_be_in_is_awake(day: datetime) -> None:
    places = {place_of(number): where(number) for number in numbers()}
    # By one clock, numbers without a zone are called, too.
    for asked in (BUSY, replace(BUSY, zone="UTC")):
        window = CallingWindow.parse(str(asked))
        for place, (regions, zones) in places.items():
            for hour in range(0, 26, 2):
                at = day + timedelta(hours=hour, minutes=hour * 2)
                assert window.is_open(at, place) is asked.is_open(at, regions, zones), (place, at)


def changes(zone: str, first: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the whole hours just before a zone's clock is changed."""
    clock, at = ZoneInfo(zone), first
    while at < end:
        following = at + timedelta(days=1)
        if at.astimezone(clock).utcoffset() != following.astimezone(clock).utcoffset():
            hours = [at + timedelta(hours=hour) for hour in range(24)]
            offset = at.astimezone(clock).utcoffset()
            yield max(hour for hour in hours if hour.astimezone(clock).utcoffset() == offset)
        at = following


def test_every_zone_around_each_change_of_its_clock() -> None:
    window = Window((Part(spans=((30, 90), (115, 185), (1410, 15))), Part(off=(date(2026, 10, 25),))))
    asked = CallingWindow.parse(str(window))
    zones = sorted({zone for zones in TIMEZONE_DATA.values() for zone in zones})
    assert len(zones) > 250
    for zone in zones:
        for change in changes(zone, datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)):
            for step in range(-30, 80):
                at = change + step * STEP
                assert asked.is_open(at, Place((), (zone,))) is window.is_open(at, set(), {zone}), (zone, at)


# Whatever can be written.

SOME = [
    *(
        "+13055550100",
        "+13055550100",
        "+12125550100",
        "+12195550100",
        "+18505550100",
        "+18675550100",
        "+19025550100",
    ),
    *("+19075550100", "+18085550100", "+17875550100", "+18005550100", "+14035550100", "+14165550100"),
    *("+33612345678", "+442079460123", "+61491570156", "+61755550100", "+77012345678", "+9779812345678"),
    *("+870773111632", "+4411", "+15555550100", "+353851234567"),
]
NAMES = ["US-FL", "US-NY", "US", "CA", "CA-NS", "CA-PE", "FR", "GB", "PR", "AU", "US-IN"]
DATES = [
    date(2026, 3, 7),
    date(2026, 3, 8),
    date(2026, 11, 1),
    date(2026, 12, 25),
    date(2026, 12, 31),
    date(2027, 1, 1),
    date(2028, 2, 29),
    date(2028, 3, 1),
]
AT_MIDNIGHT = [0, 15, 60, 120, 180, 540, 1200, 1380, 1425]
minutes = st.one_of(st.integers(0, 287).map(lambda step: step * 5), st.sampled_from(AT_MIDNIGHT))
spans = st.lists(
    st.tuples(minutes, st.one_of(minutes, st.just(1440))).map(
        lambda span: (span[0], 1440) if span[0] == span[1] else span
    ),
    min_size=1,
    max_size=3,
).map(tuple)
weekdays = st.lists(st.integers(0, 6), min_size=1, max_size=7, unique=True).map(
    lambda days: tuple(sorted(days))
)
every_day = st.just(tuple(range(7)))
named = st.one_of(
    st.sampled_from([("US",), ("US-FL",), ("US", "FR"), ("US-FL", "CA-PE"), ("CA",)]),
    st.lists(st.sampled_from(NAMES), max_size=3, unique=True).map(tuple),
)
hours = st.builds(Part, named, st.one_of(every_day, weekdays), spans)
wide = st.builds(Part, st.just(()), every_day, st.just(((420, 1320),)))
off = st.builds(
    Part,
    named,
    off=st.one_of(
        st.lists(st.sampled_from(DATES), min_size=1, max_size=4, unique=True),
        # A run of days, which may be longer than two weeks.
        st.tuples(st.sampled_from(DATES), st.integers(2, 20)).map(
            lambda run: [run[0] + timedelta(days=day) for day in range(run[1])]
        ),
    ).map(tuple),
)
calendars = st.builds(Part, named, calendars=st.sampled_from([("US-RI",), ("FR", "US-LA")]))
parts = st.tuples(
    st.lists(st.one_of(hours, hours, wide), min_size=1, max_size=4),
    st.lists(st.one_of(off, calendars), max_size=2),
).map(lambda both: (*both[0], *both[1]))
windows = st.builds(Window, parts, st.sampled_from([None, None, None, "Europe/Berlin", "America/St_Johns"]))
zones = st.sampled_from([None, None, None, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
regions = st.sampled_from([None, None, None, "US-FL", "US", "FR", "CA-PE", "GB"])
moments = st.builds(
    lambda day, step: datetime(day.year, day.month, day.day, tzinfo=UTC) + step * STEP,
    st.one_of(st.sampled_from(DATES), st.dates(date(2026, 1, 1), date(2028, 12, 31))),
    st.integers(-400, 400),
)
people = st.tuples(st.sampled_from(SOME), zones, regions)


@settings(max_examples=400, deadline=None)
@given(
    asked=st.lists(windows, min_size=1, max_size=3), person=people, at=moments, seconds=st.integers(0, 299)
)
def test_it_is_open_exactly_when_all_windows_are_in_all_regions_and_zones(
    asked: list[Window], person: tuple[str, str | None, str | None], at: datetime, seconds: int
) -> None:
    number, zone, region = person
    place, there = place_of(number, Recipient(zone, region)), where(number, zone, region)
    at += timedelta(seconds=seconds, microseconds=seconds)
    for step in range(-12, 300, 12):
        moment = at + step * STEP
        assert ours(asked).is_open(moment, place) is all_open(asked, moment, *there)


@settings(max_examples=150, deadline=None)
@given(asked=st.lists(windows, min_size=1, max_size=2), person=people, at=moments)
def test_it_opens_at_the_first_open_instant_and_closes_at_the_first_closed_one(
    asked: list[Window], person: tuple[str, str | None, str | None], at: datetime
) -> None:
    number, zone, region = person
    place, there = place_of(number, Recipient(zone, region)), where(number, zone, region)
    hours = ours(asked)
    opens, closes = hours.next_opening(at, place), hours.closes_at(at, place)
    if hours.why_never(place):
        assert opens is None
    for found, is_open in ((opens, True), (closes, False)):
        last = found or at + (HORIZON if len(there[1]) < 3 else timedelta(days=3))
        moment = at
        while moment < last:
            assert all_open(asked, moment, *there) is not is_open, moment
            moment += STEP
        if found is not None:
            assert at <= found <= at + HORIZON
            assert all_open(asked, found, *there) is is_open
            if found > at:
                assert all_open(asked, found - timedelta(seconds=1), *there) is not is_open


@settings(max_examples=200, deadline=None)
@given(window=windows, person=people)
def test_what_was_written_as_text_or_as_mappings_means_the_same_and_can_be_read_again(
    window: Window, person: tuple[str, str | None, str | None]
) -> None:
    text, mappings = CallingWindow.parse(str(window)), CallingWindow.parse(window.mappings())
    assert text == mappings
    assert CallingWindow.parse(text.spec) == CallingWindow.parse(mappings.spec) == text


# The same examples each time: weeks of a year can differ in more ways than are looked at here.
@settings(max_examples=60, deadline=None, derandomize=True)
@given(asked=st.lists(windows, min_size=1, max_size=2), person=people)
def test_why_it_is_never_open_is_said_exactly_if_no_week_of_a_year_has_an_hour(
    asked: list[Window], person: tuple[str, str | None, str | None]
) -> None:
    number, zone, region = person
    place, there = place_of(number, Recipient(zone, region)), where(number, zone, region)
    # Days off pass.
    hours_only = [Window(tuple(p for p in w.parts if p.spans), w.zone) for w in asked]
    year = datetime(2026, 1, 1, tzinfo=UTC)
    looked_at = (
        year + month * MONTH + step * STEP for month in (0, 2.4, 2.95, 6, 9.9) for step in range(7 * 24 * 12)
    )
    is_ever = any(all_open(hours_only, moment, *there) for moment in looked_at)
    assert (ours(asked).why_never(place) is None) is is_ever


def test_the_oracle_has_both_summer_times() -> None:
    # It would agree with anything that knows no clocks.
    window = Window((Part(("US-NY",), spans=((480, 540),)),))
    regions, zones = oracle.where("+12125550100")
    winter, summer = datetime(2026, 1, 14, 13, tzinfo=UTC), datetime(2026, 7, 14, 12, tzinfo=UTC)
    assert window.is_open(winter, regions, zones)
    assert window.is_open(summer, regions, zones)
    assert not window.is_open(summer + timedelta(hours=1), regions, zones)
