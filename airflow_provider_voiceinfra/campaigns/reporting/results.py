"""What a campaign leaves behind: one line for each contact, and a summary that adds up to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from airflow_provider_voiceinfra.calls import CallOutcome
from airflow_provider_voiceinfra.campaigns import outcomes
from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan
from airflow_provider_voiceinfra.campaigns.standings import Stage, Standing, standings
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry, SkipReason
from airflow_provider_voiceinfra.ledger.records import CompletionEntry
from airflow_provider_voiceinfra.ledger.store import CallLedger

# The name of each reason for which a row is skipped, as the summary has it.
SKIPPED = {
    SkipReason.INVALID.value: "invalid",
    SkipReason.DUPLICATE.value: "duplicates",
    SkipReason.DO_NOT_CALL.value: "do_not_call",
    SkipReason.WITHDRAWN.value: "withdrawn",
}
# Fields of the record with a column of their own in the result file.
RECORD_COLUMNS = ("duration_seconds", "start_time", "end_time", "recording_url", "summary")
COLUMNS = (
    "row",
    "contact_key",
    "to_number",
    "outcome",
    "reason",
    "attempts",
    "call_id",
    "agent_id",
    "from_number",
    *RECORD_COLUMNS,
    "consent",
    "data",
)
# The rest of a record, such as what the agent extracted under whatever name, goes into the column data. The
# transcript, which is long and personal, does not.
_TOLD_ELSEWHERE = ("call_id", "agent_id", "from_number", "to_number", "call_outcome", *RECORD_COLUMNS)
_NOT_DATA = frozenset({*_TOLD_ELSEWHERE, "event", "transcript"})
_BATCH = 500


@dataclass(frozen=True)
class ContactResult:
    """How one contact ended.

    :param outcome: an outcome of the API, another of ``outcomes.ALL``, or why the row was skipped.
    :param reason: for people, why that is the outcome; ``None`` if it says enough itself.
    :param attempts: how many calls were placed.
    :param completion: the record of the last call; ``None`` if there is none.
    :param mendable: whether the API refused the call for what a person may fix, such as an unknown agent.
    """

    contact: ContactEntry
    outcome: str
    reason: str | None
    attempts: int
    call_id: str | None = None
    completion: CompletionEntry | None = None
    mendable: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the values of all columns, as plain JSON."""
        record = self.completion.record().to_dict() if self.completion else {}
        request = self.contact.request or {}
        return {
            "row": self.contact.row_number,
            "contact_key": self.contact.contact_key,
            # Of the last call, since the contact may have been given another number after it.
            "to_number": record.get("to_number") or request.get("to_number"),
            "outcome": self.outcome,
            "reason": self.reason,
            "attempts": self.attempts,
            "call_id": self.call_id,
            "agent_id": record.get("agent_id") or request.get("agent_id"),
            "from_number": record.get("from_number") or request.get("from_number"),
            **{name: record.get(name) for name in RECORD_COLUMNS},
            "consent": self.contact.consent,
            "data": {name: value for name, value in record.items() if name not in _NOT_DATA} or None,
        }


def contact_results(ledger: CallLedger, plan: CampaignPlan, *, unplaced: str) -> Iterator[ContactResult]:
    """Return how each contact ended, in order.

    :param unplaced: the outcome of contacts that were never called, ``expired`` or ``cancelled``.
    """
    known = standings(ledger.campaigns.attempts(plan.campaign_id), plan)
    merged = _merged(ledger.campaigns.all_contacts(plan.campaign_id), known)
    while batch := list(islice(merged, _BATCH)):
        ids = [how.last.call_id for _, how in batch if how and how.last and how.last.call_id]
        completions = ledger.completions(ids)
        for contact, how in batch:
            yield _result(contact, how, completions, unplaced)


class Tally:
    """Counts results while they pass by."""

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._contacts = 0
        self._placed = 0
        self._attempts = 0
        self._mendable = 0
        self._suppressed = 0
        self._refusal: str | None = None

    @property
    def refusal(self) -> str | None:
        """Why nobody was called, if the API refused every call for what a person may fix."""
        skipped = sum(self._outcomes[name] for name in SKIPPED.values())
        return self._refusal if self._mendable == self._contacts - skipped else None

    def count(self, results: Iterable[ContactResult]) -> Iterator[ContactResult]:
        """Pass results on, counted."""
        for result in results:
            self._contacts += 1
            self._outcomes[_counted_as(result)] += 1
            self._placed += result.attempts > 0
            self._attempts += result.attempts
            self._suppressed += result.outcome == outcomes.DO_NOT_CALL and not result.contact.skipped
            if result.mendable and not result.attempts:
                self._mendable += 1
                self._refusal = result.reason
            yield result

    def summary(self) -> dict[str, int]:
        """Return the numbers; those of the outcomes and of the skipped rows add up to ``contacts``.

        ``placed`` is how many people were called, ``attempts`` how many calls were placed. ``suppressed`` is
        how many of ``do_not_call`` were not on the campaign's own list, but their numbers are suppressed.
        """
        return {
            "contacts": self._contacts,
            **{name: self._outcomes[name] for name in SKIPPED.values()},
            "suppressed": self._suppressed,
            "placed": self._placed,
            **{name: self._outcomes[name] for name in outcomes.ALL},
            "attempts": self._attempts,
        }


_COUNTED = frozenset({*SKIPPED.values(), *outcomes.ALL})
_OF_A_RECORD = frozenset({*(outcome.value for outcome in CallOutcome), outcomes.UNKNOWN})


def _counted_as(result: ContactResult) -> str:
    if result.completion is not None:  # the API's own word, whatever else it may mean here
        return result.outcome if result.outcome in _OF_A_RECORD else outcomes.OTHER
    name = SKIPPED.get(result.outcome, result.outcome)
    return name if name in _COUNTED else outcomes.OTHER


def _result(
    contact: ContactEntry,
    how: Standing | None,
    completions: Mapping[str, CompletionEntry],
    unplaced: str,
) -> ContactResult:
    mendable = how is not None and how.stage is Stage.DIAL and how.outcome == outcomes.REFUSED
    if how is None or how.outcome is None or (contact.skipped and mendable and not how.placed):
        if contact.skipped:
            return ContactResult(contact, contact.skipped, contact.reason, 0)
        return ContactResult(contact, unplaced, "nobody was called before the campaign ended", 0)
    call_id = how.last.call_id if how.last else None
    completion = completions.get(call_id) if call_id else None
    return ContactResult(contact, how.outcome, how.reason, how.placed, call_id, completion, mendable)


def _merged(
    contacts: Iterable[ContactEntry], known: Iterator[Standing]
) -> Iterator[tuple[ContactEntry, Standing | None]]:
    """Yield each contact with how far it is; both are ordered by position."""
    following = next(known, None)
    for contact in contacts:
        while following is not None and following.position < contact.position:
            following = next(known, None)  # a call to a contact that was purged
        is_this = following is not None and following.position == contact.position
        yield contact, following if is_this else None
