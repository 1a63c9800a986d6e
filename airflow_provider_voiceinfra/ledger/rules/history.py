"""What the ledger keeps of calls as proof that they were allowed; reads it some calls at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, String, and_, bindparam, literal, or_, select, tuple_, type_coerce

from airflow_provider_voiceinfra.ledger.database.chunks import having, rows_of
from airflow_provider_voiceinfra.ledger.database.personal import hash_of
from airflow_provider_voiceinfra.ledger.database.schema import UtcDateTime, calls, rules, suppressions
from airflow_provider_voiceinfra.ledger.part import LedgerPart

_AT_ONCE = 1000
_c = calls.c
# Of these nothing rang.
_MAY_HAVE_RUNG = _c.state != "refused"


@dataclass(frozen=True)
class KeptCall:
    """A call that may have rung, with what is kept of why it was allowed; see the table of calls."""

    key_hash: str
    call_id: str | None
    state: str
    conn_id: str
    dag_id: str | None
    run_id: str | None
    task_id: str | None
    map_index: int | None
    campaign_id: str | None
    claimed_at: datetime
    dialled_at: datetime | None
    unsettled_since: datetime | None
    purged_at: datetime | None
    rules_id: str | None
    timezone: str | None
    region: str | None
    to_number_hash: str | None = field(repr=False)
    to_number: str | None = field(repr=False)
    consent: str | None = field(repr=False)


class KeptDial(NamedTuple):
    """One dial of a number; a call that was redialled has two.

    :param number_hash: what the number is found by.
    :param key_hash: whose dial it is.
    :param is_last: whether it is the call's last one.
    """

    number_hash: str
    at: datetime
    key_hash: str
    is_last: bool


class KeptSuppression(NamedTuple):
    """A suppression, in force or over.

    :param conn_id: the connection that it was for; ``None`` for all.
    """

    id: int
    number_hash: str
    conn_id: str | None
    created_at: datetime
    ends_at: datetime | None
    removed_at: datetime | None


# Hashes as they are kept: bound as they are, where the column would take a number and hash it.
_call_hash = type_coerce(_c.to_number_hash, String)
_suppression_hash = type_coerce(suppressions.c.number_hash, String)
_AS_KEPT = {"to_number_hash": _call_hash.label("to_number_hash")}
_CALLS = select(*(_AS_KEPT.get(name, _c[name]) for name in KeptCall.__dataclass_fields__))
_CALLS = _CALLS.where(_MAY_HAVE_RUNG).order_by(_c.claimed_at, _c.key_hash).limit(_AT_ONCE)
_since, _until = bindparam("since", type_=UtcDateTime), bindparam("until", type_=UtcDateTime)
_DIALS = having(
    select(_call_hash.label("number_hash"), _c.key_hash, _c.dialled_at, _c.unsettled_since).where(
        _MAY_HAVE_RUNG,
        _c.dialled_at > _since,
        or_(_c.dialled_at <= _until, _c.unsettled_since <= _until),
    ),
    _call_hash,
)
_OF_SUPPRESSION = ("id", "conn_id", "created_at", "ends_at", "removed_at")
_SUPPRESSIONS = having(
    select(
        _suppression_hash.label("number_hash"), *(suppressions.c[name] for name in _OF_SUPPRESSION)
    ).order_by(suppressions.c.id),
    _suppression_hash,
)


class HistoryLedger(LedgerPart):
    """Reads what is kept of calls as proof."""

    def calls(
        self, since: datetime, until: datetime, equal: Mapping[str, str | None]
    ) -> Iterator[Sequence[KeptCall]]:
        """Yield calls that may have rung, some at a time, by when they were claimed.

        :param since: only those that were dialled at or after this moment, aware, or if that is not known,
            claimed. ``until`` is likewise the first moment that is left out.
        :param equal: values of columns that a call must have; ``None`` for any.
        """
        moments = (_c.dialled_at, _c.unsettled_since)
        dialled = [and_(moment >= since, moment < until) for moment in moments]
        unknown = and_(_c.dialled_at.is_(None), _c.claimed_at >= since, _c.claimed_at < until)
        query = _CALLS.where(or_(*dialled, unknown))
        query = query.where(*(_c[name] == value for name, value in equal.items() if value is not None))
        rows = self._database.rows(query)
        while rows:
            found = [KeptCall(**row._mapping) for row in rows]
            yield found
            rows = self._database.rows(query.where(_behind(found[-1]))) if len(rows) == _AT_ONCE else []

    def dials(self, numbers: Collection[str], since: datetime, until: datetime) -> Iterator[KeptDial]:
        """Yield the dials of some numbers, of calls of whichever origin that may have rung.

        :param numbers: their hashes.
        :param since: only those after this moment, aware.
        :param until: only those up to this moment, aware.
        """

        def execute(query: Any, wanted: dict[str, Any]) -> Any:
            return self._database.rows(query, {**wanted, "since": since, "until": until})

        for row in rows_of(execute, _DIALS, sorted(numbers)):
            for at, is_last in ((row.unsettled_since, False), (row.dialled_at, True)):
                if at is not None and since < at <= until:
                    yield KeptDial(row.number_hash, at, row.key_hash, is_last)

    def suppressions(self, numbers: Collection[str]) -> Iterator[KeptSuppression]:
        """Yield all suppressions that some numbers ever had, oldest first.

        :param numbers: their hashes.
        """
        for row in rows_of(self._database.rows, _SUPPRESSIONS, sorted(numbers)):
            yield KeptSuppression(**row._mapping)

    def rules(self, rules_id: str) -> bytes | None:
        """Return the rules that were in force, as they were stored; ``None`` if they are gone."""
        query = select(rules.c.document).where(rules.c.id == rules_id)
        return next((bytes(row.document) for row in self._database.rows(query)), None)

    def hash_of(self, number: str) -> str:
        """Return what the ledger finds a number by."""
        with self._database.reading() as connection:
            return hash_of(connection, number)


def _behind(last: KeptCall) -> ColumnElement[bool]:
    place = tuple_(literal(last.claimed_at, UtcDateTime), literal(last.key_hash))
    return tuple_(_c.claimed_at, _c.key_hash) > place
