"""Parts many values so that each part fits into one statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

VALUES_AT_ONCE = 500  # SQLite takes at most 999 values in one statement in its older builds

_Value = TypeVar("_Value")


def in_chunks(values: Sequence[_Value]) -> Iterator[Sequence[_Value]]:
    """Yield the values in their order, some at a time."""
    for start in range(0, len(values), VALUES_AT_ONCE):
        yield values[start : start + VALUES_AT_ONCE]
