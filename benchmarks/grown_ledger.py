"""Makes a ledger ten, a hundred or a thousand times as old as ``filled_ledger.py`` does, by SQL alone.

The database copies what was filled in, each copy a hundred nights before the one that follows it: with calls,
campaigns and runs of its own, to other people. Their webhooks are empty, since only the page about a call
reads more of them than columns; what else need not differ is copied as it is.

Run as ``python grown_ledger.py NOW [URL SIZE]...`` it does that for several, one after the other.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from filled_ledger import NIGHTS, fill
from sqlalchemy import Connection, Table, create_engine

from airflow_provider_voiceinfra.ledger.database.connect import database
from airflow_provider_voiceinfra.ledger.database.schema import (
    UtcDateTime,
    calls,
    campaigns,
    completions,
    counters,
)

BASE = 10_000
_TABLES = (calls, completions, campaigns)
# Copies that one statement adds.
_AT_ONCE = 10
# For as long as nothing is in the ledger that could be lost.
_HURRY = {
    "sqlite": ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "PRAGMA cache_size = -1000000"),
    "postgresql": ("SET synchronous_commit = off", "SET maintenance_work_mem = '512MB'"),
}
# Names that are another's in each copy.
_NAMES = frozenset({"idempotency_key", "call_id", "campaign_id", "run_id"})
# Another of the 800 areas, and the same digits at the end. (A percent sign is a parameter to some drivers.)
_AREA = "(CAST(substr(to_number, 3, 3) AS integer) - 200 + n * 37)"
_NUMBER = f"'+1' || (200 + {_AREA} - {_AREA} / 800 * 800) || substr(to_number, 6)"
_POSTGRESQL = {
    "copies": "generate_series({first}, {last}) AS copies(n)",
    "bytes": "CAST('{{}}' AS bytea)",
    "hash": "encode(sha256(CAST({column} || '~' || n AS bytea)), 'hex')",
    "moment": "{column} - n * interval '{days} days'",
}
_SQLITE = {
    "copies": "(WITH RECURSIVE s(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM s WHERE n < {last}) "
    "SELECT n FROM s)",
    "bytes": "CAST('{{}}' AS BLOB)",
    "hash": "sha256({column} || '~' || n)",
    "moment": "strftime('%Y-%m-%d %H:%M:%f000', {column}, '-' || (n * {days}) || ' days')",
}


def grow(url: str, size: int, now: datetime) -> None:
    """Fill an empty ledger with so many calls, a multiple of ``BASE``."""
    fill(url, BASE, now)
    database(url).engine.dispose()  # SQLite changes its journal for a single connection only
    engine = create_engine(url)
    if size > BASE:
        with engine.connect() as connection:
            _copy(connection, size // BASE - 1)
    if engine.dialect.name == "postgresql":
        # As autovacuum and the checkpointer do by themselves, within minutes.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")
    engine.dispose()


def _copy(connection: Connection, copies: int) -> None:
    run = connection.exec_driver_sql
    if is_sqlite := connection.dialect.name == "sqlite":
        raw: Any = connection.connection.driver_connection
        raw.create_function("sha256", 1, _sha256, deterministic=True)
    for setting in _HURRY[connection.dialect.name]:
        run(setting)
    indexes = [index for table in _TABLES for index in table.indexes]
    for index in indexes:  # built at the end, in a fraction of the time
        index.drop(connection)
    highest = run(f"SELECT value FROM {counters.name}").scalar_one()
    # The newest completions are those of the newest calls.
    run(f"UPDATE {completions.name} SET sequence = sequence + {highest * copies}")
    run(f"UPDATE {counters.name} SET value = value + {highest * copies}")
    for table in _TABLES:
        run(f"CREATE TEMPORARY TABLE original_{table.name} AS SELECT * FROM {table.name}")
        _set_logged(connection, table, False)
    for first in range(1, copies + 1, _AT_ONCE):
        for table in _TABLES:
            _add(connection, table, first, min(first + _AT_ONCE - 1, copies), highest)
    for table in _TABLES:
        _set_logged(connection, table, True)
    for index in indexes:
        index.create(connection)
    connection.commit()
    if is_sqlite:
        run("PRAGMA journal_mode = WAL")


def _set_logged(connection: Connection, table: Table, logged: bool) -> None:
    """Have PostgreSQL write a table's changes to its log, or not."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ALTER TABLE {table.name} SET {'LOGGED' if logged else 'UNLOGGED'}")


def _add(connection: Connection, table: Table, first: int, last: int, highest: int) -> None:
    forms = _POSTGRESQL if connection.dialect.name == "postgresql" else _SQLITE
    names = ", ".join(column.name for column in table.c)
    values = ", ".join(_values(table, forms, highest))
    copies = forms["copies"].format(first=first, last=last)
    # The driver's own: the colons of times are no parameters.
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({names}) SELECT {values} FROM original_{table.name} CROSS JOIN {copies}"
    )


def _values(table: Table, forms: dict[str, str], highest: int) -> Iterator[str]:
    for column in table.c:
        if column.name == "key_hash":
            yield forms["hash"].format(column=column.name)
        elif column.name == "sequence":
            yield f"sequence - n * {highest}"
        elif column.name == "to_number":
            yield _NUMBER
        elif column.name in _NAMES:
            yield f"{column.name} || '~' || n"
        elif column.name == "body":
            yield forms["bytes"].format()
        elif isinstance(column.type, UtcDateTime):
            yield forms["moment"].format(column=column.name, days=NIGHTS)
        else:
            yield column.name


def _sha256(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


if __name__ == "__main__":
    for address, calls_wanted in zip(sys.argv[2::2], sys.argv[3::2], strict=True):
        grow(address, int(calls_wanted), datetime.fromisoformat(sys.argv[1]))
