"""Rows that are added many at a time come back as they were, from each database and driver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    exc,
    select,
    text,
)

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.bulk import add_rows
from airflow_provider_voiceinfra.ledger.database.personal import PersonalBytes, PersonalText
from tests.ledger.conftest import with_driver

metadata = MetaData()


class Reversed(TypeDecorator[str]):
    """Text that the database has the other way round."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return value and value[::-1]


notes = Table(
    "bulk_notes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("text", Text),
    Column("name", PersonalText(50)),
    Column("body", PersonalBytes(1000)),
    Column("hidden", Reversed(50)),
    Column("plain", LargeBinary),
)


@pytest.fixture(params=["sqlite", "psycopg", "psycopg2"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Return a transaction, with each driver in turn, in which there is a table for notes."""
    if request.param == "sqlite":
        url = request.getfixturevalue("fresh_sqlite_url")
    else:
        url = with_driver(request.getfixturevalue("fresh_postgres_url"), request.param)
    with CallLedger(url)._database.writing() as connection:
        metadata.create_all(connection)
        yield connection
        connection.rollback()


def note(number: int, **values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(notes.c.keys()), "number": number, **values}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"text": "", "name": "", "body": b"", "plain": b""},
        {"text": "\\N, tab \t, line\r\n, \\. and 'quotes\"; \\x00"},
        {"text": "Grüße, 東京, \N{FACE WITH TEARS OF JOY}", "name": "Zoë"},
        {"body": bytes(range(256)), "plain": b"\\x00\n"},
        {"text": "long " * 100_000},
    ],
)
def test_rows_come_back_as_they_were(connection: Connection, values: dict[str, Any]) -> None:
    rows = [note(-(2**31), **values), note(0), note(2**31 - 1, **values)]
    add_rows(connection, notes, rows)
    found = connection.execute(select(notes).order_by(notes.c.number)).mappings()
    assert [dict(row) for row in found] == rows


def test_what_a_column_makes_of_a_value_is_stored(connection: Connection) -> None:
    add_rows(connection, notes, [note(1, hidden="edoc"), note(2)])
    stored = connection.execute(text("SELECT hidden FROM bulk_notes ORDER BY number")).scalars()
    assert list(stored) == ["code", None]


def test_row_that_is_there_is_an_error_that_quotes_no_value(connection: Connection) -> None:
    add_rows(connection, notes, [note(1)])
    with pytest.raises(exc.IntegrityError) as caught:
        add_rows(connection, notes, [note(2), note(1, name="+12025550123", body=b"private")])
    assert "+1202555" not in str(caught.value)
    assert "private" not in str(caught.value)


def test_error_of_the_database_is_one_of_sqlalchemy(connection: Connection) -> None:
    unknown = Table("bulk_missing", MetaData(), Column("number", Integer))
    with pytest.raises(exc.DBAPIError, match="bulk_missing"):
        add_rows(connection, unknown, [{"number": 1}])
