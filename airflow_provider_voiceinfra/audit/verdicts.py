"""What an audit finds out about one dial: what broke a rule, what cannot be known, and what it looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.ledger.rules.history import KeptCall

RULES_MISSING = "rules_missing"
"""The code of a call whose rules the ledger does not have."""
SUPPRESSED = CallNotAllowedError.SUPPRESSED
OUTSIDE = CallNotAllowedError.OUTSIDE_CALLING_WINDOW
CALL_CAP = CallNotAllowedError.CALL_CAP
NO_CONSENT = CallNotAllowedError.NO_CONSENT
CODES = (SUPPRESSED, OUTSIDE, CALL_CAP, NO_CONSENT, RULES_MISSING)


class Why(str, Enum):
    """Why something cannot be judged."""

    PURGED = "purged"
    """The personal data that it takes has been deleted."""
    NO_MOMENT = "no_moment"
    """It is not known when it was dialled: it was before the ledger kept that."""
    NO_PLACE = "no_place"
    """No time zone is known for the number."""
    UNREADABLE = "unreadable"
    """The rule, or a calendar that it names, cannot be read here."""


@dataclass(frozen=True)
class Finding:
    """A rule that a dial broke.

    :param code: one of ``CODES``.
    :param rule: which one: the place where it was set, and what it said.
    """

    code: str
    rule: str


@dataclass
class Verdict:
    """What was found out about one dial.

    :param at: when it was dialled, aware UTC; ``None`` if that is not known.
    :param is_first: whether it is the dial that a redial repeated.
    :param local: what the clocks showed wherever the person may have been, by zone.
    :param rules: what was in force for it, each with its place.
    :param calls_before: how many calls to the number were counted for each cap.
    """

    call: KeptCall
    at: datetime | None
    is_first: bool = False
    local: dict[str, datetime] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)
    calls_before: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unjudged: list[tuple[str, Why]] = field(default_factory=list)

    def find(self, code: str, rule: str) -> None:
        """Note that it broke a rule."""
        self.findings.append(Finding(code, rule))

    def leave_open(self, code: str, why: Why) -> None:
        """Note that it cannot be judged by a kind of rule; several of one kind are noted once."""
        if (code, why) not in self.unjudged:
            self.unjudged.append((code, why))
