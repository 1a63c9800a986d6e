"""The half of the ledger that says what was attempted; every change of state is a compare-and-swap.

One call is a batch of one: campaigns come fast, and claim and settle many in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import ClaimLostError, IdempotencyConflictError
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership, hold
from airflow_provider_voiceinfra.ledger.database.schema import calls
from airflow_provider_voiceinfra.ledger.part import LedgerPart
from airflow_provider_voiceinfra.ledger.records import (
    CallEntry,
    CallOrigin,
    CallState,
    Job,
    Settlement,
    hash_key,
)
from airflow_provider_voiceinfra.ledger.rows import (
    claim_values,
    insert_claims,
    new_claim,
    now,
    read_call,
    read_calls,
    same_number,
    sent_now,
    swap,
)
from airflow_provider_voiceinfra.ledger.settling import settle_disputed, settle_undisputed

# Of a call that is claimed again, these go on as they are, or are counted up.
_COUNTED = frozenset({"key_hash", "dials", "redials"})
_OWNER_DIED = {
    "state": CallState.UNKNOWN.value,
    "error_code": "owner_died",
    "error_message": "the task ended between its claim and the answer",
}


class CallsLedger(LedgerPart):
    """Claims calls and settles them."""

    def claim(
        self,
        key: str,
        call: OutboundCall,
        *,
        conn_id: str,
        account: str | None = None,
        origin: CallOrigin | None = None,
    ) -> tuple[CallEntry, bool]:
        """Ask for the right to dial once for a key; see ``claim_many``.

        :param key: the idempotency key.
        :param call: the request, complete.
        :param conn_id: the connection that it goes through.
        :param account: that connection's account, see ``VoiceInfraConnection.account``.
        :param origin: who asks.
        :return: the call's entry, and whether the right to dial is the caller's.
        :raises IdempotencyConflictError: if the key stands for another request that may have rung.
        """
        job = Job(key, call, origin or CallOrigin())
        claim_many = partial(self.claim_many, conn_id=conn_id, account=account)
        entry, won = self._database.group(("claims", conn_id, account), claim_many)(job)
        different = [] if won else entry.differences(call.to_request(), conn_id)
        if different:
            raise IdempotencyConflictError(key, different)
        return entry, won

    def claim_many(
        self,
        jobs: Sequence[Job],
        *,
        conn_id: str,
        account: str | None = None,
        owner: Ownership | None = None,
    ) -> list[tuple[CallEntry, bool]]:
        """Ask for the right to dial once for each key; it is durable before this returns.

        A later try of the task instance that left a claim behind turns that claim into ``unknown``, since its
        owner died between the claim and the answer. A call that was made for another request counts: a
        contact may have been changed after it had been called.

        :param jobs: of several for one key, at most one gets the right.
        :param conn_id: the connection that they go through.
        :param account: that connection's account, see ``VoiceInfraConnection.account``.
        :param owner: the campaign that all of them are of, and the process that runs it; if not set, it is
            not asked whether another process has taken the campaign over.
        :return: for each job, in order, the call's entry, and whether the right to dial is the caller's.
        :raises CampaignBusyError: if another process has taken the campaign over; nothing is claimed then.
        """
        found: dict[str, tuple[CallEntry, bool]] = {}
        while left := [one for one in jobs if one.token not in found]:
            with self._database.writing() as connection:
                if owner is not None:
                    hold(connection, owner)
                found |= _claim(connection, left, conn_id, account)
        return [found[one.token] for one in jobs]

    def claim_redial(self, entry: CallEntry, *, origin: CallOrigin | None = None) -> CallEntry:
        """Take the right to dial once more for a call whose outcome stayed unknown.

        :param origin: who asks; if not set, whoever placed the call before.
        :raises ClaimLostError: if the call has been settled or taken over meanwhile.
        """
        if entry.request is None:
            raise ClaimLostError("the request of this call has been purged, so it cannot be dialled again")
        values = {
            **claim_values(entry.request, entry.conn_id, origin or entry.origin, entry.account),
            "dials": calls.c.dials + 1,
            "redials": calls.c.redials + 1,
            # The dial before may have rung, so ``sent_after`` and ``sent_at`` remain what they were for it.
            "unsettled_since": entry.rang_from,
        }
        with self._database.writing() as connection:
            if not swap(connection, entry, (entry.state,), values):
                raise ClaimLostError("the call was settled, or redialled by another process, meanwhile")
            return read_call(connection, entry.key_hash)  # before the commit: afterwards it may be another's

    def renew(self, entry: CallEntry) -> None:
        """Say that the owner of a claim is alive and about to send.

        :raises ClaimLostError: if the claim is no longer its own, or the answer to an earlier request has
            come meanwhile; in either case it must not send.
        """
        sent = sent_now() if entry.unsettled_since is None else {}
        with self._database.writing() as connection:
            if not swap(connection, entry, (CallState.CLAIMED,), {"renewed_at": now(), **sent}):
                raise ClaimLostError("another process has taken this call over, so it was not sent from here")

    def accept(self, entry: CallEntry, call_id: str) -> CallEntry:
        """Store the API's answer; see ``settle_many``."""
        return self._settle(Settlement(entry, CallState.ACCEPTED, call_id=call_id))

    def refuse(self, entry: CallEntry, code: str, message: str) -> CallEntry:
        """Store that nothing was placed, so that the key may be tried again; see ``settle_many``."""
        return self._settle(Settlement(entry, CallState.REFUSED, code=code, message=message))

    def mark_unknown(self, entry: CallEntry, code: str, message: str) -> CallEntry:
        """Store that the call may or may not have been placed; see ``settle_many``."""
        return self._settle(Settlement(entry, CallState.UNKNOWN, code=code, message=message))

    def _settle(self, settlement: Settlement) -> CallEntry:
        return self._database.group("settlements", self.settle_many)(settlement)

    def settle_many(self, settlements: Sequence[Settlement]) -> list[CallEntry]:
        """Store what became of calls; it is durable before this returns.

        An answer is the truth. It settles its call also if a redial has taken the claim over meanwhile, as
        long as that redial has no answer of its own: it is not sent any more, and if it was, its answer is
        kept as a call of its own. If another unknown call adopted this ``call_id``, that call becomes unknown
        again. If another call was given this ``call_id`` by the API itself, nobody can know what this answer
        means: it is unknown, too.

        A redial that is refused leaves its call as unknown as it was: the dial before may have rung. A call
        that the ledger has forgotten, as after a restore from a backup, is written anew.

        :return: the calls as they then stand, in the same order.
        """
        with self._database.writing() as connection:
            settled = settle_undisputed(connection, settlements)
        for place, one in enumerate(settlements):
            if place not in settled:
                # In a transaction of its own, so that none suffers for another.
                with self._database.writing() as connection:
                    settled[place] = settle_disputed(connection, one)
        return [settled[place] for place in range(len(settlements))]

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
        equal = {"conn_id": conn_id, "state": state and state.value, "dag_id": dag_id, "run_id": run_id}
        query = select(calls).order_by(calls.c.claimed_at.desc(), calls.c.key_hash).limit(limit)
        query = query.where(*(calls.c[name] == value for name, value in equal.items() if value is not None))
        if to_number is not None:
            query = query.where(*same_number(to_number))
        if since is not None:
            query = query.where(calls.c.claimed_at >= since)
        return self._call_entries(query)

    def _find(self, condition: ColumnElement[bool]) -> CallEntry | None:
        return next(iter(self._call_entries(select(calls).where(condition))), None)

    def _call_entries(self, query: Select[Any]) -> list[CallEntry]:
        return [CallEntry.from_row(row._mapping) for row in self._database.rows(query)]


