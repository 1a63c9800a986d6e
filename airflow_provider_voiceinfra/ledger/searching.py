"""Looks for the calls of a list: which index to follow, how far, and from where to go on."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, or_, select

from airflow_provider_voiceinfra.ledger.entries import CallOrigin, CallState
from airflow_provider_voiceinfra.ledger.listed import OPEN, CallFilter, ListedCall, Order
from airflow_provider_voiceinfra.ledger.schema import calls, completions

SCAN = 10_000
"""How many calls one question looks at, at most."""
END_DIGITS = 4
"""How many last digits of a number the ledger can look up."""

_FIRST_SCAN = 200
_ID_CHUNK = 500  # SQLite takes at most 999 values in one statement in its older builds
_ENDS = ("call_outcome", "duration_seconds", "started_at", "ended_at", "received_at")
_ORIGIN = tuple(CallOrigin.__dataclass_fields__)
_OWN = tuple(name for name in ListedCall.__dataclass_fields__ if name not in ("origin", "outcome", *_ENDS))


def listed() -> Select[Any]:
    """Return the query of all calls, without what is long or secret."""
    return select(*(calls.c[name] for name in (*_OWN, *_ORIGIN)))


def completed(connection: Connection, rows: Sequence[Row[Any]]) -> list[ListedCall]:
    """Return calls with what is known of their ends."""
    ids = [row.call_id for row in rows if row.call_id is not None]
    ends = ends_of(connection, ids, _ENDS)
    found = []
    for row in rows:
        values = dict(row._mapping)
        origin = CallOrigin(**{name: values.pop(name) for name in _ORIGIN})
        end = dict(zip(_ENDS, ends.get(row.call_id or "") or (None,) * len(_ENDS), strict=True))
        outcome = end.pop("call_outcome")
        values = {name: values[name] for name in _OWN} | {"state": CallState(values["state"])}
        found.append(ListedCall(**values, **end, origin=origin, outcome=outcome))
    return found


def ends_of(
    connection: Connection, call_ids: Sequence[str], names: Sequence[str]
) -> dict[str, tuple[Any, ...]]:
    """Return columns of the completions that exist for these calls, by call id."""
    # Not a join: for a list of thousands, PostgreSQL would rather read all completions there are.
    columns = [completions.c[name] for name in names]
    found: dict[str, tuple[Any, ...]] = {}
    for start in range(0, len(call_ids), _ID_CHUNK):
        chunk = call_ids[start : start + _ID_CHUNK]
        query = select(completions.c.call_id, *columns).where(completions.c.call_id.in_(chunk))
        found.update((row[0], tuple(row[1:])) for row in connection.execute(query))
    return found


@dataclass(frozen=True)
class Cursor:
    """A place in a list: the value it is ordered by, and a key that is the call's alone."""

    value: datetime | int
    key: str

    @classmethod
    def of(cls, call: ListedCall, order: Order) -> Cursor:
        """Return the place of a call."""
        if order in (Order.LONGEST, Order.SHORTEST):
            return cls(call.duration_seconds or 0, call.call_id or "")
        return cls(call.claimed_at, call.key_hash)

    @classmethod
    def read(cls, text: str | None) -> Cursor | None:
        """Return what was written into an address.

        :raises ValueError: if it was not written by us.
        """
        if not text:
            return None
        value, key = json.loads(base64.urlsafe_b64decode(text.encode("ascii")))
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            value = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        if not isinstance(value, (int, datetime)) or not isinstance(key, str):
            raise ValueError("not a place in a list of calls")
        return cls(value, key)

    def written(self) -> str:
        """Return it as a text for an address."""
        value = self.value.isoformat() if isinstance(self.value, datetime) else self.value
        return base64.urlsafe_b64encode(json.dumps([value, self.key]).encode()).decode()


