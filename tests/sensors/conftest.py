"""A ledger for sensors that run without Airflow's task runner; how ledgers differ is not tested here."""

from __future__ import annotations

import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard

from airflow_provider_voiceinfra.ledger import CallLedger


@pytest.fixture
def ledger(fresh_sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> CallLedger:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", fresh_sqlite_url)
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)
    return CallLedger(fresh_sqlite_url)
