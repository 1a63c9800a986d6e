"""A clock for tests, to be passed in where the code asks for one."""

from __future__ import annotations


class Clock:
    """Monotonic seconds that pass only when a test, or somebody who sleeps, says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass, and remember how much somebody slept."""
        self.slept.append(seconds)
        self.now += seconds
