"""Ages as users write them, such as ``90d``; loads nothing, since every Airflow command loads it."""

from __future__ import annotations

import re
from datetime import timedelta

_AGE = re.compile(r"([1-9]\d{0,5})([mhdw])", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_age(text: str) -> timedelta | None:
    """Return an age such as ``30m``, ``12h``, ``90d`` or ``4w``; ``None`` if it is none."""
    form = _AGE.fullmatch(text.strip())
    return timedelta(**{_UNITS[form.group(2)]: int(form.group(1))}) if form else None
