"""What users write for a calling window -> the open seconds of a week; errors name the field to fix."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.rules.calling_window.spans import DAY, WEEK, merged
from airflow_provider_voiceinfra.rules.calling_window.zones import zone_named

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY_NUMBERS = {name: number for number, day in enumerate(_DAYS) for name in (day, day[:3])}
FIELDS = ("days", "from", "to", "timezone")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)
_TEXT = re.compile(r"(?P<days>[a-z][a-z, -]*?)?\s*(?P<from>\d[\d:]*)\s*-\s*(?P<to>\d[\d:]*)", re.IGNORECASE)
_EXAMPLE = '{"days": "mon-fri", "from": "09:00", "to": "20:00"}'

# Of a week from Monday, 00:00: from the first second in, to the first second out.
Rules = tuple[tuple[int, int], ...]


def parse_rules(spec: object) -> tuple[Rules, str | None]:
    """Return the open seconds of a week, and the one zone that counts for everybody, if named.

    :param spec: a mapping, a list of mappings, either as JSON, or text.
    :raises InvalidCallError: naming ``calling_window`` and what is wrong in it.
    """
    windows = list(_windows(spec))
    if not windows:
        raise _error("has no window; leave it out to call at any hour")
    spans: list[tuple[int, int]] = []
    zones = set()
    for number, window in enumerate(windows, 1):
        where = f"window {number}: " if len(windows) > 1 else ""
        spans.extend(_spans(window, where))
        zones.add(_zone(window, where))
    zones.discard(None)
    if len(zones) > 1:
        raise _error(f"names several time zones ({', '.join(sorted(map(str, zones)))}); name one, once")
    return _disjoint(spans), next(iter(zones), None)


def _error(rule: str, where: str = "") -> InvalidCallError:
    return InvalidCallError("calling_window", f"{where}{rule}")


def _windows(spec: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(spec, str):
        spec = _from_json(spec) if spec.lstrip()[:1] in ("{", "[") else _from_text(spec)
    if isinstance(spec, Mapping):
        spec = [spec]
    if not isinstance(spec, Sequence) or isinstance(spec, (str, bytes)):
        raise _error(f"must be a mapping such as {_EXAMPLE}, or a list of such, not {type(spec).__name__}")
    for number, window in enumerate(spec, 1):
        if isinstance(window, str):
            yield from _from_text(window)
        elif isinstance(window, Mapping):
            yield window
        else:
            raise _error(
                f"must be a mapping such as {_EXAMPLE}, not {type(window).__name__}", f"window {number}: "
            )


def _from_json(text: str) -> object:
    try:
        spec = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise _error(f"is not JSON; write it such as {_EXAMPLE}") from exc
    for window in spec if isinstance(spec, list) else [spec]:
        # What a template makes of something that is not there would otherwise lift a limit.
        nulls = [name for name, value in window.items() if value is None] if isinstance(window, dict) else []
        if nulls:
            raise _error(f"{nulls[0]!r} is null; give it a value, or leave it out")
    return spec


def _from_text(text: str) -> list[Mapping[str, Any]]:
    parts = [part.strip() for part in text.split(";") if part.strip()]
    windows: list[Mapping[str, Any]] = []
    for number, part in enumerate(parts, 1):
        found = _TEXT.match(part)
        rest = part[found.end() :] if found else ""
        if found is None or (rest and not rest[0].isspace()):
            where = f"window {number}: " if len(parts) > 1 else ""
            raise _error(
                f"{part[:64]!r} is none; write it such as 'mon-fri 09:00-20:00' or {_EXAMPLE}", where
            )
        window = {name: value for name, value in found.groupdict().items() if value}
        windows.append({**window, "timezone": rest.strip()} if rest.strip() else window)
    return windows


def _spans(window: Mapping[str, Any], where: str) -> Iterator[tuple[int, int]]:
    unknown = [name for name in window if name not in FIELDS]
    if unknown:
        raise _error(f"has no field {unknown[0]!r}; there are {', '.join(FIELDS)}", where)
    opens, closes = _clock(window, "from", where), _clock(window, "to", where)
    if opens == DAY:
        raise _error("'from' is 24:00; write 00:00 and the day after", where)
    if opens == closes:
        raise _error("'from' and 'to' are the same; for a whole day write 00:00 and 24:00", where)
    if closes < opens:
        closes += DAY
    for day in _days(window.get("days"), where):
        yield day * DAY + opens, day * DAY + closes


def _clock(window: Mapping[str, Any], name: str, where: str) -> int:
    """Return a time of day in seconds since midnight."""
    value = window.get(name)
    if value is None:
        raise _error(f"{name!r} is missing; write it such as {_EXAMPLE}", where)
    found = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    seconds = int(found[1]) * 3600 + int(found[2]) * 60 if found else DAY + 1
    if found is None or int(found[2]) > 59 or seconds > DAY:
        shown = repr(value)[:64]
        raise _error(f'{name!r} is {shown}; write hours and minutes as text, from "00:00" to "24:00"', where)
    return seconds


def _days(value: object, where: str) -> set[int]:
    """Return days as numbers, Monday is 0."""
    if value is None:
        return set(range(7))
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or not parts:
        raise _error(_days_rule(value), where)
    days: set[int] = set()
    for part in parts:
        names = part.lower().split("-") if isinstance(part, str) else [""]
        ends = [_DAY_NUMBERS.get(name.strip()) for name in names]
        first, last = ends[0], ends[-1]
        if first is None or last is None or len(ends) > 2:
            raise _error(_days_rule(part), where)
        days.update((first + step) % 7 for step in range((last - first) % 7 + 1))
    return days


def _days_rule(value: object) -> str:
    return f"'days' has {repr(value)[:64]}; write mon-fri, or mon,wed,sat, or leave it out for every day"


def _zone(window: Mapping[str, Any], where: str) -> str | None:
    name = window.get("timezone")
    if name is None:
        return None
    if not isinstance(name, str) or not name:
        raise _error(
            f"'timezone' must be an IANA name such as America/New_York, not {repr(name)[:64]}", where
        )
    try:
        zone_named(name)
    except InvalidCallError as exc:
        raise _error(f"'timezone' {exc.rule}", where) from exc
    return name


def _disjoint(spans: list[tuple[int, int]]) -> Rules:
    """Return spans sorted and merged; what crosses the end of Sunday goes on at the start of Monday."""
    cut = [(start, min(end, WEEK)) for start, end in spans]
    cut += [(0, end - WEEK) for _, end in spans if end > WEEK]
    return tuple(merged(sorted(cut)))
