"""What the ledger hands out about campaigns: frozen rows of campaigns, contacts, and calls to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.ledger.records import CallState
from airflow_provider_voiceinfra.rules.recipient import Recipient
from airflow_provider_voiceinfra.tasks.identity import TaskIdentity


class SkipReason(str, Enum):
    """Why a row of a campaign's contacts is not called."""

    INVALID = "invalid"
    DUPLICATE = "duplicate"
    DO_NOT_CALL = "do_not_call"
    WITHDRAWN = "withdrawn"
    """An earlier load brought it, and the newest one no longer did."""


@dataclass(frozen=True)
class CampaignEntry:
    """One campaign as the ledger knows it.

    :param runner: whose turn it is to dial; ``None`` while nobody runs it.
    :param runner_seen_at: when that process last showed that it is alive, aware UTC.
    :param loads: how often contacts were loaded.
    :param loaded_by: the run that brought the newest contacts; ``None`` while they are not all stored.
    :param progress: what it last said of itself, for people to read.
    :param summary: its result; ``None`` until it is over.
    """

    campaign_id: str
    conn_id: str
    dag_id: str | None
    run_id: str | None
    task_id: str | None
    map_index: int | None
    runner: str | None
    runner_seen_at: datetime | None
    loads: int
    loaded_by: str | None
    created_at: datetime
    cancelled_at: datetime | None
    finished_at: datetime | None
    progress: dict[str, Any] | None
    summary: dict[str, Any] | None

    @property
    def task(self) -> TaskIdentity:
        """The task instance that runs it, or ran it last."""
        return TaskIdentity.of(self)


@dataclass(frozen=True)
class ContactEntry:
    """One row of a campaign's contacts.

    :param position: its place in the campaign, from 1.
    :param row_number: its row in the source that it came from.
    :param skipped: why it is not called, a ``SkipReason``; ``None`` if it is.
    :param reason: for people, without anything personal; ``None`` if it is called.
    :param region: where the contact is, such as ``US-FL``, if the row says so; likewise ``timezone``.
    :param consent: what proves that the contact agreed to be called.
    """

    position: int
    row_number: int
    contact_key: str | None = field(repr=False)
    request: dict[str, Any] | None = field(repr=False)
    timezone: str | None
    skipped: str | None = None
    reason: str | None = None
    region: str | None = None
    consent: str | None = field(default=None, repr=False)

    @property
    def recipient(self) -> Recipient:
        """What is known of the contact besides the number."""
        return Recipient(self.timezone, self.region, self.consent)

    @property
    def call(self) -> OutboundCall:
        """The call to this contact."""
        return OutboundCall(**(self.request or {}))


def attempt_key(campaign_id: str, contact_key: str | None, number: int) -> str:
    """Return the idempotency key of a call of a campaign.

    :param number: which call to the contact it is, from 1.
    """
    # Without slashes of its own, or contacts of two campaigns could have a key in common.
    own = str(contact_key).replace("%", "%25").replace("/", "%2F")
    return f"{campaign_id}/{own}/{number}"


@dataclass(frozen=True)
class Attempt:
    """One call of a campaign, and how it ended if that is known.

    :param position: the contact's place in the campaign.
    :param number: which call to the contact it is, from 1.
    :param completed_at: when its completion was received, aware UTC; ``None`` if there is none so far.
    :param purged_at: when its personal data was deleted, and that of its completion if it was as old.
    :param allowed_from: from when on a rule that refused it would allow it, aware UTC.
    """

    position: int
    number: int
    key_hash: str
    state: CallState
    call_id: str | None
    claimed_at: datetime
    renewed_at: datetime
    answered_at: datetime | None
    error_code: str | None
    error_message: str | None
    outcome: str | None
    completed_at: datetime | None
    purged_at: datetime | None = None
    allowed_from: datetime | None = None
