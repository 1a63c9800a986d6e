"""The part of the ledger that takes in whom a campaign is to call; the newest list is what counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select, update

from airflow_provider_voiceinfra.ledger.campaigns.bulk import add_rows
from airflow_provider_voiceinfra.ledger.campaigns.ownership import busy, change_as_runner
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry, SkipReason, attempt_key
from airflow_provider_voiceinfra.ledger.database.chunks import rows_with
from airflow_provider_voiceinfra.ledger.database.schema import calls, campaigns, contacts
from airflow_provider_voiceinfra.ledger.part import LedgerPart
from airflow_provider_voiceinfra.ledger.records import encode_request, hash_key

# Rows of one transaction: so many that the pages of an index, whose order is by chance, are not written for a
# few rows each, and so few that whoever waits for the database does so for a part of a second.
_BATCH = 10_000


class ContactLoads(LedgerPart):
    """Stores the contacts of campaigns."""

    def load_contacts(
        self, campaign_id: str, found: Iterable[ContactEntry], *, loaded_by: str, runner: str
    ) -> None:
        """Store whom a campaign is to call: the newest load is what counts.

        A contact that the campaign has already, by its key, keeps its place and takes the newest request. One
        that an earlier load brought and this one does not is withdrawn: it is not called any more.

        :param found: their positions are given here, whatever they say. If this raises, what it said so far
            is stored, and the load does not count.
        :param loaded_by: the run that brings them.
        :param runner: what ``take`` gave the process that loads.
        :raises CampaignBusyError: if another process has taken the campaign over, or has begun to load
            contacts meanwhile, which are those that count.
        """
        number, first = self._begin_load(campaign_id, runner)
        batch, entries = _Batch(campaign_id, number, first), iter(found)
        while rows := batch.rows(islice(entries, _BATCH)):
            with self._database.writing() as connection:
                _hold_load(connection, campaign_id, number, runner, self._now())
                batch.store(connection, rows)
        with self._database.writing() as connection:
            _hold_load(connection, campaign_id, number, runner, self._now())
            if number > 1:
                _withdraw_older(connection, campaign_id, number)
            stored = {"loaded_by": loaded_by, "finished_at": None, "summary": None}
            change_as_runner(connection, campaign_id, runner, stored)

    def _begin_load(self, campaign_id: str, runner: str) -> tuple[int, int]:
        """Return the number of a new load, and the position that comes before its first new contact."""
        with self._database.writing() as connection:
            begun = {"loads": campaigns.c.loads + 1, "loaded_by": None}
            if not change_as_runner(connection, campaign_id, runner, begun):
                raise busy(connection, campaign_id)
            # Contacts may have been purged while the calls to them are still there.
            highest = [
                select(func.max(table.c.position)).where(table.c.campaign_id == campaign_id).scalar_subquery()
                for table in (contacts, calls)
            ]
            query = select(campaigns.c.loads, *highest).where(campaigns.c.campaign_id == campaign_id)
            number, *positions = connection.execute(query).one()
        return number, max(position or 0 for position in positions)


class _Batch:
    """Stores the contacts of one load, some at a time."""

    def __init__(self, campaign_id: str, number: int, position: int) -> None:
        self._campaign_id = campaign_id
        self._number = number
        self._position = position

    def rows(self, entries: Iterable[ContactEntry]) -> dict[str, dict[str, Any]]:
        """Return the rows of contacts, without their positions, by their hashes; the last one counts."""
        return {row["contact_hash"]: row for row in map(self._row, entries)}

    def store(self, connection: Connection, rows: Mapping[str, dict[str, Any]]) -> None:
        """Store rows."""
        known = self._known(connection, list(rows)) if self._number > 1 else set()
        new = [row for digest, row in rows.items() if digest not in known]
        former = self._former_positions(connection, new) if self._number > 1 else {}
        for row in new:
            if row["contact_hash"] not in former:
                self._position += 1
            row["position"] = former.get(row["contact_hash"], self._position)
        if new:
            add_rows(connection, contacts, new)
        again = [{f"new_{name}": value for name, value in rows[digest].items()} for digest in known]
        if again:
            connection.execute(_UPDATE, again)

    def _row(self, entry: ContactEntry) -> dict[str, Any]:
        # A skipped row has no key that could be relied on, so its place in the list stands for it.
        own = f"row/{entry.row_number}" if entry.skipped else f"key/{entry.contact_key}"
        return {
            "campaign_id": self._campaign_id,
            "contact_hash": hashlib.sha256(own.encode("utf-8", "surrogatepass")).hexdigest(),
            "load_number": self._number,
            "row_number": entry.row_number,
            "contact_key": entry.contact_key,
            "request": encode_request(entry.request) if entry.request else None,
            **entry.recipient._asdict(),
            "skipped": entry.skipped,
            "reason": entry.reason,
        }

    def _former_positions(self, connection: Connection, new: Sequence[dict[str, Any]]) -> dict[str, int]:
        """Return the places of contacts that were purged, by their hashes: the calls to them keep those."""
        first_calls = {
            hash_key(attempt_key(self._campaign_id, row["contact_key"], 1)): row["contact_hash"]
            for row in new
            if row["skipped"] is None
        }
        query = select(calls.c.key_hash, calls.c.position)
        query = query.where(calls.c.campaign_id == self._campaign_id, calls.c.position.is_not(None))
        rows = rows_with(connection.execute, query, calls.c.key_hash, list(first_calls))
        return {first_calls[row.key_hash]: row.position for row in rows}

    def _known(self, connection: Connection, digests: Sequence[str]) -> set[str]:
        query = select(contacts.c.contact_hash).where(contacts.c.campaign_id == self._campaign_id)
        rows = rows_with(connection.execute, query, contacts.c.contact_hash, digests)
        return {row.contact_hash for row in rows}


def _hold_load(connection: Connection, campaign_id: str, number: int, runner: str, now: datetime) -> None:
    """Keep other loads away until the end of the transaction, and show that whoever loads is alive."""
    newest = campaigns.c.loads == number
    if not change_as_runner(connection, campaign_id, runner, {"runner_seen_at": now}, newest):
        raise busy(connection, campaign_id)


def _withdraw_older(connection: Connection, campaign_id: str, number: int) -> None:
    older = (contacts.c.campaign_id == campaign_id, contacts.c.load_number < number)
    # Those that are called stay: NULL differs from nothing.
    connection.execute(delete(contacts).where(*older, contacts.c.skipped != SkipReason.WITHDRAWN.value))
    withdrawn = {
        "skipped": SkipReason.WITHDRAWN.value,
        "reason": "is not among the contacts any more, or must not be called now",
    }
    connection.execute(update(contacts).where(*older, contacts.c.skipped.is_(None)).values(**withdrawn))


_UPDATED = ("load_number", "row_number", "request", "timezone", "region", "consent", "skipped", "reason")
_UPDATE = (
    update(contacts)
    .where(
        contacts.c.campaign_id == bindparam("new_campaign_id"),
        contacts.c.contact_hash == bindparam("new_contact_hash"),
    )
    .values({name: bindparam(f"new_{name}") for name in _UPDATED})
)
