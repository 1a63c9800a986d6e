"""A short set of the fault harness, and whether it still finds what is planted; ``make faults`` runs more."""

from __future__ import annotations

import pytest

from tests.faults import databases
from tests.faults.families import FAMILIES, name_of, plan_of
from tests.faults.seeds import run_seed
from tests.faults.zygote import Zygote

# A paused redial, rivals, accounts, a takeover, a result file, a new list, an opt-out, a bit of all, a fork;
# among them jumping clocks, a pooler, two receivers, and a ledger that is read-only, full, or fails over.
SEEDS = (14, 18, 3, 6, 27, 22, 9, 33, 77)


@pytest.mark.integration
@pytest.mark.parametrize("seed", SEEDS)
def test_no_fault_makes_the_package_break_its_promises(
    seed: int, zygote: Zygote, server: databases.Postgres | None
) -> None:
    assert run_seed(seed, zygote, server).violations == []


@pytest.mark.integration
@pytest.mark.parametrize(
    ("plant", "family", "kind"),
    [
        ("claim_after_post", "single.crashes", "dialled twice"),
        ("answer_after_xcom", "single.crashes", "reported before stored"),
        ("ack_before_commit", "single.receiver", "delivery lost"),
    ],
)
def test_planted_bug_is_found(plant: str, family: str, kind: str, zygote: Zygote) -> None:
    for seed in range(10):
        if kind in run_seed(seed, zygote, None, plant=plant, family=family).kinds:
            return
    pytest.fail(f"{plant} was not found in 10 seeds")


@pytest.mark.parametrize("family", [name_of(family) for family in FAMILIES])
def test_seed_always_gives_the_same_plan(family: str) -> None:
    assert plan_of(7, family) == plan_of(7, family)
    assert plan_of(7, family) != plan_of(8, family)


def test_families_are_all_drawn_within_a_hundred_seeds() -> None:
    assert {plan_of(seed).family for seed in range(100)} == {name_of(family) for family in FAMILIES}
