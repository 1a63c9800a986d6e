"""Claims many calls, and stores what became of many, in one transaction: campaigns come fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, exc, insert, select

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import IdempotencyConflictError
from airflow_provider_voiceinfra.ledger.calls import CallsLedger
from airflow_provider_voiceinfra.ledger.entries import CallEntry, CallOrigin, CallState, hash_key
from airflow_provider_voiceinfra.ledger.rows import IN_FLIGHT, new_claim, now, swap
from airflow_provider_voiceinfra.ledger.schema import calls

_VALUES_AT_ONCE = 500  # SQLite takes at most 999 values in one statement in its older builds


@dataclass(frozen=True)
class ClaimRequest:
    """Asks for the right to dial once for a key; see ``CallLedger.claim``."""

    key: str = field(repr=False)
    call: OutboundCall
    conn_id: str
    origin: CallOrigin


@dataclass(frozen=True)
class Settlement:
    """What became of a claimed call.

    :param state: ``accepted``, with the ``call_id``; or ``refused`` or ``unknown``, with a code and message.
    """

    entry: CallEntry
    state: CallState
    call_id: str | None = None
    code: str = ""
    message: str = ""


class BatchesLedger(CallsLedger):
    """Does for many calls what ``CallsLedger`` does for one, under the same rules."""

    def claim_many(self, requests: Sequence[ClaimRequest]) -> list[tuple[CallEntry, bool]]:
        """Ask for the right to dial once for each key; it is durable before this returns.

        :param requests: each key once.
        :return: for each request, in order, the call's entry, and whether the right to dial is the caller's.
        """
        claims = [new_claim(one.key, one.call.to_request(), one.conn_id, one.origin) for one in requests]
        won: dict[str, CallEntry] = {}
        try:
            with self._database.writing() as connection:
                taken = _taken(connection, [str(claim["key_hash"]) for claim in claims])
                new = [claim for claim in claims if claim["key_hash"] not in taken]
                if new:
                    connection.execute(insert(calls), new)
                won = {str(claim["key_hash"]): CallEntry.from_row(claim) for claim in new}
        except exc.IntegrityError:
            won = {}  # another process was faster with one of them, so all are asked for one by one
        found = []
        for request in requests:
            entry = won.get(hash_key(request.key))
            found.append((entry, True) if entry is not None else self._claim_one(request))
        return found

    def settle_many(self, settlements: Sequence[Settlement]) -> list[CallEntry]:
        """Store what became of calls; it is durable before this returns.

        :return: the calls as they then stand, in the same order.
        """
        settled: list[CallEntry | None] = [None] * len(settlements)
        try:
            with self._database.writing() as connection:
                ids = [one.call_id for one in settlements if one.call_id is not None]
                plain = len(set(ids)) == len(ids) and not _given(connection, ids)
                if plain:
                    settled = [_settle(connection, settlement) for settlement in settlements]
        except exc.IntegrityError:
            settled = [None] * len(settlements)  # another process has just stored one of the call_ids
        return [
            entry or self._settle_one(settlement)
            for entry, settlement in zip(settled, settlements, strict=True)
        ]

    def _claim_one(self, request: ClaimRequest) -> tuple[CallEntry, bool]:
        try:
            return self.claim(request.key, request.call, conn_id=request.conn_id, origin=request.origin)
        except IdempotencyConflictError:
            # The contact was changed after it had been called: that call is the one that counts.
            entry = self.call_by_key(request.key)
            if entry is None:
                raise
            return entry, False

    def _settle_one(self, settlement: Settlement) -> CallEntry:
        entry = settlement.entry
        if settlement.call_id is not None:
            return self.accept(entry, settlement.call_id)
        if settlement.state is CallState.REFUSED:
            self.refuse(entry, settlement.code, settlement.message)
            return self._entry(entry.key_hash)
        return self.mark_unknown(entry, settlement.code, settlement.message)


def _taken(connection: Connection, hashes: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(hashes), _VALUES_AT_ONCE):
        chunk = hashes[start : start + _VALUES_AT_ONCE]
        found.update(
            connection.execute(select(calls.c.key_hash).where(calls.c.key_hash.in_(chunk))).scalars()
        )
    return found


def _given(connection: Connection, call_ids: Sequence[str]) -> bool:
    """Tell whether some call has one of these ids already, which takes more care."""
    return any(
        connection.execute(
            select(calls.c.key_hash)
            .where(calls.c.call_id.in_(call_ids[start : start + _VALUES_AT_ONCE]))
            .limit(1)
        ).first()
        for start in range(0, len(call_ids), _VALUES_AT_ONCE)
    )


def _settle(connection: Connection, settlement: Settlement) -> CallEntry | None:
    """Store one result of an undisputed claim; ``None`` if there is anything unusual about it."""
    entry = settlement.entry
    if entry.unsettled_since is not None:
        return None
    values: dict[str, object] = {
        "state": settlement.state,
        "call_id": settlement.call_id,
        "error_code": settlement.code or None,
        "error_message": settlement.message or None,
        "answered_at": None if settlement.state is CallState.UNKNOWN else now(),
    }
    states = IN_FLIGHT if settlement.state is not CallState.UNKNOWN else (CallState.CLAIMED,)
    if not swap(connection, entry, states, {**values, "state": settlement.state.value}):
        return None
    return replace(entry, **values)  # type: ignore[arg-type]  # they are the fields of a call
