"""Looks for calls that were not placed from here: records that were received, and belong to no call of ours.

Such a call is inbound, or another system has placed it through the same account. The API does not say which;
what is known is which numbers calls are placed from.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    and_,
    cast,
    false,
    func,
    literal,
    or_,
    select,
    type_coerce,
)

from airflow_provider_voiceinfra.ledger.database.chunks import rows_with
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions
from airflow_provider_voiceinfra.ledger.lists.conditions import ANYWHERE, Way, is_impossible, span
from airflow_provider_voiceinfra.ledger.lists.search import Cursor, Found, Search
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

    def __init__(self, wanted: CallFilter, order: Order, *, backwards: bool = False) -> None:
        super().__init__(wanted, order, backwards=backwards)
        self._way = _way_of(wanted)
        self._numbers = ("from_number" if wanted.direction is Direction.INBOUND else "to_number",)
        self._fits = self._party_fits if wanted.digits else None

    def run(self, connection: Connection, start: Cursor | None, limit: int) -> Found:
        """Look for the calls of a page."""
        self._leave_hashes(connection)
        return super().run(connection, start, limit)

    def tally(self, connection: Connection, limit: int) -> tuple[list[Row[Any]], datetime | None, int]:
        """Count those of so many calls that are wanted."""
        self._leave_hashes(connection)
        return super().tally(connection, limit)

    def _leave_hashes(self, connection: Connection) -> None:
        """Follow no index of hashes as long as some records have none: it does not lead to them."""
        if self._way.columns == (completions.c.to_number_hash,) and _has_unhashed(connection):
            self._way = _of_connection(self._wanted)

    def _party_fits(self, row: Row[Any]) -> bool:
        return (row._mapping[self._numbers[0]] or "").endswith(self._wanted.digits or "")

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
        query = select(c.call_id.label("key_hash"), *(c[name] for name in _READ), c.to_number_hash)
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
        # Of a record without a number it cannot be said, so it counts as none of ours.
        own_number = func.coalesce(_is_one_of(seen, wanted.own_numbers), false())
        is_inbound = wanted.direction is Direction.INBOUND
        return [*found, own.is_(None), own_number if is_inbound else ~own_number]

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


def _is_one_of(seen: Any, numbers: frozenset[str]) -> ColumnElement[bool]:
    """Return the condition for records of calls to one of some numbers; see ``personal.is_number``."""
    wanted = sorted(numbers)
    plain = and_(seen.to_number_hash.is_(None), type_coerce(seen.to_number, String).in_(wanted))
    return or_(seen.to_number_hash.in_(wanted), plain)


def _has_unhashed(connection: Connection) -> bool:
    """Return whether some records have no hash so far."""
    c = completions.c
    query = select(c.call_id).where(c.to_number_hash.is_(None), c.to_number.is_not(None))
    # In the order of the index that holds them alone.
    return connection.execute(query.order_by(c.to_number).limit(1)).first() is not None


def _way_of(wanted: CallFilter) -> Way:
    """Return the index that leads to the fewest records, of which each is ordered by when they came."""
    if wanted.direction is Direction.INBOUND and len(wanted.own_numbers) == 1:
        return Way((completions.c.to_number_hash,), tuple(wanted.own_numbers))
    return _of_connection(wanted)


def _of_connection(wanted: CallFilter) -> Way:
    return ANYWHERE if wanted.conn_id is None else Way((completions.c.conn_id,), (wanted.conn_id,))


def direction_of(to_number: str | None, own_numbers: frozenset[str]) -> Direction:
    """Return the direction of a call that was not placed from here."""
    return Direction.INBOUND if to_number in own_numbers else Direction.ELSEWHERE


def own_numbers(connection: Connection, conn_ids: Sequence[str]) -> frozenset[str]:
    """Return the numbers that the newest calls were placed from, of all and of some connections."""
    of_call = (calls.c.from_number, calls.c.from_number_hash)
    newest = select(*of_call).order_by(calls.c.claimed_at.desc()).limit(_NEWEST)
    queries = [newest]
    for conn_id in conn_ids:
        # In the order of the index, and not said to be equal, for the reason that ``Way`` has.
        own = select(*of_call).where(calls.c.conn_id.between(conn_id, conn_id))
        own = own.order_by(calls.c.conn_id.desc(), calls.c.claimed_at.desc())
        queries.append(own.limit(_NEWEST_OF_EACH))
    found: set[str] = set()
    for query in queries:
        c = query.subquery().c
        # Each is read once: encrypted, it looks different in every row.
        same = func.coalesce(c.from_number_hash, type_coerce(c.from_number, String))
        each = select(func.min(c.from_number)).where(c.from_number.is_not(None)).group_by(same)
        found.update(connection.execute(each).scalars())
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
