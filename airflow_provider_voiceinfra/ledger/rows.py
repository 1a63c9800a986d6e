"""The statements that add rows and change a call's; each runs inside a transaction that its caller holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    Table,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from airflow_provider_voiceinfra.calls import storable_text
from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger.database.chunks import having, rows_of
from airflow_provider_voiceinfra.ledger.database.personal import NumberHash, is_number
from airflow_provider_voiceinfra.ledger.database.schema import (
    COMPLETIONS_COUNTER,
    END_DIGITS,
    calls,
    completions,
    counters,
    database_time,
)
from airflow_provider_voiceinfra.ledger.records import (
    CallEntry,
    CallOrigin,
    CallState,
    encode_request,
    hash_key,
    new_token,
)
from airflow_provider_voiceinfra.ledger.webhooks.records import Arrival
from airflow_provider_voiceinfra.rules.recipient import ANYBODY, Recipient

_UNSETTLED = (
    "call_id",
    "error_code",
    "error_message",
    "answered_at",
    "unsettled_since",
    "purged_at",
    "allowed_from",
)
IN_FLIGHT = (CallState.CLAIMED, CallState.UNKNOWN)
WHOLE = [column for column in completions.c if not isinstance(column.type, NumberHash)]
WITHOUT_BODY = [column for column in WHOLE if column.name != "body"]
_COUNTER = counters.c.name == COMPLETIONS_COUNTER


# What is executed for every call and webhook is made once: making a statement takes longer than SQLite needs.
_WITH_KEYS = having(select(calls), calls.c.key_hash)
_OWNERS = having(select(calls.c.key_hash, calls.c.call_id), calls.c.call_id)
# Counting up locks the counter until the commit, so that numbers become visible in their
# order: who follows them misses none, whichever transaction commits first.
# The counter may lag behind, as after a restore of some tables only.
_HIGHEST = select(func.coalesce(func.max(completions.c.sequence), 0)).scalar_subquery()
_LAST = case((counters.c.value < _HIGHEST, _HIGHEST), else_=counters.c.value)
_COUNT_UP = (
    update(counters)
    .where(_COUNTER)
    .values(value=_LAST + bindparam("number", type_=BigInteger))
    .returning(counters.c.value)
)
_NUMBERED = (
    select(func.count())
    .select_from(completions)
    .where(completions.c.sequence.between(bindparam("first"), bindparam("last")))
)


@cache
def _completing(dialect: str) -> Executable:
    # Without RETURNING the driver executes one short statement for each row, which psycopg sends all at once.
    # With it SQLAlchemy writes one long statement for all rows, which takes both of them longer to read.
    added = insert_missing(dialect, completions).values(stored_at=database_time())
    return added.execution_options(preserve_rowcount=True)


def insert_or_nothing(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Add a row, unless its key or another unique value is there already; return whether it was added.

    The ledger never counts on a unique key's error: PostgreSQL logs a statement that fails, and some drivers
    write the values into the statement.
    """
    # Without the option a driver that forgets the number with its cursor, as psycopg does, would answer -1.
    statement = insert_missing(connection.dialect.name, table).execution_options(preserve_rowcount=True)
    return connection.execute(statement.values(**values)).rowcount == 1


