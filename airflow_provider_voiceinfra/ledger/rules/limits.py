"""What the ledger knows against a call: suppressions and caps, asked in the transaction of its claim."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, String, and_, bindparam, or_, select

from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.ledger.database.chunks import having, rows_of
from airflow_provider_voiceinfra.ledger.database.locks import Locks, of_numbers
from airflow_provider_voiceinfra.ledger.database.personal import hash_of
from airflow_provider_voiceinfra.ledger.database.schema import calls, database_time, suppressions
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, Settlement
from airflow_provider_voiceinfra.rules.call_cap import CallCap
from airflow_provider_voiceinfra.rules.rule_set import RuleSet

# A request leaves so much later than its claim at most, so a call is counted for as much longer.
_CLAIM_TO_REQUEST = timedelta(seconds=30)


def in_force(conn_id: ColumnElement[str] | None = None) -> ColumnElement[bool]:
    """Return the condition for suppressions that count now.

    :param conn_id: through which connection; if not set, through any.
    """
    now = and_(
        suppressions.c.removed_at.is_(None),
        or_(suppressions.c.ends_at.is_(None), suppressions.c.ends_at > database_time()),
    )
    if conn_id is None:
        return now
    return and_(now, or_(suppressions.c.conn_id.is_(None), suppressions.c.conn_id == conn_id))


_IN_FORCE = having(
    select(suppressions).where(in_force(bindparam("its_conn_id", type_=String))), suppressions.c.number_hash
)
_DIALS = having(
    select(calls.c.to_number_hash, calls.c.token, calls.c.dialled_at, calls.c.unsettled_since).where(
        calls.c.dialled_at > bindparam("since"), calls.c.state != CallState.REFUSED.value
    ),
    calls.c.to_number_hash,
)


def what_is_counted(rules: RuleSet, numbers: Collection[str | None]) -> Locks:
    """Have others who claim calls to these numbers wait for the end of the transaction, if either has a cap.

    A cap counts all calls, also those that are claimed under no cap. These need not wait for each other.
    """
    known = {number for number in numbers if number}
    return of_numbers(known, of="calls", shared=not rules.have_caps)


def refused_by_limits(
    connection: Connection,
    rules: RuleSet,
    conn_id: str,
    claimed: Sequence[CallEntry],
    others: Mapping[str, CallNotAllowedError] | None = None,
    unsuppressed: Collection[str] = (),
) -> list[Settlement]:
    """Return the refusals of those claims that must not lead to a call.

    :param claimed: what has just been claimed in this transaction; of several to one number, in this order.
    :param others: what rules that need no ledger have against some, by their tokens.
    :param unsuppressed: the tokens of those that are known not to be suppressed.
    """
    # In this transaction, too: a claim that stayed without its refusal would count as a call.
    found = dict(others or {})
    doubtful = [one.to_number for one in claimed if one.to_number and one.token not in unsuppressed]
    against = suppressed(connection, conn_id, doubtful) if doubtful else {}
    found |= {one.token: against[one.to_number] for one in claimed if one.to_number in against}
    if rules.have_caps:
        counted = [one for one in claimed if one.token not in found and rules.caps(one.to_number)]
        found |= dict(_capped(connection, rules, counted)) if counted else {}
    return [
        Settlement(one, CallState.REFUSED, code=why.code, message=why.reason, allowed_from=why.allowed_from)
        for one in claimed
        for why in [found.get(one.token)]
        if why is not None
    ]


def suppressed(
    connection: Connection, conn_id: str, numbers: Sequence[str]
) -> dict[str | None, CallNotAllowedError]:
    """Return why some of these numbers must not be called through a connection now."""

    # In the transaction that claims: a suppression that was stored before is seen, whatever was queued.
    def execute(query: Any, wanted: dict[str, Any]) -> Any:
        return connection.execute(query, {**wanted, "its_conn_id": conn_id})

    found: dict[str, Row[Any]] = {}
    for row in rows_of(execute, _IN_FORCE, list(dict.fromkeys(numbers))):
        before = found.get(row.number_hash)
        if before is None or _later(row.ends_at, before.ends_at):
            found[row.number_hash] = row
    by_hash = {hash_of(connection, number): number for number in numbers} if found else {}
    return {by_hash[digest]: _why_suppressed(row) for digest, row in found.items()}


def capped(
    connection: Connection, rules: RuleSet, numbers: Sequence[str], now: datetime
) -> dict[str | None, CallNotAllowedError]:
    """Return why some of these numbers must not be called now, for having been called often enough."""
    caps = {number: rules.caps(number) for number in numbers}
    spans = [cap.span for found in caps.values() for cap in found]
    if not spans:
        return {}
    dials = _dials(connection, numbers, now - max(spans) - _CLAIM_TO_REQUEST)
    worst = {number: _worst(found, now, dials[hash_of(connection, number)]) for number, found in caps.items()}
    return {number: why for number, why in worst.items() if why is not None}


def _later(end: datetime | None, other: datetime | None) -> bool:
    return other is not None and (end is None or end > other)


def _why_suppressed(row: Row[Any]) -> CallNotAllowedError:
    why = f" ({row.reason})" if row.reason else ""
    until = f" until {row.ends_at:%Y-%m-%d %H:%M} UTC" if row.ends_at else ""
    reason = f"the number is suppressed since {row.created_at:%Y-%m-%d %H:%M} UTC{until}{why}"
    return CallNotAllowedError(reason, code=CallNotAllowedError.SUPPRESSED, allowed_from=row.ends_at)


def _capped(
    connection: Connection, rules: RuleSet, claimed: Sequence[CallEntry]
) -> Iterator[tuple[str, CallNotAllowedError]]:
    """Yield why some claims, by their tokens, are too many."""
    spans = [cap.span for one in claimed for cap in rules.caps(one.to_number)]
    since = min(one.dialled_at or one.renewed_at for one in claimed) - max(spans) - _CLAIM_TO_REQUEST
    tokens = {one.token for one in claimed}
    dials = _dials(connection, [one.to_number for one in claimed], since, tokens)
    for one in claimed:
        moment = one.dialled_at or one.renewed_at
        # Its own row is no call before it, but for the dial that a redial repeats.
        own = [one.unsettled_since] if one.unsettled_since else []
        others = dials[hash_of(connection, str(one.to_number))]
        worst = _worst(rules.caps(one.to_number), moment, own + others)
        if worst is None:
            others.append(moment)
        else:
            yield one.token, worst


def _dials(
    connection: Connection, numbers: Sequence[str | None], since: datetime, own: Collection[str] = ()
) -> Mapping[str, list[datetime]]:
    """Return when calls were dialled that may have rung, by the hashes of their numbers.

    :param own: the tokens of calls that are left out.
    """

    def execute(query: Any, wanted: dict[str, Any]) -> Any:
        return connection.execute(query, {**wanted, "since": since})

    dials: dict[str, list[datetime]] = defaultdict(list)
    for row in rows_of(execute, _DIALS, list(set(numbers))):
        if row.token not in own:
            dials[row.to_number_hash] += filter(None, (row.dialled_at, row.unsettled_since))
    return dials


def _worst(
    caps: Sequence[CallCap], moment: datetime, dials: Sequence[datetime]
) -> CallNotAllowedError | None:
    """Return why no call is allowed at a moment by the cap that is free last, if any is reached."""
    reached = [_reached(cap, moment, dials) for cap in caps]
    return max(filter(None, reached), key=lambda why: why.allowed_from or moment, default=None)


def _reached(cap: CallCap, moment: datetime, dials: Sequence[datetime]) -> CallNotAllowedError | None:
    """Return that a cap allows no call at a moment, if so."""
    span = cap.span + _CLAIM_TO_REQUEST
    counted = sorted(dial for dial in dials if dial > moment - span)
    if len(counted) < cap.calls:
        return None
    free = counted[-cap.calls] + span
    reason = f"the number was called {len(counted)} times within the span of the cap {cap}"
    return CallNotAllowedError(reason, code=CallNotAllowedError.CALL_CAP, allowed_from=free)
