"""A sandbox, a connection to it, and a ledger, for operators that run without Airflow's task runner."""

from __future__ import annotations

import json

import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard

from airflow_provider_voiceinfra.ledger import CallLedger
from tests.sandbox_process import SandboxProcess


@pytest.fixture
def sandbox(fresh_sandbox: SandboxProcess) -> SandboxProcess:
    return fresh_sandbox


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    return CallLedger(ledger_url)


@pytest.fixture(autouse=True)
def _airflow(sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, ledger_url: str) -> None:
    connection = {
        "conn_type": "voiceinfra",
        "host": sandbox.base_url,
        "password": "vk_sandbox_key",
        "extra": {
            "webhook_secret": "operator-test-secret",
            "agent_id": "agent_default",
            "from_number": "+12025550100",
            "timeout": 2,
        },
    }
    monkeypatch.setenv("AIRFLOW_CONN_VOICEINFRA_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", ledger_url)
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)
