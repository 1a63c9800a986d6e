"""What placing a call leads to, and what to do about an outcome that nobody knows; places nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from airflow_provider_voiceinfra.calls import OutboundCall, PlacedCall
from airflow_provider_voiceinfra.exceptions import CallOutcomeUnknownError, ClaimLostError
from airflow_provider_voiceinfra.ledger.records import CallEntry
from airflow_provider_voiceinfra.masking import mask_number


class OnUnknown(str, Enum):
    """What to do with a call whose outcome stayed unknown until the time-out."""

    FAIL = "fail"
    REDIAL = "redial"


class How(str, Enum):
    """How a placement came about."""

    PLACED = "placed"
    TAKEN_UP = "taken_up"
    """The call existed already under its key."""
    ADOPTED = "adopted"
    """The answer was lost, and the call was found by its webhook."""


@dataclass(frozen=True)
class Placement:
    """A call that the API accepted, and how it is known."""

    call: PlacedCall
    entry: CallEntry
    how: How


@dataclass(frozen=True)
class Pending:
    """A call whose outcome is unknown so far; look again when a completion comes, or at the deadline.

    :param deadline: when ``on_unknown`` decides, aware UTC.
    """

    entry: CallEntry
    deadline: datetime


@dataclass(frozen=True)
class UnknownPolicy:
    """What to do about a call whose outcome is unknown.

    :param timeout: how long to wait for its webhook, in seconds after the last request that was sent.
    :param on_unknown: what to do then; a redial happens once for a key, and then fails.
    """

    timeout: float = 900.0
    on_unknown: OnUnknown = OnUnknown.FAIL


def placement(entry: CallEntry, how: How) -> Placement:
    """Return the placement of a call that has its ``call_id``."""
    if entry.call_id is None:
        raise ClaimLostError("the call was settled without a call_id")
    return Placement(PlacedCall(entry.call_id), entry, how)


def still_unknown(entry: CallEntry, policy: UnknownPolicy, candidates: list[str]) -> CallOutcomeUnknownError:
    """Return the error that says what is known of a call, and what to do."""
    if candidates:
        found = f"Its completion record looks like those of other calls: {', '.join(candidates)}."
    else:
        found = "No completion record that could be its own has arrived."
    redialled = " It was redialled once already." if entry.redials else ""
    return CallOutcomeUnknownError(
        f"It is unknown whether the call to {mask_number(entry.to_number)}, begun at "
        f"{entry.claimed_at:%Y-%m-%d %H:%M:%S} UTC, was placed ({entry.error_message or entry.error_code}), "
        f"and {policy.timeout:g} s have passed.{redialled} {found} It was not dialled again. Look into the "
        "call log of the vendor's dashboard. If it was placed and its webhook arrives later, clear this task "
        "and it takes that call up; `airflow voiceinfra doctor` tests the webhook's path. If it was not "
        "placed, set on_unknown='redial' and clear this task, or use another idempotency_key.",
        code=entry.error_code or "outcome_unknown",
    )


def gone_from_ledger(call: OutboundCall) -> CallOutcomeUnknownError:
    """Return the error for a call that the ledger knew a while ago and does not know any more."""
    return CallOutcomeUnknownError(
        f"The ledger no longer has the call to {mask_number(call.to_number)} that this task was placing, as "
        "after a restore from a backup, so it is unknown whether it was placed. It was not dialled again. "
        "Look into the call log of the vendor's dashboard. If it was not placed, clear this task.",
        code="gone_from_ledger",
    )


def unknown_without_key(entry: CallEntry) -> CallOutcomeUnknownError:
    """Return the error for a call without an idempotency key whose answer was lost."""
    return CallOutcomeUnknownError(
        f"{entry.error_message or 'The ledger has lost the call.'} It has no idempotency key, so nothing can "
        "take it up: to place it again may call the person again. Look into the call log of the vendor's "
        "dashboard first.",
        code=entry.error_code or "outcome_unknown",
    )
