"""Reads the times in a webhook: ISO 8601 in any form that says a date, a time and, maybe, a zone."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, timezone

_PLAIN_TIME = re.compile(
    r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d{6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII
)
_DATE_AND_TIME = re.compile(r"\d{4}-?\d{2}-?\d{2}[Tt ]\d{2}[\d:.,]*\s?([Zz]|[+-][\d:]{2,5})?", re.ASCII)


def parse_time(text: str | None) -> datetime | None:
    """Return a moment, aware UTC; ``None`` if the text says none."""
    # The parser also takes a bare time for today's, and "now" for now.
    if text is None or _DATE_AND_TIME.fullmatch(text) is None:
        return None
    with suppress(ValueError, OverflowError):
        # The form that nearly all have, which the standard library reads in a twentieth of the time.
        if _PLAIN_TIME.fullmatch(text):
            return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)
    # Imported late: nearly all times are read without it.
    import pendulum

    try:
        moment = pendulum.parse(text)
    # An hour that does not exist and the like are a ValueError; some odd forms end in errors of other kinds.
    except (ValueError, OverflowError, TypeError, LookupError, AttributeError):
        return None
    if not isinstance(moment, datetime):
        return None
    try:
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):  # a moment before year 1 or after 9999 in UTC
        return None
