"""Locks that end with their transaction: who stores something about a call or number waits for others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable

from sqlalchemy import Connection

from airflow_provider_voiceinfra.ledger.database.keyring import Keyring

Locks = Callable[[Keyring], str]
"""Returns the statement that takes locks, given the ledger's keys; empty if there are none.

SQLite lets only one transaction write at a time anyway."""


def no_locks(keyring: Keyring) -> str:
    """Lock nothing."""
    return ""


def of_call_ids(call_ids: Iterable[str]) -> Locks:
    """Have whatever else is stored about these ids wait for the end of the transaction.

    An answer and a webhook may come at the same moment, and each must see what the other stored.
    """
    statement = _statement({hashlib.sha256(call_id.encode()).digest() for call_id in call_ids})
    return lambda keyring: statement


def of_numbers(numbers: Collection[str], *, of: str, shared: bool = False) -> Locks:
    """Have others who store the same about these numbers wait for the end of the transaction.

    :param of: what is stored. Who stores something else does not wait: a webhook, for which all others wait,
        is not to wait for claims.
    :param shared: whether only those wait who do not share them.
    """

    def statement(keyring: Keyring) -> str:
        named = (f"{of} {keyring.hash_of(number)}" for number in numbers)
        return _statement({hashlib.sha256(name.encode()).digest() for name in named}, shared)

    return statement


def lock(connection: Connection, locks: Locks) -> None:
    """Take locks within a transaction; ``Database.writing`` takes them as it begins, which costs nothing."""
    if connection.dialect.name == "postgresql":
        statement = locks(connection.dialect.voiceinfra_keyring)  # type: ignore[attr-defined]
        if statement:
            connection.exec_driver_sql(statement)


def _statement(digests: Collection[bytes], shared: bool = False) -> str:
    if not digests:
        return ""
    # In one order, or two might wait for each other.
    keys = sorted(int.from_bytes(digest[:8], "big", signed=True) for digest in digests)
    # Written into the statement, which both sides are done with sooner than with an array.
    listed = ",".join(map(str, keys))
    take = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    return f"SELECT {take}(key) FROM unnest('{{{listed}}}'::bigint[]) AS key"
