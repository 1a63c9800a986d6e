"""Looks for the calls of a list: how far, in which order, and from where to go on."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from operator import ge, gt, le, lt
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    cast,
    func,
    literal,
    null,
    select,
    true,
    tuple_,
)

from airflow_provider_voiceinfra.ledger.database.schema import calls, completions
from airflow_provider_voiceinfra.ledger.lists.conditions import (
    ANYWHERE,
    LOOKED_AT,
    conditions,
    is_impossible,
    look_up,
    row_fits,
    span,
    way_of,
)
from airflow_provider_voiceinfra.ledger.lists.values import OVER, CallFilter, Order

SCAN = 5_000
"""How many calls one question looks at, at most."""

# In the order of durations, calls lie all over the table, and each takes longer to look at.
_SCATTERED = 2_000
_SORT = 10_000  # calls that an index leads to, and that a question puts in that order itself
_FIRST_SCAN = 4  # times as many calls as are wanted; most filters find enough of them there
_LOOKED_AT = [calls.c[name] for name in LOOKED_AT]
# How a call ended, in one lookup: its duration, if it has one, and its outcome.
_END = (
    func.coalesce(cast(completions.c.duration_seconds, String), "")
    + " "
    + func.coalesce(completions.c.call_outcome, OVER)
)
_MOST_CHARACTERS = 1000
_MOST_SECONDS = 2**31 - 1  # what the column holds


def at_one_moment(connection: Connection) -> None:
    """Let all statements of a transaction that has just begun see the ledger as it is now.

    What is placed while a search goes on would move its end. Databases other than PostgreSQL do so by
    themselves.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


@dataclass(frozen=True)
class Cursor:
    """A place in a list: the value it is ordered by, and a key that is the call's alone.

    :param is_reached: whether what is at this place itself lies behind it.
    """

    value: datetime | int
    key: str
    is_reached: bool = False

    @classmethod
    def read(cls, text: str | None) -> Cursor | None:
        """Return what was written into an address.

        :raises ValueError: if it was not written by us.
        """
        if not text:
            return None
        if len(text) > _MOST_CHARACTERS:
            raise ValueError("not a place in a list")
        value, sign, key = base64.urlsafe_b64decode(text.encode("ascii")).decode().partition(" ")
        if not sign or "\x00" in key:
            raise ValueError("not a place in a list")
        is_reached = value.endswith("=")
        value = value.removesuffix("=")
        if value.isdecimal():
            return cls(min(int(value), _MOST_SECONDS), key, is_reached)
        return cls(datetime.fromisoformat(value).replace(tzinfo=timezone.utc), key, is_reached)

    def written(self) -> str:
        """Return it as a text for an address."""
        value = self.value
        told = str(value) if isinstance(value, int) else value.astimezone(timezone.utc).isoformat()
        text = f"{told.removesuffix('+00:00')}{'=' if self.is_reached else ''} {self.key}"
        return base64.urlsafe_b64encode(text.encode()).decode()

    def beyond(
        self, value: ColumnElement[Any], key: ColumnElement[Any], *, falling: bool
    ) -> ColumnElement[bool]:
        """Return the condition for what lies behind this place.

        :param falling: whether the list begins with its greatest value.
        """
        beyond, or_here = (lt, le) if falling else (gt, ge)
        here = tuple_(literal(self.value, value.type), literal(self.key, key.type))
        found: ColumnElement[bool] = (or_here if self.is_reached else beyond)(tuple_(value, key), here)
        return found


@dataclass(frozen=True)
class Found:
    """What a search has found.

    :param keys: the hashed keys of the calls, in the order in which they were looked for.
    :param first: the place of the first of them; ``None`` if there is none.
    :param onwards: from where to go on; ``None`` if there are no others.
    :param searched_to: if the search stopped at its bound: when the last call that it looked at was claimed,
        or, by duration, when that call's record was received.
    """

    keys: list[str]
    first: Cursor | None = None
    onwards: Cursor | None = None
    searched_to: datetime | None = None


