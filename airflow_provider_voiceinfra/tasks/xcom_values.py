"""JSON values -> values that Airflow's XCom can hold; what it cannot is made text, or named otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Airflow's processes pass numbers on in 64 bits, signed or not.
_LEAST, _MOST = -(2**63), 2**64 - 1
# With names such as __classname__, __id__, __type and __var it marks what it has to make objects of.
_RESERVED = "__"
_PREFIX = "field"


def for_xcom(value: Any) -> Any:
    """Return a JSON value as XCom can hold it.

    Whole numbers beyond 64 bits are given as text, and names that begin with two underscores, which Airflow
    keeps for itself, as ``field__...``.
    """
    if isinstance(value, int) and not _LEAST <= value <= _MOST:
        return str(value)
    if isinstance(value, list):
        return [for_xcom(item) for item in value]
    if isinstance(value, Mapping):
        return _renamed(value)
    return value


def _renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name.startswith(_RESERVED):
            name = f"{_PREFIX}{name}"
            while name in values or name in found:
                name += "_"
        found[name] = for_xcom(value)
    return found
