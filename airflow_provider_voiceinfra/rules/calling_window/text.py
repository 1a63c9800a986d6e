"""Calling windows as text or JSON -> mappings with the fields of a window; never says what these mean."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from airflow_provider_voiceinfra.exceptions import InvalidCallError

EXAMPLE = '{"days": "mon-fri", "from": "09:00", "to": "20:00"}'
# Capitals, so that no abbreviation of a day is taken for a country: SA is Saudi Arabia.
_REGION = r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?"
_REGIONS = rf"{_REGION}(?:\s*,\s*{_REGION})*"
_DATE = r"\d{4}-\d{2}-\d{2}"
_SPAN = r"\d[\d:]*\s*-\s*\d[\d:]*"
_HOURS = re.compile(
    rf"(?:(?P<regions>{_REGIONS})\s+)?(?P<days>[A-Za-z][A-Za-z, -]*?)?"
    rf"\s*(?P<spans>{_SPAN}(?:\s*,\s*{_SPAN})*)",
    re.ASCII,
)
_OFF = re.compile(
    rf"(?:(?P<regions>{_REGIONS})\s+)?(?:(?i:off)\s+(?P<off>{_DATE}(?:\s*,\s*{_DATE})*)"
    rf"|(?i:holidays)\s+(?P<holidays>{_REGIONS}))",
    re.ASCII,
)
# What people write otherwise, and what is wrong with it.
_SLIPS = (
    (re.compile(r"[\u2010-\u2015\u2212]"), "a plain hyphen (-) stands between two ends"),
    (re.compile(r"\d\s*[ap]\.?m\b", re.IGNORECASE), "hours go from 00:00 to 24:00, without am and pm"),
    (re.compile(r"\d\s+to\s+\d", re.IGNORECASE), "a hyphen stands between two ends, not 'to'"),
    (re.compile(r"\d\s*,\s*[A-Za-z]"), "a semicolon stands between parts, no comma"),
)


def error(rule: str, where: str = "") -> InvalidCallError:
    """Return an error about a calling window.

    :param where: which part of it is wrong, such as ``"part 2: "``.
    """
    return InvalidCallError("calling_window", f"{where}{rule}")


def windows(spec: object) -> Iterator[Mapping[str, Any]]:
    """Yield the parts of a window, each as a mapping.

    :raises InvalidCallError: naming ``calling_window`` and what cannot be read.
    """
    if isinstance(spec, str):
        spec = _from_json(spec) if spec.lstrip()[:1] in ("{", "[") else _from_text(spec)
    if isinstance(spec, Mapping):
        spec = [spec]
    if not isinstance(spec, Sequence) or isinstance(spec, (str, bytes)):
        raise error(f"must be a mapping such as {EXAMPLE}, or a list of such, not {type(spec).__name__}")
    for number, window in enumerate(spec, 1):
        if isinstance(window, str):
            yield from _from_text(window)
        elif isinstance(window, Mapping):
            yield window
        else:
            raise error(
                f"must be a mapping such as {EXAMPLE}, not {type(window).__name__}", f"part {number}: "
            )


def as_text(spec: object) -> str:
    """Return what ``windows`` has read as text that it reads as the same."""
    return spec if isinstance(spec, str) else json.dumps(_plain(spec))


def _plain(spec: object) -> object:
    if isinstance(spec, Mapping):
        # What is left out may be written as None, but not as null.
        return {name: _plain(value) for name, value in spec.items() if value is not None}
    if isinstance(spec, (list, tuple)):
        return [_plain(value) for value in spec]
    return spec.isoformat() if isinstance(spec, date) else spec


def _from_json(text: str) -> object:
    try:
        spec = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise error(f"is not JSON; write it such as {EXAMPLE}") from exc
    for window in spec if isinstance(spec, list) else [spec]:
        # What a template makes of something that is not there would otherwise lift a limit.
        nulls = [name for name, value in window.items() if value is None] if isinstance(window, dict) else []
        if nulls:
            raise error(f"{nulls[0]!r} is null; give it a value, or leave it out")
    return spec


def _from_text(text: str) -> list[Mapping[str, Any]]:
    parts = [part.strip() for part in text.split(";") if part.strip()]
    found: list[Mapping[str, Any]] = []
    for number, part in enumerate(parts, 1):
        found += _part(part, f"part {number}: " if len(parts) > 1 else "")
    return found


def _part(part: str, where: str) -> Iterator[Mapping[str, Any]]:
    is_off = re.search(r"\b(?:off|holidays)\b", part, re.IGNORECASE)
    found = (_OFF if is_off else _HOURS).match(part)
    rest = part[found.end() :] if found else ""
    if found is None or (rest and not rest[0].isspace()):
        raise error(f"{part[:64]!r} is none{_remedy(part, is_off=is_off is not None)}", where)
    window = {name: value for name, value in found.groupdict().items() if value}
    if rest.strip():
        window["timezone"] = rest.strip()
    spans = window.pop("spans", None)
    if spans is None:
        yield window
        return
    for span in spans.split(","):
        opens, _, closes = span.partition("-")
        yield {**window, "from": opens.strip(), "to": closes.strip()}


def _remedy(part: str, *, is_off: bool) -> str:
    slip = next((f": {rule}" for form, rule in _SLIPS if form.search(part)), "")
    example = f"'mon-fri 09:00-20:00; sat 10:00-16:00' or {EXAMPLE}"
    if is_off:
        example = "'off 2026-12-25, 2027-01-01' or 'holidays US-RI'"
    return f"{slip}; write it such as {example}"
