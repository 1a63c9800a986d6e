"""A ledger to plant rows into, on each kind of database in turn."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_voiceinfra.audit import judge
from airflow_provider_voiceinfra.ledger import CallLedger
from tests.audit.planting import Field


@pytest.fixture(autouse=True)
def _exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every clock of these tests be the same, to the last moment."""
    monkeypatch.setattr(judge, "TOLERANCE", timedelta(0))


@pytest.fixture
def field(ledger_url: str) -> Field:
    """Return a ledger without rows."""
    ledger = CallLedger(ledger_url)
    ledger.check()
    return Field(ledger)
