"""What claims make of the ledger, in a transaction of the caller's: who gets the right to dial, who not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from airflow_provider_voiceinfra.ledger.database.schema import calls
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, Job, hash_key
from airflow_provider_voiceinfra.ledger.rows import (
    insert_claims,
    new_claim,
    read_call,
    read_calls,
    sent_now,
    swap,
)
from airflow_provider_voiceinfra.ledger.rules.limits import refused_by_limits
from airflow_provider_voiceinfra.ledger.settling import settle_undisputed
from airflow_provider_voiceinfra.rules.rule_set import RuleSet

# Of a call that is claimed again, these go on as they are, or are counted up.
_COUNTED = frozenset({"key_hash", "dials", "redials"})
_OWNER_DIED = {
    "state": CallState.UNKNOWN.value,
    "error_code": "owner_died",
    "error_message": "the task ended between its claim and the answer",
}


def refuse_claims(
    connection: Connection,
    rules: RuleSet,
    conn_id: str,
    jobs: Sequence[Job],
    claimed: Mapping[str, tuple[CallEntry, bool]],
) -> dict[str, tuple[CallEntry, bool]]:
    """Refuse what must not be called; return those claims, by the tokens of their jobs."""
    won = [entry for entry, is_won in claimed.values() if is_won]
    against = {one.token: one.against for one in jobs if one.against is not None}
    refusals = refused_by_limits(connection, rules, conn_id, won, against) if won else []
    settled = settle_undisputed(connection, refusals) if refusals else {}
    return {refusals[place].entry.token: (entry, False) for place, entry in settled.items()}


def claim_jobs(
    connection: Connection, jobs: Sequence[Job], conn_id: str, account: str | None, rules_id: str | None
) -> dict[str, tuple[CallEntry, bool]]:
    """Claim what may be claimed; return the calls, by the tokens of the jobs, and whose they are.

    A job that is missing there lost a race and has to look again.
    """
    # All do so in the same order, or two of them might wait for each other.
    ordered = sorted(jobs, key=lambda one: hash_key(one.key))
    rows = [
        new_claim(
            one.key,
            one.call.to_request(),
            conn_id,
            one.origin,
            account,
            one.token,
            one.recipient,
            rules_id,
        )
        for one in ordered
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
