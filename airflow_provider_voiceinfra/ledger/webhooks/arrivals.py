"""What genuine webhooks make of the ledger, many of them in one transaction of the caller's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, select

from airflow_provider_voiceinfra.ledger.accounts import keep_deliveries, make_room
from airflow_provider_voiceinfra.ledger.database.chunks import having, rows_of
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions
from airflow_provider_voiceinfra.ledger.records import CompletionEntry
from airflow_provider_voiceinfra.ledger.rows import WHOLE, add_completions, now
from airflow_provider_voiceinfra.ledger.rules.suppressions import (
    Suppression,
    SuppressionSource,
    add_suppressions,
)
from airflow_provider_voiceinfra.ledger.webhooks.records import Arrival, Recorded, Stored
from airflow_provider_voiceinfra.rules.opt_out import whose
from airflow_provider_voiceinfra.webhooks.reasons import KeptReason

_REASONS = {
    Recorded.FOREIGN: KeptReason.OTHER_ACCOUNT.value,
    Recorded.DIFFERENT: KeptReason.OTHER_RECORD.value,
}

_KNOWN = having(select(*WHOLE), completions.c.call_id)
_OWNERS = having(
    select(calls.c.call_id, calls.c.conn_id, calls.c.account, calls.c.claimed_at), calls.c.call_id
)
_DIALLED = having(select(calls.c.call_id, calls.c.to_number), calls.c.call_id)


def take_in(connection: Connection, arrivals: Sequence[Arrival]) -> list[Stored]:
    """Record completions and keep the rest; return what became of each, in order.

    The caller has locked the ids of their calls.
    """
    stored: dict[int, Stored] = {}
    left = dict(enumerate(arrivals))
    while left:
        # Of several about one call, each is to find what the one before has stored.
        among: dict[str | int, int] = {}
        for place, one in left.items():
            among.setdefault(one.record.call_id if one.record else place, place)
        stored |= _record(connection, {place: left.pop(place) for place in among.values()})
    _keep(connection, arrivals, stored)
    for place, numbers in _suppress(connection, arrivals).items():
        stored[place] = replace(stored[place], suppressed=numbers)
    return [stored[place] for place in range(len(arrivals))]


def _record(connection: Connection, arrivals: Mapping[int, Arrival]) -> dict[int, Stored]:
    """Record completions, of which no two are of one call."""
    call_ids = [one.record.call_id for one in arrivals.values() if one.record is not None]
    known = {
        row.call_id: CompletionEntry(**row._mapping) for row in rows_of(connection.execute, _KNOWN, call_ids)
    }
    owners = {row.call_id: row for row in rows_of(connection.execute, _OWNERS, call_ids)}
    stored, new = {}, []
    for place, one in arrivals.items():
        if one.record is None:
            stored[place] = Stored(Recorded.USELESS, reason=one.reason)
            continue
        call = owners.get(one.record.call_id)
        recorded = _judge(connection, one, known.get(one.record.call_id), call)
        stored[place] = Stored(recorded, call and call.claimed_at, _REASONS.get(recorded, ""))
        if recorded is Recorded.NEW:
            new.append(one)
    if new:
        add_completions(connection, new)
    return stored


def _judge(
    connection: Connection, arrival: Arrival, known: CompletionEntry | None, call: Row[Any] | None
) -> Recorded:
    own = (arrival.conn_id, arrival.account)
    if known is not None and known.is_same(arrival.body, *own):
        return Recorded.DUPLICATE
    if (
        call is not None
        and call.conn_id != arrival.conn_id
        and (arrival.account is None or (call.account or "") != arrival.account)
    ):
        return Recorded.FOREIGN
    assert arrival.record is not None
    if known is not None and not make_room(connection, arrival.record, *own):
        return Recorded.DIFFERENT
    return Recorded.NEW


def _suppress(connection: Connection, arrivals: Sequence[Arrival]) -> dict[int, tuple[str, ...]]:
    """Have nobody called again who said so; return their numbers, by the places of what says so.

    Whatever else becomes of such a webhook, it is genuine.
    """
    saying = {
        place: one.record for place, one in enumerate(arrivals) if one.opts_out and one.record is not None
    }
    if not saying:
        return {}
    rows = rows_of(connection.execute, _DIALLED, [record.call_id for record in saying.values()])
    dialled = {row.call_id: row.to_number for row in rows}
    numbers = {place: whose(record, dialled.get(record.call_id)) for place, record in saying.items()}
    add_suppressions(
        connection,
        [
            Suppression(
                number,
                reason="the person opted out in a call",
                source=SuppressionSource.WEBHOOK.value,
                added_by=saying[place].call_id,
            )
            for place, found in numbers.items()
            for number in found
        ],
    )
    return numbers


def _keep(connection: Connection, arrivals: Sequence[Arrival], stored: Mapping[int, Stored]) -> None:
    keep_deliveries(
        connection,
        [
            {
                "body": one.body,
                "conn_id": one.conn_id,
                "account": one.account,
                "reason": stored[place].reason,
                "event": one.event[:255] if one.event else None,
                "call_id": one.call_id if one.record is None else one.record.call_id,
                "received_at": now(),
            }
            for place, one in enumerate(arrivals)
            if stored[place].reason or one.record is None
        ],
    )
