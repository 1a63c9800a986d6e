"""What the ledger takes and hands out about webhooks: frozen values, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from airflow_provider_voiceinfra.calls import CompletionRecord


class Recorded(str, Enum):
    """What became of a completion that was handed in."""

    NEW = "new"
    DUPLICATE = "duplicate"
    DIFFERENT = "different"
    """The call has a record already, and this one says something else."""
    FOREIGN = "foreign"
    """The call was placed through a connection of another account."""
    USELESS = "useless"
    """It is no completion, or one that cannot be read."""


@dataclass(frozen=True)
class Arrival:
    """A genuine webhook that is to be stored, as a completion or as it came.

    :param body: the raw bytes as received.
    :param conn_id: the connection whose webhook brought it.
    :param account: that connection's account, see ``VoiceInfraConnection.account``.
    :param record: the completion as read from the body; ``None`` if it cannot be used as one.
    :param reason: why it cannot be, see ``webhooks.reasons``.
    :param event: the event header, if there was one.
    :param call_id: the call that it is about, if that could be read.
    :param opts_out: whether it says that the person must not be called again.
    """

    body: bytes = field(repr=False)
    conn_id: str
    account: str | None = None
    record: CompletionRecord | None = field(default=None, repr=False)
    reason: str = ""
    event: str | None = None
    call_id: str | None = None
    opts_out: bool = False


@dataclass(frozen=True)
class Stored:
    """What became of an arrival.

    :param claimed_at: when its call was claimed, aware UTC; ``None`` if no call has its id so far.
    :param reason: why it was kept as it came; empty if it was not.
    :param suppressed: the numbers that must not be called any more by what it says.
    """

    recorded: Recorded
    claimed_at: datetime | None = None
    reason: str = ""
    suppressed: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class KeptDelivery:
    """A signed webhook that could not be used as a completion, kept as it came.

    :param account: the account of its connection; ``None`` if that is not known.
    :param reason: why it could not be used, see ``webhooks.reasons``.
    :param replayed_at: when a replay succeeded, aware UTC; ``None`` if none has.
    """

    id: int
    conn_id: str
    reason: str
    event: str | None
    body: bytes = field(repr=False)
    received_at: datetime
    replayed_at: datetime | None
    account: str | None = None
