"""Which time zones a number may be in; never what time it is there."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import ZoneInfo

from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.masking import mask_numbers_in
from airflow_provider_voiceinfra.rules.calling_window.area_codes import zones_lacking, zones_of_area_code

# Files of the database that name this computer's zone, or none at all.
_NO_PLACE = frozenset({"Factory", "localtime", "posixrules", "Etc/Unknown"})


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name.

    :raises InvalidCallError: if there is no such zone.
    """
    try:
        if name not in _NO_PLACE:
            return ZoneInfo(name)
    # Besides unknown names: folders, files that are no zones, paths that lead out of the database.
    except (KeyError, ValueError, OSError):
        pass
    shown = mask_numbers_in(name[:64])  # a cell in the wrong column may hold anything
    raise InvalidCallError(
        "timezone",
        f"{shown!r} is no time zone; write its IANA name, such as America/New_York or Europe/London",
    )


@lru_cache(maxsize=8192)
def zones_of_number(number: str) -> tuple[str, ...] | None:
    """Return the time zones that a number may be in, as IANA names.

    :param number: in E.164 form.
    :return: ``None`` if the number has no zone, so that no calling hours are known.
    """
    # Imported late: their tables are of no use to a process that only parses DAG files.
    import phonenumbers
    from phonenumbers.timezone import time_zones_for_number

    in_area = zones_of_area_code(number[2:5]) if number.startswith("+1") else ()
    if in_area:
        return usable_zones(in_area)
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return None
    return usable_zones((*time_zones_for_number(parsed), *zones_lacking(number)))


@lru_cache(maxsize=2048)
def usable_zones(names: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the same tuple for the same zones, each once; ``None`` if one of them is unknown here."""
    try:
        for name in names:
            zone_named(name)
    except InvalidCallError:
        return None
    return tuple(sorted(set(names))) or None
