"""Calls that a campaign has placed, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin


@dataclass(frozen=True)
class Job:
    """One call to place.

    :param not_after: do not dial at or after this moment, aware UTC; ``None`` for no such moment.
    """

    key: str = field(repr=False)
    call: OutboundCall
    origin: CallOrigin
    not_after: datetime | None = None

    @property
    def is_late(self) -> bool:
        """Whether it must not be dialled any more."""
        return self.not_after is not None and datetime.now(timezone.utc) >= self.not_after


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
