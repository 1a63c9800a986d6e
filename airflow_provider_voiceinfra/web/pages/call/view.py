"""What the page of a call shows of it to one visitor, and what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_voiceinfra.ledger.lists.values import OPEN
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, CompletionEntry
from airflow_provider_voiceinfra.masking import Privacy
from airflow_provider_voiceinfra.web.pages.call.conversation import Turn, conversation
from airflow_provider_voiceinfra.web.pages.call.permission import Permission
from airflow_provider_voiceinfra.web.pages.call.record_values import fields_of
from airflow_provider_voiceinfra.web.pages.call.recordings import origin_of
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


class CallView:
    """One call, or one webhook that belongs to no call of ours.

    :param scope: what the visitor may see; the call is a part of it.
    :param entry: the call; ``None`` for one that was not placed from here.
    :param completion: its webhook, if that has come; without its body.
    """

    def __init__(self, scope: Scope, entry: CallEntry | None, completion: CompletionEntry | None) -> None:
        conns = dict.fromkeys(one.conn_id for one in (entry, completion) if one is not None)
        self.closed = [conn_id for conn_id in conns if not scope.may_read(conn_id)]
        """The connections that the visitor would have to read to see all of it."""
        self.may_read = not self.closed
        """Whether numbers, and what was said, are shown."""
        if completion is not None and self.may_read:
            completion = scope.ledger.completion(completion.call_id) or completion
        self.entry, self.completion = entry, completion
        self._scope = scope
        self._privacy = Privacy(show_numbers=self.may_read, include_transcript=self.may_read)

    @cached_property
    def row(self) -> CallRow | None:
        """The call as a table shows it; ``None`` if there is no call."""
        found = self._scope.ledger.lists.listed_call(self.entry.key_hash) if self.entry else None
        return rows_of(self._scope, [found])[0] if found else None

    @property
    def standing(self) -> str:
        """Its outcome, or what is known as long as there is none."""
        if self.row is not None:
            return self.row.standing
        outcome = self.completion.call_outcome if self.completion else None
        return outcome_shown(outcome, self._privacy) if outcome else "over"

    @property
    def pending(self) -> str | None:
        """What is known of our call as long as there is no outcome."""
        return self.row.standing if self.row is not None and self.row.call.outcome is None else None

    @property
    def word(self) -> str:
        """Its standing, for people."""
        return self.row.word if self.row is not None else self.standing

    @property
    def is_open(self) -> bool:
        """Whether the API has taken it, and its end is still to come."""
        return self.pending == OPEN and self.completion is None and self.purged_at is None

    @property
    def is_inbound(self) -> bool:
        """Whether it was not placed from here, and went to a number that calls are placed from."""
        completion = self.completion
        return not self.entry and completion is not None and completion.to_number in self._scope.own_numbers

    @property
    def purged_at(self) -> datetime | None:
        """When its personal data was deleted."""
        return self.entry.purged_at if self.entry else None

    def own(self, name: str) -> str | None:
        """Return a field of the call, or else of its webhook."""
        found: str | None = getattr(self.entry, name, None) or getattr(self.completion, name, None)
        return found

    def number(self, name: str) -> str | None:
        """Return a field that holds a number, as far as that is shown."""
        return self._privacy.number(self.own(name))

    @cached_property
    def permission(self) -> Permission | None:
        """What the rules said of it; ``None`` for one that was not placed from here."""
        if self.entry is None:
            return None
        return Permission(self._scope.ledger, self.entry, shows_rules=self.may_read)

    @property
    def given(self) -> dict[str, Any]:
        """What the agent was given for this call."""
        request = (self.entry.request if self.entry and self.may_read else None) or {}
        return {label: value for name, label in _TOLD_THE_AGENT.items() if (value := request.get(name))}

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
    def summary(self) -> Any:
        """What the API's summary says."""
        return (self.record or {}).get("summary")

    @property
    def recording_url(self) -> str | None:
        """The address of its recording, as the webhook has it."""
        found = (self.record or {}).get("recording_url")
        return found if isinstance(found, str) and found.strip() else None

    @property
    def recording_origin(self) -> str | None:
        """Where its recording is loaded from; ``None`` if it is not played."""
        return origin_of(self.recording_url or "")

    @cached_property
    def turns(self) -> list[Turn]:
        """What was said."""
        return conversation((self.record or {}).get("transcript"))

    @property
    def is_conversation(self) -> bool:
        """Whether it is known of any turn who spoke."""
        return any(turn.who is not None for turn in self.turns)

    @property
    def extracted(self) -> Mapping[str, Any]:
        """What the agent was asked to find out, under whatever name the API gives it."""
        return fields_of(
            {name: value for name, value in self._rest.items() if isinstance(value, (dict, list))}
        )

    @property
    def others(self) -> Mapping[str, Any]:
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
        return name in _DOCUMENTED and bool(self.own(name) == value)

    @cached_property
    def attempts(self) -> list[CallRow] | None:
        """Calls to the same contact; ``None`` if even that they are the same is hidden."""
        scope, entry = self._scope, self.entry
        # Outside campaigns it is by the whole number that calls are found, which a mask must not tell apart.
        by_number = entry is None or entry.origin.campaign_id is None or entry.origin.position is None
        if entry is None or (by_number and not self.may_read):
            return None
        return rows_of(scope, scope.ledger.lists.calls_to_contact(entry, limit=MOST_ATTEMPTS))

    @property
    def candidates(self) -> tuple[list[CompletionEntry], int | None]:
        """Webhooks that could be its own and that the visitor may read; how many others, if that is shown."""
        scope, entry = self._scope, self.entry
        # Their numbers are this call's: who may not see that one must not meet it there.
        if entry is None or entry.state is not CallState.UNKNOWN or not scope.may_read(entry.conn_id):
            return [], None
        found = scope.ledger.completions(scope.ledger.candidates(entry), with_body=False)
        readable = [one for one in found.values() if scope.may_read(one.conn_id)]
        return sorted(readable, key=lambda one: one.received_at), len(found) - len(readable)


def _is_extracted(value: Any) -> bool:
    return isinstance(value, (dict, list))
