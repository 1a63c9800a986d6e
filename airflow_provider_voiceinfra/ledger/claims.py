"""The half of the ledger that says what was attempted; every change of state is a compare-and-swap."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, exc, select, update

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import ClaimLostError, IdempotencyConflictError
from airflow_provider_voiceinfra.ledger.accounts import give_back_completion
from airflow_provider_voiceinfra.ledger.database.connect import Database
from airflow_provider_voiceinfra.ledger.database.schema import calls
from airflow_provider_voiceinfra.ledger.records import (
    CallEntry,
    CallOrigin,
    CallState,
    hash_key,
)
from airflow_provider_voiceinfra.ledger.rows import (
    IN_FLIGHT,
    claim_values,
    insert_or_nothing,
    new_claim,
    not_unique,
    now,
    read_call,
    same_number,
    sent_now,
    settle_overtaken,
    swap,
)

# Of a call that is claimed again, these go on as they are, or are counted up.
_COUNTED = frozenset({"key_hash", "dials", "redials"})


class CallsLedger:
    """Claims calls and settles them."""

    _database: Database

    def claim(
        self,
        key: str,
        call: OutboundCall,
        *,
        conn_id: str,
        account: str | None = None,
        origin: CallOrigin | None = None,
    ) -> tuple[CallEntry, bool]:
        """Ask for the right to dial once for a key; it is durable before this returns.

        :param key: the idempotency key.
        :param call: the request, complete.
        :param conn_id: the connection that it goes through.
        :param account: that connection's account, see ``VoiceInfraConnection.account``.
        :param origin: who asks. A later try of the task instance that left a claim behind turns that claim
            into ``unknown``, since its owner died between the claim and the answer.
        :return: the call's entry, and whether the right to dial is the caller's.
        :raises IdempotencyConflictError: if the key stands for another request that may have rung.
        """
        origin = origin or CallOrigin()
        request = call.to_request()
        values = new_claim(key, request, conn_id, origin, account)
        while True:
            entry = self._insert_claim(values)
            if entry is not None:
                return entry, True
            entry = self.call_by_key(key)
            if entry is None:
                continue  # the insert that was in the way has been rolled back
            if entry.state is CallState.REFUSED:
                again = {name: value for name, value in values.items() if name not in _COUNTED}
                claimed = self._claim_again(entry, {**again, **sent_now()})
                if claimed is None:
                    continue  # somebody else took it; look again
                return claimed, True
            different = entry.differences(request, conn_id)
            if different:
                raise IdempotencyConflictError(key, different)
            if entry.state is CallState.CLAIMED and origin.is_later_try_than(entry.origin):
                self.mark_unknown(entry, "owner_died", "the task ended between its claim and the answer")
                continue
            return entry, False

    def claim_redial(self, entry: CallEntry, *, origin: CallOrigin | None = None) -> CallEntry:
        """Take the right to dial once more for a call whose outcome stayed unknown.

        :param origin: who asks; if not set, whoever placed the call before.
        :raises ClaimLostError: if the call has been settled or taken over meanwhile.
        """
        if entry.request is None:
            raise ClaimLostError("the request of this call has been purged, so it cannot be dialled again")
        values = {
            **claim_values(entry.request, entry.conn_id, origin or entry.origin, entry.account),
            "redials": calls.c.redials + 1,
            # The dial before may have rung, so ``sent_after`` and ``sent_at`` remain what they were for it.
            "unsettled_since": entry.rang_from,
        }
        claimed = self._claim_again(entry, values)
        if claimed is None:
            raise ClaimLostError("the call was settled, or redialled by another process, meanwhile")
        return claimed

    def renew(self, entry: CallEntry) -> None:
        """Say that the owner of a claim is alive and about to send.

        :raises ClaimLostError: if the claim is no longer its own, or the answer to an earlier request has
            come meanwhile; in either case it must not send.
        """
        sent = sent_now() if entry.unsettled_since is None else {}
        if not self._swap(entry, (CallState.CLAIMED,), {"renewed_at": now(), **sent}):
            raise ClaimLostError("another process has taken this call over, so it was not sent from here")

    def accept(self, entry: CallEntry, call_id: str) -> CallEntry:
        """Store the API's answer; it is durable before this returns.

        The answer is the truth. It settles the call also if a redial has taken its claim over meanwhile, as
        long as that redial has no answer of its own: it is not sent any more, and if it was, its answer is
        kept as a call of its own. If another unknown call adopted this ``call_id``, that call becomes unknown
        again. If another call was given this ``call_id`` by the API itself, nobody can tell what this answer
        means: it is unknown, too.

        :return: the call of this key as it then stands.
        """
        try:
            return self._accept(entry, call_id)
        except exc.IntegrityError:
            # Another process stored the same call_id a moment ago, and it is there to be seen now.
            return self._accept(entry, call_id)

    def _accept(self, entry: CallEntry, call_id: str) -> CallEntry:
        values = {
            "state": CallState.ACCEPTED.value,
            "call_id": call_id,
            "adopted": False,
            "answered_at": now(),
            "error_code": None,
            "error_message": None,
        }
        others = (calls.c.call_id == call_id, calls.c.key_hash != entry.key_hash)
        with self._database.writing() as connection:
            connection.execute(
                update(calls)
                .where(*others, calls.c.adopted.is_(True))
                .values(state=CallState.UNKNOWN.value, call_id=None, adopted=False, answered_at=None)
            )
            # One that is adopted between these statements makes the swap below fail, and is undone next time.
            given = select(calls.c.key_hash).where(*others, calls.c.adopted.is_(False))
            if connection.execute(given).first() is not None:
                swap(connection, entry, IN_FLIGHT, not_unique(call_id))
            elif (
                swap(connection, entry, IN_FLIGHT, values)
                or swap(connection, entry, (CallState.ACCEPTED,), values, calls.c.adopted.is_(True))
                or settle_overtaken(connection, entry, values)
            ):
                give_back_completion(connection, entry, call_id)
            else:
                self._keep_overtaken(connection, entry, values)
            return read_call(connection, entry.key_hash)

    def refuse(self, entry: CallEntry, code: str, message: str) -> None:
        """Store that nothing was placed, so that the key may be tried again.

        A redial that is refused leaves the call as unknown as it was: the dial before may have rung.
        """
        values: dict[str, Any] = {
            "state": CallState.REFUSED.value,
            "error_code": code,
            "error_message": message,
            "answered_at": now(),
        }
        if entry.unsettled_since is not None:
            values |= {
                "state": CallState.UNKNOWN.value,
                "error_message": f"the first dial was never answered, and a redial was not placed: {message}",
                "answered_at": None,
                "redials": entry.redials - 1,
                "renewed_at": entry.unsettled_since,
                "unsettled_since": None,
            }
        self._swap(entry, IN_FLIGHT, values)

    def mark_unknown(self, entry: CallEntry, code: str, message: str) -> CallEntry:
        """Store that the call may or may not have been placed; return it as it then stands."""
        self._swap(
            entry,
            (CallState.CLAIMED,),
            {"state": CallState.UNKNOWN.value, "error_code": code, "error_message": message},
        )
        return self._entry(entry.key_hash)

    def call_by_key(self, key: str) -> CallEntry | None:
        """Return the call of an idempotency key."""
        return self._find(calls.c.key_hash == hash_key(key))

    def call_by_hash(self, key_hash: str) -> CallEntry | None:
        """Return the call of a hashed idempotency key, which can be passed around without telling the key."""
        return self._find(calls.c.key_hash == key_hash)

    def call_by_id(self, call_id: str) -> CallEntry | None:
        """Return the call that the API gave this id."""
        return self._find(calls.c.call_id == call_id)

    def calls(
        self,
        *,
        conn_id: str | None = None,
        state: CallState | None = None,
        dag_id: str | None = None,
        run_id: str | None = None,
        to_number: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> list[CallEntry]:
        """Return calls, newest first.

        :param since: only calls claimed at or after this moment, aware.
        :param limit: how many at most.
        """
        wanted = {
            "conn_id": conn_id,
            "state": state.value if state else None,
            "dag_id": dag_id,
            "run_id": run_id,
        }
        query = select(calls).order_by(calls.c.claimed_at.desc(), calls.c.key_hash).limit(limit)
        query = query.where(*(calls.c[name] == value for name, value in wanted.items() if value is not None))
        if to_number is not None:
            query = query.where(*same_number(to_number))
        if since is not None:
            query = query.where(calls.c.claimed_at >= since)
        with self._database.reading() as connection:
            return [CallEntry.from_row(row) for row in connection.execute(query).mappings()]

    def _insert_claim(self, values: Mapping[str, Any]) -> CallEntry | None:
        with self._database.writing() as connection:
            if not insert_or_nothing(connection, calls, {**values, **sent_now()}):
                return None
            # Read before the commit: afterwards the row may be another's already.
            return read_call(connection, values["key_hash"])

    def _claim_again(self, entry: CallEntry, values: Mapping[str, Any]) -> CallEntry | None:
        with self._database.writing() as connection:
            if not swap(connection, entry, (entry.state,), {**values, "dials": calls.c.dials + 1}):
                return None
            return read_call(connection, entry.key_hash)  # before the commit, as above

    def _keep_overtaken(self, connection: Connection, entry: CallEntry, values: dict[str, Any]) -> None:
        """Keep an answer whose claim a redial has taken over, which has an answer of its own."""
        key = f"{entry.idempotency_key}/overtaken/{entry.token}"
        row = {
            **claim_values(entry.request or {}, entry.conn_id, entry.origin, entry.account),
            "key_hash": hash_key(key),
            "idempotency_key": key[:2000],
            "dials": 1,
            "redials": 0,
            "claimed_at": entry.claimed_at,
            **values,
        }
        if insert_or_nothing(connection, calls, row):  # else this very answer is stored already
            # Both dials are answered now, so no completion is waited for on behalf of the one before.
            connection.execute(
                update(calls).where(calls.c.key_hash == entry.key_hash).values(unsettled_since=None)
            )

    def _swap(self, entry: CallEntry, states: tuple[CallState, ...], values: Mapping[str, Any]) -> bool:
        with self._database.writing() as connection:
            return swap(connection, entry, states, values)

    def _entry(self, key_hash: str) -> CallEntry:
        entry = self._find(calls.c.key_hash == key_hash)
        if entry is None:
            raise ClaimLostError("the call's row has disappeared from the ledger")
        return entry

    def _find(self, condition: ColumnElement[bool]) -> CallEntry | None:
        with self._database.reading() as connection:
            row = connection.execute(select(calls).where(condition)).mappings().first()
        return None if row is None else CallEntry.from_row(row)
