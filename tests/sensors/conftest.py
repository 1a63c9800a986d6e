"""A ledger for sensors that run without Airflow's task runner."""

from __future__ import annotations

import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard

from airflow_provider_voiceinfra.ledger import CallLedger


@pytest.fixture
def ledger(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> CallLedger:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", ledger_url)
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)
    return CallLedger(ledger_url)