class Search:
    """Finds the calls of one page.

    It takes up to ``SCAN`` calls in order, by the index that fits the filter best, and keeps those to which
    the rest of the filter applies. So a rare call costs more questions, but no question costs more. Only what
    a question has found is read in full.

    :param wanted: the filter.
    :param order: the order of the list.
    :param backwards: whether the list is read from its end to its start.
    """

    _numbers: tuple[str, ...] = ("to_number",)  # what the rest of the filter asks of a row that is read

    def __init__(self, wanted: CallFilter, order: Order, *, backwards: bool = False) -> None:
        self._wanted = wanted
        self._way = way_of(wanted)
        self._by_duration = order in (Order.LONGEST, Order.SHORTEST)
        self._falling = (order in (Order.NEWEST, Order.LONGEST)) != backwards
        self._fits = row_fits(wanted)

    def run(self, connection: Connection, start: Cursor | None, limit: int) -> Found:
        """Look for the calls of a page.

        :param start: the place behind which to begin; if not set, where the list begins.
        :raises ValueError: if that place belongs to a list in another order.
        """
        if start is not None and isinstance(start.value, datetime) == self._by_duration:
            raise ValueError("this place belongs to a list in another order")
        if self._is_impossible():
            return Found([])
        if self._by_duration and self._is_short(connection):
            return _found(
                self._matching(connection, self._unordered(connection.dialect.name), limit + 1, start), limit
            )
        window = self._window(connection.dialect.name, start)
        most = _SCATTERED if self._by_duration else SCAN
        # Most filters find a page of calls at once, and then the rest need not be looked at.
        for size in (min(most, _FIRST_SCAN * limit), most):
            rows = self._matching(connection, window.limit(size), limit + 1)
            if len(rows) > limit:
                return _found(rows, limit)
        edge = connection.execute(window.offset(most - 1).limit(1)).first()
        return _found(rows, limit, edge)

    def tally(self, connection: Connection, limit: int) -> tuple[list[Row[Any]], datetime | None, int]:
        """Count those of so many calls that are wanted, by hour, state, and duration and outcome.

        :return: the counts; when the oldest call was claimed that was looked at, if there are others; and how
            many were looked at, at most.
        """
        if self._is_impossible():
            return [], None, limit
        window, limit = self._window(connection.dialect.name, None), self._most(limit)
        seen = window.limit(limit).subquery("seen").c
        # "2026-11-22 18", on every database.
        hour = func.substr(cast(seen.moment, String), 1, 13).label("hour")
        numbers = [seen[name] if self._fits else null().label(name) for name in self._numbers]
        kinds = [hour, *self._ends(seen), *numbers]
        kind = select(*kinds, seen.moment).where(*self._conditions(seen)).subquery("kind").c
        by = [column for column in kind if column.name != "moment"]
        figures = (func.count().label("number"), func.min(kind.moment).label("oldest"))
        query: Select[Any] = select(*by, *figures).group_by(*by)
        fits = self._fits
        rows = [row for row in connection.execute(query) if fits is None or fits(row)]
        edge = connection.execute(window.offset(limit - 1).limit(2)).all()
        return rows, edge[0].moment if len(edge) > 1 else None, limit

    def _is_impossible(self) -> bool:
        """Return whether the filter rules out every call by itself."""
        return is_impossible(self._wanted, ended=self._by_duration)

    def _conditions(self, seen: Any) -> list[ColumnElement[bool]]:
        """Return what is asked of the calls of a window."""
        return [*conditions(self._wanted, seen), seen.key_hash.is_not(None)]

    def _ends(self, seen: Any) -> list[ColumnElement[Any]]:
        """Return the columns that say how far the calls of a window are, and how they ended."""
        return [seen.state, look_up(_END, seen.call_id).label("end")]

    def _most(self, number: int) -> int:
        """Return how many calls are looked up one by one, at most."""
        # Those to a number lie all over the table.
        return number if self._wanted.digits is None else min(number, _SCATTERED)

    def _is_short(self, connection: Connection) -> bool:
        """Return whether an index leads to so few calls that all of them can be looked at."""
        wanted = self._wanted
        if self._way is ANYWHERE and wanted.since is None and wanted.until is None:
            return False
        others = self._on_the_way(select(calls.c.claimed_at), connection.dialect.name)
        return connection.execute(others.offset(self._most(_SORT)).limit(1)).first() is None

    def _unordered(self, dialect: str) -> Select[Any]:
        """Return the query of all calls that an index leads to, with the values that they are ordered by."""
        duration = look_up(completions.c.duration_seconds, calls.c.call_id)
        query = select(*_LOOKED_AT, duration.label("value"), calls.c.call_id.label("tie"))
        return self._on_the_way(query, dialect).limit(self._most(_SORT))

    def _on_the_way(self, query: Select[Any], dialect: str) -> Select[Any]:
        """Return the query of those calls that an index leads to, within the time that is wanted."""
        query = query.where(*self._way.conditions(dialect), *span(self._wanted, calls.c.claimed_at))
        # In the order of the index, or PostgreSQL might not follow it.
        return query.order_by(*self._way.columns, calls.c.claimed_at)

    def _window(self, dialect: str, start: Cursor | None) -> Select[Any]:
        """Return the query of all calls to look at, in order."""
        query, value, tie, moment = self._source()
        way, (begin, end) = self._way, span(self._wanted, value)
        if self._by_duration:
            way, (begin, end) = ANYWHERE, (true(), true())
            query = query.where(value.is_not(None))
        if start is not None:
            place = start.beyond(value, tie, falling=self._falling)
            # It takes the place of a bound: of two, SQLite may begin its search at the farther one.
            begin, end = (begin, place) if self._falling else (place, end)
        query = query.add_columns(value.label("value"), tie.label("tie"), moment.label("moment"))
        query = query.where(*way.conditions(dialect), begin, end)
        return query.order_by(*self._ordered(*way.columns, value, tie))

    def _source(self) -> tuple[Select[Any], ColumnElement[Any], ColumnElement[Any], ColumnElement[Any]]:
        """Return the query of all calls, what they are ordered by, their own keys, and their time."""
        query, c = select(*_LOOKED_AT), completions.c
        if not self._by_duration:
            return query, calls.c.claimed_at, calls.c.key_hash, calls.c.claimed_at
        # Completions of calls that were placed elsewhere count as looked at, or nothing would bound them.
        query = query.select_from(completions.outerjoin(calls, calls.c.call_id == c.call_id))
        return query, c.duration_seconds, c.call_id, c.received_at

    def _matching(
        self, connection: Connection, window: Select[Any], most: int, start: Cursor | None = None
    ) -> list[Row[Any]]:
        """Return those calls of a window that are wanted, in order.

        :param start: the place behind which to begin, if the window does not begin there.
        """
        seen = window.subquery("seen").c
        numbers = [seen[name] for name in self._numbers if self._fits]
        query: Select[Any] = select(seen.key_hash, seen.value, seen.tie, *numbers)
        query = query.where(*self._conditions(seen), seen.value.is_not(None))
        if start is not None:
            query = query.where(start.beyond(seen.value, seen.tie, falling=self._falling))
        query = query.order_by(*self._ordered(seen.value, seen.tie))
        fits = self._fits
        if fits is None:
            return list(connection.execute(query.limit(most)).all())
        return list(islice((row for row in connection.execute(query) if fits(row)), most))

    def _ordered(self, *columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        return [column.desc() if self._falling else column.asc() for column in columns]


def _found(rows: Sequence[Row[Any]], limit: int, edge: Row[Any] | None = None) -> Found:
    """Return what rows are found; there are more of them than the limit, or all of them up to the edge."""
    last = rows[limit - 1] if len(rows) > limit else edge
    return Found(
        keys=[row.key_hash for row in rows[:limit]],
        first=Cursor(rows[0].value, rows[0].tie) if rows else None,
        onwards=None if last is None else Cursor(last.value, last.tie),
        searched_to=None if edge is None else edge.moment,
    )
