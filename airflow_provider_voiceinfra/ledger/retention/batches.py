"""Goes through tables some rows at a time, so that nobody who stores a call or a webhook waits for long."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, literal, select, tuple_

from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger.database.connect import Database, unavailable

AT_ONCE = 500
"""Rows of one transaction."""

Pause = Callable[[float], object]


def windows(
    database: Database,
    table: Table,
    columns: Sequence[ColumnElement[Any]],
    *conditions: ColumnElement[bool],
    by: ColumnElement[Any] | None = None,
) -> Iterator[Sequence[Row[Any]]]:
    """Yield rows of a table, some at a time, each lot read in a transaction of its own.

    :param columns: which columns; those of the primary key are there in any case.
    :param by: the column to follow, for which there is an index; if not set, the primary key alone.
    """
    key = list(table.primary_key.columns)
    order: list[Any] = key if by is None else [by, *key]
    wanted = {column.key: column for column in (*order, *columns)}
    query = select(*wanted.values()).where(*conditions).order_by(*order).limit(AT_ONCE)
    rows = database.rows(query)
    while rows:
        yield rows
        if len(rows) < AT_ONCE:
            return
        last = [literal(rows[-1]._mapping[column.key], column.type) for column in order]
        # The first condition says nothing new; by it, the index is followed from there.
        rows = database.rows(query.where(order[0] >= last[0], tuple_(*order) > tuple_(*last)))


def is_one_of(table: Table, rows: Sequence[Row[Any]]) -> ColumnElement[bool]:
    """Return the condition for these rows, by their primary keys."""
    key = list(table.primary_key.columns)
    if len(key) == 1:
        return key[0].in_([row._mapping[key[0].key] for row in rows])
    return tuple_(*key).in_([tuple(row._mapping[column.key] for column in key) for row in rows])


@contextmanager
def step(database: Database, pause: Pause) -> Iterator[Connection]:
    """Open a transaction for some rows, and leave the database to others for as long afterwards."""
    begun = time.perf_counter()
    with database.writing(unhurried=True) as connection:
        yield connection
    # SQLite gives the lock to whoever asks at the right moment, which is us if nobody pauses.
    pause(time.perf_counter() - begun)


def compact(database: Database) -> None:
    """Write a SQLite file anew, without what its unused parts hold; nobody else writes meanwhile.

    :raises LedgerUnavailableError: if others use it all the time.
    """
    if database.engine.dialect.name != "sqlite":
        return
    connection = database.engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("VACUUM")
        # The file beside it holds what was changed last, and has no end as long as somebody reads.
        is_busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise unavailable(error) from error
    finally:
        connection.close()
    if is_busy:
        raise LedgerUnavailableError("The ledger's file is being read all the time; try again in a moment.")
