"""A ledger on each kind of database in turn."""

from __future__ import annotations

import pytest

from airflow_provider_voiceinfra.ledger import CallLedger


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    """Return an empty ledger."""
    return CallLedger(ledger_url)
