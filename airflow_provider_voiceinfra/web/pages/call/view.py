"""What the page of a call shows of it to one visitor, and what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_voiceinfra.ledger.lists.values import OPEN
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, CompletionEntry
from airflow_provider_voiceinfra.masking import Privacy
from airflow_provider_voiceinfra.web.pages.call.conversation import Turn, conversation, is_conversation
from airflow_provider_voiceinfra.web.pages.call.record_values import Shown, fields_of, shown
from airflow_provider_voiceinfra.web.pages.call.recordings import Recording
from airflow_provider_voiceinfra.web.pages.calls.rows import CallRow, outcome_shown, rows_of
from airflow_provider_voiceinfra.webhooks.reasons import UnusableRecordError

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.web.pages.scope import Scope

MOST_ATTEMPTS = 50

_TOLD_THE_AGENT = {"first_message": "First message", "context": "Context", "variables": "Variables"}
# The fields of a webhook that the API documents, by how the page shows them.
_TOLD_AS_THEY_ARE = ("event", "call_id", "transcript", "summary")
_TIMES = {"start_time": "started_at", "end_time": "ended_at"}
_ENDS = ("call_outcome", "duration_seconds")
_DOCUMENTED = (*_TOLD_AS_THEY_ARE, *_TIMES, *_ENDS, "recording_url", "from_number", "to_number", "agent_id")


@dataclass(frozen=True)
class Candidates:
    """Webhooks that could be those of a call whose answer was lost.

    :param shown: those that the visitor may read.
    :param hidden: how many others there are.
    """

    shown: list[CompletionEntry]
    hidden: int


@dataclass(frozen=True)
class CallView:
    """One call, or one webhook that belongs to no call of ours.

    :param entry: the call; ``None`` for one that was not placed from here.
    :param completion: what its webhook brought; with its body if that may be read.
    :param row: the call as a table shows it; ``None`` if there is no call.
    :param closed: the connections that the visitor would have to read to see all of it.
    :param attempts: calls to the same contact; ``None`` if even that they are the same is hidden.
    :param candidates: what could be its webhook; ``None`` if it needs none.
    :param is_inbound: whether it was not placed from here, and went to a number that calls are placed from.
    """

    entry: CallEntry | None
    completion: CompletionEntry | None
    row: CallRow | None
    closed: list[str]
    attempts: list[CallRow] | None
    candidates: Candidates | None
    is_inbound: bool = False

    @property
    def may_read(self) -> bool:
        """Whether numbers, and what was said, are shown."""
        return not self.closed

    @property
    def privacy(self) -> Privacy:
        """What may be shown of it."""
        return Privacy(show_numbers=self.may_read, include_transcript=self.may_read)

    @property
    def standing(self) -> str:
        """Its outcome, or what is known as long as there is none."""
        if self.row is not None:
            return self.row.standing
        outcome = self.completion.call_outcome if self.completion else None
        return outcome_shown(outcome, self.privacy) if outcome else "over"

    @property
    def word(self) -> str:
        """Its standing, for people."""
        return self.row.word if self.row is not None else self.standing

    @property
    def is_open(self) -> bool:
        """Whether the API has taken it, and its end is still to come."""
        return self.standing == OPEN and self.completion is None and self.purged_at is None

    @property
    def is_unknown(self) -> bool:
        """Whether it is not known if it was placed."""
        return self.row is not None and self.row.is_unknown

    @property
    def purged_at(self) -> datetime | None:
        """When its personal data was deleted."""
        return self.entry.purged_at if self.entry else None

    @property
    def to_number(self) -> str | None:
        """Who was called."""
        return self._number("to_number")

    @property
    def from_number(self) -> str | None:
        """Which number it came from."""
        return self._number("from_number")

    @property
    def agent_id(self) -> str | None:
        """The agent that talks."""
        return self._own("agent_id")

    @property
    def call_id(self) -> str | None:
        """The API's id of it."""
        return self._own("call_id")

    @property
    def conn_id(self) -> str | None:
        """The connection that it went through."""
        return self._own("conn_id")

    @property
    def error(self) -> str | None:
        """Why it was not placed, or why that is not known."""
        return self.privacy.text(self.entry.error_message) if self.entry else None

    @property
    def error_code(self) -> str | None:
        """The API's code for that."""
        return self.privacy.text(self.entry.error_code) if self.entry else None

    @property
    def given(self) -> list[tuple[str, Shown]]:
        """What the agent was given for this call."""
        request = (self.entry.request if self.entry and self.may_read else None) or {}
        values = ((label, request.get(name)) for name, label in _TOLD_THE_AGENT.items())
        return [(label, shown(value)) for label, value in values if value]

    @property
    def has_told(self) -> bool:
        """Whether there is anything that was said, or asked for, to show."""
        return bool(self.given) or self.record is not None or self.is_unreadable

    @property
    def times(self) -> list[tuple[str, datetime, str]]:
        """What happened when: in a word, the moment, and what the word means."""
        entry, completion = self.entry, self.completion
        found: list[tuple[str, datetime | None, str]] = []
        if entry is not None:
            answered = "Found by its webhook" if entry.adopted else "Answered by the API"
            is_sent = entry.state is not CallState.CLAIMED
            found += [
                ("Earlier dial", entry.unsettled_since, "The dial before this one, which may have rung."),
                ("Claimed", entry.claimed_at, "From then on, nobody else could dial for it."),
                ("Sent", entry.renewed_at if is_sent else None, "The request went out right after this."),
                (answered, entry.answered_at, "When it was known what the API made of the request."),
            ]
        if completion is not None:
            found += [
                ("Started", completion.started_at, "As the API has it."),
                ("Ended", completion.ended_at, "As the API has it."),
                ("Webhook received", completion.received_at, "When it was stored here."),
            ]
        return [(name, moment, means) for name, moment, means in found if moment is not None]

    @cached_property
    def record(self) -> Mapping[str, Any] | None:
        """All fields of its webhook; ``None`` if they may not, or cannot, be read."""
        if self.completion is None or self.completion.body is None or not self.may_read:
            return None
        try:
            return self.completion.record().payload
        except UnusableRecordError:
            return None

    @property
    def is_unreadable(self) -> bool:
        """Whether its webhook was stored, and is not what a webhook is."""
        return self.completion is not None and self.may_read and self.record is None

    @property
    def summary(self) -> Shown | None:
        """What the API's summary says."""
        found = (self.record or {}).get("summary")
        return shown(found) if found else None

    @property
    def recording(self) -> Recording | None:
        """Where its recording is."""
        return Recording.of((self.record or {}).get("recording_url"))

    @cached_property
    def turns(self) -> list[Turn]:
        """What was said."""
        return conversation((self.record or {}).get("transcript"))

    @property
    def is_conversation(self) -> bool:
        """Whether it is known who said what."""
        return is_conversation(self.turns)

    @property
    def extracted(self) -> list[tuple[str, Shown]]:
        """What the agent was asked to find out, under whatever name the API gives it."""
        return fields_of({name: value for name, value in self._rest.items() if _is_extracted(value)})

    @property
    def others(self) -> list[tuple[str, Shown]]:
        """The fields of its webhook that are shown nowhere else."""
        return fields_of({name: value for name, value in self._rest.items() if not _is_extracted(value)})

    @cached_property
    def _rest(self) -> dict[str, Any]:
        return {name: value for name, value in (self.record or {}).items() if not self._is_told(name, value)}

    def _is_told(self, name: str, value: Any) -> bool:
        """Return whether a field of the webhook is shown in a place of its own, and as it is."""
        if name in _TOLD_AS_THEY_ARE or (name in _DOCUMENTED and value is None):
            return True
        if name == "recording_url":
            return isinstance(value, str)
        if name in _TIMES:
            return getattr(self.completion, _TIMES[name]) is not None
        if name in _ENDS:
            return bool(getattr(self.completion, name) == value)
        return name in _DOCUMENTED and bool(self._own(name) == value)

    def _own(self, name: str) -> str | None:
        """Return what the call has, or else its webhook."""
        found: str | None = getattr(self.entry, name, None) or getattr(self.completion, name, None)
        return found

    def _number(self, name: str) -> str | None:
        return self.privacy.number(self._own(name))


