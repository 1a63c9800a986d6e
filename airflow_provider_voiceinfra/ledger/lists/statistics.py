"""The part of the ledger that counts calls: how they ended, hour by hour, and how long they were."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime, timezone
from statistics import fmean, median

from airflow_provider_voiceinfra.calls import CallOutcome
from airflow_provider_voiceinfra.ledger.lists.elsewhere import SearchElsewhere
from airflow_provider_voiceinfra.ledger.lists.search import Search, at_one_moment
from airflow_provider_voiceinfra.ledger.lists.values import OPEN, CallFilter, CallStatistics, Direction, Order
from airflow_provider_voiceinfra.ledger.part import LedgerPart
from airflow_provider_voiceinfra.ledger.records import CallState

# The ends of the spans of durations, in seconds; they grow as calls grow rare.
_SPANS = (5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 3600)


class CallFigures(LedgerPart):
    """Counts calls: how they ended, when, and how long they were."""

    def call_statistics(self, wanted: CallFilter, *, limit: int = 10_000) -> CallStatistics:
        """Return figures about the newest calls of a list.

        :param limit: how many calls are looked at, at most.
        """
        with self._database.reading() as connection:
            at_one_moment(connection)
            search = Search if wanted.direction is Direction.OUTBOUND else SearchElsewhere
            rows, edge, looked_at = search(wanted, Order.NEWEST).tally(connection, limit)
        hours: dict[str, Counter[str]] = defaultdict(Counter)
        durations: Counter[int] = Counter()
        talks: Counter[int] = Counter()
        for row in rows:
            state = OPEN if row.state == CallState.ACCEPTED.value else row.state
            duration, _, outcome = (row.end or "").partition(" ")
            hours[row.hour][outcome or state] += row.number
            if duration and outcome != CallOutcome.FAILED.value:
                durations[int(duration)] += row.number
            if duration and outcome == CallOutcome.ANSWERED.value:
                talks[int(duration)] += row.number
        each = sorted(talks.elements())
        return CallStatistics(
            calls=sum(row.number for row in rows),
            is_complete=edge is None,
            since=edge or min((row.oldest for row in rows), default=None),
            hours=[(_start(hour), dict(hours[hour])) for hour in sorted(hours)],
            outcomes=dict(sum(hours.values(), Counter())),
            durations=_histogram(durations),
            mean_duration=fmean(each) if each else None,
            median_duration=median(each) if each else None,
            looked_at=looked_at if edge else 0,
        )


def _start(hour: str) -> datetime:
    return datetime.fromisoformat(f"{hour}:00:00").replace(tzinfo=timezone.utc)


def _histogram(durations: Mapping[int, int]) -> list[tuple[int, int, int]]:
    """Return the spans up to the longest duration, each with how many durations are in it."""
    if not durations:
        return []
    counted: Counter[int] = Counter()
    for duration, number in durations.items():
        counted[bisect_right(_SPANS, duration)] += number
    last, starts = max(counted), (0, *_SPANS)
    ends = (*_SPANS, max(max(durations), _SPANS[-1]) + 1)
    return [(starts[span], ends[span], counted[span]) for span in range(last + 1)]
