"""What can be asked about calling hours, whatever they are made of; never asks what time it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from airflow_provider_voiceinfra.rules.calling_window.place import Place

HORIZON = 14 * 86_400
"""How far ahead calling hours are looked for, in seconds."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = timedelta(seconds=1)


class Openings(ABC):
    """When people may be called, asked about at aware times and for places.

    Without any zone no hour is known to be in calling hours, unless they are by one named clock.
    """

    def is_open(self, at: datetime, place: Place) -> bool:
        """Return whether it is in calling hours everywhere in a place."""
        second = _seconds(at)
        return next(self.spans(second, place), (None,))[0] == second

    def next_opening(self, at: datetime, place: Place) -> datetime | None:
        """Return the first open instant from ``at`` on, which is ``at`` itself if it is open.

        :return: aware UTC; ``None`` if none of the next 14 days has calling hours everywhere in the place.
        """
        second = _seconds(at)
        for start, _ in self.spans(second, place):
            if start == second:
                return at.astimezone(timezone.utc)
            return _EPOCH + start * _SECOND if start <= second + HORIZON else None
        return None

    def closes_at(self, at: datetime, place: Place) -> datetime | None:
        """Return the first closed instant from ``at`` on, which is ``at`` itself if it is closed.

        :return: aware UTC; ``None`` if it stays open for the next 14 days.
        """
        second = _seconds(at)
        for start, end in self.spans(second, place):
            if start == second:
                return _EPOCH + end * _SECOND if end <= second + HORIZON else None
            break
        return at.astimezone(timezone.utc)

    def longest_opening(self, at: datetime, place: Place) -> timedelta:
        """Return how long it is open at a time, at most, if it opens in the 14 days from ``at`` on."""
        second = _seconds(at)
        lengths = (end - start for start, end in self.spans(second, place) if start <= second + HORIZON)
        return max(lengths, default=0) * _SECOND

    @abstractmethod
    def why_never(self, place: Place) -> str | None:
        """Return why no hour of any week is in calling hours, and the remedy; ``None`` if some hour is."""

    @abstractmethod
    def spans(self, second: int, place: Place) -> Iterator[tuple[int, int]]:
        """Yield what is open in the weeks of the next 14 days, from a second since 1970 on.

        Each goes from the first second in to the first second out; they are sorted, and none touches
        another.
        """


def _seconds(at: datetime) -> int:
    """Return the whole seconds since 1970; clocks are changed at whole seconds only."""
    if at.tzinfo is None or at.utcoffset() is None:
        raise ValueError("at must be an aware time, such as datetime.now(timezone.utc)")
    return (at - _EPOCH) // _SECOND
