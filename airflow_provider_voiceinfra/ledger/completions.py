"""The half of the ledger that says what became of calls; completions are never changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, select

from airflow_provider_voiceinfra.ledger.adoption import candidates, rivals
from airflow_provider_voiceinfra.ledger.database.chunks import having, rows_of
from airflow_provider_voiceinfra.ledger.database.locks import lock, of_call_ids
from airflow_provider_voiceinfra.ledger.database.personal import is_number
from airflow_provider_voiceinfra.ledger.database.schema import completions
from airflow_provider_voiceinfra.ledger.part import LedgerPart
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, CompletionEntry
from airflow_provider_voiceinfra.ledger.rows import (
    WHOLE,
    WITHOUT_BODY,
    now,
    owned_call_ids,
    read_calls,
    swap,
)
from airflow_provider_voiceinfra.ledger.webhooks.arrivals import take_in
from airflow_provider_voiceinfra.ledger.webhooks.records import Arrival, Stored

NUMBERS = frozenset({"from_number", "to_number"})
# Fields of a record that are columns, and so can be matched by the database.
MATCHABLE_COLUMNS = NUMBERS | {"call_id", "agent_id", "call_outcome", "conn_id"}

# Made once, since a campaign and a triggerer ask again and again.
_WHOLE = having(select(*WHOLE), completions.c.call_id)
_BODILESS = having(select(*WITHOUT_BODY), completions.c.call_id)
_AFTER = (
    select(*WITHOUT_BODY)
    .where(completions.c.sequence > bindparam("sequence"))
    .order_by(completions.c.sequence)
    .limit(bindparam("most"))
)


class CompletionsLedger(LedgerPart):
    """Records completions, finds them, and gives unknown calls their ``call_id`` back."""

    def take_in(self, arrivals: Sequence[Arrival]) -> list[Stored]:
        """Store genuine webhooks in one transaction; they are durable before this returns.

        What is no completion, or of no use as one, is kept as it came; the same bytes are kept once.

        :return: what became of each, in order.
        """
        call_ids = [one.record.call_id for one in arrivals if one.record is not None]
        with self._database.writing(locks=of_call_ids(call_ids)) as connection:
            return take_in(connection, arrivals)

    def completion(self, call_id: str) -> CompletionEntry | None:
        """Return the completion of a call, with its body."""
        with self._database.reading() as connection:
            return _completion(connection, call_id)

    def completions(self, call_ids: Collection[str], *, with_body: bool = True) -> dict[str, CompletionEntry]:
        """Return the completions that exist for these calls, by call id."""
        query = _WHOLE if with_body else _BODILESS
        return {row.call_id: _entry(row) for row in rows_of(self._database.rows, query, list(set(call_ids)))}

    def completions_after(self, sequence: int, *, limit: int = 1000) -> list[CompletionEntry]:
        """Return what has come since a sequence number, in order, without bodies."""
        return [_entry(row) for row in self._database.rows(_AFTER, {"sequence": sequence, "most": limit})]

    def last_sequence(self) -> int:
        """Return the newest sequence number; 0 if there is no completion."""
        [[newest]] = self._database.rows(select(func.max(completions.c.sequence)))
        return newest or 0

    def sequence_before(self, since: datetime) -> int:
        """Return the sequence number behind which all completions are that came since a moment.

        :param since: aware.
        """
        [[first]] = self._database.rows(
            select(func.min(completions.c.sequence)).where(completions.c.received_at >= since)
        )
        return self.last_sequence() if first is None else first - 1

    def find_completion(
        self, match: Mapping[str, Any], *, since: datetime, outcomes: Collection[str] | None = None
    ) -> CompletionEntry | None:
        """Return the first completion whose fields equal those of ``match``.

        :param match: fields of the record, known or unknown to the API's documentation, and their values.
        :param since: only completions received at or after this moment, aware.
        :param outcomes: only these outcomes; if not set, any.
        """
        # The columns hold text; what else a field may hold is compared as the record has it.
        columns = {name for name in MATCHABLE_COLUMNS & match.keys() if isinstance(match[name], str)}
        query = select(*WHOLE).where(completions.c.received_at >= since)
        query = query.where(*(_has(name, match[name]) for name in columns))
        if outcomes is not None:
            query = query.where(completions.c.call_outcome.in_(list(outcomes)))
        rest = {name: value for name, value in match.items() if name not in columns}
        for row in self._database.stream(query.order_by(completions.c.sequence), at_once=100):
            entry = _entry(row)
            payload = entry.record().payload if rest else {}
            if all(payload.get(name) == value for name, value in rest.items()):
                return entry
        return None

    def adopt(self, entry: CallEntry, *, window: timedelta = timedelta()) -> CallEntry:
        """Give an unknown call the completion that can only be its own.

        That is the one completion of the same account, agent, from and to that came after the request was
        sent, of a call that had not begun before, and belongs to no other call, provided that no other call
        without an answer could own it as well. Two candidates, or two calls for one, are left alone: a guess
        would mislead whoever reads it.

        :param window: how long the call is waited for; so long after its request it may have started, or for
            an hour.
        :return: the call as it stands afterwards; ``accepted`` if a completion was found.
        """
        with self._database.writing() as connection:
            stored = read_calls(connection, [entry.key_hash]).get(entry.key_hash)
            if stored is None or stored.state is not CallState.UNKNOWN:
                return stored or entry
            found = candidates(connection, stored, window)
            if len(found) != 1 or rivals(connection, stored, found[0], window):
                return stored
            call_id = found[0].call_id
            lock(connection, of_call_ids([call_id]))
            # The answer that it belongs to may have been stored a moment ago.
            if not owned_call_ids(connection, [call_id]):
                values = {"state": CallState.ACCEPTED.value, "adopted": True, "answered_at": now()}
                swap(connection, stored, (CallState.UNKNOWN,), {**values, "call_id": call_id})
            return read_calls(connection, [entry.key_hash]).get(entry.key_hash) or stored

    def candidates(self, entry: CallEntry, *, window: timedelta = timedelta()) -> list[str]:
        """Return the ids of completions that could belong to an unknown call, for a person to judge."""
        with self._database.reading() as connection:
            return [found.call_id for found in candidates(connection, entry, window)]


def _has(name: str, value: str) -> ColumnElement[bool]:
    """Return the condition for completions with a value in a column."""
    column = completions.c[name]
    return is_number(completions.c[f"{name}_hash"], column, value) if name in NUMBERS else column == value


def _completion(connection: Connection, call_id: str) -> CompletionEntry | None:
    row = connection.execute(select(*WHOLE).where(completions.c.call_id == call_id)).first()
    return None if row is None else _entry(row)


def _entry(row: Row[Any]) -> CompletionEntry:
    return CompletionEntry(**row._mapping)
