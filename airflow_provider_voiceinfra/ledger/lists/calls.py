"""The part of the ledger that pages read: lists of calls by filter, page after page.

Each question does a bounded amount of work, however many calls there are: pages follow a key and never count
rows from the start, and a search that finds too little within its bound says how far it came.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from airflow_provider_voiceinfra.exceptions import LedgerError
from airflow_provider_voiceinfra.ledger.database.chunks import rows_with
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions
from airflow_provider_voiceinfra.ledger.lists.elsewhere import SearchElsewhere, listed_elsewhere, own_numbers
from airflow_provider_voiceinfra.ledger.lists.search import Cursor, Search, at_one_moment
from airflow_provider_voiceinfra.ledger.lists.values import (
    CallFilter,
    CallsPage,
    Direction,
    ListedCall,
    Order,
)
from airflow_provider_voiceinfra.ledger.part import LedgerPart
from airflow_provider_voiceinfra.ledger.records import (
    ORIGIN_COLUMNS,
    CallEntry,
    CallOrigin,
    CallState,
    CompletionEntry,
)
from airflow_provider_voiceinfra.ledger.rows import WITHOUT_BODY, same_number

_STREAM_CHUNK = 1000
_ORIGIN = ORIGIN_COLUMNS
_OF_END = ("duration_seconds", "started_at", "ended_at", "received_at")
_OF_CALL = [
    name
    for name in ListedCall.__dataclass_fields__
    if name not in ("origin", "outcome", "direction", *_OF_END)
]
_COLUMNS = [calls.c[name] for name in (*_OF_CALL, *_ORIGIN)]
_ENDS = [completions.c.call_outcome.label("outcome"), *(completions.c[name] for name in _OF_END)]


class CallLists(LedgerPart):
    """Lists calls."""

    def page_of_calls(
        self,
        wanted: CallFilter,
        *,
        order: Order = Order.NEWEST,
        after: str | None = None,
        before: str | None = None,
        last: bool = False,
        limit: int = 50,
    ) -> CallsPage:
        """Return a page of a list of calls.

        :param after: from the page before it.
        :param before: from the page behind it.
        :param last: whether the last page of all is wanted.
        :param limit: how many calls at most.
        :raises ValueError: if ``after`` or ``before`` is not what a page has given out.
        """
        backwards = last or before is not None
        start = Cursor.read(before if backwards else after)
        is_ours = wanted.direction is Direction.OUTBOUND
        search = (Search if is_ours else SearchElsewhere)(wanted, order, backwards=backwards)
        with self._database.reading() as connection:
            at_one_moment(connection)
            found = search.run(connection, start, limit)
            listed = _listed(connection, found.keys, None if is_ours else wanted.own_numbers)
        onwards = found.onwards.written() if found.onwards else None
        # Where nothing was found, the way back leads over the very place that this page began behind.
        first = found.first or (start and replace(start, is_reached=True))
        back = first.written() if start and first else None
        if backwards:
            return CallsPage(listed[::-1], before=onwards, after=back, searched_to=found.searched_to)
        return CallsPage(listed, before=back, after=onwards, searched_to=found.searched_to)

    def stream_calls(self, wanted: CallFilter, *, order: Order = Order.NEWEST) -> Iterator[ListedCall]:
        """Yield all calls of a list, some at a time, each time in a transaction of its own."""
        after: str | None = None
        while True:
            page = self.page_of_calls(wanted, order=order, after=after, limit=_STREAM_CHUNK)
            yield from page.calls
            if page.after is None:
                return
            if page.after == after:
                raise LedgerError("The list of calls does not come to its end.")
            after = page.after

    def calls_to_contact(self, entry: CallEntry, *, limit: int = 50) -> list[ListedCall]:
        """Return all calls to the contact of a call, newest first.

        Of a campaign's call these are the campaign's calls to that contact; of another one, the calls to the
        same number through the same connection.
        """
        origin = entry.origin
        if origin.campaign_id is not None and origin.position is not None:
            same = [calls.c.campaign_id == origin.campaign_id, calls.c.position == origin.position]
        elif entry.to_number is not None:
            same = [*same_number(entry.to_number), calls.c.conn_id == entry.conn_id]
        else:
            same = [calls.c.key_hash == entry.key_hash]
        query = select(calls.c.key_hash).where(*same).limit(limit)
        query = query.order_by(calls.c.claimed_at.desc(), calls.c.key_hash.desc())
        with self._database.reading() as connection:
            return _listed(connection, list(connection.execute(query).scalars()))

    def listed_call(self, key_hash: str) -> ListedCall | None:
        """Return one call."""
        with self._database.reading() as connection:
            return next(iter(_listed(connection, [key_hash])), None)

    def known_connections(self) -> list[str]:
        """Return the connections of all calls, those that were not placed from here included."""
        return sorted({*self._distinct(calls.c.conn_id), *self._distinct(completions.c.conn_id)})

    def known_dags(self) -> list[str]:
        """Return the DAGs of all calls."""
        return self._distinct(calls.c.dag_id)

    def own_numbers(self, conn_ids: Collection[str] = ()) -> frozenset[str]:
        """Return the numbers that calls are placed from, as far as the newest calls show.

        :param conn_ids: connections of which fewer calls may be among the newest.
        """
        with self._database.reading() as connection:
            return own_numbers(connection, sorted(conn_ids))

    def last_completion(self, conn_id: str) -> CompletionEntry | None:
        """Return the newest completion that a connection has brought, without its body."""
        # Not said to be equal, for the reason that ``conditions.Way`` has.
        query = select(*WITHOUT_BODY).where(completions.c.conn_id.between(conn_id, conn_id))
        query = query.order_by(completions.c.conn_id.desc(), completions.c.received_at.desc()).limit(1)
        return next((CompletionEntry(**row._mapping) for row in self._database.rows(query)), None)

    def _distinct(self, column: ColumnElement[str]) -> list[str]:
        # From each value straight to the next greater one: as many lookups in an index as there are values,
        # where DISTINCT would read every row.
        found = select(func.min(column).label("value")).cte("found", recursive=True)
        greater = select(func.min(column)).where(column > found.c.value).scalar_subquery()
        found = found.union_all(select(greater).where(found.c.value.is_not(None)))
        query = select(found.c.value).where(found.c.value.is_not(None))
        return [row.value for row in self._database.rows(query)]


def _listed(
    connection: Connection, keys: Sequence[str], elsewhere: frozenset[str] | None = None
) -> list[ListedCall]:
    """Return calls by their hashed keys, in the same order.

    :param elsewhere: set if the keys are the ids of calls that were not placed from here: the own numbers.
    """
    if elsewhere is not None:
        return listed_elsewhere(connection, keys, elsewhere)
    query = select(*_COLUMNS, *_ENDS)
    query = query.select_from(calls.outerjoin(completions, completions.c.call_id == calls.c.call_id))
    rows = rows_with(connection.execute, query, calls.c.key_hash, keys)
    found = {row.key_hash: _call(row) for row in rows}
    return [found[key] for key in keys if key in found]


def _call(row: Row[Any]) -> ListedCall:
    values = dict(row._mapping)
    origin = CallOrigin(**{name: values.pop(name) for name in _ORIGIN})
    return ListedCall(**{**values, "state": CallState(row.state)}, origin=origin)
