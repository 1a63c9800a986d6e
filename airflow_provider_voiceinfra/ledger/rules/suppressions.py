"""Numbers that must not be called: added, removed, listed; those that are over stay, as proof."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, or_, select, text, update

from airflow_provider_voiceinfra.calls import storable_text
from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.ledger.database.chunks import VALUES_AT_ONCE, having, rows_of
from airflow_provider_voiceinfra.ledger.database.locks import lock, of_numbers
from airflow_provider_voiceinfra.ledger.database.personal import hash_of
from airflow_provider_voiceinfra.ledger.database.schema import (
    END_DIGITS,
    calls,
    database_time,
    suppressions,
)
from airflow_provider_voiceinfra.ledger.part import LedgerPart
from airflow_provider_voiceinfra.ledger.records import CallState
from airflow_provider_voiceinfra.ledger.rules.limits import capped, in_force, suppressed
from airflow_provider_voiceinfra.rules.rule_set import RuleSet

_c = suppressions.c
# A request leaves within 10 s of the last look at its claim, or not at all; the rest is for a slow answer of
# the database to that look, in seconds.
_LEAVES_WITHIN = 15.0
_LOOK_AGAIN = 0.05
PATIENCE = _LEAVES_WITHIN + 5.0
"""How long it can take until no request is leaving any more, in seconds."""

_FOUND_BY = ("number_hash", "number_end")
_SELECT = select(*(_c[name] for name in _c.keys() if name not in _FOUND_BY))  # noqa: SIM118 # not a dict
_COVERED = having(select(_c.number_hash, _c.conn_id, _c.ends_at), _c.number_hash)
_ALL_CLAIMED = select(calls.c.to_number_hash, calls.c.dialled_at, database_time().label("now")).where(
    calls.c.state == CallState.CLAIMED.value, calls.c.dialled_at.is_not(None)
)
_CLAIMED = having(_ALL_CLAIMED, calls.c.to_number_hash)
_WRITERS = text(
    "SELECT virtualtransaction FROM pg_locks WHERE relation = to_regclass(:name) "
    "AND mode = 'RowExclusiveLock' AND pid <> pg_backend_pid()"
)


class SuppressionSource(str, Enum):
    """Where a suppression came from."""

    CLI = "cli"
    FILE = "file"
    HOOK = "hook"
    PAGE = "page"
    WEBHOOK = "webhook"


@dataclass(frozen=True)
class Suppression:
    """A number that must not be called.

    :param number: in E.164 form; ``None`` of somebody who was forgotten, and still is not called.
    :param conn_id: the connection that it is for; ``None`` for all.
    :param reason: for people.
    :param source: a ``SuppressionSource``.
    :param added_by: who added it, or the call whose record said so.
    :param ends_at: when it ends by itself, aware UTC; ``None`` for never.
    :param removed_at: when somebody removed it, aware UTC.
    """

    number: str | None = field(repr=False)
    conn_id: str | None = None
    reason: str | None = None
    source: str = SuppressionSource.HOOK.value
    added_by: str | None = None
    ends_at: datetime | None = None
    id: int = 0
    created_at: datetime | None = None
    removed_at: datetime | None = None

    def is_in_force(self, now: datetime) -> bool:
        """Return whether it counts at a moment, which is aware."""
        return self.removed_at is None and (self.ends_at is None or self.ends_at > now)


class SuppressionsLedger(LedgerPart):
    """Keeps who must not be called; every claim asks it, in its own transaction."""

    def add(self, wanted: Iterable[Suppression]) -> int:
        """Store suppressions; from then on no call to these numbers is claimed.

        Where one is in force already that covers it, for the same connection or for all, nothing is added.
        There may be any number of them: they are stored in transactions of some hundred.

        :return: how many were added.
        """
        left, added = iter(wanted), 0
        while some := list(islice(left, VALUES_AT_ONCE)):
            with self._database.writing() as connection:
                added += add_suppressions(connection, some)
        return added

    def remove(self, ids: Collection[int]) -> int:
        """End suppressions that are in force, by their ids; return how many."""
        ending = update(suppressions).where(_c.id.in_(list(ids)), _c.removed_at.is_(None))
        with self._database.writing() as connection:
            return connection.execute(ending.values(removed_at=database_time())).rowcount

    def get(self, suppression_id: int) -> Suppression | None:
        """Return one suppression, whether it is in force or not."""
        return next(iter(self._found(_SELECT.where(_c.id == suppression_id))), None)

    def of_number(self, number: str, *, only_in_force: bool = True) -> list[Suppression]:
        """Return the suppressions of a number, newest first.

        :param only_in_force: only those that count now.
        """
        query = _SELECT.where(_c.number_hash == number, *([in_force()] if only_in_force else []))
        return self._found(query.order_by(_c.id.desc()))

    def against(
        self, numbers: Sequence[str], *, conn_id: str, rules: RuleSet, now: datetime
    ) -> dict[str | None, CallNotAllowedError]:
        """Return what there is against calls to some numbers now: suppressions and caps. Claims nothing.

        :param rules: those that are in force.
        :param now: aware.
        """
        with self._database.reading() as connection:
            refused = capped(connection, rules, numbers, now) | suppressed(connection, conn_id, numbers)
        return refused

    def page(
        self,
        *,
        conn_ids: Collection[str] | None = None,
        digits: str | None = None,
        before: int | None = None,
        limit: int = 50,
        only_in_force: bool = True,
    ) -> list[Suppression]:
        """Return suppressions, newest first.

        :param conn_ids: only those for these connections, or for all; ``None`` for every one.
        :param digits: only those of numbers that end in these four digits.
        :param before: only those with ids below this one.
        :param only_in_force: only those that count now.
        """
        query = _SELECT.order_by(_c.id.desc()).limit(limit)
        if conn_ids is not None:
            query = query.where(or_(_c.conn_id.is_(None), _c.conn_id.in_(list(conn_ids))))
        if digits is not None:
            query = query.where(_c.number_end == digits)
        if before is not None:
            query = query.where(_c.id < before)
        return self._found(query.where(in_force()) if only_in_force else query)

    def count(self) -> int:
        """Return how many are in force."""
        [[number]] = self._database.rows(select(func.count()).select_from(suppressions).where(in_force()))
        return int(number)

    def await_last_requests(
        self,
        numbers: Sequence[str],
        *,
        patience: float,
        sleep: Callable[[float], None] = time.sleep,
        passed: Callable[[], float] = time.monotonic,
    ) -> bool:
        """Wait until no request to these numbers can leave any more; once they are stored, none is claimed.

        :param patience: how long to wait, in seconds.
        :return: whether that is so; ``False`` if a call is being placed at this moment, and may ring.
        """
        until = passed() + patience
        # Those may have asked before the suppression was stored, and store their claims only now.
        writers = self._writers()
        while writers or self._requests_under_way(numbers):
            if passed() >= until:
                return False
            sleep(_LOOK_AGAIN)
            writers &= self._writers() if writers else writers
        return True

    def _writers(self) -> set[str]:
        """Return the transactions that are changing calls now; on SQLite they come one after the other."""
        if self._database.engine.dialect.name != "postgresql":
            return set()
        return {row.virtualtransaction for row in self._database.rows(_WRITERS, {"name": calls.name})}

    def _requests_under_way(self, numbers: Sequence[str]) -> bool:
        # Few calls are being placed at any moment, and the numbers may be those of a long file.
        if len(numbers) > VALUES_AT_ONCE:
            with self._database.reading() as connection:
                wanted = {hash_of(connection, number) for number in numbers}
                rows = [row for row in connection.execute(_ALL_CLAIMED) if row.to_number_hash in wanted]
        else:
            rows = list(rows_of(self._database.rows, _CLAIMED, list(numbers)))
        return any((row.now - row.dialled_at).total_seconds() < _LEAVES_WITHIN for row in rows)

    def _found(self, query: Select[Any]) -> list[Suppression]:
        return [_entry(row) for row in self._database.rows(query)]


def add_suppressions(connection: Connection, wanted: Sequence[Suppression]) -> int:
    """Store suppressions in a transaction of the caller's; return how many were not there already."""
    numbers = list(dict.fromkeys(one.number for one in wanted if one.number))
    # Of two who add the same at the same moment, the second finds what the first has stored.
    lock(connection, of_numbers(numbers, of="suppressions"))
    hashes = {number: hash_of(connection, number) for number in numbers}
    covered: dict[tuple[str, str | None], datetime | None] = {}
    for row in rows_of(connection.execute, _COVERED.where(in_force()), numbers):
        _cover(covered, (row.number_hash, row.conn_id), row.ends_at)
    new = []
    for one in wanted:
        digest = hashes[str(one.number)]
        if not any(_lasts(covered, (digest, conn_id), one.ends_at) for conn_id in (one.conn_id, None)):
            _cover(covered, (digest, one.conn_id), one.ends_at)
            found_by = {"number_hash": one.number, "number_end": str(one.number)[-END_DIGITS:]}
            # Nobody is to be called for a character in the reason why they must not be.
            reason = storable_text(one.reason) if one.reason else None
            new.append({**{name: getattr(one, name) for name in _GIVEN}, **found_by, "reason": reason})
    if new:
        connection.execute(_ADDING, new)
    return len(new)


_GIVEN = ("number", "conn_id", "reason", "source", "added_by", "ends_at")
_ADDING = insert(suppressions).values(created_at=database_time())


def _cover(
    covered: dict[tuple[str, str | None], datetime | None], key: tuple[str, str | None], end: datetime | None
) -> None:
    before = covered.get(key, end)
    covered[key] = None if end is None or before is None else max(end, before)


def _lasts(
    covered: dict[tuple[str, str | None], datetime | None], key: tuple[str, str | None], end: datetime | None
) -> bool:
    """Return whether one that is there lasts at least as long."""
    if key not in covered:
        return False
    last = covered[key]
    return last is None or (end is not None and end <= last)


def _entry(row: Row[Any]) -> Suppression:
    return Suppression(**row._mapping)
