"""The adaptive rate: when the next of many calls may go, learned from 429s alone; knows nothing of HTTP.

Between two 429s a limiter that was empty both times has let through what its limit allows, so what was
accepted meanwhile is the estimate. The rate keeps to it for some seconds after a 429 and then rises faster
and faster until the next one: the limit may have been raised, or another process may have ended. Who sends
more meets more 429s, and who meets none rises, so that several processes on one account come to like shares.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable

# No estimate is lower, in calls per second; after 429s in a row longer waits come on top.
SLOWEST = 0.1
# Never count on more than this, in calls per second.
FASTEST = 10_000.0
# Until the first 429 the rate doubles in so many seconds.
_START_DOUBLING = 1.0
# After a 429 the rate is this part of the estimate, and more by the second part for each second of the pause.
_SETTLED, _MADE_UP = 0.98, 0.05
# Seconds of sending until it rises, give or take a tenth, and from then on until it has doubled.
_CALM, _DOUBLING = 7.5, 8.0
# It does not rise before so many calls either: each rise ends in a 429, which is to be a small part of them.
_CALM_CALLS = 40.0
# The burst that a limiter is taken to allow, in seconds of its limit.
_BURST = 1.0
# How many seconds of sending an estimate weighs as much as; more below so many calls per second.
_TRUST, _TRUST_RATE = 10.0, 4.0
# So many 429s before a rise, in a row, are chance; more say that the limit has fallen.
_CHANCE = 6
# When so many times the mean is proved to be allowed, the limit has been raised.
_RAISED = 1.4
# How far the next estimate goes from what was accepted towards the rate that was refused (0 to 1), and the
# estimate from which on a 429 costs so little, in calls per second.
_BOLD, _CHEAP = 0.2, 20.0
# How far back the accepted calls say something about a raised limit, in seconds.
_MEMORY = 20.0
# The longest wait after 429s in a row if the API names none, in seconds.
_LONGEST_WAIT = 30.0
# The part of the slots of so many seconds that must have been taken for the rate to rise.
_USED, _USE_SPAN = 0.6, 0.4
# How much lateness of a thread is made up for, in seconds; what is later is lost, so that nothing bursts.
_SLACK = 0.03


class AdaptivePace:
    """Decides for all threads of a process when the next call is sent, just below an unknown limit.

    :param most: never faster than this, in calls per second; ``None`` leaves it to the 429s.
    :param start: the first rate, in calls per second; it doubles every second until the first 429.
    :param monotonic: a clock in seconds.
    :param rng: keeps several processes from moving in step.
    """

    def __init__(
        self,
        *,
        most: float | None = None,
        start: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        for name, value in (("most", most), ("start", start)):
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be a number of calls per second above 0, not {value!r}.")
        self._most = FASTEST if most is None else min(most, FASTEST)
        self._monotonic = monotonic
        self._random = rng or random.Random()
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._next = monotonic()
        self._base = min(start, self._most)
        self._learned = False
        # How many seconds of sending the estimate weighs as much as, and how often in a row it was too high.
        self._trust = _TRUST
        self._row = 0
        # The last 429 that counted, the pause after it, and the seconds of sending since then.
        self._cut_at = self._next
        self._pause = 0.0
        self._age = 0.0
        self._calm = 0.0
        # What was accepted since then: how many, and when the last of them.
        self._count = 0
        self._accepted: deque[float] = deque()
        # When the last slot was taken; of late, the seconds that slots were worth, and those that passed.
        self._taken_at = self._next
        self._used = self._offered = 0.0
        # 429s since anything that was sent after one of them was accepted.
        self._refused = 0

    @property
    def rate(self) -> float:
        """The calls per second that are allowed now."""
        with self._lock:
            return self._rate()

    @property
    def limit(self) -> float | None:
        """What this process can have of the account's limit, in calls per second; ``None`` before any 429."""
        with self._lock:
            return self._base if self._learned else None

    def acquire(self, stop: threading.Event | None = None) -> float | None:
        """Wait for the next slot and take it.

        :param stop: ends the wait when it is set.
        :return: the slot's time on the clock, in seconds, for ``accepted`` or ``rate_limited``; ``None`` if
            stopped, and then no slot was taken.
        """
        stop = stop or threading.Event()
        # One thread waits for the clock, the others for their turn: a slot wakes one thread, not all.
        while not self._turn.acquire(timeout=0.5):
            if stop.is_set():
                return None
        try:
            while not stop.is_set():
                asked_at = self._monotonic()
                wait = self.reserve()
                if wait <= 0:
                    return asked_at
                stop.wait(min(wait, 60.0))
            return None
        finally:
            self._turn.release()

    def reserve(self) -> float:
        """Take the next slot if it has come.

        :return: 0 if the slot is taken and the request may go now; else the seconds after which to ask
            again, and no slot was taken, since a 429 may move it meanwhile.
        """
        with self._lock:
            now = self._monotonic()
            late = now - self._next
            if late < 0:
                return -late
            interval = 1.0 / self._rate()
            if self._is_used(now, interval):
                self._age += interval
            self._next = max(self._next, now - _SLACK) + interval
            return 0.0

    def _is_used(self, now: float, interval: float) -> bool:
        """Return whether most of the slots of late were taken: a rate that isn't used proves nothing.

        It must not rise then either, or whatever has to be sent next would go out in one burst.
        """
        passed = max(0.0, now - self._taken_at)
        fading = math.exp(-passed / max(_USE_SPAN, 3.0 * interval))
        self._used = self._used * fading + interval
        self._offered = self._offered * fading + passed
        self._taken_at = now
        return self._used >= _USED * self._offered

    def accepted(self, sent_at: float) -> None:
        """Count a request that was not answered 429, whatever else its answer was.

        :param sent_at: what ``acquire`` returned.
        """
        with self._lock:
            now = self._monotonic()
            self._count += 1
            self._accepted.append(now)
            while self._accepted[0] < now - _MEMORY:
                self._accepted.popleft()
            if sent_at >= self._cut_at:
                self._refused = 0

    def rate_limited(self, retry_after: float | None, sent_at: float) -> None:
        """Slow down after a 429, once for all requests that were under way together.

        :param retry_after: how long the API asked to wait, in seconds; ``None`` if it did not say.
        :param sent_at: what ``acquire`` returned.
        """
        with self._lock:
            now = self._monotonic()
            if sent_at >= self._cut_at:
                # With nothing accepted in between, it is still the same jam and tells nothing about the rate.
                if self._count and not self._refused:
                    self._base = _within(self._estimate(now), SLOWEST, FASTEST)
                    self._learned = True
                self._begin_anew(now)
                self._next = max(self._next, now + self._own_wait())
            if retry_after is not None and math.isfinite(retry_after):
                # The random part keeps processes that were told the same moment from coming back together.
                self._next = max(self._next, now + max(0.0, retry_after) + self._random.uniform(0.0, 0.1))
            self._pause = self._next - self._cut_at
            self._taken_at = max(self._taken_at, self._next)  # during a pause no slot is offered

    def _rate(self) -> float:
        if self._learned:
            # A bucket fills during the pause, and what it then holds makes up for the pause.
            rate = self._base * (_SETTLED + _MADE_UP * min(self._pause, _BURST))
            steps = (max(0.0, self._age - self._calm) / _DOUBLING) ** 2
        else:
            rate, steps = self._base, self._age / _START_DOUBLING
        return max(min(rate * float(2.0 ** min(steps, 12.0)), self._most), min(SLOWEST, self._most))

    def _own_wait(self) -> float:
        # The time of five calls: at a low limit each 429 is a large part of them.
        wait = _within(5.0 / self._base, 0.1, 1.0) * 2.0 ** min(self._refused - 1, 10)
        return min(wait, _LONGEST_WAIT) * self._random.uniform(0.8, 1.0)

    def _begin_anew(self, now: float) -> None:
        self._refused += 1
        self._cut_at = now
        self._age = 0.0
        self._calm = max(_CALM, _CALM_CALLS / self._base) * self._random.uniform(0.9, 1.1)
        self._count = 0
        self._accepted.clear()

    def _estimate(self, now: float) -> float:
        """Return what this process can have, in calls per second, after a 429."""
        base, rate, passed = self._base, self._rate(), self._passed(now)
        if not self._learned:
            # A few calls before the first 429 say little, and the rate that they began with says nothing.
            self._trust = min(_TRUST, self._count)
            return max(passed, (rate - 0.5 * base) / 2.0)
        early = self._age < self._calm
        span = now - self._cut_at
        self._row = self._row + 1 if early else 0
        self._trust = min(self._trust + 0.5 * span, _TRUST) / (2.0 if self._row > _CHANCE else 1.0)
        # A mean of few calls is mostly chance.
        weight = self._trust * max(1.0, _TRUST_RATE / base)
        mean = max((self._count + weight * base) / (span + weight), 0.7 * base)
        if early:
            return mean
        if passed > _RAISED * mean:
            self._trust = 1.0
            return passed
        # Where the API allows no burst, the rate that was refused is nearer to the limit than the mean.
        return float(mean * max(1.0, rate / mean) ** (_BOLD * min(1.0, base / _CHEAP)))

    def _passed(self, now: float) -> float:
        """Return the highest limit that the accepted calls prove, burst and all, in calls per second."""
        highest = 0.0
        for count, moment in enumerate(reversed(self._accepted), 1):
            highest = max(highest, count / (now - moment + _BURST))
        return highest


def _within(value: float, least: float, most: float) -> float:
    return max(least, min(value, most))
