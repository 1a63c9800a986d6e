"""Looks for calls that were not placed from here: records that were received, and belong to no call of ours.

Such a call is inbound, or another system has placed it through the same account. The API does not say which;
what is known is which numbers calls are placed from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, String, cast, func, literal, select

from airflow_provider_voiceinfra.ledger.database.chunks import rows_with
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions
from airflow_provider_voiceinfra.ledger.lists.conditions import ANYWHERE, Way, is_impossible, span
from airflow_provider_voiceinfra.ledger.lists.search import Search
from airflow_provider_voiceinfra.ledger.lists.values import OVER, CallFilter, Direction, ListedCall, Order
from airflow_provider_voiceinfra.ledger.records import CallOrigin, CallState

_NEWEST = 2_000  # calls whose caller IDs count as ours, and
_NEWEST_OF_EACH = 200  # so many of each connection, or a busy one would hide those of the others
_READ = (
    *("call_id", "conn_id", "agent_id", "from_number", "to_number"),
    *("call_outcome", "duration_seconds", "started_at", "ended_at", "received_at"),
)


class SearchElsewhere(Search):
    """Finds the calls of one page among the records that belong to no call of ours; by the same bounds."""

    _numbers = ("from_number", "to_number")

    def __init__(self, wanted: CallFilter, order: Order, *, backwards: bool = False) -> None:
        super().__init__(wanted, order, backwards=backwards)
        self._way = _way_of(wanted)
        self._fits = self._row_fits

    def _row_fits(self, row: Row[Any]) -> bool:
        wanted = self._wanted
        direction = direction_of(row.to_number, wanted.own_numbers)
        party = row.from_number if direction is Direction.INBOUND else row.to_number
        return direction is wanted.direction and (party or "").endswith(wanted.digits or "")

    def _is_impossible(self) -> bool:
        wanted = self._wanted
        of_ours = (wanted.dag_id, wanted.run_id, wanted.campaign_id, wanted.state)
        return any(one is not None for one in of_ours) or is_impossible(wanted, ended=True)

    def _is_short(self, connection: Connection) -> bool:
        return False  # no index leads to them alone

    def _most(self, number: int) -> int:
        return number

    def _source(self) -> tuple[Select[Any], ColumnElement[Any], ColumnElement[Any], ColumnElement[Any]]:
        c = completions.c
        query = select(c.call_id.label("key_hash"), *(c[name] for name in _READ))
        return query, c.duration_seconds if self._by_duration else c.received_at, c.call_id, c.received_at

    def _conditions(self, seen: Any) -> list[ColumnElement[bool]]:
        wanted = self._wanted
        found = [*span(wanted, seen.received_at)]
        if wanted.conn_id is not None:
            found.append(seen.conn_id == wanted.conn_id)
        if wanted.dagless_conns is not None:
            found.append(seen.conn_id.in_(wanted.dagless_conns))
        if wanted.outcome is not None:
            found.append(seen.call_outcome == wanted.outcome)
        # A value, for the reason that ``look_up`` has.
        own = select(calls.c.call_id).where(calls.c.call_id == seen.call_id).scalar_subquery()
        return [*found, own.is_(None)]

    def _ends(self, seen: Any) -> list[ColumnElement[Any]]:
        duration = func.coalesce(cast(seen.duration_seconds, String), "")
        end = duration + " " + func.coalesce(seen.call_outcome, OVER)
        return [literal(CallState.ACCEPTED.value).label("state"), end.label("end")]


def listed_elsewhere(
    connection: Connection, call_ids: Sequence[str], own_numbers: frozenset[str]
) -> list[ListedCall]:
    """Return calls that were not placed from here by their ids, in the same order."""
    query = select(*(completions.c[name] for name in _READ))
    rows = rows_with(connection.execute, query, completions.c.call_id, call_ids)
    found = {row.call_id: _call(row, own_numbers) for row in rows}
    return [found[call_id] for call_id in call_ids if call_id in found]


def _way_of(wanted: CallFilter) -> Way:
    """Return the index that leads to the fewest records, of which each is ordered by when they came."""
    if wanted.direction is Direction.INBOUND and len(wanted.own_numbers) == 1:
        return Way((completions.c.to_number,), tuple(wanted.own_numbers))
    if wanted.conn_id is not None:
        return Way((completions.c.conn_id,), (wanted.conn_id,))
    return ANYWHERE


def direction_of(to_number: str | None, own_numbers: frozenset[str]) -> Direction:
    """Return the direction of a call that was not placed from here."""
    return Direction.INBOUND if to_number in own_numbers else Direction.ELSEWHERE


def own_numbers(connection: Connection, conn_ids: Sequence[str]) -> frozenset[str]:
    """Return the numbers that the newest calls were placed from, of all and of some connections."""
    newest = select(calls.c.from_number).order_by(calls.c.claimed_at.desc()).limit(_NEWEST)
    queries = [newest]
    for conn_id in conn_ids:
        # In the order of the index, and not said to be equal, for the reason that ``Way`` has.
        own = select(calls.c.from_number).where(calls.c.conn_id.between(conn_id, conn_id))
        own = own.order_by(calls.c.conn_id.desc(), calls.c.claimed_at.desc())
        queries.append(own.limit(_NEWEST_OF_EACH))
    found: set[str] = set()
    for query in queries:
        numbers = query.subquery().c.from_number
        found.update(connection.execute(select(numbers).where(numbers.is_not(None)).distinct()).scalars())
    return frozenset(found)


def _call(row: Row[Any], own_numbers: frozenset[str]) -> ListedCall:
    values = dict(row._mapping)
    nothing: dict[str, Any] = dict.fromkeys(
        ("state", "error_code", "error_message", "answered_at", "purged_at")
    )
    return ListedCall(
        key_hash="",
        adopted=False,
        origin=CallOrigin(),
        dials=0,
        redials=0,
        claimed_at=values["received_at"],
        outcome=values.pop("call_outcome"),
        direction=direction_of(row.to_number, own_numbers),
        **nothing,
        **values,
    )
