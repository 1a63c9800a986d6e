"""Ledgers for tests: migrated once, then copied (SQLite) or emptied and handed on (PostgreSQL).

A migration takes 40 ms on SQLite and 100 ms on PostgreSQL, more than most tests. Tests of the migrations
themselves ask for the fixture ``untouched_url`` instead and go the real way.
"""

from __future__ import annotations

import uuid
from contextlib import closing

import psycopg2
import pytest
from harness.postgres import PostgresServer

from airflow_provider_voiceinfra.ledger.database import connect
from airflow_provider_voiceinfra.ledger.database.schema import metadata

ON_SQLITE = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
"""Marks a test that takes seconds, and for which the kind of database makes no difference."""

KEPT = ("voiceinfra_counters", "voiceinfra_keys")
"""The tables that a migration puts rows into."""

# All that a test may have done to a database beyond its rows, as one text.
_SHAPE = """
SELECT md5(string_agg(part, ';' ORDER BY part)) FROM (
    SELECT concat_ws(',', c.relname, c.relkind, a.attname, a.atttypid, a.attnotnull) AS part
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0
    UNION ALL SELECT concat('version ', version_num) FROM voiceinfra_alembic_version
    UNION ALL SELECT concat('function ', proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT concat('trigger ', tgname) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT concat('setting ', setconfig::text) FROM pg_db_role_setting
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS parts
"""
_END_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_EMPTY = ";".join(
    [
        *(f"DELETE FROM {table}" for table in metadata.tables),
        *(f"INSERT INTO {table} SELECT * FROM kept.{table}" for table in KEPT),
        "SELECT setval(oid::regclass, 1, false) FROM pg_class "
        "WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace",
    ]
)


def forget_ledger(name: str) -> None:
    """Close this process's connections to a ledger, and forget it, as if the process had just begun.

    :param name: a part of its URL.
    """
    with connect._databases_lock:
        known = [key for key in connect._databases if name in key[0]]
        forgotten = [connect._databases.pop(key) for key in known]
    for database in forgotten:
        database.engine.dispose()


def migrate(url: str) -> None:
    """Make a ledger of a database without tables."""
    database = connect.Database(url)
    database.upgrade()
    database.engine.dispose()


class PostgresLedgers:
    """Migrated databases of one server: a test takes one, and it is emptied for the next.

    :param server: the server of this session.
    :param template: the name of the database that all are copies of, made when it is first needed.
    """

    def __init__(self, server: PostgresServer, template: str = "ledger_template") -> None:
        self._server = server
        self._template = template
        self._shape: object = None
        self._free: list[str] = []

    def take(self) -> str:
        """Return the name of a ledger without rows, which nobody else uses."""
        if self._free:
            return self._free.pop()
        if self._shape is None:
            self._make_template()
        name = f"ledger_{uuid.uuid4().hex}"
        self._server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._template}" STRATEGY FILE_COPY')
        return name

    def give_back(self, name: str) -> None:
        """Empty a ledger for the next test, or drop it if more than its rows was changed."""
        with closing(self._connect(name)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(_END_OTHERS)
            connection.commit()
            try:
                cursor.execute(_SHAPE)
                is_whole = cursor.fetchone() == self._shape
            except psycopg2.Error:  # a table is gone
                is_whole = False
                connection.rollback()
            if is_whole:
                cursor.execute(_EMPTY)
        if is_whole:
            self._free.append(name)
        else:
            self._server.drop_database(name)

    def _make_template(self) -> None:
        migrate(self._server.create_database(self._template))
        with closing(self._connect(self._template)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA kept")
            for table in KEPT:
                cursor.execute(f"CREATE TABLE kept.{table} AS SELECT * FROM {table}")
            cursor.execute(_SHAPE)
            self._shape = cursor.fetchone()

    def _connect(self, name: str) -> psycopg2.extensions.connection:
        return psycopg2.connect(host="127.0.0.1", port=self._server.port, user="postgres", dbname=name)