class Search:
    """Finds the calls of one page.

    It takes up to ``SCAN`` calls in order, by the index that fits the filter best, and keeps those to which
    the rest of the filter applies. So a rare call costs more questions, but no question costs more.

    :param wanted: the filter.
    :param order: the order of the list.
    :param backwards: whether the list is read from its end to its start.
    """

    def __init__(self, wanted: CallFilter, order: Order, *, backwards: bool = False) -> None:
        self._wanted = wanted
        self._order = order
        self._by_duration = order in (Order.LONGEST, Order.SHORTEST)
        self._falling = (order in (Order.NEWEST, Order.LONGEST)) != backwards

    def run(
        self, connection: Connection, start: Cursor | None, limit: int
    ) -> tuple[list[Row[Any]], Cursor | None, datetime | None]:
        """Return a page's calls.

        :return: the calls; from where to go on, if there may be more; how far the search came, if it found
            too little.
        """
        if start is not None and isinstance(start.value, datetime) == self._by_duration:
            raise ValueError("this place belongs to a list in another order")
        window, rows = self._window(start), []
        # Most filters find a page of calls at once, and then the rest need not be looked at.
        for size in (_FIRST_SCAN, SCAN):
            rows = self._matching(connection, window.limit(size), limit + 1)
            if len(rows) > limit:
                return rows[:limit], self._place(rows[limit - 1]), None
        edge = connection.execute(window.offset(SCAN - 1).limit(1)).first()
        if edge is None:
            return rows, None, None
        return rows, self._place(edge), edge.claimed_at

    def newest(self, connection: Connection, limit: int) -> tuple[list[Row[Any]], bool]:
        """Return those of the first calls that match, and whether there are no others to look at."""
        window = self._window(None)
        rows = self._matching(connection, window.limit(limit), limit)
        return rows, connection.execute(window.offset(limit).limit(1)).first() is None

    @property
    def _keys(self) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
        if self._by_duration:
            return completions.c.duration_seconds, completions.c.call_id
        return calls.c.claimed_at, calls.c.key_hash

    def _window(self, start: Cursor | None) -> Select[Any]:
        """Return the query of all calls to look at, in order."""
        value, key = self._keys
        query = listed().add_columns(calls.c.to_number_end).where(*self._followed())
        if self._by_duration:
            query = query.add_columns(value.label("duration"))
            query = query.select_from(completions.join(calls, calls.c.call_id == completions.c.call_id))
            query = query.where(value.is_not(None))
        if start is not None:
            beyond = (value < start.value) if self._falling else (value > start.value)
            behind = (key < start.key) if self._falling else (key > start.key)
            reached = (value <= start.value) if self._falling else (value >= start.value)
            query = query.where(reached, or_(beyond, behind))
        return query.order_by(*self._ordered(value, key))

    def _followed(self) -> list[ColumnElement[bool]]:
        """Return the conditions that an index answers, in the order of the list."""
        wanted = self._wanted
        if self._by_duration:
            return []
        found = self._index()
        if wanted.since is not None:
            found.append(calls.c.claimed_at >= wanted.since)
        if wanted.until is not None:
            found.append(calls.c.claimed_at < wanted.until)
        return found

    def _index(self) -> list[ColumnElement[bool]]:
        # The rarest first; each of them is an index of its own, ordered by the time of the claim.
        wanted = self._wanted
        if wanted.digits is not None:
            return [calls.c.to_number_end == wanted.digits[-END_DIGITS:]]
        if wanted.dag_id is not None and wanted.run_id is not None:
            return [calls.c.dag_id == wanted.dag_id, calls.c.run_id == wanted.run_id]
        if wanted.campaign_id is not None:
            return [calls.c.campaign_id == wanted.campaign_id]
        if wanted.state is not None and wanted.state is not CallState.ACCEPTED:
            return [calls.c.state == wanted.state.value]
        if wanted.dag_id is not None:
            return [calls.c.dag_id == wanted.dag_id]
        if wanted.conn_id is not None:
            return [calls.c.conn_id == wanted.conn_id]
        return []

    def _matching(self, connection: Connection, window: Select[Any], most: int) -> list[Row[Any]]:
        seen = window.subquery("seen")
        value, key = (
            (seen.c.duration, seen.c.call_id) if self._by_duration else (seen.c.claimed_at, seen.c.key_hash)
        )
        query = select(seen).where(*conditions(self._wanted, seen))
        query = query.order_by(*self._ordered(value, key))
        digits = self._wanted.digits
        if digits is None or len(digits) <= END_DIGITS:
            return list(connection.execute(query.limit(most)).all())
        # Numbers can only be compared once they are read.
        found = (row for row in connection.execute(query) if (row.to_number or "").endswith(digits))
        return [row for row, _ in zip(found, range(most), strict=False)]

    def _ordered(self, *columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        return [column.desc() if self._falling else column.asc() for column in columns]

    def _place(self, row: Row[Any]) -> Cursor:
        if self._by_duration:
            return Cursor(row.duration, row.call_id)
        return Cursor(row.claimed_at, row.key_hash)


def conditions(wanted: CallFilter, seen: Any) -> list[ColumnElement[bool]]:
    """Return what a filter asks of calls.

    :param seen: the table or query that holds the calls.
    """
    c = seen.c
    equal = {name: getattr(wanted, name) for name in ("conn_id", "dag_id", "run_id", "campaign_id")}
    if wanted.state is not None:
        equal["state"] = wanted.state.value
    if wanted.digits is not None:
        equal["to_number_end"] = wanted.digits[-END_DIGITS:]
    found: list[ColumnElement[bool]] = [
        c[name] == value for name, value in equal.items() if value is not None
    ]
    if wanted.since is not None:
        found.append(c.claimed_at >= wanted.since)
    if wanted.until is not None:
        found.append(c.claimed_at < wanted.until)
    if wanted.hidden_dags:
        found.append(or_(c.dag_id.is_(None), c.dag_id.not_in(wanted.hidden_dags)))
    if wanted.only_conns is not None:
        found.append(c.conn_id.in_(wanted.only_conns))
    if wanted.dagless_conns is not None:
        found.append(or_(c.dag_id.is_not(None), c.conn_id.in_(wanted.dagless_conns)))
    if wanted.outcome is not None:
        found.append(_ended_as(wanted.outcome, c))
    return found


def _ended_as(outcome: str, c: Any) -> ColumnElement[bool]:
    # One look-up for each call that is looked at, on every database.
    end = select(completions.c.call_id).where(completions.c.call_id == c.call_id)
    if outcome == OPEN:
        return and_(c.state == CallState.ACCEPTED.value, ~end.exists())
    return end.where(completions.c.call_outcome == outcome).exists()
