"""Asks for the rows of many values, of which only so many fit into one statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select

VALUES_AT_ONCE = 500  # SQLite takes at most 999 values in one statement in its older builds


def rows_with(
    execute: Callable[[Select[Any]], Iterable[Row[Any]]],
    query: Select[Any],
    column: ColumnElement[Any],
    values: Sequence[Any],
) -> Iterator[Row[Any]]:
    """Yield those rows of a query in which a column has one of some values.

    :param execute: executes a query, in whichever transaction.
    """
    for start in range(0, len(values), VALUES_AT_ONCE):
        yield from execute(query.where(column.in_(values[start : start + VALUES_AT_ONCE])))
