"""Each test that asks for a database gets one of its own, without tables or as a ledger without rows."""

from __future__ import annotations

import pytest
import sqlalchemy
from harness.postgres import PostgresServer

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.connect import Database
from airflow_provider_voiceinfra.ledger.database.migrate import current_revision
from airflow_provider_voiceinfra.ledger.database.schema import HEAD_REVISION, VERSION_TABLE, metadata
from tests.ledger.examples import CONN_ID, claim, complete
from tests.support.completions import keep_delivery
from tests.support.ledgers import PostgresLedgers

FRESH = {"voiceinfra_counters": [("completions", 0)]}
OWN_KEYS = "voiceinfra_keys"


def execute(url: str, statement: str) -> None:
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(statement))
    engine.dispose()


@pytest.mark.parametrize("time", [1, 2])
def test_database_without_tables_has_none_each_time(untouched_url: str, time: int) -> None:
    engine = sqlalchemy.create_engine(untouched_url)
    assert sqlalchemy.inspect(engine).get_table_names() == []
    engine.dispose()
    execute(untouched_url, "CREATE TABLE leftover (id INTEGER)")


@pytest.fixture
def rows(ledger_url: str) -> dict[str, list[tuple[object, ...]]]:
    """What a ledger holds, table by table, before a test has done anything to it."""
    database = Database(ledger_url)
    with database.engine.connect() as connection:
        assert current_revision(connection) == HEAD_REVISION
        found = {name: connection.execute(table.select()).all() for name, table in metadata.tables.items()}
    database.engine.dispose()
    return {name: [tuple(row) for row in table] for name, table in found.items()}


@pytest.mark.parametrize("time", [1, 2])
def test_ledger_has_no_rows_each_time_and_numbers_them_from_one(
    ledger_url: str, rows: dict[str, list[tuple[object, ...]]], time: int
) -> None:
    assert [name for name, *_ in rows.pop(OWN_KEYS)] == ["index"]
    assert rows == {name: FRESH.get(name, []) for name in metadata.tables if name != OWN_KEYS}
    ledger = CallLedger(ledger_url)
    ledger.accept(claim(ledger), "call_1")
    complete(ledger, "call_1")
    ledger.deliveries.note_rejection(CONN_ID, "the signature does not fit")
    keep_delivery(ledger, b"body", conn_id=CONN_ID, reason="unreadable")
    assert [kept.id for kept in ledger.deliveries.kept()] == [1]


SPOIL = {
    "a table is gone": "DROP TABLE voiceinfra_contacts",
    "the version is gone": f"DROP TABLE {VERSION_TABLE}",
    "the version is another": f"UPDATE {VERSION_TABLE} SET version_num = '9999'",
    "a column is new": "ALTER TABLE voiceinfra_calls ADD COLUMN more INTEGER",
    "an index is gone": "DROP INDEX {index}",
}


@pytest.mark.parametrize("what", SPOIL)
def test_ledger_of_which_more_than_rows_was_changed_is_not_handed_on(
    postgres_server: PostgresServer, what: str
) -> None:
    ledgers = PostgresLedgers(postgres_server, template=f"template {what}")
    name = ledgers.take()
    index = next(index.name for table in metadata.tables.values() for index in table.indexes)
    execute(postgres_server.url(name), SPOIL[what].format(index=index))
    ledgers.give_back(name)
    assert ledgers.take() != name


def test_ledger_that_is_still_in_use_is_emptied_and_handed_on_all_the_same(
    postgres_server: PostgresServer,
) -> None:
    ledgers = PostgresLedgers(postgres_server, template="template in use")
    name = ledgers.take()
    engine = sqlalchemy.create_engine(postgres_server.url(name))
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("UPDATE voiceinfra_counters SET value = 7"))  # and holds its lock
        ledgers.give_back(name)
        assert ledgers.take() == name
        connection.invalidate()
    with engine.connect() as connection:
        found = connection.execute(sqlalchemy.text("SELECT value FROM voiceinfra_counters")).scalar_one()
    engine.dispose()
    assert found == 0


def test_database_in_use_is_dropped_all_the_same(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database("in_use")
    engine = sqlalchemy.create_engine(url)
    with engine.connect():
        postgres_server.drop_database("in_use")
    engine.dispose()
    assert postgres_server.create_database("in_use") == url
    postgres_server.drop_database("in_use")
