"""The two clocks of whoever dials: what time it is, and how much time has passed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone


def utc_now() -> datetime:
    """Return the present, aware."""
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Clocks:
    """Windows, deadlines and redials go by the clock on the wall, whatever is waited for goes by the other.

    The clock on the wall may be set back or forward at any moment; nothing may stand still for that.

    :param now: the present, aware.
    :param passed: seconds since some moment, which nobody can set; ``VoiceInfraClient`` has the same.
    """

    now: Callable[[], datetime] = utc_now
    passed: Callable[[], float] = time.monotonic

    def reached(self, moment: datetime, most: timedelta) -> float:
        """Return when a moment that lies ahead will have come, in seconds of the clock that nobody can set.

        :param moment: aware; in the past means now.
        :param most: how far ahead it can lie at most, however the clock on the wall was set since.
        """
        ahead = min(max(moment - self.now(), timedelta(0)), most)
        return self.passed() + ahead.total_seconds()
