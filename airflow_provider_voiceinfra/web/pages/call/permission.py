"""What a call was allowed by, or which rule refused it, in words; decides nothing by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from airflow_provider_voiceinfra.exceptions import CallNotAllowedError, InvalidCallError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState
from airflow_provider_voiceinfra.rules.calling_window.place import place_of
from airflow_provider_voiceinfra.rules.words import PLACES, RuleInWords, kept_in_words

MOST_TIMES = 4
"""How many local times are named; a number may be in more zones."""

REFUSALS = {
    CallNotAllowedError.SUPPRESSED: "The number was suppressed: it must not be called.",
    CallNotAllowedError.OUTSIDE_CALLING_WINDOW: "It was outside the calling window where the number may be.",
    CallNotAllowedError.CALL_CAP: "The number had been called as often as the call cap allows.",
    CallNotAllowedError.NO_CONSENT: "Consent is required, and none was given.",
    CallNotAllowedError.QUARANTINED: "The ledger was restored, and may have forgotten calls of this task.",
}
"""What each rule that refuses a call says, by its code."""


class LocalTime(NamedTuple):
    """What time it was, by a clock where the number may be.

    :param clock: such as ``Mon 09:30``.
    :param zones: the zones of that clock, for people.
    """

    clock: str
    zones: str


class Permission:
    """What there is to say of the rules that a call met.

    :param shows_rules: whether the rules themselves, which are the connection's, and the consent are shown.
    """

    def __init__(self, ledger: CallLedger, entry: CallEntry, *, shows_rules: bool) -> None:
        self._entry = entry
        self._ledger = ledger
        self._shows_rules = shows_rules

    @property
    def refusal(self) -> str | None:
        """Which rule refused it; ``None`` if none did."""
        if self._entry.state is not CallState.REFUSED:
            return None
        return REFUSALS.get(self._entry.error_code or "")

    @property
    def allowed_from(self) -> datetime | None:
        """From when on the rule that refused it would allow it, if that is known."""
        return self._entry.allowed_from if self.refusal else None

    @cached_property
    def _kept(self) -> Mapping[str, Mapping[str, Any]]:
        rules_id = self._entry.rules_id
        kept = self._ledger.rules.get(rules_id) if rules_id and self._shows_rules else None
        return kept.places if kept else {}

    @property
    def exempt_by(self) -> str | None:
        """Where the number is exempt from calling window and cap, if it is and that is shown."""
        number = self._entry.to_number
        places = (place for place in PLACES if number in self._kept.get(place, {}).get("exempt_numbers", ()))
        found = next(places, None)
        return PLACES[found] if number and found else None

    @cached_property
    def rules(self) -> list[tuple[str, list[RuleInWords]]]:
        """What was in force, by what it holds for; none if nothing was, or if it is not shown."""
        found = [(PLACES[place], kept_in_words(self._kept[place])) for place in PLACES if place in self._kept]
        return [(place, words) for place, words in found if words]

    @property
    def version(self) -> str | None:
        """What names the rules that were in force; ``None`` if none were."""
        return self._entry.rules_id

    @property
    def hides_rules(self) -> bool:
        """Whether there were rules that are not shown."""
        return self._entry.rules_id is not None and not self._shows_rules

    @property
    def consent(self) -> str:
        """Whether a reference to the person's consent was given, and which if that is shown."""
        if self._entry.consent is None:
            return "none was given" if self._entry.purged_at is None else "not known any more"
        return self._entry.consent if self._shows_rules else "given"

    @property
    def said(self) -> list[tuple[str, str]]:
        """What was said of where the person is."""
        named = (("Region", self._entry.region), ("Time zone", self._entry.timezone))
        return [(name, value) for name, value in named if value]

    @cached_property
    def local_times(self) -> list[LocalTime]:
        """What time it was where the number may be, when it was dialled or refused."""
        return list(self._local_times())[:MOST_TIMES]

    def _local_times(self) -> Iterator[LocalTime]:
        entry = self._entry
        try:
            zones = place_of(entry.to_number, entry.recipient).zones if entry.to_number else None
        except InvalidCallError:
            return
        moment = entry.dialled_at or entry.renewed_at
        clocks: dict[str, list[str]] = {}
        for zone in zones or ():
            clocks.setdefault(f"{moment.astimezone(ZoneInfo(zone)):%a %H:%M}", []).append(zone)
        for clock, named in clocks.items():
            more = f" and {len(named) - 2} more" if len(named) > 2 else ""
            yield LocalTime(clock, f"{', '.join(named[:2])}{more}")
