"""The adaptive rate: when the next of many calls may go, learned from 429s alone; knows nothing of HTTP.

Between two 429s a limiter that was empty both times has let through what its limit allows, so the rate that
was accepted meanwhile is the estimate. The rate stays a little below it, and rises again after some seconds
without a 429, slowly first and then fast: the limit may have been raised, or another process may have ended.
A process with a small share meets fewer 429s and rises more often, which evens the shares out.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable

# Between two searches for more, the rate is this part of the estimate.
SETTLED = 0.98
# No estimate is lower, in calls per second; after 429s in a row longer waits come on top.
SLOWEST = 0.1
# Never count on more than this, in calls per second.
FASTEST = 10_000.0
# By confidence: seconds after a 429 until the rate rises, and from then on until it has doubled.
_RISES = ((0.0, 1.5), (1.0, 4.0), (4.0, 4.0), (10.0, 2.8))
_SURE = len(_RISES) - 1
# A rate so many times the estimate says that the limit has changed, or that the API keeps a reserve.
_FAR = 1.3
# A 429 after fewer seconds of sending belongs to the row of 429s before it.
_CALM = 1.5
# The least that is left of an estimate after the first, second, ... 429 of a row.
_ROW_CUTS = (0.95, 0.8, 0.65, 0.5)
# How far back the accepted calls say something about the limit, in seconds.
_MEMORY = 30.0
# The longest wait after 429s in a row if the API names none, in seconds.
_LONGEST_WAIT = 30.0
# How much lateness of a thread is made up for, in seconds; what is later is lost, so that nothing bursts.
_SLACK = 0.03


class AdaptivePace:
    """Tells the threads of one process when to send the next call, at a rate just below an unknown limit.

    :param most: never faster than this, in calls per second; ``None`` leaves it to the 429s.
    :param start: the first rate, in calls per second; it doubles every 1.5 s until the first 429.
    :param monotonic: a clock in seconds.
    :param rng: keeps several processes from moving in step.
    """

    def __init__(
        self,
        *,
        most: float | None = None,
        start: float = 5.0,
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
        self._own = threading.local()
        self._next = monotonic()
        self._accepted: deque[float] = deque()
        # The estimate, and how often in a row it proved too low (late) or too high (early).
        self._base = min(start, self._most)
        self._learned = False
        self._confidence = 0
        self._late = 0
        self._early = 0
        # The last 429 that counted, the pause after it, and the seconds of sending since then.
        self._cut_at = self._next
        self._pause = 0.0
        self._age = 0.0
        self._hold, self._doubling = _RISES[0]
        self._row = 0
        self._refused = 0
        # Whether the API lets more through after a pause (a bucket, not a window), and how that is doubted.
        self._reserve = False
        self._doubt = 3
        self._before_far: float | None = None
        self._far = 0.0

    @property
    def rate(self) -> float:
        """The calls per second that are allowed now."""
        with self._lock:
            return self._rate(self._age)

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
                wait = self.reserve()
                if wait <= 0:
                    return float(self._own.sent_at)
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
            interval = 1.0 / self._rate(self._age)
            # A rate that isn't used proves nothing, so it doesn't rise either.
            if late <= max(interval, _SLACK):
                self._age += interval
            self._next = max(self._next, now - _SLACK) + interval
            self._own.sent_at = now
            return 0.0

    def accepted(self, sent_at: float | None = None) -> None:
        """Count a request that was not answered 429, whatever else its answer was.

        :param sent_at: what ``acquire`` returned; if not given, the last slot of this thread.
        """
        with self._lock:
            now = self._monotonic()
            self._accepted.append(now)
            while self._accepted[0] < now - _MEMORY:
                self._accepted.popleft()
            if self._sent(sent_at, now) >= self._cut_at:
                self._refused = 0
            if self._age > _CALM:
                self._row = 0

    def rate_limited(self, retry_after: float | None, sent_at: float | None = None) -> None:
        """Slow down after a 429, once for all requests that were under way together.

        :param retry_after: how long the API asked to wait, in seconds; ``None`` if it did not say.
        :param sent_at: what ``acquire`` returned; if not given, the last slot of this thread.
        """
        with self._lock:
            now = self._monotonic()
            counts = self._sent(sent_at, now) >= self._cut_at
            if counts and self._refused == 1 and self._age < 0.3:
                # Come back too early, say before a window's end, which tells nothing about the rate.
                self._refused, self._cut_at, self._age = 2, now, 0.0
            elif counts:
                self._slow_down(now)
            if retry_after is not None and math.isfinite(retry_after):
                # The random part keeps processes that were told the same moment from coming back together.
                self._next = max(self._next, now + max(0.0, retry_after) + self._random.uniform(0.0, 0.1))
            elif counts:
                self._next = max(self._next, now + self._own_wait())
            self._pause = max(self._pause, self._next - self._cut_at)

    def _sent(self, sent_at: float | None, now: float) -> float:
        return float(getattr(self._own, "sent_at", now)) if sent_at is None else sent_at

    def _rate(self, age: float) -> float:
        rate = self._base
        if self._learned:
            # Where a pause was long, the time that it cost is made up for by and by.
            rate *= SETTLED + min(0.1, 0.09 * self._pause)
            if age < 1.0 and (self._pause < 0.5 or self._confidence < _SURE):
                rate *= 0.93
        if age > self._hold:
            steps = (age - self._hold) / self._doubling
            rate *= 2.0 ** min(steps * steps if self._learned else steps, 12.0)
        return max(min(rate, self._most), min(SLOWEST, self._most))

    def _own_wait(self) -> float:
        wait = _within(1.0 / self._rate(self._age), 0.1, 0.5) * 2.0 ** min(self._refused, 10)
        return min(wait, _LONGEST_WAIT) * self._random.uniform(0.5, 1.0)

    def _slow_down(self, now: float) -> None:
        """Revise the estimate after a 429 and begin anew below it."""
        rate, age = self._rate(self._age), self._age
        self._row += 1
        self._refused += 1
        refuted = self._before_far is not None and age < 5.0 and rate < 0.85 * self._far
        self._judge_reserve(rate, refuted)
        early = age < max(self._hold, 2.5)
        self._base, confidence = self._estimate(now, rate, refuted)
        self._early = self._early + (age > _CALM) if early else 0
        self._late = 0 if early else self._late + (self._confidence == _SURE)
        self._base = _within(self._base, SLOWEST, FASTEST)
        self._confidence = confidence
        self._learned = True
        hold, self._doubling = _RISES[confidence]
        self._hold = hold * self._random.uniform(0.9, 1.1)
        self._age = 0.0
        self._cut_at = now
        self._pause = 0.0

    def _judge_reserve(self, rate: float, refuted: bool) -> None:
        sure = self._confidence == _SURE
        if refuted:
            self._reserve = True
            self._doubt = min(2 * self._doubt, 8)
        elif self._early >= (2 if sure else 1):
            self._reserve = True
        elif sure and self._age >= self._hold and rate < 1.15 * self._base and self._pause < 0.5:
            self._reserve = False

    def _estimate(self, now: float, rate: float, refuted: bool) -> tuple[float, int]:
        """Return the new estimate in calls per second, and the confidence in it."""
        base, age, confidence = self._base, self._age, self._confidence
        passed = self._rate(age - 1.0)
        total = self._per_second(self._cut_at, now)
        # What a pause held back can be made up for only where the API keeps a reserve.
        seen = total if self._reserve else self._per_second(self._cut_at + self._pause, now)
        before_far, self._before_far = self._before_far, None
        if not self._learned:
            return _within(passed, 0.6 * rate, 0.9 * rate), 1
        if refuted and before_far is not None:
            return max(before_far, min(seen, 0.95 * base)), _SURE
        if rate > _FAR * base and (total > 1.06 * base or not self._reserve or self._late >= self._doubt):
            # Take it for a higher limit, and what was known back if the next 429 comes soon.
            if confidence == _SURE:
                self._before_far, self._far = base, rate
            self._reserve = False
            return max(base, 0.97 * passed), 2
        if age <= _CALM:
            least = _ROW_CUTS[min(self._row, len(_ROW_CUTS)) - 1]
            return _within(total, least * base, 0.95 * base), max(confidence - 1, 1)
        if age < self._hold:
            return _within(seen, 0.8 * base, 0.97 * base), confidence
        return self._raised(seen, passed, rate), min(confidence + 1, _SURE)

    def _raised(self, seen: float, passed: float, rate: float) -> float:
        """Return the estimate after a 429 that came only when the rate was rising."""
        base, sure = self._base, self._confidence == _SURE
        if self._reserve:
            return _within(seen, (1.0 if sure else 0.8) * base, 1.06 * base)
        creep = 1.0 + 0.01 * 2.0 ** min(self._late, 2)
        return _within(max(seen, 0.96 * passed), (creep if sure else 0.93) * base, rate)

    def _per_second(self, since: float, now: float) -> float:
        count = 0
        for moment in reversed(self._accepted):
            if moment <= since:
                break
            count += 1
        return count / max(now - since, 1e-9)


def _within(value: float, least: float, most: float) -> float:
    return max(least, min(value, most))
