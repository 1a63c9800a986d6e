"""When somebody may be called, worked out slowly and apart from the package, to compare it with.

Of the package it shares the table of overlays and nothing else. Where a number may be it takes from raw data
of ``phonenumbers``: zones from its map of prefixes, and states of +1 from the names of its places.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import phonenumbers
from holidays import country_holidays
from phonenumbers.geodata import GEOCODE_DATA
from phonenumbers.tzdata import TIMEZONE_DATA

from airflow_provider_voiceinfra.rules.calling_window.area_codes import _OVERLAYS

STEP = timedelta(minutes=5)
"""Whatever is asked about opens and closes at whole steps."""
HORIZON = timedelta(days=14)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
STATES = """
    AL Alabama, AK Alaska, AZ Arizona, AR Arkansas, CA California, CO Colorado, CT Connecticut, DE Delaware,
    DC Washington D.C., FL Florida, GA Georgia, HI Hawaii, ID Idaho, IL Illinois, IN Indiana, IA Iowa,
    KS Kansas, KY Kentucky, LA Louisiana, ME Maine, MD Maryland, MA Massachusetts, MI Michigan, MN Minnesota,
    MS Mississippi, MO Missouri, MT Montana, NE Nebraska, NV Nevada, NH New Hampshire, NJ New Jersey,
    NM New Mexico, NY New York, NC North Carolina, ND North Dakota, OH Ohio, OK Oklahoma, OR Oregon,
    PA Pennsylvania, RI Rhode Island, SC South Carolina, SD South Dakota, TN Tennessee, TX Texas, UT Utah,
    VT Vermont, VA Virginia, WA Washington State, WV West Virginia, WI Wisconsin, WY Wyoming
"""
PROVINCES = """
    AB Alberta, BC British Columbia, BC British Colombia, MB Manitoba, NB New Brunswick,
    NL Newfoundland and Labrador, NS Nova Scotia, NT Northwest Territories, NU Nunavut, ON Ontario,
    PE Prince Edward Island, QC Quebec, SK Saskatchewan, YT Yukon
