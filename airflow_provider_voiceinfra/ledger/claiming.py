"""What claims make of the ledger, in a transaction of the caller's: who gets the right to dial, who not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Row,
    String,
    func,
    literal_column,
    select,
    type_coerce,
)

from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger.database.chunks import having, rows_of
from airflow_provider_voiceinfra.ledger.database.schema import calls, quarantines, suppressions
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, Job, hash_key
from airflow_provider_voiceinfra.ledger.rows import (
    insert_missing,
    new_claim,
    read_call,
    read_calls,
    sent_now,
    swap,
)
from airflow_provider_voiceinfra.ledger.rules.limits import in_force, refused_by_limits
from airflow_provider_voiceinfra.ledger.rules.quarantines import refused_by_quarantine
from airflow_provider_voiceinfra.ledger.settling import settle_undisputed
from airflow_provider_voiceinfra.rules.rule_set import RuleSet

# Of a call that is claimed again, these go on as they are, or are counted up.
_COUNTED = frozenset({"key_hash", "dials", "redials"})
_OWNER_DIED = {
    "state": CallState.UNKNOWN.value,
    "error_code": "owner_died",
    "error_message": "the task ended between its claim and the answer",
}


def _found_by_claim() -> tuple[ColumnElement[Any], ...]:
    """Return what a claim asks of its row, and of what is against it, once the row is there."""
    # What is returned is written without the name of its table, so that of the row has to be spelt out.
    number_hash, conn_id = (
        literal_column(f"{calls.name}.{name}", String) for name in ("to_number_hash", "conn_id")
    )
    against = select(func.max(suppressions.c.id)).where(
        type_coerce(suppressions.c.number_hash, String) == number_hash, in_force(conn_id)
    )
    # The table is empty but after a restore, so that costs next to nothing.
    restored = select(func.max(quarantines.c.id)).where(quarantines.c.released_at.is_(None))
    return (
        *(calls.c[name] for name in ("token", "claimed_at", "sent_after", "sent_at", "dialled_at")),
        against.scalar_subquery().label("suppressed"),
        restored.scalar_subquery().label("quarantine"),
    )


_ADDED = having(select(*_found_by_claim()), calls.c.key_hash)


@cache
def _adding(dialect: str, *, one: bool) -> Executable:
    added = insert_missing(dialect, calls).values(**sent_now())
    return added.returning(*_found_by_claim()) if one else added


class Claimed(NamedTuple):
    """What claims have made of the ledger.

    :param calls: the calls, by the tokens of the jobs, and whether the right to dial is the job's.
    :param unsuppressed: the tokens of those that are known not to be suppressed.
    :param may_be_forgotten: whether the ledger may have forgotten what was called.
    """

    calls: dict[str, tuple[CallEntry, bool]]
    unsuppressed: set[str]
    may_be_forgotten: bool


def refuse_claims(
    connection: Connection,
    rules: RuleSet,
    conn_id: str,
    jobs: Sequence[Job],
    claimed: Claimed,
) -> dict[str, tuple[CallEntry, bool]]:
    """Refuse what must not be called; return those claims, by the tokens of their jobs."""
    won = [entry for entry, is_won in claimed.calls.values() if is_won]
    refusals = []
    if claimed.may_be_forgotten and won:
        origins = {job.token: job.origin for job in jobs}
        refusals = refused_by_quarantine(connection, [(one, origins[one.token]) for one in won])
        gone = {refusal.entry.token for refusal in refusals}
        won = [one for one in won if one.token not in gone]
    against = {one.token: one.against for one in jobs if one.against is not None}
    refusals += refused_by_limits(connection, rules, conn_id, won, against, claimed.unsuppressed)
    settled = settle_undisputed(connection, refusals) if refusals else {}
    if len(settled) != len(refusals):  # one that stayed a claim would be dialled
        raise LedgerUnavailableError(
            "The ledger has not taken why a call is not allowed; nothing is claimed."
        )
    return {refusals[place].entry.token: (entry, False) for place, entry in settled.items()}


def claim_jobs(
    connection: Connection, jobs: Sequence[Job], conn_id: str, account: str | None, rules_id: str | None
) -> Claimed:
    """Claim what may be claimed; a job that is missing then lost a race and has to look again."""
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
    added, unsuppressed, may_be_forgotten = _add(connection, rows)
    found = {token: (entry, True) for token, entry in added.items()}
    others = [(one, row) for one, row in zip(ordered, rows, strict=True) if one.token not in added]
    stored = read_calls(connection, [row["key_hash"] for _, row in others])
    for one, row in others:
        entry = stored.get(row["key_hash"])  # none if it was in the way, and rolled back
        answer = entry and _claim_stored(connection, one, row, entry)
        if answer:
            found[one.token] = answer
            # It was refused as far as the ledger knows; whether there is a quarantine was not asked so far.
            may_be_forgotten |= answer[1]
    return Claimed(found, unsuppressed, may_be_forgotten)


def _add(
    connection: Connection, claims: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, CallEntry], set[str], bool]:
    """Add the rows of ``new_claim`` whose keys nobody has used; return those calls, by token.

    All who claim many do so in the order of the hashes, or two of them might wait for each other.

    :return: also the tokens of those whose numbers are not suppressed, and whether there is a quarantine.
    """
    own = {claim["token"]: claim for claim in claims}
    rows = [row._mapping for row in _added(connection, own)]
    unsuppressed = {row["token"] for row in rows if row["suppressed"] is None}
    added = {row["token"]: _entry(own[row["token"]], row) for row in rows}
    return added, unsuppressed, any(row["quarantine"] is not None for row in rows)


def _added(connection: Connection, own: Mapping[str, Mapping[str, Any]]) -> Sequence[Row[Any]]:
    """Add the rows of claims, by their tokens, whose keys nobody has used; return what is there of those."""
    claims, dialect = list(own.values()), connection.dialect.name
    if len(claims) == 1:
        # In one statement, which saves a round trip.
        return connection.execute(_adding(dialect, one=True), claims).all()
    # One long statement for all rows takes longer to write and to read than a short one for each and a query.
    connection.execute(_adding(dialect, one=False), claims)
    rows = rows_of(connection.execute, _ADDED, [claim["key_hash"] for claim in claims])
    # A claim that was stored, when the ledger did not answer, has the same token, and was claimed before.
    return [row for row in rows if row.token in own and row.claimed_at == own[row.token]["claimed_at"]]


def _entry(claim: Mapping[str, Any], row: Mapping[Any, Any]) -> CallEntry:
    values = {**claim, **row}
    del values["suppressed"], values["quarantine"]
    return CallEntry.from_row(values)


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
