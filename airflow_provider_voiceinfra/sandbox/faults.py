"""What can go wrong on demand: the names, the numbers that stand for them, and which one a request meets."""

from __future__ import annotations

import random
from collections import deque
from enum import Enum


class Fault(str, Enum):
    """Something that goes wrong with a request or with the webhook of its call."""

    ERROR_BEFORE = "error_before"
    ERROR_AFTER = "error_after"
    CUT_BEFORE = "cut_before"
    CUT_AFTER = "cut_after"
    GATEWAY_HTML = "gateway_html"
    GATEWAY_HTML_AFTER = "gateway_html_after"
    HANG_BEFORE = "hang_before"
    HANG = "hang"
    BAD_JSON_2XX = "bad_json_2xx"
    RATE_LIMITED = "rate_limited"
    WEBHOOK_NEVER = "webhook_never"
    WEBHOOK_TWICE = "webhook_twice"
    WEBHOOK_THRICE = "webhook_thrice"
    WEBHOOK_EARLY = "webhook_early"
    WEBHOOK_BAD_SIGNATURE = "webhook_bad_signature"
    WEBHOOK_LATE = "webhook_late"


MEANINGS = {
    Fault.ERROR_BEFORE: "500 server_error, nothing accepted",
    Fault.ERROR_AFTER: "500 server_error, although the call was accepted",
    Fault.CUT_BEFORE: "connection cut without an answer, nothing accepted",
    Fault.CUT_AFTER: "connection cut without an answer, although the call was accepted",
    Fault.GATEWAY_HTML: "502 with an HTML body, nothing accepted",
    Fault.GATEWAY_HTML_AFTER: "502 with an HTML body, although the call was accepted",
    Fault.HANG_BEFORE: "no answer until the client gives up, nothing accepted",
    Fault.HANG: "no answer until the client gives up, although the call was accepted",
    Fault.BAD_JSON_2XX: "accepted, but the body of the 200 is of no use",
    Fault.RATE_LIMITED: "429 rate_limited, nothing accepted",
    Fault.WEBHOOK_NEVER: "accepted; its webhook is never sent",
    Fault.WEBHOOK_TWICE: "accepted; its webhook is sent 2 times at once",
    Fault.WEBHOOK_THRICE: "accepted; its webhook is sent 3 times at once",
    Fault.WEBHOOK_EARLY: "accepted; its webhook is sent before the answer to the POST",
    Fault.WEBHOOK_BAD_SIGNATURE: "accepted; its webhook is wrongly signed first, then rightly",
    Fault.WEBHOOK_LATE: "accepted; its webhook comes --webhook-late-seconds after the call's end",
}

# These are met before the request is read, so that they also strike one that would be refused.
REFUSING = frozenset(
    {Fault.ERROR_BEFORE, Fault.CUT_BEFORE, Fault.GATEWAY_HTML, Fault.HANG_BEFORE, Fault.RATE_LIMITED}
)
COPIES = {Fault.WEBHOOK_TWICE: 2, Fault.WEBHOOK_THRICE: 3}

NUMBER_FAULTS = {
    "90": Fault.ERROR_BEFORE,
    "91": Fault.ERROR_AFTER,
    "92": Fault.CUT_AFTER,
    "93": Fault.GATEWAY_HTML,
    "94": Fault.HANG,
    "95": Fault.WEBHOOK_NEVER,
    "96": Fault.WEBHOOK_THRICE,
    "97": Fault.WEBHOOK_EARLY,
    "98": Fault.WEBHOOK_BAD_SIGNATURE,
    "99": Fault.WEBHOOK_LATE,
}


def outcome_of(to_number: str, *, fault_numbers: bool) -> str:
    """Return how a call to a number ends, always the same for the same number.

    :param to_number: E.164.
    :param fault_numbers: whether the last two digits 90-99 stand for faults; such calls are answered.
    """
    if fault_numbers and to_number[-2:] in NUMBER_FAULTS:
        return "answered"
    return {"7": "voicemail", "8": "failed"}.get(to_number[-1:], "answered")


class FaultPlan:
    """Decides which fault a request meets: a scripted one first, then the number's, then a random one.

    :param seed: of the random ones.
    """

    def __init__(self, seed: int = 0) -> None:
        self._scripted: deque[Fault] = deque()
        self._random = random.Random(seed)

    def script(self, fault: Fault, count: int) -> None:
        """Queue a fault for the next requests.

        :param count: for how many of them.
        """
        self._scripted.extend([fault] * count)

    @property
    def scripted(self) -> list[str]:
        """The names of the queued faults, next one first."""
        return [fault.value for fault in self._scripted]

    def take_refusing(self) -> Fault | None:
        """Return the next scripted fault if it strikes before the request is read."""
        if self._scripted and self._scripted[0] in REFUSING:
            return self._scripted.popleft()
        return None

    def take(
        self, to_number: str, *, fault_numbers: bool, rate: float, names: tuple[str, ...]
    ) -> Fault | None:
        """Return the fault for a valid request.

        :param to_number: E.164.
        :param fault_numbers: whether numbers stand for faults.
        :param rate: share of requests that meet a random fault, 0 to 1.
        :param names: the faults to pick a random one from.
        """
        if self._scripted:
            return self._scripted.popleft()
        if fault_numbers and to_number[-2:] in NUMBER_FAULTS:
            return NUMBER_FAULTS[to_number[-2:]]
        if names and rate and self._random.random() < rate:
            return Fault(self._random.choice(names))
        return None
