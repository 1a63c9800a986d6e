"""The part of the ledger that deletes what is old, some rows at a time, while calls and webhooks go on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, delete, func, or_, select, update

from airflow_provider_voiceinfra.ledger.database.connect import Database
from airflow_provider_voiceinfra.ledger.database.personal import PersonalBytes, PersonalText
from airflow_provider_voiceinfra.ledger.database.schema import (
    calls,
    campaigns,
    completions,
    contacts,
    deliveries,
    suppressions,
)
from airflow_provider_voiceinfra.ledger.part import LedgerPart
from airflow_provider_voiceinfra.ledger.retention import batches
from airflow_provider_voiceinfra.ledger.retention.batches import Pause, is_one_of, step, windows
from airflow_provider_voiceinfra.ledger.retention.bodies import Erased, without_texts
from airflow_provider_voiceinfra.ledger.rows import now

PERSONAL = [column.name for column in calls.c if isinstance(column.type, PersonalText | PersonalBytes)]
"""The columns of a call that are about the person who was called."""

_EMPTIED = [*PERSONAL, "to_number_end", "from_number_hash"]
_last_run = func.coalesce(campaigns.c.runner_seen_at, campaigns.c.created_at)
_HAS_TEXTS = or_(completions.c.erased.is_(None), completions.c.erased == Erased.NUMBER.value)


@dataclass(frozen=True)
class Purged:
    """How many rows of each kind a purge emptied or deleted; ``transcripts``: records without texts now."""

    calls: int = 0
    completions: int = 0
    deliveries: int = 0
    contacts: int = 0
    transcripts: int = 0
    suppressions: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return the numbers as plain JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class PurgeLedger(LedgerPart):
    """Deletes the personal data of what is old."""

    def purge(
        self,
        before: datetime,
        *,
        conn_id: str | None = None,
        transcripts_before: datetime | None = None,
        pause: Pause = time.sleep,
    ) -> Purged:
        """Delete the personal data of everything older than a moment.

        Completions and deliveries go, and so do the contacts of campaigns, and suppressions that are over. Of
        a call there remain its hashed key, its ``call_id`` and its state, so that a task that is cleared
        years later still does not dial again. It takes some hundred rows at a time; if it is stopped, what
        is left goes the next time.

        :param before: aware; calls claimed, webhooks received, campaigns last run, and suppressions over
            earlier than this.
        :param conn_id: only what went through this connection; if not set, through any.
        :param transcripts_before: aware; of records received earlier than this, and not as old as the rest,
            only what was said goes, see ``without_texts``. If not set, of none.
        :param pause: lets as many seconds pass as others are to have the database for.
        """
        purge = _Purge(self._database, before, conn_id, pause)
        return Purged(
            calls=sum(purge.calls()),
            completions=sum(purge.deleted(completions)),
            deliveries=sum(purge.deleted(deliveries)),
            contacts=sum(purge.contacts()),
            transcripts=sum(purge.texts(transcripts_before)) if transcripts_before is not None else 0,
            suppressions=sum(purge.suppressions()),
        )


class _Purge:
    """One purge; what each method yields are the numbers of rows of its transactions."""

    def __init__(self, database: Database, before: datetime, conn_id: str | None, pause: Pause) -> None:
        self._database = database
        self._before = before
        self._conn_id = conn_id
        self._pause = pause

    def calls(self) -> Iterator[int]:
        """Empty calls."""
        old = (calls.c.claimed_at < self._before, calls.c.purged_at.is_(None), *self._of_connection(calls))
        emptied = update(calls).values(**dict.fromkeys(_EMPTIED), purged_at=now())
        for rows in windows(self._database, calls, [], *old, by=calls.c.claimed_at):
            with step(self._database, self._pause) as connection:
                # A refused one may have been claimed anew meanwhile.
                number = connection.execute(emptied.where(is_one_of(calls, rows), *old)).rowcount
            yield number

    def deleted(self, table: Table) -> Iterator[int]:
        """Delete the webhooks of a table."""
        old = (table.c.received_at < self._before, *self._of_connection(table))
        for rows in windows(self._database, table, [], *old, by=table.c.received_at):
            with step(self._database, self._pause) as connection:
                number = connection.execute(delete(table).where(is_one_of(table, rows), *old)).rowcount
            yield number

    def contacts(self) -> Iterator[int]:
        """Delete the contacts of campaigns that nobody has run for long."""
        idle = (_last_run < self._before, *self._of_connection(campaigns))
        some = select(contacts.c.position).where(contacts.c.campaign_id == campaigns.c.campaign_id).exists()
        for rows in windows(self._database, campaigns, [], *idle, some):
            for row in rows:
                yield from self._contacts_of(row.campaign_id, idle)

    def _contacts_of(self, campaign_id: str, idle: Sequence[ColumnElement[bool]]) -> Iterator[int]:
        its = contacts.c.campaign_id == campaign_id
        some = select(contacts.c.position).where(its).order_by(contacts.c.position).limit(batches.AT_ONCE)
        unloaded = update(campaigns).where(campaigns.c.campaign_id == campaign_id, *idle)
        while True:
            with step(self._database, self._pause) as connection:
                # Whoever takes the campaign up meanwhile waits for this, and then loads contacts anew; if
                # somebody has taken it up since the last step, what is left is theirs.
                if connection.execute(unloaded.values(loaded_by=None)).rowcount == 0:
                    return
                positions = connection.execute(some).scalars().all()
                gone = delete(contacts).where(its, contacts.c.position.in_(positions))
                number = connection.execute(gone).rowcount if positions else 0
            yield number
            if len(positions) < batches.AT_ONCE:
                return

    def texts(self, before: datetime) -> Iterator[int]:
        """Take out of records what was said."""
        old = (completions.c.received_at < before, _HAS_TEXTS, *self._of_connection(completions))
        for rows in windows(self._database, completions, [], *old, by=completions.c.received_at):
            with step(self._database, self._pause) as connection:
                number = _take_texts(connection, is_one_of(completions, rows), *old)
            yield number

    def suppressions(self) -> Iterator[int]:
        """Delete suppressions that are over; of those in force none."""
        c = suppressions.c
        over = (
            or_(c.removed_at < self._before, c.ends_at < self._before),
            *self._of_connection(suppressions),
        )
        gone = delete(suppressions)
        for rows in windows(self._database, suppressions, [], *over):
            with step(self._database, self._pause) as connection:
                number = connection.execute(gone.where(is_one_of(suppressions, rows), *over)).rowcount
            yield number

    def _of_connection(self, table: Table) -> list[ColumnElement[bool]]:
        return [] if self._conn_id is None else [table.c.conn_id == self._conn_id]


def _take_texts(connection: Connection, *conditions: ColumnElement[bool]) -> int:
    c = completions.c
    found = connection.execute(select(c.call_id, c.body).where(*conditions).with_for_update()).all()
    for row in found:
        values = {"body": without_texts(row.body), "erased": Erased.TEXTS.value}
        connection.execute(update(completions).where(c.call_id == row.call_id).values(**values))
    return len(found)
