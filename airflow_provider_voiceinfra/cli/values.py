"""Reads the values of command line arguments; what it raises becomes the parser's own message."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import datetime, timedelta, timezone

from airflow_provider_voiceinfra.tasks.ages import parse_age


def age(text: str) -> timedelta:
    """Read an age such as ``30m``, ``12h``, ``90d`` or ``4w``."""
    found = parse_age(text)
    if found is None:
        raise ArgumentTypeError(
            f"{text!r} is not an age: a number and m (minutes), h, d or w, such as 12h or 90d"
        )
    return found


def since(text: str) -> datetime:
    """Read an age, or a moment in ISO 8601 (UTC if it names no zone), as an aware moment."""
    now = datetime.now(timezone.utc)
    try:
        return now - age(text)
    except (ArgumentTypeError, OverflowError):
        pass
    moment = _moment(text)
    if moment is None:
        raise ArgumentTypeError(
            f"{text!r} is neither an age such as 30m, 24h or 7d, nor a time such as 2026-03-01T08:00:00Z"
        )
    return moment


def until(text: str) -> datetime:
    """Read a moment to come: a span from now on, or ISO 8601 (UTC if it names no zone)."""
    now = datetime.now(timezone.utc)
    try:
        return now + age(text)
    except (ArgumentTypeError, OverflowError):
        pass
    moment = _moment(text)
    if moment is None:
        raise ArgumentTypeError(
            f"{text!r} is neither a span such as 24h, 30d or 52w, nor a time such as 2027-03-01T08:00:00Z"
        )
    if moment <= now:
        raise ArgumentTypeError(f"{text!r} is over; give a moment that is still to come, or leave it out")
    return moment


def e164(text: str) -> str:
    """Read a phone number."""
    rule = "a number is in E.164 form: a plus sign, the country code and the number, such as +14155550100"
    return _checked(text, r"\+[1-9]\d{1,14}", rule)


def row_count(text: str) -> int:
    """Read how many rows to show at most."""
    return int(_checked(text, r"[1-9]\d{0,6}", f"{text!r} is not a number of rows above 0"))


def suppression_id(text: str) -> int:
    """Read the number of a suppression."""
    return int(_checked(text, r"[1-9]\d{0,17}", f"{text!r} is not the number of a suppression"))


def delivery_id(text: str) -> int:
    """Read the number of a kept delivery."""
    return int(_checked(text, r"[1-9]\d{0,17}", f"{text!r} is not the number of a delivery"))


def delivery_ids(text: str) -> int | None:
    """Read the number of a kept delivery; ``all`` gives ``None``."""
    return None if text == "all" else delivery_id(text)


def _moment(text: str) -> datetime | None:
    # Loaded when it is needed: every Airflow command loads this module.
    import pendulum

    try:
        moment = pendulum.parse(text.strip(), tz="UTC")
    except (ValueError, OverflowError):
        return None
    return moment if isinstance(moment, datetime) else None


def _checked(text: str, form: str, rule: str) -> str:
    if not re.fullmatch(form, text, re.ASCII):
        raise ArgumentTypeError(rule)
    return text
