"""What a calling window says of regions and days off, as users write it."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime, timedelta, timezone

import pytest

from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.rules.calling_window.days_off import _holidays
from airflow_provider_voiceinfra.rules.calling_window.hours import CallingHours
from airflow_provider_voiceinfra.rules.calling_window.place import Place, place_of
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow
from airflow_provider_voiceinfra.rules.recipient import Recipient
from tests.rules.calling_window.test_window import NOWHERE, utc, zoned

BY_STATE = "US-FL 08:00-20:00; US 08:00-21:00; FR mon-fri 10:00-13:00,14:00-20:00"
MIAMI, NEW_YORK, PARIS, LONDON = "+13055550100", "+12125550100", "+33612345678", "+442079460123"
MARITIMES, YUKON, TOLL_FREE, SATELLITE = "+19025550100", "+18675550100", "+18005550100", "+870773111632"
# A Wednesday, 20:30 in New York.
EVENING = utc(2026, 6, 4, 0, 30)
NOON = utc(2026, 6, 3, 11, 30)


def parsed(spec: object) -> CallingWindow:
    return CallingWindow.parse(spec)


def test_the_most_specific_part_counts_whatever_the_order() -> None:
    for text in (BY_STATE, "; ".join(reversed(BY_STATE.split("; ")))):
        window = parsed(text)
        assert window.is_open(EVENING, place_of(NEW_YORK))
        assert not window.is_open(EVENING, place_of(MIAMI))
        assert window.closes_at(EVENING - timedelta(hours=2), place_of(MIAMI)) == utc(2026, 6, 4, 0)


def test_a_narrower_part_may_allow_more() -> None:
    window = parsed("US-FL 07:00-22:00; US 08:00-21:00; FR 10:00-12:00; 11:00-13:00")
    assert window.next_opening(utc(2026, 6, 3, 5), place_of(MIAMI)) == utc(2026, 6, 3, 11)
    assert window.next_opening(utc(2026, 6, 3, 5), place_of(NEW_YORK)) == utc(2026, 6, 3, 12)
    assert window.next_opening(utc(2026, 6, 3, 5), place_of(PARIS)) == utc(2026, 6, 3, 8)


def test_several_spans_of_a_day() -> None:
    window, place = parsed(BY_STATE), place_of(PARIS)
    assert window.next_opening(NOON, place) == utc(2026, 6, 3, 12)
    assert window.closes_at(utc(2026, 6, 3, 9), place) == utc(2026, 6, 3, 11)
    assert window.next_opening(utc(2026, 6, 5, 18), place) == utc(2026, 6, 8, 8)  # Friday evening


@pytest.mark.parametrize(
    ("code", "number"),
    [
        ("PR", "+17875550100"),
        ("VI", "+13405550100"),
        ("GU", "+16715550100"),
        ("AS", "+16845550100"),
        ("MP", "+16705550100"),
    ],
)
def test_territories_are_found_by_the_code_of_a_state_as_well(code: str, number: str) -> None:
    assert parsed(f"US-{code} 00:00-24:00").is_open(NOON, place_of(number))
    assert not parsed(f"US 08:00-20:00; US-{code} off 2026-06-03").is_open(NOON, place_of(number))


def test_a_part_without_a_region_is_for_whom_no_part_names() -> None:
    window = parsed("FR 10:00-20:00; 09:00-17:00")
    assert window.next_opening(utc(2026, 6, 3, 0), place_of(LONDON)) == utc(2026, 6, 3, 8)
    assert window.next_opening(utc(2026, 6, 3, 0), place_of(PARIS)) == utc(2026, 6, 3, 8)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (
            LONDON,
            "the number may be in GB, for which the calling window has no part; add one, or one without a "
            "region, or pass region, or fill the column region, if the person is in another one",
        ),
        ("+17875550100", "the number may be in PR, for which"),
        (MARITIMES, "the number may be in CA-NS, CA-PE, for which"),
        (TOLL_FREE, r"the number may be in AG, AI, AS, BB, BM and \d\d others, for which"),
        (SATELLITE, "the number may be in any region, and no part of the calling window is for all"),
    ],
)
def test_whom_no_part_is_for_is_never_called(number: str, why: str) -> None:
    window, place = parsed(BY_STATE + " UTC"), place_of(number)
    assert window.next_opening(NOON, place) is None
    assert not window.is_open(NOON, place)
    assert window.closes_at(NOON, place) == NOON
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(window.why_never(place))


def test_a_number_of_several_provinces_is_called_when_all_allow_it() -> None:
    window = parsed("CA-NS 09:00-18:00; CA-PE 12:00-20:00; 00:00-24:00")
    opening = window.next_opening(utc(2026, 6, 3, 0), place_of(MARITIMES))
    assert opening == utc(2026, 6, 3, 15)  # 12:00 in Halifax
    assert window.closes_at(opening, place_of(MARITIMES)) == utc(2026, 6, 3, 21)
    nova_scotia = place_of(MARITIMES, Recipient(region="CA-NS"))
    assert window.next_opening(utc(2026, 6, 3, 0), nova_scotia) == utc(2026, 6, 3, 12)


def test_regions_that_share_no_hour_are_named() -> None:
    window = parsed("CA-NS 09:00-12:00; CA-PE 12:00-20:00")
    assert window.why_never(place_of(MARITIMES)) == (
        "the number may be in any of several regions (CA-NS, CA-PE), whose parts of the calling window share "
        "no hour; pass region, or fill the column region"
    )
    assert window.why_never(place_of(MARITIMES, Recipient(region="CA-PE"))) is None


def test_somebody_in_a_country_may_be_in_each_part_of_it() -> None:
    window, place = parsed(BY_STATE), place_of(MIAMI, Recipient("America/New_York", "US"))
    assert place.regions == ("US",)
    assert not window.is_open(EVENING, place)
    assert parsed("US-FL 08:00-20:00").why_never(place) is not None
    assert not parsed("00:00-24:00; US-RI off 2026-06-03").is_open(NOON, place)
    assert parsed("00:00-24:00; FR off 2026-06-03").is_open(NOON, place)


def test_a_number_without_a_zone_is_open_in_the_zone_of_the_window_only() -> None:
    place = place_of("+15555550100")
    assert parsed("09:00-17:00").why_never(place) == (
        "the number has no time zone, so no calling hours are known; pass timezone, or fill the "
        "column timezone"
    )
    assert parsed("09:00-17:00 UTC").is_open(NOON, place)
    assert parsed("09:00-17:00").is_open(NOON, place_of("+15555550100", Recipient("Europe/London")))


def test_a_number_that_may_be_anywhere_is_called_when_every_part_allows_it() -> None:
    window, place = (
        parsed("FR 10:00-12:00; US 11:00-15:00; 09:00-17:00"),
        place_of(SATELLITE, Recipient("UTC")),
    )
    assert place.regions == ()
    assert window.next_opening(utc(2026, 6, 3), place) == utc(2026, 6, 3, 11)
    assert window.closes_at(utc(2026, 6, 3, 11), place) == utc(2026, 6, 3, 12)
    assert not parsed("00:00-24:00; FR off 2026-06-03").is_open(NOON, place)


def test_zones_that_share_no_hour_are_counted() -> None:
    assert parsed("09:00-12:00").why_never(place_of(TOLL_FREE)) == (
        "the number may be in any of 42 time zones, which share no hour of the calling window; pass "
        "timezone, or fill the column timezone"
    )
    assert parsed("09:00-12:00").why_never(place_of(MIAMI)) is None


# Days off.


def test_a_date_off_goes_from_midnight_to_midnight_where_people_live() -> None:
    window = parsed("00:00-24:00; off 2026-12-25")
    for zone, opens in (("Asia/Tokyo", 15), ("Europe/London", 24)):
        closed = utc(2026, 12, 24) + timedelta(hours=opens)
        assert window.closes_at(utc(2026, 12, 24), zoned(zone)) == closed
        assert window.next_opening(closed, zoned(zone)) == closed + timedelta(days=1)


def test_a_date_off_cuts_what_went_on_over_midnight() -> None:
    window = parsed("fri 22:00-02:00; off 2026-06-06")
    assert window.closes_at(utc(2026, 6, 5, 22), zoned("UTC")) == utc(2026, 6, 6)
    assert window.next_opening(utc(2026, 6, 6), zoned("UTC")) == utc(2026, 6, 12, 22)


def test_days_off_add_up_from_everywhere_to_the_narrowest_region() -> None:
    window = parsed(BY_STATE + "; off 2026-06-03; US off 2026-06-04; US-FL off 2026-06-05")
    day = timedelta(days=1)
    for number, days in ((PARIS, 1), (NEW_YORK, 2), (MIAMI, 3)):
        at = utc(2026, 6, 3, 12)
        assert window.next_opening(at, place_of(number)).day == 3 + days, number  # type: ignore[union-attr]
        assert window.is_open(at - day, place_of(number)) or number == PARIS


def test_hours_of_a_region_stay_those_of_all_if_only_its_days_off_differ() -> None:
    window = parsed("09:00-17:00; FR off 2026-07-14")
    assert not window.is_open(utc(2026, 7, 14, 12), place_of(PARIS))
    assert window.is_open(utc(2026, 7, 14, 12), place_of(LONDON))
    assert window.is_open(utc(2026, 7, 15, 12), place_of(PARIS))


def test_days_off_alone_leave_every_other_hour_open() -> None:
    window = parsed("off 2026-07-14")
    assert not window.is_open(utc(2026, 7, 14, 3), zoned("UTC"))
    assert window.is_open(utc(2026, 7, 15, 3), zoned("UTC"))


def test_it_looks_past_days_off_for_two_weeks() -> None:
    def off(days: int) -> CallingWindow:
        return parsed(
            {"from": "09:00", "to": "17:00", "off": [date(2026, 6, day + 1) for day in range(days)]}
        )

    assert off(13).next_opening(utc(2026, 6, 1), zoned("UTC")) == utc(2026, 6, 14, 9)
    assert off(15).next_opening(utc(2026, 6, 1), zoned("UTC")) is None
    assert off(15).longest_opening(utc(2026, 6, 1), zoned("UTC")) == timedelta(0)
    # They pass, so it is not never.
    assert off(15).why_never(zoned("UTC")) is None


def test_public_holidays_are_those_of_the_calendar_that_is_named() -> None:
    window = parsed("US 09:00-17:00; US-RI holidays US-RI; FR 09:00-17:00; FR holidays FR")
    providence, victory_day, bastille_day = "+14015550100", utc(2026, 8, 10, 15), utc(2026, 7, 14, 15)
    assert not window.is_open(victory_day, place_of(providence))
    assert window.is_open(victory_day, place_of(NEW_YORK))
    assert not window.is_open(bastille_day - timedelta(hours=1), place_of(PARIS))
    assert window.is_open(bastille_day, place_of(providence))
    new_year = parsed("09:00-17:00; holidays FR")
    assert not new_year.is_open(utc(2027, 1, 1, 12), zoned("Europe/Paris"))
    assert new_year.is_open(utc(2026, 12, 31, 12), zoned("Europe/Paris"))


def test_a_missing_library_is_named_once_a_calendar_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    window = parsed("09:00-17:00; holidays IS")
    monkeypatch.setitem(sys.modules, "holidays", None)
    _holidays.cache_clear()
    with pytest.raises(InvalidCallError, match=r"holidays of IS.*: pip install holidays$"):
        window.is_open(NOON, zoned("UTC"))
    assert parsed("09:00-17:00; off 2026-01-01").is_open(NOON, zoned("UTC"))


def test_a_calendar_that_is_unknown_is_named() -> None:
    with pytest.raises(InvalidCallError, match=r"holidays of US-XX, a calendar that .* does not have"):
        parsed("09:00-17:00; holidays US-XX").is_open(NOON, zoned("UTC"))


# Several windows.


def test_without_windows_it_is_always_open() -> None:
    hours = CallingHours()
    assert hours.is_open(NOON, NOWHERE)
    assert hours.next_opening(NOON, NOWHERE) == NOON
    assert hours.closes_at(NOON, NOWHERE) is None
    assert hours.why_never(NOWHERE) is None
    assert hours.longest_opening(NOON, NOWHERE) > timedelta(days=14)


def test_several_windows_are_open_when_all_of_them_are() -> None:
    hours = CallingHours(
        (parsed("09:00-12:00,14:00-18:00"), parsed("11:00-15:00 UTC"), parsed("mon-thu 00:00-24:00"))
    )
    place, friday = zoned("UTC"), utc(2026, 6, 5)
    assert hours.next_opening(utc(2026, 6, 4), place) == utc(2026, 6, 4, 11)
    assert hours.closes_at(utc(2026, 6, 4, 11), place) == utc(2026, 6, 4, 12)
    assert hours.next_opening(utc(2026, 6, 4, 12), place) == utc(2026, 6, 4, 14)
    assert hours.next_opening(friday, place) == utc(2026, 6, 8, 11)
    assert hours.longest_opening(friday, place) == timedelta(hours=1)
    assert hours.why_never(place) is None


def test_windows_that_share_no_hour_say_so_and_the_first_that_is_never_open_says_why() -> None:
    apart = CallingHours((parsed("09:00-12:00"), parsed("12:00-18:00")))
    assert apart.next_opening(NOON, zoned("UTC")) is None
    assert apart.why_never(zoned("UTC")) == "the calling windows that apply share no hour; change one of them"
    one = CallingHours((parsed("09:00-12:00"), parsed("FR 09:00-12:00")))
    assert str(one.why_never(place_of(LONDON))).startswith("the number may be in GB")


# As it is written.


SAME = [
    "US-FL,US-OK mon-fri 08:00-12:00,13:00-20:00; 09:00-17:00; US-FL off 2026-12-25,2027-01-01;"
    " holidays US-RI",
    " US-OK , US-FL  mon-fri 08:00-12:00 , 13:00 - 20:00;9:00-17:00;US-FL OFF 2026-12-25 , 2027-01-01;"
    "Holidays US-RI",
    [
        {"regions": "us-fl, US-OK", "days": "mon-fri", "from": "08:00", "to": "12:00"},
        {"regions": ["US-FL", "US-OK"], "days": "mon-fri", "from": "13:00", "to": "20:00"},
        {"from": "09:00", "to": "17:00", "holidays": "US-RI", "regions": None},
        {"regions": "US-FL", "off": ["2026-12-25", date(2027, 1, 1)]},
    ],
    [
        "US-FL,US-OK mon-fri 08:00-12:00,13:00-20:00",
        {"from": "09:00", "to": "17:00"},
        {"regions": ("US-FL",), "off": "2026-12-25, 2027-01-01"},
        {"holidays": ["US-RI"]},
    ],
]


@pytest.mark.parametrize("spec", SAME)
def test_ways_to_write_the_same_window(spec: object) -> None:
    window = parsed(spec)
    assert window == parsed(SAME[0])
    assert parsed(window.spec) == window
    assert parsed(window.spec).spec == window.spec


def test_a_mapping_with_one_date_is_text_again() -> None:
    window = parsed({"off": date(2026, 12, 25)})
    assert json.loads(window.spec) == {"off": "2026-12-25"}
    assert parsed(window.spec) == window == parsed("off 2026-12-25")


BAD = {
    "lower case": ("us-fl 08:00-20:00", "'days' has 'us-fl'.*a region before it is in capitals"),
    "a day for a country": ("sa 08:00-20:00", "'days' has 'sa'"),
    "no state": ("US-FK 08:00-20:00", "'regions': 'US-FK' is no region; .* did you mean 'US-"),
    "no country": ("ZZ 08:00-20:00", "'ZZ' is no region"),
    "German days": ("MO-FR 08:00-20:00", "'MO-FR' is no region that is known; of MO write MO as a whole"),
    "state of Germany": ({"regions": "DE-BY", "off": "2026-01-06"}, "of DE write DE as a whole"),
    "regions": ({"regions": 5, "from": "09:00", "to": "10:00"}, "'regions' has 5; write US-FL"),
    "no regions": ({"regions": [], "from": "09:00", "to": "10:00"}, "'regions' has \\[\\]"),
    "no date": ("off 2026-02-30", "'off' has '2026-02-30'; write dates such as 2026-12-25"),
    "no month": (
        "US-FL off 2026-13-01",
        "'off' has day 01 of month 13 of 2026: no date; write dates such as 2026-12-25",
    ),
    "half a date": ("off 12-25", "write it such as 'off 2026-12-25, 2027-01-01'"),
    "a moment": ({"off": [datetime(2026, 1, 1, tzinfo=timezone.utc)]}, "'off' has datetime"),
    "a number": ({"off": [2026]}, "'off' has 2026"),
    "no dates": ({"off": []}, "'off' has \\[\\]"),
    "no calendar": ({"holidays": "Rhode Island"}, "'holidays' has 'Rhode Island'; name a calendar"),
    "calendars": ({"holidays": []}, "'holidays' has \\[\\]"),
    "half hours": ({"days": "mon", "off": "2026-01-01"}, "'from' is missing"),
    "a span twice": ("09:00-10:00,,11:00-12:00", "is none; write it such as 'mon-fri"),
    "a day between": ("mon 09:00-10:00, tue 11:00-12:00", "is none: a semicolon stands between parts"),
}


@pytest.mark.parametrize(("spec", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_part_is_refused_with_the_remedy(spec: object, message: str) -> None:
    with pytest.raises(InvalidCallError, match=message) as caught:
        parsed(spec)
    assert caught.value.field == "calling_window"


def test_a_place_is_remembered_whatever_proves_consent() -> None:
    assert place_of(MIAMI, Recipient(consent="a")) is place_of(MIAMI, Recipient(consent="b"))
    assert {place_of(MIAMI): 1}[Place(("US-FL",), ("America/New_York",))] == 1
    assert place_of(YUKON).regions == ("CA-NT", "CA-NU", "CA-YT")
