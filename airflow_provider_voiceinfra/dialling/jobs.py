"""What became of the calls that a campaign was to place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from airflow_provider_voiceinfra.ledger.records import CallEntry, Job, Settlement

INTERRUPTED = "interrupted"
"""The code of a call that was given up between its claim and its request."""
GONE_FROM_LEDGER = "gone_from_ledger"
"""The code of a call that was placed, and that the ledger has forgotten since."""


@dataclass(frozen=True)
class Dialled:
    """What became of a job.

    :param entry: the call as the ledger knows it; ``None`` if it was not even claimed.
    :param again: whether nothing rang, for no fault of the job's, so that it may be submitted again.
    :param error: what the API or the network said, if it was no acceptance; or why it was not to be called.
    :param not_before: from when on it may be submitted again, aware UTC; ``None`` for at once.
    :param settlement: what is to be stored of that; ``None`` once it is, or if there is nothing.
    """

    job: Job
    entry: CallEntry | None
    again: bool = False
    error: Exception | None = None
    settlement: Settlement | None = None
    not_before: datetime | None = None

    @property
    def unstored(self) -> str | None:
        """The id of a call that was placed and is to be stored; ``None`` if there is none."""
        return self.settlement.call_id if self.settlement is not None else None
