"""Rules in words for people, as they are kept; what is not understood stays as it was written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.rules.call_cap import parse_call_cap
from airflow_provider_voiceinfra.rules.rule_set import Rules

PLACES = {"deployment": "all connections", "connection": "the connection", "task": "the task"}
"""What rules hold for, by where they are set."""

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DAY_NAMES = {name: day for day in _DAYS for name in (day[:3].lower(), day.lower())}
_DAY = "|".join(sorted(_DAY_NAMES, key=len, reverse=True))
_DAY_ALONE = re.compile(rf"(?<![\w/-])({_DAY})(?:\s*-\s*({_DAY}))?(?![\w/])", re.IGNORECASE)
_HOURS = re.compile(r"(?<![\d-])(\d?\d(?::\d\d)?)\s*-\s*(\d?\d:\d\d|\d?\d)(?![\d-])")
_DATES = re.compile(r"\boff\s+(?=\d{4}-)", re.IGNORECASE)
_HOLIDAYS = re.compile(r"\bholidays\s+", re.IGNORECASE)
_ZONE = re.compile(r"\s([A-Z]\w+/[\w/+-]+|UTC)$")


class RuleInWords(NamedTuple):
    """One rule.

    :param name: what it is called where it is set.
    :param words: what it says.
    :param written: as somebody wrote it, where that says more.
    """

    name: str
    words: str
    written: str = ""


def rules_in_words(rules: Rules) -> list[RuleInWords]:
    """Return what is set in one place."""
    opt_out = {"opt_out": rules.opt_out.spec} if rules.opt_out else {}
    return kept_in_words({**rules.to_json(), **opt_out})


def kept_in_words(kept: Mapping[str, Any]) -> list[RuleInWords]:
    """Return the same of what ``Rules.to_json`` has made."""
    return list(_rules(kept))


def _rules(kept: Mapping[str, Any]) -> Iterator[RuleInWords]:
    if window := kept.get("calling_window"):
        yield RuleInWords("calling_window", window_in_words(str(window)), str(window))
    if cap := kept.get("call_cap"):
        yield RuleInWords("call_cap", _cap_in_words(cap), str(cap))
    if opt_out := kept.get("opt_out"):
        fields = " or ".join(part.strip() for part in str(opt_out).split(";"))
        yield RuleInWords("opt_out", f"who says so in a call is called no more: {fields}")
    if exempt := kept.get("exempt_numbers"):
        numbers = f"{len(exempt)} numbers are" if len(exempt) != 1 else "1 number is"
        yield RuleInWords("exempt_numbers", f"{numbers} exempt from the calling window and the cap")
    if kept.get("require_consent"):
        yield RuleInWords("require_consent", "nobody is called without a reference to their consent")


def window_in_words(spec: str) -> str:
    """Return a calling window in words."""
    clauses = [clause for part in _parts(spec) if (clause := _clause(part))]
    if not any(" by the clock of " in clause for clause in clauses):
        return f"{'; '.join(clauses)}; by the clock where the person is"
    return "; ".join(clauses)


def _parts(spec: str) -> list[str]:
    if spec.lstrip()[:1] not in ("{", "["):
        return [part.strip() for part in spec.split(";")]
    try:
        found = json.loads(spec)
    except (ValueError, RecursionError):
        return [spec]
    windows = found if isinstance(found, list) else [found]
    return [part for window in windows for part in _written(window)]


def _written(window: Any) -> Iterator[str]:
    """Yield a part of a window that is a mapping as the text that says the same."""
    if not isinstance(window, Mapping):
        yield from _parts(str(window))
        return
    region, zone = _listed(window.get("regions")), _listed(window.get("timezone"))
    if "from" in window or "to" in window:
        hours = f"{window.get('from', '')}-{window.get('to', '')}"
        yield " ".join(filter(None, (region, _listed(window.get("days")), hours, zone)))
    for name in ("off", "holidays"):
        if window.get(name):
            yield " ".join(filter(None, (region, name, _listed(window[name]))))


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value or "")


def _clause(part: str) -> str:
    text = _ZONE.sub(r" by the clock of \1", re.sub(r"\s*,\s*", ", ", part))
    text = _DATES.sub("never on ", text)
    text = _HOLIDAYS.sub("never on the holidays of ", text)
    text = _HOURS.sub(r"\1 to \2", text)
    return _DAY_ALONE.sub(_named_days, text)


def _named_days(found: re.Match[str]) -> str:
    return " to ".join(_DAY_NAMES[name.lower()] for name in found.groups() if name)


def _cap_in_words(spec: Any) -> str:
    try:
        caps = parse_call_cap(spec)
    except InvalidCallError:
        return str(spec)
    return " and ".join(
        f"at most {cap.calls} {'call' if cap.calls == 1 else 'calls'} to one number in any "
        f"{_span(cap.span.total_seconds())}"
        for cap in caps
    )


def _span(seconds: float) -> str:
    hours = int(seconds // 3600)
    if hours % 24 == 0 and hours > 24:
        return f"{hours // 24} days"
    return "hour" if hours == 1 else f"{hours} hours"
