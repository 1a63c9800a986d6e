"""Which completion can be that of a call whose answer was lost, and which other calls it could be of.

Clocks decide as little as they can. A completion that was stored before the request was sent is not the
call's, by their order in the ledger. Whether a call had begun before the request is judged by the clock of
the ledger's database and by the API's; both must say so. The clocks of workers and receivers decide nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from airflow_provider_voiceinfra.ledger.accounts import from_same_number, same_account
from airflow_provider_voiceinfra.ledger.database.personal import is_number
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, CompletionEntry
from airflow_provider_voiceinfra.ledger.rows import (
    IN_FLIGHT,
    WITHOUT_BODY,
    in_state,
    same_number,
)

# How long after its claim a call may start and still be taken for that claim's; longer if it is waited for
# longer.
ADOPTION_WINDOW = timedelta(hours=1)
# The API may give times in whole seconds.
_ROUNDING = timedelta(seconds=1)
# The clocks of the API and of the ledger may differ by this much at the very most.
CLOCK_TOLERANCE = timedelta(minutes=5)


def candidates(connection: Connection, entry: CallEntry, window: timedelta) -> list[CompletionEntry]:
    """Return the completions that could be an unknown call's and belong to no other.

    :param window: how long the call is waited for.
    """
    if entry.request is None:  # purged, so nothing tells its own completion from others
        return []
    owned = select(calls.c.call_id).where(calls.c.call_id == completions.c.call_id).exists()
    query = select(*WITHOUT_BODY).where(
        is_number(completions.c.to_number_hash, completions.c.to_number, entry.to_number),
        is_number(completions.c.from_number_hash, completions.c.from_number, entry.from_number),
        completions.c.agent_id == entry.agent_id,
        completions.c.sequence > (entry.sent_after or 0),
        same_account(completions, entry.conn_id, entry.account),
        ~owned,
    )
    rows = [CompletionEntry(**row._mapping) for row in connection.execute(query)]
    latest = entry.renewed_at + max(window, ADOPTION_WINDOW)
    sent_at = entry.sent_at or entry.rang_from
    return [row for row in rows if _start(row) <= latest and not _began_before(row, sent_at)]


def rivals(connection: Connection, entry: CallEntry, found: CompletionEntry, window: timedelta) -> bool:
    """Return whether a completion could be of another call whose answer is not known.

    That is one without an answer, or one that was redialled: of its first dial nobody knows to this day what
    became of it.
    """
    query = select(calls.c.sent_at, calls.c.renewed_at).where(
        calls.c.key_hash != entry.key_hash,
        *same_number(entry.to_number),
        calls.c.agent_id == entry.agent_id,
        from_same_number(entry.from_number),
        func.coalesce(calls.c.sent_after, 0) < found.sequence,
        # Of a redialled call the last request counts as well as the first.
        calls.c.renewed_at >= _start(found) - max(window, ADOPTION_WINDOW) - CLOCK_TOLERANCE,
        same_account(calls, entry.conn_id, entry.account),
        _may_lack_an_answer(),
    )
    return any(
        not _began_before(found, rival.sent_at or rival.renewed_at) for rival in connection.execute(query)
    )


def _may_lack_an_answer() -> ColumnElement[bool]:
    return or_(
        in_state(*IN_FLIGHT),
        and_(calls.c.state == CallState.ACCEPTED.value, calls.c.unsettled_since.is_not(None)),
    )


def _start(found: CompletionEntry) -> datetime:
    return found.started_at or found.received_at


def _began_before(found: CompletionEntry, sent_at: datetime) -> bool:
    """Return whether a call had begun before a request was sent, so that it is not that request's."""
    if _start(found) < sent_at - CLOCK_TOLERANCE:
        return True
    # It ended before its webhook was stored, so by the ledger's own clock it began no later than this.
    length = timedelta(seconds=found.duration_seconds or 0)
    if found.started_at is not None and found.ended_at is not None:
        length = max(found.ended_at - found.started_at, timedelta())
    began_by = (found.stored_at or found.received_at) - length
    return max(_start(found), began_by) < sent_at - _ROUNDING
