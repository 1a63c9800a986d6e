"""Locks that end with their transaction: who stores something about a call or number waits for others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable

from sqlalchemy import Connection

from airflow_provider_voiceinfra.ledger.database.keyring import Keyring

Locks = Callable[[Keyring], Collection[bytes]]
"""Returns what to lock, by digests, given the ledger's keys. SQLite lets only one transaction write at a time
anyway."""


def no_locks(keyring: Keyring) -> Collection[bytes]:
    """Lock nothing."""
    return ()


def of_call_ids(call_ids: Iterable[str]) -> Locks:
    """Have whatever else is stored about these ids wait for the end of the transaction.

    An answer and a webhook may come at the same moment, and each must see what the other stored.
    """
    digests = {hashlib.sha256(call_id.encode()).digest() for call_id in call_ids}
    return lambda keyring: digests


def of_numbers(numbers: Collection[str]) -> Locks:
    """Have others who count the calls to these numbers wait for the end of the transaction."""
    return lambda keyring: {keyring.hash_of(number).encode() for number in numbers}


def lock(connection: Connection, locks: Locks) -> None:
    """Take locks within a transaction; ``Database.writing`` takes them as it begins, which costs nothing."""
    if connection.dialect.name == "postgresql":
        statement = lock_statement(locks(connection.dialect.voiceinfra_keyring))  # type: ignore[attr-defined]
        if statement:
            connection.exec_driver_sql(statement)


def lock_statement(digests: Collection[bytes]) -> str:
    """Return the statement for PostgreSQL; empty if there is nothing to lock."""
    if not digests:
        return ""
    # In one order, or two might wait for each other.
    keys = sorted(int.from_bytes(digest[:8], "big", signed=True) for digest in digests)
    # Written into the statement, which both sides are done with sooner than with an array.
    listed = ",".join(map(str, keys))
    return f"SELECT pg_advisory_xact_lock(key) FROM unnest('{{{listed}}}'::bigint[]) AS key"
