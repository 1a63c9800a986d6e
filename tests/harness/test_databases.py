"""Each test that asks for a ledger database gets an empty one of its own."""

from __future__ import annotations

import sqlalchemy
from harness.postgres import PostgresServer


def _tables(url: str) -> list[str]:
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.begin() as connection:
            before = sqlalchemy.inspect(connection).get_table_names()
            connection.execute(sqlalchemy.text("CREATE TABLE leftover (id INTEGER)"))
        return before
    finally:
        engine.dispose()


def test_ledger_database_is_empty(ledger_url: str) -> None:
    assert _tables(ledger_url) == []


def test_ledger_database_is_not_the_one_of_the_test_before(ledger_url: str) -> None:
    assert _tables(ledger_url) == []


def test_database_in_use_is_dropped_all_the_same(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database("in_use")
    engine = sqlalchemy.create_engine(url)
    with engine.connect():
        postgres_server.drop_database("in_use")
    engine.dispose()
    assert postgres_server.create_database("in_use") == url
    postgres_server.drop_database("in_use")
