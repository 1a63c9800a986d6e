"""A ledger to plant rows into, on each kind of database in turn."""

from __future__ import annotations

import pytest

from airflow_provider_voiceinfra.ledger import CallLedger
from tests.audit.planting import Field


@pytest.fixture
def field(ledger_url: str) -> Field:
    """Return a ledger without rows."""
    ledger = CallLedger(ledger_url)
    ledger.check()
    return Field(ledger)
