"""The regions that a number may be in, by their ISO 3166 codes; never what time it is there."""

from __future__ import annotations

from functools import lru_cache

from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.masking import mask_numbers_in
from airflow_provider_voiceinfra.rules.calling_window.area_codes import zones_of_area_code
from airflow_provider_voiceinfra.rules.calling_window.area_regions import (
    american_regions,
    area_codes_of,
    regions_of_area_code,
)
from airflow_provider_voiceinfra.rules.calling_window.zones import usable_zones

# All that phonenumbers knows, which is not asked: its tables are of no use to a process that reads DAG files.
_CODES = """
    AC AD AE AF AG AI AL AM AO AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BW
    BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET
    FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GT GU GW GY HK HN HR HT HU ID IE IL IM IN
    IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD
    ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA
    PE PF PG PH PK PL PM PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS
    ST SV SX SY SZ TA TC TD TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG US UY UZ VA VC VE VG VI VN VU WF
    WS XK YE YT ZA ZM ZW
"""
_COUNTRIES = frozenset(_CODES.split())
_SUBDIVIDED = ("US", "CA")
# Parts of the United States that have a code of their own.
_TERRITORIES = {f"US-{code}": code for code in ("AS", "GU", "MP", "PR", "VI")}
_MEANT = {"USA": "US", "UK": "GB", "CAN": "CA", "FRA": "FR", "DEU": "DE", "GBR": "GB"}


def region_named(text: str) -> str:
    """Return a region by its code: a country, a state of the US, or a province or territory of Canada.

    :raises InvalidCallError: naming ``region`` if there is none, with what may have been meant.
    """
    code = text.strip().upper()
    code = _TERRITORIES.get(code, code)
    if code in _COUNTRIES or code in american_regions():
        return code
    shown = mask_numbers_in(text[:64])  # a cell in the wrong column may hold anything
    country = code.partition("-")[0]
    if country in _COUNTRIES and country not in _SUBDIVIDED:
        raise _error(f"{shown!r} is no region that is known; of {country} write {country} as a whole")
    raise _error(f"{shown!r} is no region; write a code such as FR or US-FL{_meant(code)}")


def region_of(text: str, number: str) -> str:
    """Return the region that somebody with a number is in, by what is written of them.

    :raises InvalidCallError: naming ``region`` if there is none, or if a state was meant: ``IN`` is India.
    """
    code = region_named(text)
    states = [f"{country}-{code}" for country in _SUBDIVIDED if f"{country}-{code}" in american_regions()]
    if number.startswith("+1") and states:
        countries = {region.partition("-")[0] for region in regions_of_number(number)}
        if code not in countries:
            raise _error(
                f"{code!r} is a country, and not that of the number; for the state write {states[0]}, or "
                "leave it out and name the time zone in timezone"
            )
    return code


@lru_cache(maxsize=8192)
def regions_of_number(number: str) -> tuple[str, ...]:
    """Return all regions that a number may be in, sorted; none if it may be anywhere.

    :param number: in E.164 form.
    """
    if number.startswith("+1"):
        return regions_of_area_code(number[2:5]) or american_regions()
    # Imported late: their tables are of no use to a process that only parses DAG files.
    import phonenumbers

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return ()
    country = phonenumbers.region_code_for_number(parsed)
    shared = phonenumbers.region_codes_for_country_code(parsed.country_code or 0)
    # Of calls to no country in particular, such as to satellites, the country is 001.
    return tuple(sorted(_COUNTRIES.intersection([country] if country else shared)))


@lru_cache(maxsize=512)
def zones_of_region(region: str) -> tuple[str, ...] | None:
    """Return all time zones of a region, as IANA names; ``None`` if none is known.

    Of a country beyond +1 these are all that share its country code.
    """
    codes = area_codes_of(region)
    if codes:
        return usable_zones(tuple(zone for code in codes for zone in zones_of_area_code(code)))
    import phonenumbers  # likewise
    from phonenumbers.tzdata import TIMEZONE_DATA

    return usable_zones(TIMEZONE_DATA.get(str(phonenumbers.country_code_for_region(region)), ()))


def _meant(code: str) -> str:
    # Imported late: it is of use for what is misspelt alone.
    from difflib import get_close_matches

    known = sorted(_COUNTRIES.union(american_regions()))
    near = _MEANT.get(code) or next((name for name in known if name == f"US-{code}"), None)
    near = near or next(iter(get_close_matches(code, known, n=1)), None)
    return f"; did you mean {near!r}?" if near else ""


def _error(rule: str) -> InvalidCallError:
    return InvalidCallError("region", rule)
