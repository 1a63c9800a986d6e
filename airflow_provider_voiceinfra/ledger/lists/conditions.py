"""Turns a filter of calls into SQL: which index to follow, and what to ask of the calls on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, true

from airflow_provider_voiceinfra.ledger.database.schema import END_DIGITS, calls, completions
from airflow_provider_voiceinfra.ledger.lists.values import OPEN, CallFilter
from airflow_provider_voiceinfra.ledger.records import CallState

LOOKED_AT = (
    "key_hash",
    "call_id",
    "claimed_at",
    "state",
    "conn_id",
    "dag_id",
    "run_id",
    "campaign_id",
    "to_number",
    "to_number_end",
)
"""The columns of a call that a filter asks about."""


@dataclass(frozen=True)
class Way:
    """An index of calls to follow: columns that have one value each, and then the time of the claim.

    :param columns: the columns of the index before the time, which lead the order.
    :param values: their values.
    """

    columns: tuple[ColumnElement[Any], ...]
    values: tuple[str | None, ...]

    def conditions(self, dialect: str) -> list[ColumnElement[bool]]:
        """Return what keeps to the way."""
        found = [column == value for column, value in zip(self.columns, self.values, strict=True)]
        if found and dialect == "postgresql":
            # Told that it is just one value, it might as well follow the time alone, and leave out what does
            # not fit: a good guess, but not for a DAG whose calls all lie months back.
            found[0] = self.columns[0].in_([self.values[0]] * 2)
        return found


ANYWHERE = Way((), ())


def way_of(wanted: CallFilter) -> Way:
    """Return the index that leads to the fewest calls, of which each is ordered by the time of the claim."""
    c, digits = calls.c, wanted.digits
    rare = None if wanted.state is CallState.ACCEPTED else wanted.state
    ways = (
        Way((c.to_number_end,), (digits and digits[-END_DIGITS:],)),
        Way((c.dag_id, c.run_id), (wanted.dag_id, wanted.run_id)),
        Way((c.campaign_id,), (wanted.campaign_id,)),
        Way((c.state,), (rare and rare.value,)),
        Way((c.dag_id,), (wanted.dag_id,)),
        Way((c.conn_id,), (wanted.conn_id,)),
    )
    return next((way for way in ways if None not in way.values), ANYWHERE)


def span(wanted: CallFilter, time: ColumnElement[Any]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions for the begin and the end of the time that is wanted."""
    return (
        true() if wanted.since is None else time >= wanted.since,
        true() if wanted.until is None else time < wanted.until,
    )


def conditions(wanted: CallFilter, c: Any) -> list[ColumnElement[bool]]:
    """Return all that a filter asks of calls, but for digits beyond the last ones.

    :param c: the columns of the query that holds the calls.
    """
    equal = {name: getattr(wanted, name) for name in ("conn_id", "dag_id", "run_id", "campaign_id")}
    if wanted.state is not None:
        equal["state"] = wanted.state.value
    if wanted.digits is not None:
        equal["to_number_end"] = wanted.digits[-END_DIGITS:]
    found = [c[name] == value for name, value in equal.items() if value is not None]
    found += span(wanted, c.claimed_at)
    if wanted.hidden_dags:
        found.append(or_(c.dag_id.is_(None), c.dag_id.not_in(wanted.hidden_dags)))
    if wanted.dagless_conns is not None:
        found.append(or_(c.dag_id.is_not(None), c.conn_id.in_(wanted.dagless_conns)))
    if wanted.outcome == OPEN:
        is_open = look_up(completions.c.call_id, c.call_id).is_(None)
        found.append(and_(c.state == CallState.ACCEPTED.value, is_open))
    elif wanted.outcome is not None:
        found.append(look_up(completions.c.call_outcome, c.call_id) == wanted.outcome)
    return found


def look_up(column: ColumnElement[Any], call_id: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column of a call's completion; ``NULL`` if it has none."""
    # Not a join, nor EXISTS: PostgreSQL would at times rather read all completions there are, however few
    # calls they are wanted for. It never does so for a value.
    return select(column).where(completions.c.call_id == call_id).scalar_subquery()


def row_fits(wanted: CallFilter) -> Callable[[Any], bool] | None:
    """Return the test for whether a row has the wanted digits; ``None`` if SQL has decided that."""
    digits = wanted.digits
    if digits is None or len(digits) <= END_DIGITS:
        return None
    # Numbers can only be compared once they are read.
    return lambda row: (row.to_number or "").endswith(digits)


def is_impossible(wanted: CallFilter, *, ended: bool) -> bool:
    """Return whether a filter rules out every call by itself, so that nobody has to search for one.

    :param ended: whether only calls with a completion are listed.
    """
    return (
        (ended and wanted.outcome == OPEN)
        or (ended and wanted.state is not None and wanted.state is not CallState.ACCEPTED)
        or (wanted.outcome is not None and wanted.state not in (None, CallState.ACCEPTED))
        or wanted.dag_id in wanted.hidden_dags
    )
