"""Calls that a campaign has placed, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin

INTERRUPTED = "interrupted"
"""The code of a call that was given up between its claim and its request."""
GONE_FROM_LEDGER = "gone_from_ledger"
"""The code of a call that was placed, and that the ledger has forgotten since."""


@dataclass(frozen=True)
class Job:
    """One call of a campaign to place.

    :param origin: the task instance, and which contact and attempt of the campaign it is for.
    :param not_after: do not dial at or after this moment, aware UTC; ``None`` for no such moment.
    """

    key: str = field(repr=False)
    call: OutboundCall
    origin: CallOrigin
    not_after: datetime | None = None

    @property
    def place(self) -> tuple[int, int]:
        """The contact's position in its campaign, and which call to it this is, from 1."""
        return self.origin.position or 0, self.origin.attempt or 0


@dataclass(frozen=True)
class Dialled:
    """What became of a job; it is stored.

    :param entry: the call as the ledger knows it; ``None`` if it was not even claimed.
    :param again: whether nothing rang, for no fault of the job's, so that it may be submitted again.
    :param error: what the API or the network said, if it was no acceptance.
    """

    job: Job
    entry: CallEntry | None
    again: bool = False
    error: Exception | None = None
