"""What can go wrong on demand: the names, the numbers that stand for them, and which one a request meets."""

from __future__ import annotations

import random
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.sandbox.settings import Settings


class Fault(str, Enum):
    """Something that goes wrong with a request or with the webhook of its call.

    Each has a meaning, and some the last two digits of the numbers that stand for it.
    """

    meaning: str
    digits: str

    def __new__(cls, name: str, meaning: str = "", digits: str = "") -> Fault:
        """Return one of its names, which stands for all of it."""
        fault = str.__new__(cls, name)
        fault._value_, fault.meaning, fault.digits = name, meaning, digits
        return fault

    ERROR_BEFORE = "error_before", "500 server_error, nothing accepted", "90"
    ERROR_AFTER = "error_after", "500 server_error, although the call was accepted", "91"
    CUT_BEFORE = "cut_before", "connection cut without an answer, nothing accepted"
    CUT_AFTER = "cut_after", "connection cut without an answer, although the call was accepted", "92"
    GATEWAY_HTML = "gateway_html", "502 with an HTML body, nothing accepted", "93"
    GATEWAY_HTML_AFTER = "gateway_html_after", "502 with an HTML body, although the call was accepted"
    HANG_BEFORE = "hang_before", "no answer until the client gives up, nothing accepted"
    HANG = "hang", "no answer until the client gives up, although the call was accepted", "94"
    BAD_JSON_2XX = "bad_json_2xx", "accepted, but the body of the 200 is of no use"
    RATE_LIMITED = "rate_limited", "429 rate_limited, nothing accepted"
    WEBHOOK_NEVER = "webhook_never", "accepted; its webhook is never sent", "95"
    WEBHOOK_TWICE = "webhook_twice", "accepted; its webhook is sent 2 times at once"
    WEBHOOK_THRICE = "webhook_thrice", "accepted; its webhook is sent 3 times at once", "96"
    WEBHOOK_EARLY = "webhook_early", "accepted; its webhook is sent before the answer to the POST", "97"
    WEBHOOK_BAD_SIGNATURE = (
        "webhook_bad_signature",
        "accepted; its webhook is wrongly signed first, then rightly",
        "98",
    )
    WEBHOOK_LATE = (
        "webhook_late",
        "accepted; its webhook comes --webhook-late-seconds after the call's end",
        "99",
    )


# These are met before the request is read, so that they also strike one that would be refused.
REFUSING = frozenset(
    {Fault.ERROR_BEFORE, Fault.CUT_BEFORE, Fault.GATEWAY_HTML, Fault.HANG_BEFORE, Fault.RATE_LIMITED}
)
COPIES = {Fault.WEBHOOK_TWICE: 2, Fault.WEBHOOK_THRICE: 3}

NUMBER_FAULTS = {fault.digits: fault for fault in Fault if fault.digits}


def outcome_of(to_number: str, *, fault_numbers: bool) -> str:
    """Return how a call to a number ends; those whose last two digits stand for faults are answered."""
    if fault_numbers and to_number[-2:] in NUMBER_FAULTS:
        return "answered"
    return {"7": "voicemail", "8": "failed"}.get(to_number[-1:], "answered")


class FaultPlan:
    """Decides which fault a request meets: a scripted one first, then the number's, then a random one."""

    def __init__(self, seed: int = 0) -> None:
        self._scripted: deque[Fault] = deque()
        self._random = random.Random(seed)

    def script(self, fault: Fault, count: int) -> None:
        """Queue a fault for the next ``count`` requests."""
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

    def take(self, to_number: str, settings: Settings) -> Fault | None:
        """Return the fault for a valid request."""
        if self._scripted:
            return self._scripted.popleft()
        if settings.fault_numbers and to_number[-2:] in NUMBER_FAULTS:
            return NUMBER_FAULTS[to_number[-2:]]
        if settings.faults and settings.fault_rate and self._random.random() < settings.fault_rate:
            return Fault(self._random.choice(settings.faults))
        return None