def _claim(
    connection: Connection, jobs: Sequence[Job], conn_id: str, account: str | None
) -> dict[str, tuple[CallEntry, bool]]:
    """Claim what may be claimed; return the calls, by the tokens of the jobs, and whose they are.

    A job that is missing there lost a race and has to look again.
    """
    # All do so in the same order, or two of them might wait for each other.
    ordered = sorted(jobs, key=lambda one: hash_key(one.key))
    rows = [
        new_claim(one.key, one.call.to_request(), conn_id, one.origin, account, one.token) for one in ordered
    ]
    # They are read before the commit: afterwards a claim may be another's already.
    added = insert_claims(connection, rows)
    found = {token: (entry, True) for token, entry in added.items()}
    others = [(one, row) for one, row in zip(ordered, rows, strict=True) if one.token not in added]
    stored = read_calls(connection, [row["key_hash"] for _, row in others])
    for one, row in others:
        entry = stored.get(row["key_hash"])  # none if it was in the way, and rolled back
        answer = entry and _claim_stored(connection, one, row, entry)
        if answer:
            found[one.token] = answer
    return found


def _claim_stored(
    connection: Connection, job: Job, row: dict[str, Any], entry: CallEntry
) -> tuple[CallEntry, bool] | None:
    """Claim a call that the ledger has already; ``None`` if somebody else was faster."""
    won = True
    if entry.state is CallState.REFUSED:
        again = {name: value for name, value in row.items() if name not in _COUNTED}
        values = {**again, **sent_now(), "dials": calls.c.dials + 1}
    elif entry.state is CallState.CLAIMED and entry.token == job.token:
        # It was stored, and then the ledger did not answer.
        values = {"renewed_at": row["renewed_at"], **sent_now()}
    elif entry.state is CallState.CLAIMED and job.origin.is_later_try_than(entry.origin):
        values, won = _OWNER_DIED, False
    else:
        return entry, False
    if not swap(connection, entry, (entry.state,), values):
        return None
    return read_call(connection, entry.key_hash), won
