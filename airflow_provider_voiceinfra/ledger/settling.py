"""What an answer makes of a call, whatever else the ledger has of it, in a transaction of the caller's."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, update

from airflow_provider_voiceinfra.ledger.accounts import give_back_completion, without_other_owner
from airflow_provider_voiceinfra.ledger.database.locks import lock, of_call_ids
from airflow_provider_voiceinfra.ledger.database.schema import calls
from airflow_provider_voiceinfra.ledger.records import (
    CallEntry,
    CallState,
    Settlement,
    encode_request,
    hash_key,
)
from airflow_provider_voiceinfra.ledger.rows import (
    IN_FLIGHT,
    change,
    found_by,
    in_state,
    insert_or_nothing,
    now,
    owned_call_ids,
    read_call,
    read_calls,
    swap,
)


def settle_undisputed(connection: Connection, settlements: Sequence[Settlement]) -> dict[int, CallEntry]:
    """Store what nothing is unusual about; return those calls by their place in the sequence.

    The caller has locked the ids of the answers.
    """
    call_ids = Counter(one.call_id for one in settlements if one.call_id is not None)
    disputed = {call_id for call_id, times in call_ids.items() if times > 1}
    alike: dict[tuple[Any, ...], dict[int, Settlement]] = defaultdict(dict)
    for place, one in enumerate(settlements):
        if one.call_id not in disputed:
            # A statement sets what its first row names: a redial that was refused changes more than others.
            alike[_awaiting(one), frozenset(_settled_values(one))][place] = one
    done: dict[int, CallEntry] = {}
    for (states, _), ones in alike.items():
        done |= _settle_alike(connection, ones, states)
    return done


def _settle_alike(
    connection: Connection, ones: Mapping[int, Settlement], states: tuple[CallState, ...]
) -> dict[int, CallEntry]:
    """Store what became of calls that are in one of the states; return those that were, by their places."""
    values = {place: _settled_values(one) for place, one in ones.items()}
    # All do so in the same order, or two of them might wait for each other.
    ordered = sorted(ones, key=lambda place: ones[place].entry.key_hash)
    rows = [
        {
            "its_key": ones[place].entry.key_hash,
            "its_token": ones[place].entry.token,
            "its_call_id": ones[place].call_id,
            **values[place],
        }
        for place in ordered
    ]
    if len(rows) == 1:
        # In one statement, which saves a round trip.
        changed = connection.execute(_settling(states, one=True), rows)
        stored = {row.key_hash: CallEntry.from_row(row._mapping) for row in changed}
    else:
        connection.execute(_settling(states, one=False), rows)
        # Which of them did change only the rows can say: a driver counts those of many statements together.
        stored = read_calls(connection, [row["its_key"] for row in rows])
    return {
        place: stored[one.entry.key_hash]
        for place, one in ones.items()
        if one.entry.key_hash in stored and _shows(stored[one.entry.key_hash], one, values[place])
    }


@cache
def _settling(states: tuple[CallState, ...], *, one: bool) -> Executable:
    """Return the statement that changes calls in one of the states; what it sets comes with each row.

    :param one: whether it changes one call only, and returns it.
    """
    changed = update(calls).where(
        calls.c.key_hash == bindparam("its_key"),
        calls.c.token == bindparam("its_token"),
        in_state(*states),
        *without_other_owner(bindparam("its_call_id", type_=calls.c.call_id.type)),
    )
    return changed.returning(calls) if one else changed


def _shows(stored: CallEntry, one: Settlement, values: Mapping[str, Any]) -> bool:
    """Return whether a call is as a settlement leaves it."""
    names = ("state", "call_id", "error_code", "error_message", "answered_at")
    return stored.token == one.entry.token and all(getattr(stored, name) == values[name] for name in names)


def settle_disputed(connection: Connection, one: Settlement) -> CallEntry:
    """Store what became of one call, whatever else the ledger has of it, or of its ``call_id``."""
    entry, call_id, values = one.entry, one.call_id, _settled_values(one)
    if call_id is not None:
        lock(connection, of_call_ids([call_id]))
        _take_back_adopted(connection, entry, call_id)
        if owned_call_ids(connection, [call_id], besides=entry):
            again = f"the API answered with call_id {call_id}, which it had given another call before"
            values = {
                "state": CallState.UNKNOWN.value,
                "error_code": "call_id_not_unique",
                "error_message": again,
            }
            call_id = None
    stored = swap(connection, entry, _awaiting(one), values) or _write_anew(connection, entry, values)
    if call_id is not None and (
        stored
        or swap(connection, entry, (CallState.ACCEPTED,), values, calls.c.adopted.is_(True))
        or settle_overtaken(connection, entry, values)
        or _keep_overtaken(connection, entry, values)
    ):
        give_back_completion(connection, entry, call_id)
    return read_call(connection, entry.key_hash)


def _awaiting(one: Settlement) -> tuple[CallState, ...]:
    return (CallState.CLAIMED,) if one.state is CallState.UNKNOWN else IN_FLIGHT


def _settled_values(one: Settlement) -> dict[str, Any]:
    """Return what becomes of the row of a call that is settled."""
    values: dict[str, Any] = {
        "state": one.state.value,
        "call_id": one.call_id,
        "adopted": False,
        "error_code": one.code or None,
        "error_message": one.message or None,
        "answered_at": None if one.state is CallState.UNKNOWN else now(),
        "allowed_from": one.allowed_from,
    }
    if one.state is CallState.REFUSED and one.entry.unsettled_since is not None:
        # A redial: the dial before may have rung.
        values |= {
            "state": CallState.UNKNOWN.value,
            "error_message": f"the first dial was never answered, and a redial was not placed: {one.message}",
            "answered_at": None,
            "redials": one.entry.redials - 1,
            "renewed_at": one.entry.unsettled_since,
            "dialled_at": one.entry.unsettled_since,
            "unsettled_since": None,
        }
    return values


def settle_overtaken(connection: Connection, entry: CallEntry, values: Mapping[str, Any]) -> bool:
    """Settle a call with the answer of a dial that a redial without an answer of its own has taken over."""
    return change(connection, entry, values, calls.c.token != entry.token, in_state(*IN_FLIGHT))


def _write_anew(connection: Connection, entry: CallEntry, values: Mapping[str, Any]) -> bool:
    """Settle a call whose claim the ledger has forgotten, as after a restore from a backup.

    Its row is gone, or is that of an earlier claim.
    """
    # Completions are numbered anew from the backup on, so the number by then says nothing any more.
    row = {**_row(entry), **values, "sent_after": None}
    if insert_or_nothing(connection, calls, row):
        return True
    earlier = (calls.c.dials < entry.dials, calls.c.state != CallState.ACCEPTED.value)
    return change(connection, entry, row, *earlier)


def _keep_overtaken(connection: Connection, entry: CallEntry, values: Mapping[str, Any]) -> bool:
    """Keep an answer whose claim a redial has taken over, which has an answer of its own."""
    key = f"{entry.idempotency_key}/overtaken/{entry.token}"
    own = {"key_hash": hash_key(key), "idempotency_key": key[:2000], "dials": 1, "redials": 0}
    if not insert_or_nothing(connection, calls, {**_row(entry), **values, **own, "unsettled_since": None}):
        return False  # this very answer is stored already
    # Both dials are answered now, so no completion is waited for on behalf of the one before.
    return change(connection, entry, {"unsettled_since": None})


def _take_back_adopted(connection: Connection, entry: CallEntry, call_id: str) -> None:
    """Make a call unknown again that adopted the ``call_id`` which the API's answer gives another."""
    connection.execute(
        update(calls)
        .where(calls.c.call_id == call_id, calls.c.key_hash != entry.key_hash, calls.c.adopted.is_(True))
        .values(state=CallState.UNKNOWN.value, call_id=None, adopted=False, answered_at=None)
    )


def _row(entry: CallEntry) -> dict[str, Any]:
    """Return the row that an entry was read from."""
    values = {**vars(entry), **entry.origin.columns, "state": entry.state.value}
    del values["origin"]
    request = None if entry.request is None else encode_request(entry.request)
    return {**values, "request": request, **found_by(entry.to_number, entry.from_number)}
