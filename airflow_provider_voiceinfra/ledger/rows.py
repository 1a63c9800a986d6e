"""The statements that change a call's row; each runs inside a transaction that its caller holds."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from airflow_provider_voiceinfra.calls import storable_text
from airflow_provider_voiceinfra.ledger.entries import (
    CallEntry,
    CallOrigin,
    CallState,
    encode_request,
    hash_key,
)
from airflow_provider_voiceinfra.ledger.schema import END_DIGITS, calls

IN_FLIGHT = (CallState.CLAIMED, CallState.UNKNOWN)


def rivals(connection: Connection, entry: CallEntry, since: datetime, until: datetime) -> int:
    """Count other calls without an answer whose completion could not be told from this one's."""
    query = select(calls.c.key_hash).where(
        calls.c.key_hash != entry.key_hash,
        calls.c.state.in_([state.value for state in IN_FLIGHT]),
        calls.c.agent_id == entry.agent_id,
        calls.c.from_number == entry.from_number,
        *same_number(entry.to_number),
        func.coalesce(calls.c.unsettled_since, calls.c.renewed_at).between(since, until),
    )
    return len(connection.execute(query).all())


def read_call(connection: Connection, key_hash: str) -> CallEntry:
    """Return a call that is there."""
    row = connection.execute(select(calls).where(calls.c.key_hash == key_hash)).mappings().one()
    return CallEntry.from_row(row)


def not_unique(call_id: str) -> dict[str, Any]:
    """Return the values of a call whose answer repeats another call's ``call_id``."""
    return {
        "state": CallState.UNKNOWN.value,
        "error_code": "call_id_not_unique",
        "error_message": f"the API answered with call_id {call_id}, which it had given another call before",
    }


def swap(
    connection: Connection,
    entry: CallEntry,
    states: tuple[CallState, ...],
    values: Mapping[str, Any],
    *conditions: ColumnElement[bool],
) -> bool:
    """Change a call if it still is in one of the states, under the same claim."""
    changed = connection.execute(
        update(calls)
        .where(
            calls.c.key_hash == entry.key_hash,
            calls.c.token == entry.token,
            calls.c.state.in_([state.value for state in states]),
            *conditions,
        )
        .values(**values)
    )
    return changed.rowcount == 1


def claim_values(request: Mapping[str, Any], conn_id: str, origin: CallOrigin) -> dict[str, Any]:
    """Return the values of a call that is claimed now, under a token of its own."""
    moment = now()
    return {
        "state": CallState.CLAIMED.value,
        "token": uuid.uuid4().hex,
        "conn_id": conn_id,
        "agent_id": request.get("agent_id"),
        "from_number": request.get("from_number"),
        "to_number": request.get("to_number"),
        "to_number_end": number_end(request.get("to_number")),
        "request": encode_request(request),
        "call_id": None,
        "adopted": False,
        "error_code": None,
        "error_message": None,
        **{name: getattr(origin, name) for name in CallOrigin.__dataclass_fields__},
        "claimed_at": moment,
        "renewed_at": moment,
        "answered_at": None,
        "unsettled_since": None,
        "purged_at": None,
    }


def new_claim(key: str, request: Mapping[str, Any], conn_id: str, origin: CallOrigin) -> dict[str, Any]:
    """Return the row of a call that is claimed now, for a key that nobody has used before."""
    return {
        "key_hash": hash_key(key),
        "idempotency_key": storable_text(key)[:2000],
        "dials": 1,
        "redials": 0,
        **claim_values(request, conn_id, origin),
    }


def number_end(number: str | None) -> str | None:
    """Return the digits of a number that the ledger can look up."""
    return number[-END_DIGITS:] if number else None


def same_number(number: str | None) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions for calls to a number, for which there is an index of its last digits."""
    return calls.c.to_number_end == number_end(number), calls.c.to_number == number


def now() -> datetime:
    """Return the present, aware."""
    return datetime.now(timezone.utc)
