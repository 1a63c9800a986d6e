"""The statements that add a completion; each runs inside a transaction that its caller holds."""

from __future__ import annotations

from datetime import datetime, timezone

from sqlalchemy import Connection, func, select, update

from airflow_provider_voiceinfra.calls import CompletionRecord
from airflow_provider_voiceinfra.ledger.database.schema import (
    COMPLETIONS_COUNTER,
    completions,
    counters,
    database_time,
)
from airflow_provider_voiceinfra.ledger.rows import insert_or_nothing

_COUNTER = counters.c.name == COMPLETIONS_COUNTER


def add_completion(
    connection: Connection, record: CompletionRecord, body: bytes, conn_id: str, account: str | None
) -> bool:
    """Add a completion under the next sequence number.

    :return: whether it was added; not if the call has one already, or the number is taken.
    """
    # Counting up locks the counter until the commit, so that numbers become visible in their
    # order: who follows them misses none, whichever transaction commits first.
    connection.execute(update(counters).where(_COUNTER).values(value=counters.c.value + 1))
    sequence = connection.execute(select(counters.c.value).where(_COUNTER)).scalar_one()
    values = {
        "call_id": record.call_id,
        "sequence": sequence,
        "conn_id": conn_id,
        "account": account,
        "agent_id": _short(record.text("agent_id"), 255),
        "from_number": _short(record.text("from_number"), 64),
        "to_number": _short(record.text("to_number"), 64),
        "call_outcome": _short(record.outcome, 64),
        "duration_seconds": record.duration_seconds,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "received_at": datetime.now(timezone.utc),
        "stored_at": database_time(),
        "body": body,
    }
    return insert_or_nothing(connection, completions, values)


def catch_up_counter(connection: Connection) -> None:
    """Set a counter that lags behind the completions, so that its next number is free."""
    highest = connection.execute(select(func.max(completions.c.sequence))).scalar() or 0
    connection.execute(update(counters).where(_COUNTER, counters.c.value < highest).values(value=highest))


def _short(text: str | None, length: int) -> str | None:
    # The body keeps the whole; a column cut short only makes filters miss what no real value has.
    return text if text is None else text[:length]
