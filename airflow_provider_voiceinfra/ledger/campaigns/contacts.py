"""The part of the ledger that knows whom a campaign is to call, and which calls were made to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Row, Select, func, select

from airflow_provider_voiceinfra.ledger.campaigns.loads import ContactLoads
from airflow_provider_voiceinfra.ledger.campaigns.records import Attempt, ContactEntry
from airflow_provider_voiceinfra.ledger.database.chunks import in_chunks
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions, contacts
from airflow_provider_voiceinfra.ledger.records import CallState, decode_request


class ContactsLedger(ContactLoads):
    """Stores the contacts of campaigns, and reads them."""

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
        for chunk in in_chunks(positions):
            query = select(*_CONTACT).where(
                contacts.c.campaign_id == campaign_id,
                contacts.c.position.in_(chunk),
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
            # If a late answer to the first dial settled the redial, both have the moment of the redial,
            # and the redial's own answer came later.
            .order_by(calls.c.position, calls.c.attempt, calls.c.claimed_at, calls.c.answered_at)
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

    def claims_in_flight(self, campaign_id: str) -> int:
        """Return how many calls of a campaign are claimed, and may be about to be sent, or just were."""
        query = select(func.count()).where(
            calls.c.campaign_id == campaign_id, calls.c.state == CallState.CLAIMED.value
        )
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def _stream_rows(self, query: Select[Any]) -> Iterator[Row[Any]]:
        with self._database.reading() as connection:
            yield from connection.execute(query.execution_options(yield_per=500))


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
    "purged_at",
)


def _contact(row: Row[Any]) -> ContactEntry:
    values = dict(row._mapping)
    values["request"] = decode_request(values["request"]) if values["request"] else None
    return ContactEntry(**values)
