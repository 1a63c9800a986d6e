"""The part of the ledger that counts calls: how they ended, hour by hour, and how long they were."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from statistics import fmean, median

from airflow_provider_voiceinfra.ledger.connect import Database
from airflow_provider_voiceinfra.ledger.entries import CallState
from airflow_provider_voiceinfra.ledger.listed import OPEN, CallFilter, CallStatistics, Order
from airflow_provider_voiceinfra.ledger.searching import Search, ends_of

# The ends of the spans of durations, in seconds; they grow as calls grow rare.
_SPANS = (5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 3600)


class StatisticsLedger:
    """Counts calls."""

    _database: Database

    def call_statistics(self, wanted: CallFilter, *, limit: int = 10_000) -> CallStatistics:
        """Return figures about the newest calls of a list.

        :param limit: how many calls are looked at, at most.
        """
        with self._database.reading() as connection:
            rows, is_complete = Search(wanted, Order.NEWEST).newest(connection, limit)
            ids = [row.call_id for row in rows if row.call_id is not None]
            ends = ends_of(connection, ids, ("call_outcome", "duration_seconds"))
        hours: dict[datetime, Counter[str]] = defaultdict(Counter)
        durations = []
        for row in rows:
            outcome, duration = ends.get(row.call_id or "", (None, None))
            state = OPEN if row.state == CallState.ACCEPTED.value else row.state
            hours[row.claimed_at.replace(minute=0, second=0, microsecond=0)][outcome or state] += 1
            if duration is not None:
                durations.append(duration)
        return CallStatistics(
            calls=len(rows),
            is_complete=is_complete,
            since=rows[-1].claimed_at if rows else None,
            hours=[(hour, dict(hours[hour])) for hour in sorted(hours)],
            outcomes=dict(sum(hours.values(), Counter())),
            durations=_histogram(durations),
            mean_duration=fmean(durations) if durations else None,
            median_duration=median(durations) if durations else None,
        )


def _histogram(durations: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return the spans up to the longest duration, each with how many durations are in it."""
    if not durations:
        return []
    counted = Counter(_span(duration) for duration in durations)
    last = max(counted)
    starts = (0, *_SPANS)
    longest = max(max(durations) + 1, starts[last] + 1)
    ends = [_SPANS[number] if number < len(_SPANS) else longest for number in range(last + 1)]
    return [(starts[number], ends[number], counted[number]) for number in range(last + 1)]


def _span(duration: int) -> int:
    return next((number for number, end in enumerate(_SPANS) if duration < end), len(_SPANS))