def _is_extracted(value: Any) -> bool:
    return isinstance(value, (dict, list))


def view_of(scope: Scope, entry: CallEntry | None, completion: CompletionEntry | None) -> CallView:
    """Return what to show of a call that the visitor may see.

    :param entry: the call, if it was placed from here.
    :param completion: its webhook, if that has come; without its body.
    """
    conns = dict.fromkeys(one.conn_id for one in (entry, completion) if one is not None)
    closed = [conn_id for conn_id in conns if not scope.privacy(conn_id).include_transcript]
    if completion is not None and not closed:
        completion = scope.ledger.completion(completion.call_id) or completion
    row = None
    if entry is not None and (found := scope.ledger.lists.listed_call(entry.key_hash)) is not None:
        [row] = rows_of(scope, [found])
    return CallView(
        entry=entry,
        completion=completion,
        row=row,
        closed=closed,
        attempts=_attempts(scope, entry, may_read=not closed),
        candidates=_candidates(scope, entry),
        is_inbound=completion is not None and entry is None and completion.to_number in scope.own_numbers,
    )


def _attempts(scope: Scope, entry: CallEntry | None, *, may_read: bool) -> list[CallRow] | None:
    # Outside campaigns it is by the whole number that calls are found, which a mask must not tell apart.
    by_number = entry is None or entry.origin.campaign_id is None or entry.origin.position is None
    if entry is None or (by_number and not may_read):
        return None
    calls = scope.ledger.lists.calls_to_contact(entry, limit=MOST_ATTEMPTS)
    visible = {key: scope.shows(*key) for key in {(call.origin.dag_id, call.conn_id) for call in calls}}
    return rows_of(scope, [call for call in calls if visible[call.origin.dag_id, call.conn_id]])


def _candidates(scope: Scope, entry: CallEntry | None) -> Candidates | None:
    if entry is None or entry.state is not CallState.UNKNOWN:
        return None
    # Their numbers are this call's: who may not see that one must not meet it there.
    if not scope.may_read(entry.conn_id):
        return None
    found = scope.ledger.completions(scope.ledger.candidates(entry), with_body=False)
    readable = [one for one in found.values() if scope.may_read(one.conn_id)]
    return Candidates(sorted(readable, key=lambda one: one.received_at), len(found) - len(readable))
