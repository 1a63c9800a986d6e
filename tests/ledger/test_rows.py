"""Rows that are added without counting on an error."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone

import pytest

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.schema import deliveries
from airflow_provider_voiceinfra.ledger.rows import insert_or_nothing
from tests.ledger.conftest import with_driver


@pytest.fixture(params=["sqlite", "psycopg", "psycopg2"])
def ledger(request: pytest.FixtureRequest) -> CallLedger:
    """Return an empty ledger, with each driver in turn, since drivers count rows in their own ways."""
    if request.param == "sqlite":
        return CallLedger(request.getfixturevalue("fresh_sqlite_url"))
    return CallLedger(with_driver(request.getfixturevalue("fresh_postgres_url"), request.param))


def row(text: str) -> dict[str, object]:
    return {
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "conn_id": "voiceinfra_default",
        "reason": "not JSON",
        "body": text.encode(),
        "received_at": datetime(2026, 3, 1, tzinfo=timezone.utc),
    }


def test_row_is_added_once(ledger: CallLedger) -> None:
    with ledger._database.writing() as connection:
        assert insert_or_nothing(connection, deliveries, row("one"))
        assert not insert_or_nothing(connection, deliveries, row("one"))
        assert insert_or_nothing(connection, deliveries, row("two"))  # the transaction goes on
    assert [kept.body for kept in ledger.deliveries.kept()] == [b"two", b"one"]
