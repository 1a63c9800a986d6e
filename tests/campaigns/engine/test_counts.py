"""What is counted of a campaign, and what follows from that."""

from __future__ import annotations

import json
from datetime import timedelta

from airflow_provider_voiceinfra.campaigns.engine.counts import Counts
from tests.campaigns.simulated import Clock
from tests.rules.calling_window.test_window import utc

START = utc(2026, 6, 1)
SECOND = timedelta(seconds=1)


def test_counts_add_up_and_what_ended_before_this_process_does_not_make_it_look_fast() -> None:
    clock = Clock(START)
    counts = Counts(100, {"invalid": 3}, clock.clocks)
    for _ in range(50):
        counts.contact_done("answered", before=True)
    counts.placed += 50
    told = counts.progress()
    assert (told.contacts, told.done, told.placed, told.skipped) == (100, 50, 50, {"invalid": 3})
    assert (told.rate, told.expected_end) == (0.0, None)


def test_the_expected_end_follows_from_how_many_ended_lately() -> None:
    clock = Clock(START)
    counts = Counts(100, {}, clock.clocks)
    for _ in range(20):
        clock.now += 2 * SECOND
        counts.call_placed()
        counts.contact_done("answered")
    told = counts.progress()
    assert told.rate is not None
    assert 0.4 <= told.rate <= 0.7
    # 80 are left at one in 2 s.
    assert told.expected_end is not None
    assert abs(clock.now + 160 * SECOND - told.expected_end) < 15 * SECOND
    counts.contacts = counts.done
    assert counts.progress().expected_end is None
    counts.contacts = 100
    clock.now += timedelta(hours=1)
    assert counts.progress().expected_end is None


def test_an_outcome_that_becomes_known_later_replaces_the_unknown_one() -> None:
    counts = Counts(2, {}, Clock(START).clocks)
    counts.contact_done("unknown")
    counts.contact_done("unknown")
    counts.outcome_changed("unknown", "answered")
    counts.outcome_changed("unknown", None)  # called again
    assert counts.progress().outcomes == {"answered": 1}
    assert counts.done == 1


def test_refusals_tell_no_number_and_only_the_last_ones_are_kept() -> None:
    counts = Counts(1, {}, Clock(START).clocks)
    for number in range(30):
        counts.refused("invalid_phone", f"HTTP 422: +141555501{number:02d} is bad", f"+141555501{number:02d}")
    text = json.dumps(counts.progress().to_json())
    assert "55501" not in text
    assert "invalid_phone" in text
    assert len(counts.progress().refusals) == 10
