"""What keeps a whole campaign from dialling: an API out of reach, or one that would refuse every call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from airflow_provider_voiceinfra.campaigns.jobs import Dialled
from airflow_provider_voiceinfra.exceptions import (
    ApiUnreachableError,
    CallRefusedError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    UnauthorizedError,
)

log = logging.getLogger(__name__)

# How long to leave an API alone that could not be reached; twice as long each time, up to the last.
FIRST_REST = timedelta(seconds=2)
LONGEST_REST = timedelta(seconds=60)
# How long it may be out of reach before the task fails, and Airflow's own retries and alerts take over.
PATIENCE = timedelta(minutes=15)
# So many refusals in a row, and nothing accepted before, are no matter of single contacts.
MOST_REFUSALS = 10


class Obstacles:
    """Learns from what became of calls whether it makes sense to dial.

    :param now: the present, aware.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._rest = FIRST_REST
        self._rests_until = now()
        self._unreachable_since: datetime | None = None
        self._refusals = 0
        self._accepted = False
        self.current: str | None = None
        """What is in the way, for people; ``None`` if nothing is."""

    @property
    def in_the_way(self) -> bool:
        """Whether nothing should be dialled at present."""
        return self._now() < self._rests_until

    def note(self, dialled: Dialled) -> None:
        """Learn from one call.

        :raises CallRefusedError: if the API would refuse every call.
        :raises ApiUnreachableError: if the API could not be reached for a long time.
        """
        error = dialled.error
        if isinstance(error, UnauthorizedError):
            raise error
        if isinstance(error, ApiUnreachableError):
            self._note_unreachable(error)
        elif error is not None or dialled.entry is not None:
            self._unreachable_since, self._rest, self.current = None, FIRST_REST, None
        if error is None and dialled.entry is not None:
            self._accepted = True
        elif isinstance(error, (NotFoundError, InvalidRequestError)) and not self._accepted:
            self._note_refusal(error)
        elif isinstance(error, RateLimitedError):
            self.current = "rate limit"

    def _note_unreachable(self, error: ApiUnreachableError) -> None:
        now = self._now()
        self._unreachable_since = self._unreachable_since or now
        if now - self._unreachable_since > PATIENCE:
            raise error
        if self.in_the_way:  # one of several that were under way together
            return
        log.warning("%s Nobody was called; trying again in %g s.", error, self._rest.total_seconds())
        self._rests_until = now + self._rest
        self._rest = min(2 * self._rest, LONGEST_REST)
        self.current = "the API cannot be reached"

    def _note_refusal(self, error: CallRefusedError) -> None:
        self._refusals += 1
        if self._refusals >= MOST_REFUSALS:
            raise CallRefusedError(
                f"The campaign was stopped: the API refused its first {self._refusals} calls, the last one "
                f"with: {error} Nobody was called. Mend that and clear this task; it goes on with everybody.",
                code=error.code,
                http_status=error.http_status,
            )
