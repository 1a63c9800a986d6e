"""Claims many calls, and stores what became of many, in one transaction: campaigns come fast."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, exc, select

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership, hold
from airflow_provider_voiceinfra.ledger.claims import CallsLedger
from airflow_provider_voiceinfra.ledger.database.chunks import in_chunks
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, CallState
from airflow_provider_voiceinfra.ledger.rows import (
    IN_FLIGHT,
    insert_claims,
    new_claim,
    now,
    read_call,
    sent_now,
    swap,
)


@dataclass(frozen=True)
class ClaimRequest:
    """Asks for the right to dial once for a key; see ``CallLedger.claim``.

    :param token: whose claim it becomes. If ``claim_many`` raises, the same request may be made again, and
        finds what it has claimed; once it was answered, make another one.
    """

    key: str = field(repr=False)
    call: OutboundCall
    conn_id: str
    origin: CallOrigin
    account: str | None = None
    token: str = field(default_factory=lambda: uuid.uuid4().hex, repr=False)


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

    def claim_many(
        self, requests: Sequence[ClaimRequest], *, owner: Ownership | None = None
    ) -> list[tuple[CallEntry, bool]]:
        """Ask for the right to dial once for each key; it is durable before this returns.

        :param requests: each key once.
        :param owner: the campaign that all of them are of, and the process that runs it; if not set, it is
            not asked whether another process has taken the campaign over.
        :return: for each request, in order, the call's entry, and whether the right to dial is the caller's.
        :raises CampaignBusyError: if another process has taken the campaign over; nothing is claimed then.
        """
        with self._database.writing() as connection:
            if owner is not None:
                hold(connection, owner)
            won = _claim(connection, requests)
        return [
            (won[one.token], True) if one.token in won else self._claimed_before(one, owner)
            for one in requests
        ]

    def settle_many(self, settlements: Sequence[Settlement]) -> list[CallEntry]:
        """Store what became of calls; it is durable before this returns.

        :return: the calls as they then stand, in the same order.
        """
        settled: list[CallEntry | None] = [None] * len(settlements)
        try:
            with self._database.writing() as connection:
                ids = [one.call_id for one in settlements if one.call_id is not None]
                plain = len(set(ids)) == len(ids) and not _is_unusual(connection, settlements, ids)
                if plain:
                    for place, one in sorted(enumerate(settlements), key=lambda item: item[1].entry.key_hash):
                        settled[place] = _settle(connection, one)
        except exc.IntegrityError:
            settled = [None] * len(settlements)  # another process has just stored one of the call_ids
        return [
            entry or self._settle_one(settlement)
            for entry, settlement in zip(settled, settlements, strict=True)
        ]

    def _claimed_before(self, request: ClaimRequest, owner: Ownership | None) -> tuple[CallEntry, bool]:
        """Return the call that somebody else has claimed, unless it was given back meanwhile.

        It counts even if the contact was changed after it had been called.
        """
        entry = self.call_by_key(request.key)
        if entry is None or entry.state is CallState.REFUSED:
            [found] = self.claim_many([request], owner=owner)
            return found
        if entry.state is CallState.CLAIMED and request.origin.is_later_try_than(entry.origin):
            entry = self.mark_unknown(entry, "owner_died", "the task ended between its claim and the answer")
        return entry, False

    def _settle_one(self, settlement: Settlement) -> CallEntry:
        entry = settlement.entry
        if settlement.call_id is not None:
            return self.accept(entry, settlement.call_id)
        if settlement.state is CallState.REFUSED:
            self.refuse(entry, settlement.code, settlement.message)
            return self._entry(entry.key_hash)
        return self.mark_unknown(entry, settlement.code, settlement.message)


def _claim(connection: Connection, requests: Sequence[ClaimRequest]) -> dict[str, CallEntry]:
    """Claim what is undisputed; return the calls that are the caller's, by the tokens of the requests."""
    claims = [
        {
            **new_claim(one.key, one.call.to_request(), one.conn_id, one.origin, one.account),
            "token": one.token,
        }
        for one in requests
    ]
    # All who claim many do so in the same order, or two of them might wait for each other.
    claims.sort(key=lambda claim: str(claim["key_hash"]))
    taken = _taken(connection, [claim["key_hash"] for claim in claims])
    new = [claim for claim in claims if claim["key_hash"] not in taken]
    # Another process may have been faster with some of them.
    won = {entry.token: entry for entry in insert_claims(connection, new)}
    for claim in claims:
        entry = taken.get(claim["key_hash"])
        if entry is None:
            continue
        if entry.state is CallState.REFUSED:
            values = {**claim, **sent_now(), "dials": calls.c.dials + 1, "redials": entry.redials}
        elif entry.state is CallState.CLAIMED and entry.token == claim["token"]:
            # It was stored, and then the ledger did not answer.
            values = {"renewed_at": claim["renewed_at"], **sent_now()}
        else:
            continue
        if swap(connection, entry, (entry.state,), values):
            won[claim["token"]] = read_call(connection, entry.key_hash)
    return won


def _taken(connection: Connection, hashes: Sequence[str]) -> dict[str, CallEntry]:
    found: dict[str, CallEntry] = {}
    for chunk in in_chunks(hashes):
        rows = connection.execute(select(calls).where(calls.c.key_hash.in_(chunk))).mappings()
        found.update((row["key_hash"], CallEntry.from_row(row)) for row in rows)
    return found


def _is_unusual(connection: Connection, settlements: Sequence[Settlement], call_ids: Sequence[str]) -> bool:
    """Tell whether some call has one of these ids already, or another account's completion."""
    owners = {one.call_id: (one.entry.conn_id, one.entry.account) for one in settlements}
    for some in in_chunks(call_ids):
        if connection.execute(select(calls.c.key_hash).where(calls.c.call_id.in_(some)).limit(1)).first():
            return True
        early = select(completions.c.call_id, completions.c.conn_id, completions.c.account)
        for found in connection.execute(early.where(completions.c.call_id.in_(some))):
            conn_id, account = owners[found.call_id]
            if found.conn_id != conn_id and (account is None or found.account != account):
                return True
    return False


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
