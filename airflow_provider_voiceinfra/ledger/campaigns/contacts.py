"""The part of the ledger that knows whom a campaign is to call, and which calls were made to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Row, Select, func, select

from airflow_provider_voiceinfra.ledger.campaigns.loads import ContactLoads
from airflow_provider_voiceinfra.ledger.campaigns.records import Attempt, ContactEntry
from airflow_provider_voiceinfra.ledger.database.chunks import rows_with
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions, contacts
from airflow_provider_voiceinfra.ledger.records import CallState, decode_request

_c = contacts.c
_CONTACT = [_c[name] for name in ContactEntry.__dataclass_fields__]
_ATTEMPT = [calls.c[name] for name in Attempt.__dataclass_fields__ if name in calls.c]


class ContactsLedger(ContactLoads):
    """Stores the contacts of campaigns, and reads them."""

    def count_contacts(self, campaign_id: str) -> dict[str, int]:
        """Return how many contacts are skipped, by reason; under ``""`` how many are to be called."""
        counted = [func.coalesce(_c.skipped, "").label("reason"), func.count().label("number")]
        query = select(*counted).where(_c.campaign_id == campaign_id).group_by(_c.skipped)
        return {row.reason: row.number for row in self._database.rows(query)}

    def untried_contacts(self, campaign_id: str, *, after: int, limit: int) -> list[ContactEntry]:
        """Return contacts to call for which no call was claimed so far, in order.

        :param after: only positions above this.
        """
        tried = select(calls.c.key_hash)
        tried = tried.where(calls.c.campaign_id == campaign_id, calls.c.position == _c.position)
        query = _to_call(campaign_id).where(_c.position > after, ~tried.exists())
        return [_contact(row) for row in self._database.rows(query.order_by(_c.position).limit(limit))]

    def contacts_at(self, campaign_id: str, positions: Sequence[int]) -> dict[int, ContactEntry]:
        """Return contacts by their positions; those that are skipped are left out."""
        rows = rows_with(self._database.rows, _to_call(campaign_id), _c.position, positions)
        return {row.position: _contact(row) for row in rows}

    def all_contacts(self, campaign_id: str) -> Iterator[ContactEntry]:
        """Return every row of a campaign, in order, skipped ones included."""
        query = select(*_CONTACT).where(_c.campaign_id == campaign_id).order_by(_c.position)
        yield from map(_contact, self._database.stream(query))

    def attempts(self, campaign_id: str) -> Iterator[Attempt]:
        """Return every call to the contacts of a campaign, by position and number.

        Of a call that was redialled, and whose first answer came late, there are two; the newer is last.
        """
        query = (
            select(
                *_ATTEMPT,
                calls.c.attempt.label("number"),
                completions.c.call_outcome.label("outcome"),
                completions.c.received_at.label("completed_at"),
            )
            .select_from(calls.outerjoin(completions, completions.c.call_id == calls.c.call_id))
            .where(calls.c.campaign_id == campaign_id, calls.c.position.is_not(None))
            # If a late answer to the first dial settled the redial, both have the moment of the redial,
            # and the redial's own answer came later.
            .order_by(calls.c.position, calls.c.attempt, calls.c.claimed_at, calls.c.answered_at)
        )
        for row in self._database.stream(query):
            yield Attempt(**{**row._mapping, "state": CallState(row.state)})

    def open_calls(self, campaign_id: str) -> list[str]:
        """Return the ids of the calls of a campaign that have no completion so far."""
        over = select(completions.c.call_id).where(completions.c.call_id == calls.c.call_id).exists()
        query = select(calls.c.call_id).where(
            calls.c.campaign_id == campaign_id, calls.c.state == CallState.ACCEPTED.value, ~over
        )
        return [str(row.call_id) for row in self._database.rows(query)]

    def claims_in_flight(self, campaign_id: str) -> int:
        """Return how many calls of a campaign are claimed, and may be about to be sent, or just were."""
        query = select(func.count()).where(
            calls.c.campaign_id == campaign_id, calls.c.state == CallState.CLAIMED.value
        )
        [[number]] = self._database.rows(query)
        return int(number)


def _to_call(campaign_id: str) -> Select[Any]:
    return select(*_CONTACT).where(_c.campaign_id == campaign_id, _c.skipped.is_(None))


def _contact(row: Row[Any]) -> ContactEntry:
    request = decode_request(row.request) if row.request else None
    return ContactEntry(**{**row._mapping, "request": request})
