"""Asks for the rows of many values, of which only so many fit into one statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Executable, Row, Select, bindparam

VALUES_AT_ONCE = 500


def having(query: Select[Any], column: ColumnElement[Any]) -> Select[Any]:
    """Return a query for the rows that have one of some values in a column, for ``rows_of``."""
    # With its type: without it SQLAlchemy looks into its object mapper, which fails while another thread is
    # just loading that, as Airflow does when something is first reported to its metrics.
    return query.where(column.in_(bindparam("wanted", type_=column.type, expanding=True)))


def rows_of(
    execute: Callable[[Any, dict[str, Any]], Iterable[Row[Any]]],
    query: Executable,
    values: Sequence[Any],
) -> Iterator[Row[Any]]:
    """Yield the rows of a query that ``having`` made.

    :param execute: executes a query, in whichever transaction.
    """
    for start in range(0, len(values), VALUES_AT_ONCE):
        yield from execute(query, {"wanted": values[start : start + VALUES_AT_ONCE]})


def rows_with(
    execute: Callable[[Select[Any]], Iterable[Row[Any]]],
    query: Select[Any],
    column: ColumnElement[Any],
    values: Sequence[Any],
) -> Iterator[Row[Any]]:
    """Yield those rows of a query in which a column has one of some values.

    :param execute: executes a query, in whichever transaction.
    """
    return rows_of(lambda made, wanted: execute(made.params(wanted)), having(query, column), values)
