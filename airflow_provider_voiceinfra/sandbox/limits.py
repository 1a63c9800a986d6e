"""The imitated rate limit, and the three ways in which a 429 may say when to come again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from email.utils import formatdate


class TokenBucket:
    """Lets a number of requests per second through, with a burst; a refused one costs nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """Forget the past: the next burst is allowed in full."""
        self._tokens = math.inf
        self._filled_at = self._clock()

    def wait(self, rate: float, burst: int) -> float:
        """Take a token and return 0, or return the seconds until there will be one.

        :param rate: requests per second; 0 lets everything through.
        :param burst: requests that may come at once; 0 is one second's worth.
        """
        now = self._clock()
        if rate <= 0:
            return 0.0
        size = float(burst or max(1, math.ceil(rate)))
        self._tokens = min(size, self._tokens + (now - self._filled_at) * rate)
        self._filled_at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / rate


def retry_after(form: str, wait: float) -> dict[str, str]:
    """Return the header of a 429 that asks to wait for some seconds: as seconds, a date, or not at all."""
    seconds = max(1, math.ceil(wait))
    if form == "seconds":
        return {"Retry-After": str(seconds)}
    if form == "date":
        return {"Retry-After": formatdate(time.time() + seconds, usegmt=True)}
    return {}
