"""Families of plans; each leads many of its seeds to one kind of trouble, and draws everything else.

Left to chance alone, the moments that matter would come once in thousands of seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.faults import campaign_families, guard_families, single_families
from tests.faults.plan import Draw, Plan

Family = Callable[[Draw], dict[str, Any]]

FAMILIES: dict[Family, float] = {
    single_families.mixed: 3.0,
    single_families.crashes: 2.0,
    single_families.redial_paused: 2.5,
    single_families.rivals: 2.0,
    single_families.accounts: 2.0,
    single_families.receiver: 1.5,
    single_families.clocks: 1.0,
    campaign_families.mixed: 2.0,
    campaign_families.takeover: 3.0,
    campaign_families.results: 2.0,
    campaign_families.lists: 1.5,
    campaign_families.rivals: 1.0,
    single_families.forked: 1.0,
    guard_families.opt_outs: 1.5,
    guard_families.caps: 1.0,
}


def plan_of(seed: int, family: str | None = None) -> Plan:
    """Return the plan of a seed.

    :param family: the name of the only family to draw from; ``None`` for all.
    """
    draw = Draw(seed)
    known = {name_of(one): one for one in FAMILIES}
    chosen = draw.random.choices(list(FAMILIES), list(FAMILIES.values()))[0]
    if family is not None:
        chosen = known[family]
    values = chosen(draw)
    values.setdefault("script", draw.script())
    plan = Plan(seed=seed, family=name_of(chosen), accounts=draw.accounts, **values)
    return replace(
        plan,
        receiver_clock=draw.clock() if draw.chance(0.1) else plan.receiver_clock,
        jumps=_jumps(draw) if draw.chance(0.15) else [],
        receivers=2 if draw.chance(0.25) else 1,
        pooled=draw.chance(0.25),
    )


def _jumps(draw: Draw) -> list[tuple[float, float]]:
    """Return when the clock of the hosts jumps: forward or back, and mostly there again."""
    at, by = draw.between(0.3, 3.0), draw.clock()
    return [(at, by), (at + draw.between(0.3, 3.0), -by)] if draw.chance(0.7) else [(at, by)]


def name_of(family: Family) -> str:
    """Return what a family is called, such as ``single.rivals``."""
    kind = family.__module__.rpartition(".")[2].removesuffix("_families")
    return f"{kind}.{family.__name__}"
