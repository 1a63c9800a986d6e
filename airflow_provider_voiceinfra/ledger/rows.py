"""The statements that add rows and change a call's; each runs inside a transaction that its caller holds."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from airflow_provider_voiceinfra.calls import storable_text
from airflow_provider_voiceinfra.ledger.database.chunks import in_chunks
from airflow_provider_voiceinfra.ledger.database.schema import (
    COMPLETIONS_COUNTER,
    END_DIGITS,
    calls,
    counters,
    database_time,
)
from airflow_provider_voiceinfra.ledger.records import (
    CallEntry,
    CallOrigin,
    CallState,
    encode_request,
    hash_key,
)

IN_FLIGHT = (CallState.CLAIMED, CallState.UNKNOWN)


def insert_or_nothing(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Add a row, unless its key or another unique value is there already; return whether it was added.

    The ledger never counts on a unique key's error: PostgreSQL logs a statement that fails, and some drivers
    write the values into the statement.
    """
    # Without the option a driver that forgets the number with its cursor, as psycopg does, would answer -1.
    statement = _insert_missing(connection, table).execution_options(preserve_rowcount=True)
    return connection.execute(statement.values(**values)).rowcount == 1


def _insert_missing(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    # Inline: a row that is not added has no new id to be asked for.
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(table).on_conflict_do_nothing().inline()


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


def settle_overtaken(connection: Connection, entry: CallEntry, values: Mapping[str, Any]) -> bool:
    """Settle a call with the answer of a dial that a redial without an answer of its own has taken over."""
    changed = connection.execute(
        update(calls)
        .where(
            calls.c.key_hash == entry.key_hash,
            calls.c.token != entry.token,
            calls.c.state.in_([state.value for state in IN_FLIGHT]),
        )
        .values(**values)
    )
    return changed.rowcount == 1


def claim_values(
    request: Mapping[str, Any], conn_id: str, origin: CallOrigin, account: str | None = None
) -> dict[str, Any]:
    """Return the values of a call that is claimed now, under a token of its own; see ``sent_now``, too."""
    moment = now()
    return {
        "state": CallState.CLAIMED.value,
        "token": uuid.uuid4().hex,
        "conn_id": conn_id,
        "account": account,
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


def sent_now() -> dict[str, ColumnElement[Any]]:
    """Return the values that say, for the database to fill in, that a request is about to be sent.

    The completions that are there already are counted, and the time is the database's own: the clocks of
    those who place calls and of those who receive webhooks differ.
    """
    newest = select(counters.c.value).where(counters.c.name == COMPLETIONS_COUNTER).scalar_subquery()
    return {"sent_after": newest, "sent_at": database_time()}


def new_claim(
    key: str, request: Mapping[str, Any], conn_id: str, origin: CallOrigin, account: str | None = None
) -> dict[str, Any]:
    """Return the row of a call that is claimed now, for a key that nobody has used before."""
    return {
        "key_hash": hash_key(key),
        "idempotency_key": storable_text(key)[:2000],
        "dials": 1,
        "redials": 0,
        **claim_values(request, conn_id, origin, account),
    }


def insert_claims(connection: Connection, claims: Sequence[Mapping[str, Any]]) -> list[CallEntry]:
    """Add the rows of ``new_claim`` whose keys nobody has used, and return those that were added.

    All who claim many do so in the order of the hashes, or two of them might wait for each other.
    """
    if not claims:
        return []
    connection.execute(_insert_missing(connection, calls).values(**sent_now()), list(claims))
    own = {claim["token"]: claim for claim in claims}
    added: list[CallEntry] = []
    for chunk in in_chunks(claims):
        hashes = [claim["key_hash"] for claim in chunk]
        filled = select(calls.c.token, calls.c.sent_after, calls.c.sent_at)
        for row in connection.execute(filled.where(calls.c.key_hash.in_(hashes))).mappings():
            if row["token"] in own:
                added.append(CallEntry.from_row({**own[row["token"]], **row}))
    return added


def number_end(number: str | None) -> str | None:
    """Return the digits of a number that the ledger can look up."""
    return number[-END_DIGITS:] if number else None


def same_number(number: str | None) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions for calls to a number, for which there is an index of its last digits."""
    return calls.c.to_number_end == number_end(number), calls.c.to_number == number


def now() -> datetime:
    """Return the present, aware."""
    return datetime.now(timezone.utc)
