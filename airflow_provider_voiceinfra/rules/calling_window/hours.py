"""Several calling windows that must all be open at the same instant; never asks what time it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from airflow_provider_voiceinfra.rules.calling_window.openings import HORIZON, Openings
from airflow_provider_voiceinfra.rules.calling_window.place import Place
from airflow_provider_voiceinfra.rules.calling_window.spans import LOOKED_AT, WEEK
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow


@dataclass(frozen=True)
class CallingHours(Openings):
    """The hours that several calling windows have in common.

    :param windows: of which every one must be open; without any it is always open.
    """

    windows: tuple[CallingWindow, ...] = ()

    def why_never(self, place: Place) -> str | None:
        """Return why no hour of any week is in calling hours, and the remedy; ``None`` if some hour is."""
        found = next(filter(None, (window.why_never(place) for window in self.windows)), None)
        if found or any(next(self.spans(second, place), None) for second in LOOKED_AT):
            return found
        return "the calling windows that apply share no hour; change one of them"

    def spans(self, second: int, place: Place) -> Iterator[tuple[int, int]]:
        """Yield what is open in all windows, from a second since 1970 on."""
        if not self.windows:
            return iter([(second, second + HORIZON + WEEK)])
        first, *others = (window.spans(second, place) for window in self.windows)
        for other in others:
            first = _both(first, other)
        return first


def _both(ours: Iterator[tuple[int, int]], theirs: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield what is in both, of spans that are sorted and disjoint; no more is read than is needed."""
    a, b = next(ours, None), next(theirs, None)
    while a and b:
        start, end = max(a[0], b[0]), min(a[1], b[1])
        if start < end:
            yield start, end
        if a[1] <= b[1]:
            a = next(ours, None)
        else:
            b = next(theirs, None)
