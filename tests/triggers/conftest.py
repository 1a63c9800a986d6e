"""A ledger that the triggers of a test find, and look into often."""

from __future__ import annotations

import pytest

from airflow_provider_voiceinfra.ledger import CallLedger


@pytest.fixture
def ledger(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> CallLedger:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", ledger_url)
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__POLL_INTERVAL", "0.02")
    ledger = CallLedger(ledger_url)
    ledger.check()
    return ledger
