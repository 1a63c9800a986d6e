"""A ledger on each kind of database in turn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from harness.pgbouncer import PgBouncer
from sqlalchemy import make_url

from airflow_provider_voiceinfra.ledger import CallLedger

ON_POSTGRES = pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
"""Marks a test of what cannot happen on SQLite, which lets only one transaction write at a time."""


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    """Return an empty ledger."""
    return CallLedger(ledger_url)


START = datetime(2026, 3, 2, 12, 0, tzinfo=timezone.utc)


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.moment = START

    def __call__(self) -> datetime:
        return self.moment

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.moment += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    """Return a clock for a ledger."""
    return Clock()


@pytest.fixture(params=["psycopg", "psycopg2"])
def postgres_ledger_url(request: pytest.FixtureRequest, postgres_database: str) -> str:
    """Return the URL of an empty PostgreSQL database, with each driver in turn."""
    return with_driver(postgres_database, request.param)


@pytest.fixture
def pooled_url(pgbouncer: PgBouncer, postgres_database: str) -> Callable[[str], str]:
    """Return what makes the URL of an empty database through a pooler in transaction mode, for a driver."""
    name = make_url(postgres_database).database
    assert name
    return lambda driver: pgbouncer.url(name, driver)


def with_driver(url: str, driver: str) -> str:
    """Return a PostgreSQL URL with another driver."""
    return make_url(url).set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)
