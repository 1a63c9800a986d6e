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
from airflow_provider_voiceinfra.exceptions import (
    CallNotAllowedError,
    ClaimLostError,
    IdempotencyConflictError,
)
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership, hold
from airflow_provider_voiceinfra.ledger.claiming import claim_jobs, refuse_claims
from airflow_provider_voiceinfra.ledger.database.locks import of_call_ids
from airflow_provider_voiceinfra.ledger.database.personal import hash_of
from airflow_provider_voiceinfra.ledger.database.schema import calls, database_time
from airflow_provider_voiceinfra.ledger.database.schema import rules as stored_rules
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
    insert_or_nothing,
    now,
    read_call,
    same_number,
    sent_now,
    swap,
)
from airflow_provider_voiceinfra.ledger.rules.limits import (
    refused_by_limits,
    suppressed,
    what_is_counted,
)
from airflow_provider_voiceinfra.ledger.rules.quarantines import refused_by_quarantine
from airflow_provider_voiceinfra.ledger.settling import settle_disputed, settle_undisputed
from airflow_provider_voiceinfra.rules.recipient import ANYBODY, Recipient
from airflow_provider_voiceinfra.rules.rule_set import NO_RULES, RuleSet


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
        recipient: Recipient = ANYBODY,
        rules: RuleSet = NO_RULES,
        against: CallNotAllowedError | None = None,
    ) -> tuple[CallEntry, bool]:
        """Ask for the right to dial once for a key; see ``claim_many``.

        :param key: the idempotency key.
        :param call: the request, complete.
        :param conn_id: the connection that it goes through.
        :param account: that connection's account, see ``VoiceInfraConnection.account``.
        :param origin: who asks.
        :param recipient: what is known of the person besides the number.
        :param rules: those that are in force.
        :param against: why one that needs no ledger does not allow the call now; see ``Job``.
        :return: the call's entry, and whether the right to dial is the caller's.
        :raises CallNotAllowedError: if a rule does not allow it now, or the ledger may have forgotten it.
        :raises IdempotencyConflictError: if the key stands for another request that may have rung.
        """
        job = Job(key, call, origin or CallOrigin(), recipient=recipient, against=against)
        claim_many = partial(self.claim_many, conn_id=conn_id, account=account, rules=rules)
        group = ("claims", conn_id, account, rules.document)
        entry, won = self._database.group(group, claim_many)(job)
        if entry.token == job.token and not won:
            raise _not_allowed(entry)
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
        rules: RuleSet = NO_RULES,
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
        :param rules: those that are in force. What they and the suppressions do not allow is stored as
            refused, under the token of its job: the call has the code and the moment from which it would be
            allowed.
        :return: for each job, in order, the call's entry, and whether the right to dial is the caller's.
        :raises CampaignBusyError: if another process has taken the campaign over; nothing is claimed then.
        """
        found: dict[str, tuple[CallEntry, bool]] = {}
        while left := [one for one in jobs if one.token not in found]:
            counted = what_is_counted(rules, [one.call.to_number for one in left])
            with self._database.writing(locks=counted) as connection:
                if owner is not None:
                    hold(connection, owner)
                rules_id = self._keep_rules(connection, rules)
                claimed = claim_jobs(connection, left, conn_id, account, rules_id)
                refused = refuse_claims(connection, rules, conn_id, left, claimed)
            found |= claimed.calls | refused
            self._database.kept_rules.add(rules_id)
        return [found[one.token] for one in jobs]

    def _keep_rules(self, connection: Connection, rules: RuleSet) -> str | None:
        """Have the rules in force in the ledger, and return what names them."""
        if rules.document is None:
            return None
        rules_id = hash_of(connection, rules.document.decode())
        if rules_id not in self._database.kept_rules:
            row = {"id": rules_id, "document": rules.document, "created_at": now()}
            insert_or_nothing(connection, stored_rules, row)
        return rules_id

    def claim_redial(
        self, entry: CallEntry, *, origin: CallOrigin | None = None, rules: RuleSet = NO_RULES
    ) -> CallEntry:
        """Take the right to dial once more for a call whose outcome stayed unknown.

        :param origin: who asks; if not set, whoever placed the call before.
        :param rules: those that are in force.
        :raises ClaimLostError: if the call has been settled or taken over meanwhile.
        :raises CallNotAllowedError: if the number is suppressed, or a cap does not allow the call now.
        """
        if entry.request is None:
            raise ClaimLostError("the request of this call has been purged, so it cannot be dialled again")
        again = {
            "dials": calls.c.dials + 1,
            "redials": calls.c.redials + 1,
            # The dial before may have rung, so ``sent_after`` and ``sent_at`` remain what they were for it.
            "unsettled_since": entry.rang_from,
            "dialled_at": database_time(),
        }
        counted = what_is_counted(rules, [entry.to_number])
        with self._database.writing(locks=counted) as connection:
            values = claim_values(
                entry.request,
                entry.conn_id,
                origin or entry.origin,
                entry.account,
                recipient=entry.recipient,
                rules_id=self._keep_rules(connection, rules),
            )
            if not swap(connection, entry, (entry.state,), {**values, **again}):
                raise ClaimLostError("the call was settled, or redialled by another process, meanwhile")
            # Before the commit: afterwards it may be another's.
            claimed = read_call(connection, entry.key_hash)
            refusals = refused_by_quarantine(connection, [(claimed, origin or entry.origin)])
            refusals = refusals or refused_by_limits(connection, rules, entry.conn_id, [claimed])
            settle_undisputed(connection, refusals)
        for refusal in refusals:
            raise refusal.not_allowed
        return claimed

    def renew(self, entry: CallEntry) -> None:
        """Say that the owner of a claim is alive and about to send.

        :raises ClaimLostError: if the claim is no longer its own, or the answer to an earlier request has
            come meanwhile; in either case it must not send.
        :raises CallNotAllowedError: if the number has been suppressed meanwhile.
        """
        sent = sent_now() if entry.unsettled_since is None else {"dialled_at": database_time()}
        with self._database.writing() as connection:
            if not swap(connection, entry, (CallState.CLAIMED,), {"renewed_at": now(), **sent}):
                raise ClaimLostError("another process has taken this call over, so it was not sent from here")
            if entry.to_number is not None:
                for against in suppressed(connection, entry.conn_id, [entry.to_number]).values():
                    raise against

    def accept(self, entry: CallEntry, call_id: str) -> CallEntry:
        """Store the API's answer; see ``settle_many``."""
        return self._settle(Settlement(entry, CallState.ACCEPTED, call_id=call_id))

    def refuse(
        self, entry: CallEntry, code: str, message: str, *, allowed_from: datetime | None = None
    ) -> CallEntry:
        """Store that nothing was placed, so that the key may be tried again; see ``settle_many``.

        :param allowed_from: from when on the rule that refused it would allow it, aware UTC.
        """
        return self._settle(Settlement(entry, CallState.REFUSED, None, code, message, allowed_from))

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
        call_ids = [one.call_id for one in settlements if one.call_id is not None]
        with self._database.writing(locks=of_call_ids(call_ids)) as connection:
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


def _not_allowed(entry: CallEntry) -> CallNotAllowedError:
    """Return why a claim was refused in the transaction in which it was stored."""
    return CallNotAllowedError(
        str(entry.error_message), code=str(entry.error_code), allowed_from=entry.allowed_from
    )
