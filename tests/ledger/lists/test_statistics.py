"""Figures about calls: what they count, over which of them, and that they say when those are not all."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import timedelta
from statistics import fmean, median

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.lists.values import OPEN, CallFilter
from airflow_provider_voiceinfra.ledger.records import CallState
from tests.ledger.lists.samples import START, Sample, add, as_listed, replace_all, wants
from tests.ledger.lists.test_filters import filters, ledgers, some

HOUR = START.replace(minute=0, second=0)


def test_calls_are_counted_by_hour_and_by_how_they_ended(ledger: CallLedger) -> None:
    samples = [
        Sample(0, second=0, end=("answered", 61)),
        Sample(1, second=1, end=("voicemail", 9)),
        Sample(2, second=2, end=("answered", 30)),  # the next hour
        Sample(3, second=2),
        Sample(4, second=3, state=CallState.REFUSED),
        Sample(5, second=3, state=CallState.UNKNOWN),
        Sample(6, second=4, state=CallState.CLAIMED),
        Sample(7, second=3602, end=("failed", 0)),
        Sample(8, second=3 * 3600, end=("failed", None)),
    ]
    add(ledger, samples)
    found = ledger.lists.call_statistics(CallFilter())
    assert (found.calls, found.is_complete, found.since) == (9, True, START)
    assert found.hours == [
        (HOUR, {"answered": 1, "voicemail": 1}),
        (HOUR + timedelta(hours=1), {"answered": 1, OPEN: 1, "refused": 1, "unknown": 1, "claimed": 1}),
        (HOUR + timedelta(hours=2), {"failed": 1}),
        (HOUR + timedelta(hours=3), {"failed": 1}),
    ]
    assert found.outcomes == {
        **{"answered": 2, "failed": 2, "voicemail": 1},
        **{OPEN: 1, "refused": 1, "unknown": 1, "claimed": 1},
    }
    assert (found.mean_duration, found.median_duration) == (45.5, 45.5)


def test_spans_of_durations_join_and_hold_each_call_once(ledger: CallLedger) -> None:
    lasted = [0, 4, 5, 9, 10, 59, 60, 3599, 3600, 40_000]
    add(ledger, [Sample(number, end=("answered", one)) for number, one in enumerate(lasted)])
    spans = ledger.lists.call_statistics(CallFilter()).durations
    assert spans[0][0] == 0
    assert all(this[1] == following[0] for this, following in itertools.pairwise(spans))
    for start, end, number in spans:
        assert number == sum(start <= one < end for one in lasted)
    assert sum(number for *_, number in spans) == len(lasted)
    # They end with the longest call.
    replace_all(ledger, [Sample(0, end=("answered", 7))])
    *_, last = ledger.lists.call_statistics(CallFilter()).durations
    assert last[0] <= 7 < last[1]
    assert last[2] == 1


@pytest.mark.parametrize(("limit", "is_complete"), [(4, False), (5, True), (6, True)])
def test_calls_older_than_the_limit_are_left_out(ledger: CallLedger, limit: int, is_complete: bool) -> None:
    add(ledger, [Sample(number, second=number, end=("answered", number)) for number in range(5)])
    found = ledger.lists.call_statistics(CallFilter(), limit=limit)
    assert (found.calls, found.is_complete) == (min(limit, 5), is_complete)
    assert found.since == START + timedelta(seconds=max(0, 5 - limit))
    found = ledger.lists.call_statistics(CallFilter(outcome="busy"), limit=limit)
    assert (found.calls, found.is_complete) == (0, is_complete)


def test_time_of_calls_on_which_nobody_talked_is_no_talk_time(ledger: CallLedger) -> None:
    ends = [("failed", 0)] * 8 + [("answered", 60), ("answered", 62), ("voicemail", 20)]
    add(ledger, [Sample(number, end=end) for number, end in enumerate(ends)])
    found = ledger.lists.call_statistics(CallFilter())
    assert (found.mean_duration, found.median_duration) == (61, 61)
    assert sum(number for *_, number in found.durations) == 3
    found = ledger.lists.call_statistics(CallFilter(outcome="failed"))
    assert (found.calls, found.mean_duration, found.durations) == (8, None, [])


def test_it_says_among_how_many_the_calls_were_found(ledger: CallLedger) -> None:
    ends = ["answered", "failed"] * 5
    add(ledger, [Sample(number, second=number, end=(end, 1)) for number, end in enumerate(ends)])
    found = ledger.lists.call_statistics(CallFilter(outcome="answered"), limit=6)
    assert (found.calls, found.is_complete, found.looked_at) == (3, False, 6)
    found = ledger.lists.call_statistics(CallFilter(outcome="answered"), limit=10)
    assert (found.calls, found.is_complete, found.looked_at) == (5, True, 0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(samples=ledgers, wanted=st.lists(some | filters, min_size=1, max_size=4))
@example(samples=[], wanted=[CallFilter()])
def test_figures_are_those_of_the_calls_that_the_filter_lets_through(
    ledger: CallLedger, samples: list[Sample], wanted: list[CallFilter]
) -> None:
    replace_all(ledger, samples)
    for one in wanted:
        calls = [call for call in map(as_listed, samples) if wants(one, call)]
        found = ledger.lists.call_statistics(one)
        assert (found.calls, found.is_complete) == (len(calls), True)
        assert found.since == min((call.claimed_at for call in calls), default=None)
        by_outcome = Counter(call.outcome for call in calls if call.outcome is not None)
        assert {name: found.outcomes.get(name, 0) for name in by_outcome} == dict(by_outcome)
        assert sum(found.outcomes.values()) == len(calls)
        assert sum(sum(counted.values()) for _, counted in found.hours) == len(calls)
        assert (found.hours == []) == (found.outcomes == {}) == (calls == [])
        ended = [(call.outcome, one) for call in calls if (one := call.duration_seconds) is not None]  # type: ignore[assignment]
        assert sum(number for *_, number in found.durations) == sum(one != "failed" for one, _ in ended)
        talked = [duration for outcome, duration in ended if outcome == "answered"]
        assert found.mean_duration == (fmean(talked) if talked else None)
        assert found.median_duration == (median(talked) if talked else None)
