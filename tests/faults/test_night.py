"""A small night under all rules, and whether it finds what is planted; ``make night`` runs a large one."""

from __future__ import annotations

import pytest

from tests.faults import databases
from tests.faults.night.drawing import CAP, Size, night_of
from tests.faults.night.judge import is_open, zones_of
from tests.faults.night.running import run_night
from tests.faults.zygote import Zygote

SMALL = Size(contacts=150, processes=5, opt_outs=20, seconds=15.0)
NOON = 1_780_000_000.0


@pytest.mark.integration
def test_no_call_of_a_night_is_against_the_rules(zygote: Zygote, server: databases.Postgres | None) -> None:
    outcome = run_night(1, SMALL, zygote, server)

    assert outcome.violations == []
    assert outcome.figures["offenders by the audit"] == 0
    assert outcome.figures["of these with a later attempt refused"] > 0
    refused = outcome.figures["refused in the ledger"]
    assert {"suppressed", "call_cap", "outside_calling_window"} <= refused.keys()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        ("suppressions_forgotten", "after the opt-out"),
        ("opt_out_answered_at_once", "after the opt-out"),
        ("retries_unguarded", "outside the window"),
    ],
)
def test_bug_that_is_planted_in_a_night_is_found(plant: str, kind: str, zygote: Zygote) -> None:
    for seed in range(1, 6):
        if kind in run_night(seed, SMALL, zygote, None, plant=plant).kinds:
            return
    pytest.fail(f"{plant} was not found in 5 nights")


def test_seed_always_gives_the_same_night() -> None:
    assert night_of(7, SMALL, NOON) == night_of(7, SMALL, NOON)
    assert night_of(7, SMALL, NOON) != night_of(8, SMALL, NOON)


@pytest.mark.parametrize("now", [NOON + 3600 * hours for hours in range(24)])
def test_window_opens_for_some_and_closes_for_others_in_the_middle(now: float) -> None:
    night = night_of(1, SMALL, now)
    begins = now + night.plan.all_clocks
    ends = begins + SMALL.seconds
    changes = {
        number: tuple(all(is_open(night, zone, at) for zone in zones_of(number)) for at in (begins, ends))
        for number in {key.to for key in night.plan.keys}
    }
    assert {(True, False), (True, True), (False, True), (False, False)} == set(changes.values())


def test_large_night_asks_for_more_calls_than_the_cap_allows() -> None:
    night = night_of(1, Size(), NOON)
    called = [row["to_number"] for one in night.plan.campaigns for row in one.lists[0]]
    numbers = set(called) | {key.to for key in night.plan.keys}
    assert len(called) == pytest.approx(5000, abs=3)
    assert len(called) + len(night.plan.keys) > 2 * CAP * len(numbers)