def insert_missing(dialect: str, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return the statement that adds rows whose unique values are not there yet."""
    # Inline: a row that is not added has no new id to be asked for.
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(table).on_conflict_do_nothing().inline()


def read_call(connection: Connection, key_hash: str) -> CallEntry:
    """Return a call that is there."""
    return read_calls(connection, [key_hash])[key_hash]


def read_calls(connection: Connection, key_hashes: Sequence[str]) -> dict[str, CallEntry]:
    """Return those of some calls that are there, by their hashes."""
    rows = rows_of(connection.execute, _WITH_KEYS, key_hashes)
    return {row.key_hash: CallEntry.from_row(row._mapping) for row in rows}


def owned_call_ids(
    connection: Connection, call_ids: Sequence[str], *, besides: CallEntry | None = None
) -> set[str]:
    """Return those of some ids that a call has, other than one."""
    rows = rows_of(connection.execute, _OWNERS, call_ids)
    return {row.call_id for row in rows if besides is None or row.key_hash != besides.key_hash}


def swap(
    connection: Connection,
    entry: CallEntry,
    states: tuple[CallState, ...],
    values: Mapping[str, Any],
    *conditions: ColumnElement[bool],
) -> bool:
    """Change a call if it still is in one of the states, under the same claim."""
    return change(connection, entry, values, calls.c.token == entry.token, in_state(*states), *conditions)


def in_state(*states: CallState) -> ColumnElement[bool]:
    """Return the condition for calls in one of some states."""
    # Not IN, whose values cannot be bound in a statement that is executed many times at once.
    return or_(*(calls.c.state == state.value for state in states))


def change(
    connection: Connection, entry: CallEntry, values: Mapping[str, Any], *conditions: ColumnElement[bool]
) -> bool:
    """Change the row of a call that meets some conditions; return whether it does."""
    changed = update(calls).where(calls.c.key_hash == entry.key_hash, *conditions)
    return connection.execute(changed.values(**values)).rowcount == 1


def claim_values(
    request: Mapping[str, Any],
    conn_id: str,
    origin: CallOrigin,
    account: str | None = None,
    token: str | None = None,
    recipient: Recipient = ANYBODY,
    rules_id: str | None = None,
) -> dict[str, Any]:
    """Return the values of a call that is claimed now; see ``sent_now``, too.

    :param token: whose claim it is; if not set, one that nobody has had before.
    """
    return {
        "state": CallState.CLAIMED.value,
        "token": token or new_token(),
        "conn_id": conn_id,
        "account": account,
        **{name: request.get(name) for name in ("agent_id", "from_number", "to_number")},
        **found_by(request.get("to_number"), request.get("from_number")),
        "request": encode_request(request),
        "adopted": False,
        **origin.columns,
        **recipient._asdict(),
        "rules_id": rules_id,
        **dict.fromkeys(("claimed_at", "renewed_at"), now()),
        **dict.fromkeys(_UNSETTLED),
    }


def sent_now() -> dict[str, ColumnElement[Any]]:
    """Return the values that say, for the database to fill in, that a request is about to be sent.

    The completions that are there already are counted, and the time is the database's own: the clocks of
    those who place calls and of those who receive webhooks differ.
    """
    newest = select(counters.c.value).where(_COUNTER).scalar_subquery()
    return {"sent_after": newest, "sent_at": database_time(), "dialled_at": database_time()}


def new_claim(
    key: str,
    request: Mapping[str, Any],
    conn_id: str,
    origin: CallOrigin,
    account: str | None = None,
    token: str | None = None,
    recipient: Recipient = ANYBODY,
    rules_id: str | None = None,
) -> dict[str, Any]:
    """Return the row of a call that is claimed now, for a key that nobody has used before."""
    return {
        "key_hash": hash_key(key),
        "idempotency_key": storable_text(key)[:2000],
        "dials": 1,
        "redials": 0,
        **claim_values(request, conn_id, origin, account, token, recipient, rules_id),
    }


def add_completions(connection: Connection, arrivals: Sequence[Arrival]) -> None:
    """Add completions of calls that have none, under the next sequence numbers.

    The caller has locked the ids of their calls.
    """
    first = _next_sequences(connection, len(arrivals))
    rows = [_completion_values(one, first + place) for place, one in enumerate(arrivals)]
    stored = connection.execute(_completing(connection.dialect.name), rows).rowcount
    if not connection.dialect.supports_sane_multi_rowcount:  # psycopg2
        stored = connection.execute(_NUMBERED, {"first": first, "last": first + len(rows) - 1}).scalar_one()
    if stored != len(rows):  # a lost record would be worse than one that has to be sent again
        raise LedgerUnavailableError(
            "The ledger has taken only some of several completions; nothing is stored."
        )


def _completion_values(arrival: Arrival, sequence: int) -> dict[str, Any]:
    record = arrival.record
    assert record is not None
    from_number, to_number = (_short(record.text(name), 64) for name in ("from_number", "to_number"))
    return {
        "call_id": record.call_id,
        "sequence": sequence,
        "conn_id": arrival.conn_id,
        "account": arrival.account,
        "agent_id": _short(record.text("agent_id"), 255),
        **dict.fromkeys(("from_number", "from_number_hash"), from_number),
        **dict.fromkeys(("to_number", "to_number_hash"), to_number),
        "call_outcome": _short(record.outcome, 64),
        "duration_seconds": record.duration_seconds,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "received_at": now(),
        "body": arrival.body,
    }


def _next_sequences(connection: Connection, number: int) -> int:
    """Return the first of so many sequence numbers that nobody else gets."""
    last: int = connection.execute(_COUNT_UP, {"number": number}).scalar_one()
    return last - number + 1


def _short(text: str | None, length: int) -> str | None:
    # The body keeps the whole; a column cut short only makes filters miss what no real value has.
    return text if text is None else text[:length]


def number_end(number: str | None) -> str | None:
    """Return the digits of a number that the ledger can look up."""
    return number[-END_DIGITS:] if number else None


def found_by(to_number: str | None, from_number: str | None) -> dict[str, str | None]:
    """Return the values by which calls to a number, or from one, are found."""
    return {
        "to_number_end": number_end(to_number),
        "to_number_hash": to_number,
        "from_number_hash": from_number,
    }


def same_number(number: str | None) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions for calls to a number, for which there is an index of its last digits."""
    is_same = is_number(calls.c.to_number_hash, calls.c.to_number, number)
    return calls.c.to_number_end == number_end(number), is_same


def now() -> datetime:
    """Return the present, aware."""
    return datetime.now(timezone.utc)
