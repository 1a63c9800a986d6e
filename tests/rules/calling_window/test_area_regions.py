"""Every area code of +1, compared with the places that phonenumbers knows in it."""

from __future__ import annotations

import phonenumbers
import pytest
from phonenumbers.phonenumberutil import SUPPORTED_REGIONS

from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.rules.calling_window.area_codes import _OVERLAYS, zones_of_area_code
from airflow_provider_voiceinfra.rules.calling_window.area_regions import (
    american_regions,
    area_codes_of,
    regions_of_area_code,
)
from airflow_provider_voiceinfra.rules.calling_window.place import place_of
from airflow_provider_voiceinfra.rules.calling_window.regions import (
    _COUNTRIES,
    region_named,
    regions_of_number,
    zones_of_region,
)
from airflow_provider_voiceinfra.rules.recipient import Recipient
from tests.rules.calling_window import oracle

CODES = [str(code) for code in range(200, 1000)]
KNOWN = [code for code in CODES if regions_of_area_code(code)]


def test_every_area_code_is_where_the_places_of_its_exchanges_are() -> None:
    assert {code: set(regions_of_area_code(code)) for code in KNOWN} == oracle.area_regions()


def test_every_area_code_that_has_a_zone_has_a_region_and_the_other_way_round() -> None:
    assert [code for code in CODES if zones_of_area_code(code)] == KNOWN
    assert len(KNOWN) == 457


def test_every_area_code_in_service_is_in_the_country_that_phonenumbers_says() -> None:
    # Codes that serve no area are put to the United States or Canada by their number.
    without_area = {"5", "6", "8", "9"}
    for code in CODES:
        country = phonenumbers.region_code_for_number(phonenumbers.parse(f"+1{code}5550100"))
        found = {region.partition("-")[0] for region in regions_of_area_code(code)}
        if found:
            assert country is None or found == {country}, code
        else:
            assert country is None or (country in ("US", "CA") and code[0] in without_area), code


def test_overlays_of_one_area_serve_the_same_regions() -> None:
    for overlay in _OVERLAYS.split():
        assert len({regions_of_area_code(code) for code in overlay.split("/")}) == 1, overlay


def test_all_states_and_provinces_are_there() -> None:
    states = {region for region in american_regions() if region.startswith("US-")}
    provinces = {region for region in american_regions() if region.startswith("CA-")}
    assert (len(states), len(provinces)) == (51, 13)
    others = set(phonenumbers.region_codes_for_country_code(1)) - {"US", "CA"}
    assert set(american_regions()) - states - provinces == others


@pytest.mark.parametrize(
    ("number", "regions"),
    [
        ("+13055550100", ("US-FL",)),
        ("+18675550100", ("CA-NT", "CA-NU", "CA-YT")),
        ("+19025550100", ("CA-NS", "CA-PE")),
        ("+17825550100", ("CA-NS", "CA-PE")),
        ("+17875550100", ("PR",)),
        ("+33612345678", ("FR",)),
        ("+442079460123", ("GB",)),
        ("+447781123456", ("GG",)),
        ("+77012345678", ("KZ",)),
        ("+870773111632", ()),
        ("+999123456", ()),
        ("nonsense", ()),
    ],
)
def test_regions_of_a_number(number: str, regions: tuple[str, ...]) -> None:
    assert regions_of_number(number) == regions


@pytest.mark.parametrize("number", ["+18005550100", "+15555550100"])
def test_a_number_of_no_area_may_be_anywhere_in_its_numbering_plan(number: str) -> None:
    assert regions_of_number(number) == american_regions()


def test_a_number_whose_country_cannot_be_found_may_be_in_all_that_share_its_code() -> None:
    assert regions_of_number("+4411") == ("GB", "GG", "IM", "JE")


def test_all_countries_are_known_that_numbers_can_be_in() -> None:
    assert set(SUPPORTED_REGIONS) <= _COUNTRIES
    assert all(region_named(code.lower()) == code for code in _COUNTRIES)


@pytest.mark.parametrize(("text", "region"), [("US-PR", "PR"), (" ca-on ", "CA-ON"), ("us-dc", "US-DC")])
def test_ways_to_write_a_region(text: str, region: str) -> None:
    assert region_named(text) == region


def test_the_zones_of_a_region_are_all_that_its_numbers_may_be_in() -> None:
    for region in american_regions():
        assert set(zones_of_region(region) or ()) == oracle.zones_of_region(region)
        for code in area_codes_of(region):
            assert set(zones_of_area_code(code)) <= set(zones_of_region(region) or ()), (region, code)
    assert {"America/New_York", "America/Chicago"} <= set(zones_of_region("US-FL") or ())
    assert {"America/New_York", "Pacific/Honolulu"} <= set(zones_of_region("US") or ())
    assert "America/Toronto" not in (zones_of_region("US") or ())
    assert zones_of_region("FR") == ("Europe/Paris",)


def test_every_country_has_zones() -> None:
    assert [code for code in sorted(_COUNTRIES) if not zones_of_region(code)] == []


def test_what_is_known_of_a_person_goes_before_the_number() -> None:
    number = "+12125550100"
    assert place_of(number, Recipient(region="US-HI")) == (("US-HI",), ("Pacific/Honolulu",))
    assert place_of(number, Recipient(timezone="Asia/Tokyo")) == (("US-NY",), ("Asia/Tokyo",))
    both = Recipient("Asia/Tokyo", "JP", "form 17")
    assert place_of(number, both) == (("JP",), ("Asia/Tokyo",))
    assert place_of(number, Recipient(consent="form 17")) is place_of(number)


def test_a_code_of_a_country_that_is_that_of_a_state_is_not_taken_for_the_country() -> None:
    with pytest.raises(InvalidCallError, match="for the state write US-IN"):
        place_of("+13175550100", Recipient(region="IN"))
    assert place_of("+14165550100", Recipient(region="CA")).regions == ("CA",)
    assert place_of("+919812345678", Recipient(region="IN")).regions == ("IN",)
