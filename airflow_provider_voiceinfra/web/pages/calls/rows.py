"""What a table shows of each call; every page that lists calls gets its rows here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_voiceinfra.calls import CallOutcome
from airflow_provider_voiceinfra.ledger.lists.values import OPEN, Direction, ListedCall
from airflow_provider_voiceinfra.ledger.records import CallState
from airflow_provider_voiceinfra.masking import Privacy
from airflow_provider_voiceinfra.web.pages.addresses import page_address

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.web.pages.scope import Scope

# How a call stands, in a word or two, and what that means.
STANDINGS = {
    OPEN: ("not over yet", "The API has taken the call; no webhook has reported its end so far."),
    CallState.CLAIMED.value: ("being sent", "The call is about to be sent to the API, or has just been."),
    CallState.REFUSED.value: ("refused", "The API did not take the call, so nothing rang."),
    CallState.UNKNOWN.value: (
        "unknown",
        "It is not known whether this call was placed. Open it to see what to do.",
    ),
}
DIRECTIONS = {Direction.INBOUND: "inbound", Direction.ELSEWHERE: "from elsewhere"}
"""Where calls come from that were not placed from here, for people."""
_OUTCOMES = frozenset(outcome.value for outcome in CallOutcome)
_OVER = ("over", "The call is over; its webhook has no outcome.")


@dataclass(frozen=True)
class CallRow:
    """One call as a table shows it to one visitor.

    :param call: what the ledger knows; templates take from it only what everybody may see.
    :param privacy: what the visitor may see of it.
    """

    call: ListedCall
    privacy: Privacy

    @property
    def address(self) -> str:
        """The address of its own page."""
        if self.call.direction is not Direction.OUTBOUND:
            return page_address("call", id=self.call.call_id)
        return page_address("call", key=self.call.key_hash)

    @property
    def number(self) -> str | None:
        """The number that was called, or that called, as far as it is shown."""
        return self.privacy.number(self.call.party)

    @property
    def direction(self) -> str | None:
        """Where it comes from, unless it was placed from here."""
        return DIRECTIONS.get(self.call.direction)

    @property
    def error(self) -> str | None:
        """Why it was not placed, or why that is not known."""
        return self.privacy.text(self.call.error_message)

    @property
    def code(self) -> str | None:
        """The API's code for that."""
        return self.privacy.text(self.call.error_code)

    @property
    def standing(self) -> str:
        """Its outcome, or what is known as long as there is none."""
        call = self.call
        if call.outcome is not None:
            return outcome_shown(call.outcome, self.privacy)
        if call.received_at is not None or call.state is None:
            return "over"
        return OPEN if call.state is CallState.ACCEPTED else call.state.value

    @property
    def word(self) -> str:
        """Its standing, for people."""
        if self.call.outcome is not None:
            return self.standing
        return STANDINGS.get(self.standing, _OVER)[0]

    @property
    def meaning(self) -> str:
        """What its standing means; empty for an outcome, which says it."""
        return "" if self.call.outcome is not None else STANDINGS.get(self.standing, _OVER)[1]

    @property
    def is_unknown(self) -> bool:
        """Whether somebody has to look after it."""
        return self.call.outcome is None and self.standing == CallState.UNKNOWN.value


def rows_of(scope: Scope, calls: Iterable[ListedCall]) -> list[CallRow]:
    """Return calls as a table shows them to a visitor."""
    # A DAG whose first call came a moment ago may not have been known when the filter was made.
    found = [call for call in calls if scope.shows(call.origin.dag_id, call.conn_id)]
    privacies = {conn_id: scope.privacy(conn_id) for conn_id in {call.conn_id for call in found}}
    return [CallRow(call, privacies[call.conn_id]) for call in found]


def outcome_shown(outcome: str, privacy: Privacy) -> str:
    """Return an outcome as it may be shown; the API could write anything into it."""
    return outcome if outcome in _OUTCOMES else privacy.text(outcome) or ""


def standing_word(standing: str) -> str:
    """Return a standing for people; an outcome is a word already."""
    return STANDINGS[standing][0] if standing in STANDINGS else standing
