"""Whether somebody may be called this very moment, by the rules that need no ledger: hours and consent.

Suppressions and caps are the ledger's affair: they are asked in the transaction of the claim.
"""

from __future__ import annotations

import math
from datetime import datetime, timezone

import pendulum

from airflow_provider_voiceinfra.dialling.clocks import Clocks
from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.rules.calling_window.hours import CallingHours
from airflow_provider_voiceinfra.rules.calling_window.place import Place, place_of
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow
from airflow_provider_voiceinfra.rules.recipient import Recipient
from airflow_provider_voiceinfra.rules.rule_set import NO_RULES, RuleSet

# In a message: characters of a window, and zones that a number may be in.
_SHORT, _MOST_ZONES = 60, 3


class Guard:
    """Stands at the one door to the phone: asked right before each request; what it refuses is not sent.

    :param rules: those that are in force.
    """

    def __init__(self, rules: RuleSet = NO_RULES, clocks: Clocks = Clocks()) -> None:  # noqa: B008 # no state
        self.rules = rules
        self._clocks = clocks
        self._hours: dict[tuple[int, ...], CallingHours] = {}

    def check(self, number: str, recipient: Recipient) -> float:
        """Return by when the request must have begun, in seconds of ``Clocks.passed``; infinite for any time.

        :raises CallNotAllowedError: if nobody may be called there now; it says from when on.
        """
        if self.rules.require_consent and not recipient.consent:
            raise CallNotAllowedError(
                "require_consent is set, and no consent is given: pass consent, or fill the column consent",
                code=CallNotAllowedError.NO_CONSENT,
            )
        if not self.rules.have_windows:
            return math.inf
        hours = self.hours(number)
        if not hours.windows:
            return math.inf
        passed, now = self._clocks.passed(), self._clocks.now()
        place = place_of(number, recipient)
        if not hours.is_open(now, place):
            raise self._outside(hours, now, number, recipient)
        closes = hours.closes_at(now, place)
        return math.inf if closes is None else passed + (closes - now).total_seconds()

    def hours(self, number: str) -> CallingHours:
        """Return all calling hours that apply to a number."""
        windows = self.rules.windows(number)
        # Made once for all numbers that are not exempt: what they work out about a week is kept in them.
        return self._hours.setdefault(tuple(map(id, windows)), CallingHours(windows))

    def _outside(
        self, hours: CallingHours, now: datetime, number: str, recipient: Recipient
    ) -> CallNotAllowedError:
        place = place_of(number, recipient)
        opens = hours.next_opening(now, place)
        if opens is None:
            reason = hours.why_never(place) or "no hour of the next two weeks is in the calling window"
        else:
            windows = self.rules.windows_by_place(number)
            closed = [
                _said(name, window) for name, window in windows.items() if not window.is_open(now, place)
            ]
            where = _local_times(now, place)
            reason = (
                f"it is outside the calling hours where the number is: {' and '.join(closed)}; it is {where}"
            )
        return CallNotAllowedError(
            reason,
            code=CallNotAllowedError.OUTSIDE_CALLING_WINDOW,
            allowed_from=opens and opens.astimezone(timezone.utc),
        )


def _said(place: str, window: CallingWindow) -> str:
    whose = {"deployment": "[voiceinfra] calling_window", "connection": "calling_window of the connection"}
    named = whose.get(place, "calling_window of the task")
    # A window of many regions is read where it was written.
    return f"{named}, {window.spec}" if len(window.spec) <= _SHORT else named


def _local_times(now: datetime, place: Place) -> str:
    zones = place.zones or ()
    said = [f"{pendulum.instance(now).in_timezone(zone):ddd HH:mm} in {zone}" for zone in zones[:_MOST_ZONES]]
    more = f" and in {len(zones) - len(said)} more zones" if len(zones) > len(said) else ""
    return ", ".join(said) + more if said else f"{now:%a %H:%M} UTC, and its zone is not known"
