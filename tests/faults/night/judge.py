"""Judges a night by the vendor's own log and clocks of its own; then holds the audit command against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from airflow_provider_voiceinfra.ledger.records import CallState
from tests.faults import model, rules
from tests.faults.night.drawing import CAP, ZONES, Night
from tests.faults.plan import REDIAL
from tests.faults.stage import Stage

# A request that has begun before the window closed may arrive so much later, in seconds.
ON_THE_WAY = 0.5


def violations(stage: Stage, night: Night) -> Iterator[str]:
    """Yield what the vendor's log shows that must not be; nothing that the ledger says is taken for true."""
    yield from rules.over_the_cap(stage, CAP, night.exempt)
    yield from _outside(stage, night)
    yield from rules.after_opt_out(stage)
    yield from _dialled_again(stage)
    yield from model.failures(stage)


def _outside(stage: Stage, night: Night) -> Iterator[str]:
    for request in stage.vendor.requests:
        if request["to"] not in night.exempt:
            at = request["wall"] + night.plan.all_clocks
            closed = [zone for zone in zones_of(request["to"]) if not _may_ring(night, zone, at)]
            if closed:
                local = datetime.fromtimestamp(at, ZoneInfo(closed[0]))
                yield (
                    f"outside the window: a request for {request['mark']} came at "
                    f"{local:%H:%M:%S.%f} in {closed[0]}, open {night.opens}-{night.closes}"
                )


def zones_of(number: str) -> tuple[str, ...]:
    """Return the zones that a number may be in."""
    return ZONES[number[2:5]]


def is_open(night: Night, zone: str, at: float) -> bool:
    """Return whether the window is open in a zone at a moment, in seconds since the epoch."""
    local = f"{datetime.fromtimestamp(at, ZoneInfo(zone)):%H:%M}"
    if night.opens < night.closes:
        return night.opens <= local < night.closes
    return local >= night.opens or local < night.closes


def _may_ring(night: Night, zone: str, at: float) -> bool:
    return is_open(night, zone, at) or is_open(night, zone, at - ON_THE_WAY)


def _dialled_again(stage: Stage) -> Iterator[str]:
    rang = Counter(rung.mark for rung in stage.vendor.rung.values())
    most = {
        key.mark: 2 if key.on_unknown == REDIAL else 1
        for task in stage.plan.tasks
        if not task.keyless
        for key in task.keys
    }
    for campaign in stage.plan.campaigns:
        most |= dict.fromkeys((row["mark"] for row in campaign.lists[0]), campaign.attempts)
    for mark, number in rang.items():
        if number > most.get(mark, number):
            yield f"dialled twice: {mark} rang {number} times, at most {most[mark]} are allowed"


def figures(stage: Stage, night: Night) -> dict[str, Any]:
    """Return what the night did; what was refused is only known from the ledger and the processes."""
    rows = stage.ledger.calls(limit=1_000_000)
    refused = Counter(one.error_code for one in rows if one.state is CallState.REFUSED)
    failed = Counter(one["code"] for one in stage.events("failed") if one["error"] == "CallNotAllowedError")
    since = rules.opted_out(stage)
    suppressed = {one.to_number for one in rows if one.error_code == "suppressed"}
    answers = Counter(one["answer"] for one in stage.vendor.requests)
    rang = Counter(rung.request["to_number"] for rung in stage.vendor.rung.values())
    return {
        "requests": len(stage.vendor.requests),
        "calls placed": len(stage.vendor.rung),
        "numbers called": len(rang),
        "numbers called 3 times": sum(count == CAP for count in rang.values()),
        "most calls to an exempt number": max((rang[number] for number in night.exempt), default=0),
        "requests answered 429": sum(number for name, number in answers.items() if name.startswith("429")),
        "answers lost or spoiled": sum(
            number
            for name, number in answers.items()
            if name not in ("ok", "slow", "429", "429_seconds", "429_date")
        ),
        "refused in the ledger": dict(refused.most_common()),
        "refused to single calls and the hook": dict(failed.most_common()),
        "latest arrival after closing, seconds": _latest(stage, night),
        "opt-outs answered 200": len(since),
        "of these with a later attempt refused": len(since.keys() & suppressed),
        "processes": len(stage.workers),
        "killed": sum(worker.process.returncode == -9 for worker in stage.workers),
        "paused before a request": len(stage.events("stopped")),
    }


def _latest(stage: Stage, night: Night) -> float:
    """Return how long after the window closed a request arrived, at most."""
    late = [0.0]
    for request in stage.vendor.requests:
        at = request["wall"] + night.plan.all_clocks
        for zone in zones_of(request["to"]):
            local = datetime.fromtimestamp(at, ZoneInfo(zone))
            if request["to"] not in night.exempt and f"{local:%H:%M}" == night.closes:
                late.append(local.second + local.microsecond / 1e6)
    return round(max(late), 3)


def against_audit(stage: Stage, audit: dict[str, Any], lines: list[dict[str, str]]) -> Iterator[str]:
    """Yield where the audit command says something else than the vendor's log.

    :param audit: what it printed.
    :param lines: its file, a line for each dial that may have rung.
    """
    if audit["offending"]:
        yield f"the audit differs: it names {audit['offending']} offenders: {audit['offending_by_code']}"
    if audit["not_judged"]:
        yield f"the audit differs: it cannot judge {audit['not_judged']} dials"
    if audit["dials"] != len(lines):
        yield f"the audit differs: it counts {audit['dials']} dials, and lists {len(lines)}"
    known = Counter(line["call_id"] for line in lines if line["call_id"] and line["dial"] == "last")
    for call_id in known.keys() - stage.vendor.rung.keys():
        yield f"the audit differs: it has {call_id}, which the vendor never gave"
    without = len(lines) - known.total()
    missing = len(stage.vendor.rung.keys() - known.keys())
    if missing > without:
        yield f"the audit differs: {missing} calls rang that it lacks, and only {without} dials are unknown"


def audit_figures(stage: Stage, audit: dict[str, Any], lines: list[dict[str, str]]) -> dict[str, Any]:
    """Return what the audit says, next to what the vendor has."""
    known = {line["call_id"] for line in lines if line["call_id"]}
    of_vendor = stage.vendor.rung.keys()
    return {
        "dials by the audit": audit["dials"],
        "of these, calls that the vendor has by their ids": len(known & of_vendor),
        "of these, dials without an answer": sum(
            not line["call_id"] or line["dial"] == "first" for line in lines
        ),
        "calls of the vendor among those": len(of_vendor - known),
        "offenders by the audit": audit["offending"],
    }
