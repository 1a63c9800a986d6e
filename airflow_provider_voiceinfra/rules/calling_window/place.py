"""Where a person may be, by the number and by what else is known of them; never what time it is there."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from airflow_provider_voiceinfra.rules.calling_window.regions import (
    region_of,
    regions_of_number,
    zones_of_region,
)
from airflow_provider_voiceinfra.rules.calling_window.zones import zone_named, zones_of_number
from airflow_provider_voiceinfra.rules.recipient import ANYBODY, Recipient


class Place(NamedTuple):
    """All that a person may be in; nobody is called unless it is in calling hours in all of it.

    :param regions: such as ``US-FL`` or ``FR``; none if it can be any region.
    :param zones: IANA names; ``None`` if no zone is known, so that no calling hours are.
    """

    regions: tuple[str, ...]
    zones: tuple[str, ...] | None


def place_of(number: str, recipient: Recipient = ANYBODY) -> Place:
    """Return where a person may be.

    :param number: the number in E.164 form.
    :param recipient: what is known of the person besides: a region goes before the number, and a time zone
        before both for the zones.
    :raises InvalidCallError: naming ``timezone`` or ``region`` if it is none.
    """
    return _place_of(number, recipient.timezone or None, recipient.region or None)


@lru_cache(maxsize=8192)
def _place_of(number: str, timezone: str | None, region: str | None) -> Place:
    zones: tuple[str, ...] | None
    if region is None:
        regions = regions_of_number(number)
        zones = zones_of_number(number) if timezone is None else None
    else:
        regions = (region_of(region, number),)
        zones = zones_of_region(regions[0]) if timezone is None else None
    if timezone is not None:
        zone_named(timezone)
        zones = (timezone,)
    return Place(regions, zones)
