"""The part of the ledger that takes out all that is about one number, while calls and webhooks go on.

What a row needs is seen by the row itself, so whoever is stopped in the midst goes on where it was. Calls
come last: they lead to the records of which the number alone does not.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, String, Table, delete, func, select, type_coerce, update

from airflow_provider_voiceinfra.ledger.database.personal import (
    NumberHash,
    PersonalBytes,
    PersonalText,
    hash_of,
    is_number,
)
from airflow_provider_voiceinfra.ledger.database.schema import (
    calls,
    completions,
    contacts,
    deliveries,
    rules,
    suppressions,
)
from airflow_provider_voiceinfra.ledger.part import LedgerPart
from airflow_provider_voiceinfra.ledger.records import CallState
from airflow_provider_voiceinfra.ledger.retention.batches import Pause, compact, is_one_of, step, windows
from airflow_provider_voiceinfra.ledger.retention.judging import FORGOTTEN, Change, Judge, Values, Whose
from airflow_provider_voiceinfra.ledger.retention.written import WrittenNumber
from airflow_provider_voiceinfra.ledger.rules.suppressions import (
    Suppression,
    SuppressionSource,
    add_suppressions,
)
from airflow_provider_voiceinfra.tasks.identity import TaskIdentity

_ORIGIN = ("dag_id", "run_id", "task_id", "map_index")


class _Kind(NamedTuple):
    """A table that may speak of somebody, and who judges its rows.

    :param besides: columns that are wanted besides those that hold personal data.
    """

    table: Table
    judged: Callable[[Judge, Values], Change | None]
    besides: tuple[str, ...] = ()

    @property
    def columns(self) -> list[Any]:
        """The columns that are looked at; hashes as they are kept."""
        kinds = (PersonalText, PersonalBytes)
        found: list[Any] = [column for column in self.table.c if isinstance(column.type, kinds)]
        found += [
            type_coerce(column, String).label(column.name)
            for column in self.table.c
            if isinstance(column.type, NumberHash)
        ]
        return [*found, *(self.table.c[name] for name in self.besides)]


_KINDS = (
    _Kind(contacts, Judge.contact),
    _Kind(deliveries, Judge.delivery, ("call_id",)),
    _Kind(completions, Judge.completion, ("erased",)),
    _Kind(suppressions, Judge.suppression, ("number_end", "added_by")),
    _Kind(rules, Judge.rules),
    _Kind(calls, Judge.call, ("purged_at", "state", "call_id", "campaign_id", *_ORIGIN)),
)


@dataclass
class Findings:
    """What a ledger has about a number.

    :param theirs: how many rows are about the person, by table without its prefix.
    :param others: how many are about somebody else and speak of the number.
    :param rules: the ids of sets of rules that name it, which stay.
    :param tasks: the task instances that called it.
    :param campaigns: the campaigns that were to call it.
    :param awaited: how many of the calls may still end, and have no record so far.
    """

    theirs: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    rules: set[str] = field(default_factory=set)
    tasks: set[TaskIdentity] = field(default_factory=set)
    campaigns: set[str] = field(default_factory=set)
    awaited: int = 0

    @property
    def rows(self) -> int:
        """How many rows are to change, or to go."""
        return self.theirs.total() + self.others.total()

    def note(self, table: Table, row: Values, change: Change) -> None:
        """Take a row in."""
        if table is rules:
            self.rules.add(row["id"])
            return
        counts = self.theirs if change.whose is Whose.THEIRS else self.others
        counts[table.name.removeprefix("voiceinfra_")] += 1
        if table in (calls, contacts) and row["campaign_id"] is not None:
            self.campaigns.add(row["campaign_id"])
        elif table is calls and row["dag_id"] is not None:
            self.tasks.add(TaskIdentity(*(row[name] for name in _ORIGIN)))


class ForgettingLedger(LedgerPart):
    """``ledger.forgetting``: takes out all that is about one number."""

    def is_own(self, number: str) -> bool:
        """Return whether calls were placed from a number, which is the deployment's own then."""
        theirs = is_number(calls.c.from_number_hash, calls.c.from_number, number)
        return bool(self._database.rows(select(calls.c.key_hash).where(theirs).limit(1)))

    def find(self, number: str) -> Findings:
        """Return what the ledger has about a number, in E.164 form; reads all of it, some rows at a time."""
        judge, found = self._judge(number), Findings()
        found.awaited = self._awaited(judge)
        for kind in _KINDS:
            for rows in windows(self._database, kind.table, kind.columns):
                for row in rows:
                    change = kind.judged(judge, row._mapping)
                    if change is not None:
                        found.note(kind.table, row._mapping, change)
        return found

    def suppress(self, number: str) -> bool:
        """Have a number called no more, through whatever connection; return whether that is new."""
        wanted = Suppression(number, reason=FORGOTTEN, source=SuppressionSource.CLI.value)
        with self._database.writing() as connection:
            return add_suppressions(connection, [wanted]) > 0

    def forget(self, number: str, *, pause: Pause = time.sleep) -> Iterator[int]:
        """Take out what the ledger has about a number; yield how many rows, some at a time.

        What the ledger has of a call stays as far as it leads to nobody: that it was placed, how it ended,
        when, and how long it took. Suppressions stay, without the number.

        :param number: in E.164 form; see ``suppress``, which comes first.
        :param pause: lets as many seconds pass as others are to have the database for.
        """
        judge = self._judge(number)
        for kind in _KINDS:
            if kind.table is rules:
                continue
            for rows in windows(self._database, kind.table, kind.columns):
                found = [row for row in rows if kind.judged(judge, row._mapping) is not None]
                if found:
                    with step(self._database, pause) as connection:
                        changed = _change(connection, kind, judge, found)
                    yield changed

    def compact(self) -> list[str]:
        """Have a SQLite file hold nothing of what was deleted; return the tables that may on PostgreSQL.

        :raises LedgerUnavailableError: if a SQLite file is in use all the time.
        """
        compact(self._database)
        is_sqlite = self._database.engine.dialect.name == "sqlite"
        return [] if is_sqlite else [kind.table.name for kind in _KINDS if kind.table is not rules]

    def _judge(self, number: str) -> Judge:
        theirs = is_number(calls.c.to_number_hash, calls.c.to_number, number)
        with self._database.reading() as connection:
            digest = hash_of(connection, number)
            rows = connection.execute(select(calls.c.call_id).where(theirs, calls.c.call_id.is_not(None)))
            return Judge(WrittenNumber(number), digest, frozenset(rows.scalars()))

    def _awaited(self, judge: Judge) -> int:
        """Return how many of the calls to a number have no record so far."""
        theirs = is_number(calls.c.to_number_hash, calls.c.to_number, judge.number.number)
        over = select(completions.c.call_id).where(completions.c.call_id == calls.c.call_id).exists()
        is_open = (calls.c.state != CallState.REFUSED.value, calls.c.purged_at.is_(None), ~over)
        [[number]] = self._database.rows(select(func.count()).select_from(calls).where(theirs, *is_open))
        return int(number)


def _change(connection: Connection, kind: _Kind, judge: Judge, found: Sequence[Row[Any]]) -> int:
    """Change rows, as they are by now; return how many."""
    table, key = kind.table, list(kind.table.primary_key.columns)
    names = {column.key for column in kind.columns}
    columns = [*(column for column in key if column.key not in names), *kind.columns]
    changed = 0
    for row in connection.execute(select(*columns).where(is_one_of(table, found)).with_for_update()).all():
        change = kind.judged(judge, row._mapping)
        if change is not None:
            changed += 1
            this = [column == row._mapping[column.key] for column in key]
            gone = change.values is None
            statement = delete(table) if gone else update(table).values(**change.values or {})
            connection.execute(statement.where(*this))
    return changed