"""
# An exchange of New Jersey's 201 that is said to be in New York.
STRAY = {("201", "US-NY")}
WRONG_ZONES = {"647", "689"}
MORE_ZONES = {
    "306": "America/Edmonton",
    "334": "America/New_York",
    "915": "America/Chicago",
    "931": "America/New_York",
}


@dataclass(frozen=True)
class Part:
    """One part of a calling window: hours, or days off, in some regions or all."""

    regions: tuple[str, ...] = ()
    days: tuple[int, ...] = tuple(range(7))
    spans: tuple[tuple[int, int], ...] = ()
    off: tuple[date, ...] = ()
    calendars: tuple[str, ...] = ()

    def __str__(self) -> str:
        start = ",".join(self.regions) + " " if self.regions else ""
        if self.off:
            return f"{start}off {', '.join(map(str, self.off))}"
        if self.calendars:
            return f"{start}holidays {','.join(self.calendars)}"
        days = ",".join(DAYS[day] for day in self.days) + " " if len(self.days) < 7 else ""
        return f"{start}{days}{','.join(f'{_clock(a)}-{_clock(b)}' for a, b in self.spans)}"

    def mapping(self) -> Iterator[dict[str, object]]:
        common: dict[str, object] = {"regions": list(self.regions)} if self.regions else {}
        if self.off:
            yield {**common, "off": list(self.off)}
        if self.calendars:
            yield {**common, "holidays": list(self.calendars)}
        for opens, closes in self.spans:
            days = [DAYS[day] for day in self.days]
            yield {**common, "days": days, "from": _clock(opens), "to": _clock(closes)}

    def covers(self, local: datetime) -> bool:
        now, today = local.hour * 60 + local.minute, local.weekday()
        for opens, closes in self.spans:
            if opens < closes:
                found = today in self.days and opens <= now < closes
            else:
                found = (today in self.days and opens <= now) or (
                    (today - 1) % 7 in self.days and now < closes
                )
            if found:
                return True
        return False

    def is_off(self, day: date) -> bool:
        return day in self.off or any(day in _calendar(name) for name in self.calendars)


@dataclass(frozen=True)
class Window:
    parts: tuple[Part, ...]
    zone: str | None = None

    def __str__(self) -> str:
        return "; ".join(map(str, self.parts)) + (f" {self.zone}" if self.zone else "")

    def mappings(self) -> list[dict[str, object]]:
        found = [mapping for part in self.parts for mapping in part.mapping()]
        return [{**mapping, "timezone": self.zone} for mapping in found] if self.zone else found

    def is_open(self, at: datetime, regions: set[str], zones: set[str]) -> bool:
        """Ask every region in every zone; without regions, whatever the window names and all others."""
        if self.zone:
            zones = {self.zone}
        if not regions:
            regions = {region for part in self.parts for region in part.regions} | {"ZZ"}
        clocks = [at.astimezone(_zone(zone)) for zone in zones]
        return bool(clocks) and all(self._is_open_in(region, clocks) for region in regions)

    def _is_open_in(self, region: str, clocks: list[datetime]) -> bool:
        country = region[:2]
        inner = {name for part in self.parts for name in part.regions if name.startswith(region + "-")}
        wide = [part for part in self.parts if not part.regions]
        off = [part for part in self.parts if {region, country, *inner} & set(part.regions)] + wide
        if any(part.is_off(local.date()) for part in off for local in clocks):
            return False
        if not any(part.spans for part in self.parts):
            return True
        for name in {region, *inner}:
            for candidates in (
                [part for part in self.parts if part.spans and name in part.regions],
                [part for part in self.parts if part.spans and country in part.regions],
                [part for part in wide if part.spans],
            ):
                if candidates:
                    break
            if not all(any(part.covers(local) for part in candidates) for local in clocks):
                return False
        return True


def all_open(windows: list[Window], at: datetime, regions: set[str], zones: set[str]) -> bool:
    return all(window.is_open(at, regions, zones) for window in windows)


def where(number: str, zone: str | None = None, region: str | None = None) -> tuple[set[str], set[str]]:
    """Return all regions and zones that somebody may be in."""
    regions = {region} if region else regions_of(number)
    if zone:
        return regions, {zone}
    return regions, zones_of_region(region) if region else zones_of(number)


def regions_of(number: str) -> set[str]:
    if number.startswith("+1"):
        found = area_regions().get(number[2:5])
        return set(found or set().union(*area_regions().values()))
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return set()
    country = phonenumbers.region_code_for_number(parsed)
    codes = phonenumbers.region_codes_for_country_code(parsed.country_code or 0)
    return set([country] if country else codes) - {"001"}


def zones_of(number: str) -> set[str]:
    if number.startswith("+1") and number[2:5] in area_zones():
        return area_zones()[number[2:5]]
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return set()
    kind = phonenumbers.number_type(parsed)
    if kind == phonenumbers.PhoneNumberType.UNKNOWN:
        return set()
    prefix = str(parsed.country_code)
    if phonenumbers.is_number_geographical(parsed):
        prefix = next(
            (number[1:n] for n in range(len(number), 1, -1) if number[1:n] in TIMEZONE_DATA), prefix
        )
    queensland = {"Australia/Brisbane"} if number.startswith("+617") else set()
    return set(TIMEZONE_DATA.get(prefix, ())) | queensland


def zones_of_region(region: str) -> set[str]:
    codes = [
        code
        for code, found in area_regions().items()
        if {region} & {name for r in found for name in (r, r[:2])}
    ]
    if codes:
        return set().union(*(area_zones()[code] for code in codes))
    return set(TIMEZONE_DATA.get(str(phonenumbers.country_code_for_region(region)), ()))


@cache
def area_zones() -> dict[str, set[str]]:
    """Return the zones of every area code of +1."""
    own: dict[str, set[str]] = defaultdict(set)
    for prefix, zones in TIMEZONE_DATA.items():
        if re.match(r"1\d{3}", prefix) and prefix[1:4] not in WRONG_ZONES:
            own[prefix[1:4]].update(zones)
    for code, zone in MORE_ZONES.items():
        own[code].add(zone)
    near = _neighbours({*own})
    return {code: set().union(*(own.get(other, ()) for other in others)) for code, others in near.items()}


@cache
def area_regions() -> dict[str, set[str]]:
    """Return the states, provinces and countries of every area code of +1."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for prefix, names in GEOCODE_DATA.items():
        if re.match(r"1\d{3}", prefix):
            counted[prefix[1:4]].update(_places(names.get("en", "")))
    own = {code: {r for r in found if (code, r) not in STRAY} for code, found in counted.items() if found}
    for country in set(phonenumbers.region_codes_for_country_code(1)) - {"US", "CA"}:
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(country)
        for code in map(str, range(200, 1000)):
            if metadata and re.match(metadata.leading_digits or "$", code + "5550100"):
                own[code] = {country}
    found = {}
    for code, near in _neighbours({*area_zones(), *own}).items():
        known = [own[other] for other in (code, *near) if own.get(other)]
        found[code] = set(known[0]) if known else set()
    return found


def _neighbours(known: set[str]) -> dict[str, list[str]]:
    """Return for each area code itself and those that serve the same area."""
    near: dict[str, list[str]] = {code: [code] for code in known}
    for overlay in _OVERLAYS.split():
        codes = overlay.split("/")
        for code in codes:
            near.setdefault(code, [code]).extend(codes)
    return near


def _places(name: str) -> list[str]:
    names = {}
    for country, text in (("US", STATES), ("CA", PROVINCES)):
        for entry in text.split(","):
            short, _, long = entry.strip().replace("\n", " ").partition(" ")
            names[long.strip()] = names[short] = f"{country}-{short}"
    words = [name, *re.split(r"[/,]\s*", name)[1:], *re.split(r"[/]\s*", name)]
    return sorted({names[word.strip()] for word in words if word.strip() in names})


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@cache
def _calendar(name: str) -> set[date]:
    country, _, part = name.partition("-")
    return set(country_holidays(country, subdiv=part or None, years=range(2024, 2031)))


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
