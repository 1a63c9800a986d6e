"""How much of a rate limit that nobody names is used, and how many requests it refuses meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

import bench_pacing as pacing
from framework import AT_LEAST, AT_MOST, Aim, Line, Measured, Row

# The limit in calls a second, and the form of Retry-After.
LIMITS = ((20, "seconds"), (40, "none"))
START_UP, SECONDS, LATENCY_MS = 15.0, 25.0, 50.0
PEERS = {"botocore": "botocore adaptive", "urllib3": "urllib3 backoff"}


@dataclass(frozen=True)
class Reached:
    """Percentages: of the limit that was used, and of the requests that were answered 429."""

    share: float
    refused: float


def titles(limit: float, form: str, peer: str) -> tuple[str, str]:
    """Return the names of the two lines of a limit and a peer."""
    named = "no Retry-After" if form == "none" else f"Retry-After in {form}"
    return f"{limit:g}/s, {named}: of the limit; {peer}", f"{limit:g}/s, {named}: 429s; {peer}"


class Pacing(Row):
    """The adaptive rate alone, beside other ways to keep to a limit; ``bench_pacing.py`` shows more."""

    name = "pacing"
    what = (
        f"How much of a rate limit is used, and how many requests are answered 429, in {SECONDS:g} s after "
        f"{START_UP:g} s of start-up, by real requests to an API with {LATENCY_MS:g} ms of latency: the "
        "adaptive rate (ours), botocore's adaptive mode and urllib3's backoff (peers), and a fixed rate that "
        "happens to know the limit (limit). All run at the same time, each with an API of its own."
    )
    lines: ClassVar = tuple(
        Line(title, "%", (aim,) if peer == "botocore" else ())
        for limit, form in LIMITS
        for peer in PEERS
        for title, aim in zip(titles(limit, form, peer), (Aim(AT_LEAST, 95), Aim(AT_MOST, 2)), strict=True)
    )
    seconds = 160

    def measure(self, number: int) -> Mapping[str, Measured]:
        """Measure all limits and all ways at the same time."""
        runs = [(limit, form, pace) for limit, form in LIMITS for pace in pacing.PACERS]
        with ThreadPoolExecutor(len(runs)) as pool:
            reached = dict(zip(runs, pool.map(lambda one: reach(*one), runs), strict=True))
        found = {}
        for limit, form in LIMITS:
            ours, fixed = reached[limit, form, "adaptive"], reached[limit, form, "fixed at limit"]
            for peer, pace in PEERS.items():
                other = reached[limit, form, pace]
                share, refused = titles(limit, form, peer)
                found[share] = Measured(ours.share, peer=other.share, limit=fixed.share)
                found[refused] = Measured(ours.refused, peer=other.refused, limit=fixed.refused)
        return found


def reach(limit: float, form: str, pace: str) -> Reached:
    """Return what one way to pace comes to."""
    with ExitStack() as stack:
        sandbox = stack.enter_context(pacing.serving(limit, form, LATENCY_MS))
        threads, total = pacing.threads_for(limit), START_UP + SECONDS + 1.0
        stack.enter_context(pacing.Load(pace, sandbox.base_url, limit, threads, total))
        pacing.await_traffic(sandbox)
        time.sleep(START_UP)
        share, refused = pacing.measured(sandbox, SECONDS, limit)
        return Reached(share * 100, refused * 100)


ROWS = (Pacing,)
