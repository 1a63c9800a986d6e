"""Locks that end with their transaction: who stores something about a call or number waits for others."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from airflow_provider_voiceinfra.ledger.database.personal import hash_of


def lock_call_ids(connection: Connection, call_ids: Sequence[str]) -> None:
    """Have whatever else is stored about these ids wait for the end of the transaction.

    An answer and a webhook may come at the same moment, and each must see what the other stored.
    (SQLite lets only one transaction write at a time anyway.)
    """
    if connection.dialect.name != "postgresql" or not call_ids:
        return
    _lock(connection, {hashlib.sha256(call_id.encode()).digest() for call_id in call_ids})


def _lock(connection: Connection, digests: Collection[bytes]) -> None:
    # In one order, or two might wait for each other.
    keys = sorted(int.from_bytes(digest[:8], "big", signed=True) for digest in digests)
    # Written into the statement, which both sides are done with sooner than with an array.
    listed = ",".join(map(str, keys))
    connection.exec_driver_sql(
        f"SELECT pg_advisory_xact_lock(key) FROM unnest('{{{listed}}}'::bigint[]) AS key"
    )


def lock_numbers(connection: Connection, numbers: Collection[str]) -> None:
    """Have others who count the calls to these numbers wait for the end of the transaction."""
    if connection.dialect.name == "postgresql" and numbers:
        _lock(connection, {hash_of(connection, number).encode() for number in numbers})
