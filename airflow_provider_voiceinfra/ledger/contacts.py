"""The part of the ledger that knows whom a campaign is to call, and which calls were made to them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, delete, func, insert, select, true, update

from airflow_provider_voiceinfra.exceptions import CampaignBusyError
from airflow_provider_voiceinfra.ledger.campaign_entries import WITHDRAWN, Attempt, ContactEntry
from airflow_provider_voiceinfra.ledger.connect import Database
from airflow_provider_voiceinfra.ledger.entries import CallState, decode_request, encode_request
from airflow_provider_voiceinfra.ledger.rows import now
from airflow_provider_voiceinfra.ledger.schema import calls, campaigns, completions, contacts

_BATCH = 2000
_VALUES_AT_ONCE = 500  # SQLite takes at most 999 values in one statement in its older builds


class ContactsLedger:
    """Stores the contacts of campaigns."""

    _database: Database

    def load_contacts(
        self,
        campaign_id: str,
        found: Iterable[ContactEntry],
        *,
        loaded_by: str,
        runner: str | None = None,
    ) -> None:
        """Store whom a campaign is to call: the newest load is what counts.

        A contact that the campaign has already, by its key, keeps its place and takes the newest request. One
        that an earlier load brought and this one does not is withdrawn: it is not called any more.

        :param found: their positions are given here, whatever they say. If this raises, what it said so far
            is stored, and the load does not count.
        :param loaded_by: the run that brings them.
        :param runner: what ``take_campaign`` gave the process that loads; if not set, it is not asked whether
            another process has taken the campaign over.
        :raises CampaignBusyError: if another process has taken the campaign over, or has begun to load
            contacts meanwhile, which are those that count.
        """
        number, first = self._begin_load(campaign_id, runner)
        batch, rows = _Batch(campaign_id, number, first), iter(found)
        while entries := list(islice(rows, _BATCH)):
            with self._database.writing() as connection:
                _hold_load(connection, campaign_id, number)
                batch.store(connection, entries)
        with self._database.writing() as connection:
            _hold_load(connection, campaign_id, number)
            if number > 1:
                _withdraw_older(connection, campaign_id, number)
            connection.execute(
                update(campaigns)
                .where(campaigns.c.campaign_id == campaign_id)
                .values(loaded_by=loaded_by, finished_at=None, summary=None)
            )

    def count_contacts(self, campaign_id: str) -> dict[str, int]:
        """Return how many contacts are skipped, by reason; under ``""`` how many are to be called."""
        query = (
            select(func.coalesce(contacts.c.skipped, ""), func.count())
            .where(contacts.c.campaign_id == campaign_id)
            .group_by(contacts.c.skipped)
        )
        with self._database.reading() as connection:
            return {str(name): int(number) for name, number in connection.execute(query)}

    def untried_contacts(self, campaign_id: str, *, after: int, limit: int) -> list[ContactEntry]:
        """Return contacts to call for which no call was claimed so far, in order.

        :param after: only positions above this.
        """
        tried = (
            select(calls.c.key_hash)
            .where(calls.c.campaign_id == campaign_id, calls.c.position == contacts.c.position)
            .exists()
        )
        query = (
            select(*_CONTACT)
            .where(
                contacts.c.campaign_id == campaign_id,
                contacts.c.position > after,
                contacts.c.skipped.is_(None),
                ~tried,
            )
            .order_by(contacts.c.position)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [_contact(row) for row in connection.execute(query)]

    def contacts_at(self, campaign_id: str, positions: Sequence[int]) -> dict[int, ContactEntry]:
        """Return contacts by their positions; those that are skipped are left out."""
        found: dict[int, ContactEntry] = {}
        for start in range(0, len(positions), _VALUES_AT_ONCE):
            query = select(*_CONTACT).where(
                contacts.c.campaign_id == campaign_id,
                contacts.c.position.in_(positions[start : start + _VALUES_AT_ONCE]),
                contacts.c.skipped.is_(None),
            )
            with self._database.reading() as connection:
                found.update((row.position, _contact(row)) for row in connection.execute(query))
        return found

    def all_contacts(self, campaign_id: str) -> Iterator[ContactEntry]:
        """Return every row of a campaign, in order, skipped ones included."""
        query = select(*_CONTACT).where(contacts.c.campaign_id == campaign_id)
        yield from map(_contact, self._stream_rows(query.order_by(contacts.c.position)))

    def attempts(self, campaign_id: str) -> Iterator[Attempt]:
        """Return every call to the contacts of a campaign, by position and number.

        Of a call that was redialled, and whose first answer came late, there are two; the newer is last.
        """
        query = (
            select(
                *(calls.c[name] for name in _ATTEMPT),
                completions.c.call_outcome.label("outcome"),
                completions.c.received_at.label("completed_at"),
            )
            .select_from(calls.outerjoin(completions, completions.c.call_id == calls.c.call_id))
            .where(calls.c.campaign_id == campaign_id, calls.c.position.is_not(None))
            .order_by(calls.c.position, calls.c.attempt, calls.c.claimed_at)
        )
        for row in self._stream_rows(query):
            values = dict(row._mapping)
            number = values.pop("attempt")
            yield Attempt(**{**values, "number": number, "state": CallState(values["state"])})

    def open_calls(self, campaign_id: str) -> list[str]:
        """Return the ids of the calls of a campaign that have no completion so far."""
        over = select(completions.c.call_id).where(completions.c.call_id == calls.c.call_id).exists()
        query = select(calls.c.call_id).where(
            calls.c.campaign_id == campaign_id, calls.c.state == CallState.ACCEPTED.value, ~over
        )
        with self._database.reading() as connection:
            return [str(call_id) for call_id in connection.execute(query).scalars()]

    def _stream_rows(self, query: Select[Any]) -> Iterator[Row[Any]]:
        with self._database.reading() as connection:
            yield from connection.execute(query.execution_options(yield_per=500))

    def _begin_load(self, campaign_id: str, runner: str | None) -> tuple[int, int]:
        """Return the number of a new load, and the position that comes before its first new contact."""
        own = campaigns.c.runner == runner if runner is not None else true()
        with self._database.writing() as connection:
            begun = connection.execute(
                update(campaigns)
                .where(campaigns.c.campaign_id == campaign_id, own)
                .values(loads=campaigns.c.loads + 1, loaded_by=None)
            )
            if begun.rowcount != 1:
                raise _busy(connection, campaign_id)
            number = connection.execute(
                select(campaigns.c.loads).where(campaigns.c.campaign_id == campaign_id)
            ).scalar_one()
            # Contacts may have been purged while the calls to them are still there.
            highest = [
                connection.execute(
                    select(func.max(table.c.position)).where(table.c.campaign_id == campaign_id)
                ).scalar()
                for table in (contacts, calls)
            ]
        return int(number), max(position or 0 for position in highest)


class _Batch:
    """Stores the contacts of one load, some at a time."""

    def __init__(self, campaign_id: str, number: int, position: int) -> None:
        self._campaign_id = campaign_id
        self._number = number
        self._position = position

    def store(self, connection: Connection, entries: Sequence[ContactEntry]) -> None:
        rows = {row["contact_hash"]: row for row in map(self._row, entries)}
        known = self._known(connection, list(rows)) if self._number > 1 else set()
        new = [row for digest, row in rows.items() if digest not in known]
        for row in new:
            self._position += 1
            row["position"] = self._position
        if new:
            connection.execute(insert(contacts), new)
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
            "timezone": entry.timezone,
            "skipped": entry.skipped,
            "reason": entry.reason,
        }

    def _known(self, connection: Connection, digests: Sequence[str]) -> set[str]:
        known: set[str] = set()
        for start in range(0, len(digests), _VALUES_AT_ONCE):
            query = select(contacts.c.contact_hash).where(
                contacts.c.campaign_id == self._campaign_id,
                contacts.c.contact_hash.in_(digests[start : start + _VALUES_AT_ONCE]),
            )
            known.update(connection.execute(query).scalars())
        return known


def _hold_load(connection: Connection, campaign_id: str, number: int) -> None:
    """Keep other loads away until the end of the transaction, and show that whoever loads is alive."""
    held = connection.execute(
        update(campaigns)
        .where(campaigns.c.campaign_id == campaign_id, campaigns.c.loads == number)
        .values(runner_seen_at=now())
    )
    if held.rowcount != 1:
        raise _busy(connection, campaign_id)


def _busy(connection: Connection, campaign_id: str) -> CampaignBusyError:
    names = (campaigns.c.dag_id, campaigns.c.run_id, campaigns.c.task_id)
    task = connection.execute(select(*names).where(campaigns.c.campaign_id == campaign_id)).one()
    return CampaignBusyError(campaign_id, *task)


def _withdraw_older(connection: Connection, campaign_id: str, number: int) -> None:
    older = (contacts.c.campaign_id == campaign_id, contacts.c.load_number < number)
    connection.execute(
        delete(contacts).where(*older, contacts.c.skipped.is_not(None), contacts.c.skipped != WITHDRAWN)
    )
    connection.execute(
        update(contacts)
        .where(*older, contacts.c.skipped.is_(None))
        .values(skipped=WITHDRAWN, reason="is not among the contacts any more, or must not be called now")
    )


_UPDATED = ("load_number", "row_number", "request", "timezone", "skipped", "reason")
_UPDATE = (
    update(contacts)
    .where(
        contacts.c.campaign_id == bindparam("new_campaign_id"),
        contacts.c.contact_hash == bindparam("new_contact_hash"),
    )
    .values({name: bindparam(f"new_{name}") for name in _UPDATED})
)
_CONTACT = [contacts.c[name] for name in ContactEntry.__dataclass_fields__]
_ATTEMPT = (
    "position",
    "attempt",
    "key_hash",
    "state",
    "call_id",
    "claimed_at",
    "renewed_at",
    "answered_at",
    "error_code",
    "error_message",
)


def _contact(row: Row[Any]) -> ContactEntry:
    values = dict(row._mapping)
    values["request"] = decode_request(values["request"]) if values["request"] else None
    return ContactEntry(**values)
