"""What the rules of a deployment forbid, by the vendor's log: calls after an opt-out, calls over a cap."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from tests.faults.stage import Stage


def opted_out(stage: Stage) -> dict[str, float]:
    """Return since when the vendor knows that an opt-out has been taken, by number."""
    found: dict[str, float] = {}
    for ack in sorted(stage.vendor.deliveries.acks, key=lambda one: one.at):
        rung = stage.vendor.rung[ack.call_id]
        if rung.opts_out:
            found.setdefault(rung.request["to_number"], ack.at)
    return found


def after_opt_out(stage: Stage) -> Iterator[str]:
    """No request to a number arrives once the vendor knows that its opt-out has been taken."""
    since = opted_out(stage)
    for request in stage.vendor.requests:
        at = since.get(request["to"])
        if at is not None and request["arrived"] > at:
            yield (
                f"after the opt-out: a request for {request['mark']} came {request['arrived'] - at:.3f} s "
                f"after the 200, and was answered {request['answer']}"
            )


def over_the_cap(stage: Stage, cap: int, exempt: Collection[str] = ()) -> Iterator[str]:
    """No number rings more often than a cap says, but for those that it does not hold for."""
    marks: dict[str, list[str]] = defaultdict(list)
    for rung in stage.vendor.rung.values():
        marks[rung.request["to_number"]].append(rung.mark)
    for number, called in marks.items():
        if len(called) > cap and number not in exempt:
            yield f"over the cap: a number rang {len(called)} times, for {', '.join(called)}"
