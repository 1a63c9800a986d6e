"""How far each contact of a campaign is, by its calls: the one rule for going on and for reporting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from itertools import groupby

from airflow_provider_voiceinfra.campaigns.outcomes import DO_NOT_CALL, REFUSED, UNKNOWN
from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan
from airflow_provider_voiceinfra.dialling.jobs import INTERRUPTED
from airflow_provider_voiceinfra.exceptions import (
    ApiUnreachableError,
    CallNotAllowedError,
    CallRefusedError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    TryAgainError,
    UnauthorizedError,
)
from airflow_provider_voiceinfra.ledger.campaigns.records import Attempt
from airflow_provider_voiceinfra.ledger.records import CallState

# What a call is refused with when nothing was wrong with it; it is dialled again under the same key.
_AGAIN = (RateLimitedError, ApiUnreachableError, TryAgainError, UnauthorizedError)
_LATER = (CallNotAllowedError.CALL_CAP, CallNotAllowedError.OUTSIDE_CALLING_WINDOW)
AGAIN_CODES = frozenset({INTERRUPTED, *_LATER, *(error.default_code for error in _AGAIN)})
_PURGED = "the call was placed; no record of how it ended is left, since older data was purged"
# What a person may have fixed before the campaign goes on; the last one is say 402 or 403.
MENDABLE_CODES = frozenset(
    error.default_code for error in (NotFoundError, InvalidRequestError, CallRefusedError)
) | {CallNotAllowedError.SUPPRESSED, CallNotAllowedError.NO_CONSENT, CallNotAllowedError.QUARANTINED}


class Stage(str, Enum):
    """What a contact waits for."""

    DIAL = "dial"
    """To be dialled, at ``due`` or as soon as possible."""
    ANSWER = "answer"
    """For the webhook of a call whose answer was lost, until ``due``."""
    COMPLETION = "completion"
    """For the end of its call, until ``due``."""
    OVER = "over"
    """For nothing."""


@dataclass(frozen=True)
class Standing:
    """How far a contact is.

    :param next_attempt: the number of the call to place next, if it is to be dialled.
    :param due: see the stage, aware UTC; ``None`` for at once.
    :param outcome: how it ended, or would if the campaign ended now; ``None`` if it was never called.
    :param reason: for people: why the outcome is what it is.
    :param last: its last call that may have rung, or that the API refused for good if none has.
    :param placed: how many calls were placed.
    :param refused: its newest call, if the API, or a rule, refused that one for good.
    :param is_capped: whether it was called as often as a cap allows, and waits for that.
    """

    position: int
    stage: Stage
    next_attempt: int
    due: datetime | None
    outcome: str | None
    reason: str | None
    last: Attempt | None
    placed: int
    refused: Attempt | None = None
    is_capped: bool = False


def standings(attempts: Iterable[Attempt], plan: CampaignPlan) -> Iterator[Standing]:
    """Return how far each contact is that was dialled.

    :param attempts: ordered by position and number.
    """
    for position, group in groupby(attempts, key=lambda attempt: attempt.position):
        yield standing(position, list(group), plan)


def standing(position: int, attempts: Sequence[Attempt], plan: CampaignPlan) -> Standing:
    """Return how far one contact is, from its calls in order."""
    last = attempts[-1]
    placed = sum(attempt.state is CallState.ACCEPTED for attempt in attempts)

    def so_far(stage: Stage, due: datetime | None, outcome: str | None, reason: str | None) -> Standing:
        return Standing(position, stage, last.number, due, outcome, reason, last, placed)

    if last.state is CallState.REFUSED:
        return _refused(position, attempts, plan, placed)
    if last.state is not CallState.ACCEPTED:
        return so_far(
            Stage.ANSWER,
            last.renewed_at + plan.unknown_timeout,
            UNKNOWN,
            "the answer to the request was lost, and no webhook has reported what became of the call",
        )
    if last.completed_at is None and last.purged_at is not None:
        return so_far(Stage.OVER, None, UNKNOWN, _PURGED)
    if last.completed_at is None:
        due = (last.answered_at or last.claimed_at) + plan.completion_timeout
        return so_far(
            Stage.COMPLETION, due, UNKNOWN, "the call was placed, and no completion record has come"
        )
    again = plan.redial and plan.redial.due(last.outcome, last.number, last.completed_at)
    if again:
        return Standing(position, Stage.DIAL, last.number + 1, again, last.outcome, None, last, placed)
    return so_far(Stage.OVER, None, last.outcome or UNKNOWN, None)


def _refused(position: int, attempts: Sequence[Attempt], plan: CampaignPlan, placed: int) -> Standing:
    last, before = attempts[-1], None
    if len(attempts) > 1:
        before = standing(position, attempts[:-1], plan)
        # A redial is placed only as long as the plan wants it.
        before = replace(before, next_attempt=last.number) if before.stage is Stage.DIAL else before
    if last.error_code in AGAIN_CODES:
        before = before or Standing(position, Stage.DIAL, last.number, None, None, None, None, placed)
        is_capped = last.error_code == CallNotAllowedError.CALL_CAP and before.stage is Stage.DIAL
        return replace(before, due=last.allowed_from, is_capped=True) if is_capped else before
    stage = Stage.DIAL if last.error_code in MENDABLE_CODES else Stage.OVER
    why = last.error_message or last.error_code
    if before is None or before.outcome is None or before.refused is not None:
        outcome = DO_NOT_CALL if last.error_code == CallNotAllowedError.SUPPRESSED else REFUSED
        is_ours = last.error_code in CallNotAllowedError.CODES
        reason = str(why) if is_ours else f"the API refused the call: {why}"
        return Standing(position, stage, last.number, None, outcome, reason, last, placed, last)
    # What the last call that rang came to is how the contact ended, however a redial went.
    is_ours = last.error_code in CallNotAllowedError.CODES
    not_again = f"not called again: {why}" if is_ours else f"the API refused a redial: {why}"
    reason = before.reason or not_again
    if before.stage is not Stage.DIAL:
        return replace(before, reason=reason)
    due = before.due if stage is Stage.DIAL else None
    return replace(before, stage=stage, due=due, reason=reason, refused=last)
