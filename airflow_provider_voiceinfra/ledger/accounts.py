"""Whose a completion is: it counts for calls of its own account, and is never taken for another's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    and_,
    delete,
    exists,
    false,
    func,
    or_,
    select,
    update,
)

from airflow_provider_voiceinfra.calls import CompletionRecord, is_completed_event
from airflow_provider_voiceinfra.ledger.database.personal import is_number
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions, deliveries
from airflow_provider_voiceinfra.ledger.records import CallEntry
from airflow_provider_voiceinfra.ledger.rows import (
    IN_FLIGHT,
    WHOLE,
    add_completions,
    in_state,
    insert_missing,
    now,
    owned_call_ids,
    same_number,
)
from airflow_provider_voiceinfra.ledger.webhooks.records import Arrival
from airflow_provider_voiceinfra.webhooks.reasons import KeptReason, UnusableRecordError


def same_account(table: FromClause, conn_id: str, account: str | None) -> ColumnElement[bool]:
    """Return the condition for rows of the same connection, or of another one of the same account."""
    same = table.c.conn_id == conn_id
    return same if account is None else or_(same, func.coalesce(table.c.account, "") == account)


def from_same_number(number: str | None) -> ColumnElement[bool]:
    """Return the condition for calls from a number."""
    return is_number(calls.c.from_number_hash, calls.c.from_number, number)


def without_other_owner(call_id: ColumnElement[str]) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for a call whose answer no call has, and of which no other account has a record.

    :param call_id: of the answer.
    """
    other = calls.alias("other")
    theirs = and_(
        completions.c.conn_id != calls.c.conn_id,
        ~func.coalesce(completions.c.account == calls.c.account, false()),
    )
    return (
        ~exists().where(other.c.call_id == call_id),
        ~exists().where(completions.c.call_id == call_id, theirs),
    )


def keep_deliveries(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep deliveries as they came, unless the same bytes of their connection are kept already."""

    def digest(row: Mapping[str, Any]) -> str:
        return hashlib.sha256(row["conn_id"].encode() + b"\n" + row["body"]).hexdigest()

    if rows:
        connection.execute(
            insert_missing(connection.dialect.name, deliveries),
            [{"digest": digest(row), **row} for row in rows],
        )


def give_back_completion(connection: Connection, entry: CallEntry, call_id: str) -> None:
    """See that a call which has just been given its id has no other account's completion.

    A webhook may come before the answer of its call is stored, when nobody can say yet whose it is. One of
    another account is kept as a delivery then, and the genuine one, if it was kept because of that, counts.
    """
    own = (entry.conn_id, entry.account)
    foreign = _foreign_completion(connection, call_id, *own)
    if foreign is None:
        return
    _keep_aside(connection, foreign)
    genuine = select(deliveries).where(
        deliveries.c.call_id == call_id, same_account(deliveries, *own), deliveries.c.replayed_at.is_(None)
    )
    for delivery in connection.execute(genuine.order_by(deliveries.c.id)).all():
        if _use(connection, delivery):
            return


def make_room(connection: Connection, record: CompletionRecord, conn_id: str, account: str | None) -> bool:
    """Keep another account's completion aside if its call can only be of the account of this one.

    That is so if a call has the id, which is of this account then: see ``arrivals``. While none has it, as
    long as an answer is not stored yet, or if it was lost, this account must wait for such a call, and the
    other must not.

    :return: whether there is room now.
    """
    foreign = _foreign_completion(connection, record.call_id, conn_id, account)
    if foreign is None:
        return False
    if not owned_call_ids(connection, [record.call_id]):
        theirs = CompletionRecord.from_body(foreign.body)
        if not _is_awaited(connection, record, conn_id, account) or _is_awaited(
            connection, theirs, foreign.conn_id, foreign.account
        ):
            return False
    _keep_aside(connection, foreign)
    return True


def _foreign_completion(
    connection: Connection, call_id: str, conn_id: str, account: str | None
) -> Row[Any] | None:
    other = ~same_account(completions, conn_id, account)
    return connection.execute(select(*WHOLE).where(completions.c.call_id == call_id, other)).first()


def _is_awaited(connection: Connection, record: CompletionRecord, conn_id: str, account: str | None) -> bool:
    """Return whether the account has a call without an answer that a completion could be of."""
    query = select(calls.c.key_hash).where(
        *same_number(record.text("to_number")),
        calls.c.agent_id == record.text("agent_id"),
        from_same_number(record.text("from_number")),
        in_state(*IN_FLIGHT),
        same_account(calls, conn_id, account),
    )
    return connection.execute(query.limit(1)).first() is not None


def _keep_aside(connection: Connection, foreign: Row[Any]) -> None:
    names = ("body", "conn_id", "account", "call_id", "received_at")
    theirs = {name: getattr(foreign, name) for name in names}
    keep_deliveries(connection, [{**theirs, "reason": KeptReason.OTHER_ACCOUNT.value}])
    connection.execute(delete(completions).where(completions.c.call_id == foreign.call_id))


def _use(connection: Connection, delivery: Row[Any]) -> bool:
    try:
        record = CompletionRecord.from_body(delivery.body, delivery.received_at)
    except UnusableRecordError:
        return False
    is_end = is_completed_event(delivery.event) and is_completed_event(record.payload.get("event"))
    if not is_end:
        return False
    add_completions(connection, [Arrival(delivery.body, delivery.conn_id, delivery.account, record)])
    connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(replayed_at=now()))
    return True
