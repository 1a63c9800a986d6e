"""What keeps a whole campaign from dialling: an API out of reach, or one that would refuse every call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from airflow_provider_voiceinfra.campaigns.progress import Obstacle
from airflow_provider_voiceinfra.campaigns.reporting.status import OBSTACLE_WORDS
from airflow_provider_voiceinfra.dialling.jobs import Dialled
from airflow_provider_voiceinfra.exceptions import (
    ApiUnreachableError,
    CallOutcomeUnknownError,
    CallRefusedError,
    InvalidPhoneError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    UnauthorizedError,
    VoiceInfraError,
)
from airflow_provider_voiceinfra.ledger.records import CallState

log = logging.getLogger(__name__)

# How long to leave an API alone that could not be reached; twice as long each time, up to the last.
FIRST_REST = timedelta(seconds=2)
LONGEST_REST = timedelta(seconds=60)
# How long it may be out of reach before the task fails, and Airflow's own retries and alerts take over.
PATIENCE = timedelta(minutes=15)
# So many refusals in a row are no matter of single contacts.
MOST_REFUSALS = 10
# After so many lost answers in a row, one call at a time tells whether the API works again.
MOST_UNKNOWN = 5


class Obstacles:
    """Learns from what became of calls whether it makes sense to dial.

    :param passed: a clock in seconds that nobody can set.
    """

    def __init__(self, passed: Callable[[], float]) -> None:
        self._passed = passed
        self._rest = FIRST_REST
        self._rests_until = passed()
        self._unreachable_since: float | None = None
        self._refusals = 0
        self._unknown = 0
        self.accepted = False
        """Whether the API has ever taken a call of this campaign."""
        self.current: Obstacle | None = None
        """What is in the way; ``None`` if nothing is."""

    @property
    def in_the_way(self) -> bool:
        """Whether nothing should be dialled at present."""
        return self._passed() < self._rests_until

    @property
    def is_failing(self) -> bool:
        """Whether answers were lost so often that no more than one call should be tried at a time."""
        return self._unknown >= MOST_UNKNOWN

    def note(self, dialled: Dialled) -> None:
        """Learn from one call.

        :raises CallRefusedError: if the API would refuse every call.
        :raises VoiceInfraError: if the API failed, or could not be reached, for a long time or for good.
        """
        error = dialled.error
        if isinstance(error, UnauthorizedError):
            raise error
        if isinstance(error, ApiUnreachableError):
            if error.lasting:
                raise error
            self._note_failure(error, Obstacle.UNREACHABLE)
            return
        if isinstance(error, CallOutcomeUnknownError):
            self._unknown += 1
            if self.is_failing:
                self._note_failure(error, Obstacle.FAILING)
            return
        entry = dialled.entry
        accepted = error is None and entry is not None and entry.state is CallState.ACCEPTED
        if error is None and not accepted:
            return  # it was not sent, or before this process began
        self._unreachable_since, self._rest, self.current = None, FIRST_REST, None
        self._unknown = 0
        if accepted:
            self.accepted, self._refusals = True, 0
        elif isinstance(error, RateLimitedError):
            self.current = Obstacle.RATE_LIMIT
        elif isinstance(error, CallRefusedError) and self._concerns_all(error):
            self._note_refusal(error)

    def _concerns_all(self, error: CallRefusedError) -> bool:
        """Return whether a refusal may be a matter of the whole campaign rather than of one contact."""
        if isinstance(error, (NotFoundError, InvalidRequestError)):
            return not self.accepted  # once a call was taken, it is the agent or the values of that contact
        return not isinstance(error, InvalidPhoneError)  # say 402 or 403, which the API does not document

    def _note_failure(self, error: VoiceInfraError, obstacle: Obstacle) -> None:
        now = self._passed()
        if self._unreachable_since is None:
            self._unreachable_since = now
        if now - self._unreachable_since > PATIENCE.total_seconds():
            minutes = PATIENCE.total_seconds() / 60
            raise VoiceInfraError(
                f"For {minutes:.0f} minutes {OBSTACLE_WORDS[obstacle]}: {error} A retry goes on."
            ) from error
        if self.in_the_way:  # one of several that were under way together
            return
        log.warning("%s Dialling nobody for %g s.", error, self._rest.total_seconds())
        self._rests_until = now + self._rest.total_seconds()
        self._rest = min(2 * self._rest, LONGEST_REST)
        self.current = obstacle

    def _note_refusal(self, error: CallRefusedError) -> None:
        self._refusals += 1
        if self._refusals >= MOST_REFUSALS:
            raise CallRefusedError(
                f"The campaign was stopped: the API refused {self._refusals} calls in a row, the last one "
                f"with: {error} None of them was placed. Fix that and clear this task; it goes on with "
                "everybody.",
                code=error.code,
                http_status=error.http_status,
            )
