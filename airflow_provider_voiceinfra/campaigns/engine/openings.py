"""Ends a campaign that would wait for one opening of its calling window after the other and call nobody."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from airflow_provider_voiceinfra.campaigns.progress import Obstacle, Progress
from airflow_provider_voiceinfra.campaigns.reporting.status import OBSTACLE_WORDS
from airflow_provider_voiceinfra.exceptions import InvalidCallError

# So many openings in a row in which nobody was called are no chance.
MOST_MISSED = 3
# A window that is never open for longer is worth a warning: a task may start later than that.
SHORT_OPENING = timedelta(minutes=15)


class MissedOpenings:
    """Counts openings of the calling window in which nobody was called.

    The count goes on in the next process, which reads it from what this one says of itself.

    :param before: what the process before reported of the campaign, if this one goes on after a pause.
    """

    def __init__(self, now: Callable[[], datetime], before: Progress | None = None) -> None:
        self._now = now
        self._moved: int | None = None
        self.opens_at = before.opens_at if before else None
        """The opening that everybody who is left waits for, aware UTC; ``None`` if they need not wait."""
        self.missed = before.missed_openings if before else 0
        """In how many openings in a row nobody was called."""

    def note(self, opens_at: datetime | None, moved: int) -> None:
        """Look whether an opening has passed in vain.

        :param opens_at: the next opening, if everybody who is left waits for one.
        :param moved: any number that changes when somebody was called.
        """
        if self._moved is not None and moved != self._moved:
            self.opens_at, self.missed = None, 0
        self._moved = moved
        if opens_at is None or (self.opens_at is not None and opens_at <= self.opens_at):
            return
        if self.opens_at is not None and self.opens_at <= self._now():
            self.missed += 1
        self.opens_at = opens_at

    def check(self, obstacle: Obstacle | None) -> None:
        """End a campaign that gets nowhere.

        :param obstacle: what is in the way; ``None`` if that is not known.
        :raises InvalidCallError: saying what to do.
        """
        if self.missed < MOST_MISSED:
            return
        why = "the task may have started, or sent its calls, later than the window was open"
        if obstacle is not None:
            why = OBSTACLE_WORDS[obstacle]
        raise InvalidCallError(
            "calling_window",
            f"it opened {self.missed} times in a row without a call being placed: {why}. Nobody is "
            "forgotten. Make the window longer, free worker and pool slots for the task, or set a deadline; "
            "then clear this task, and it goes on with everybody.",
        )
