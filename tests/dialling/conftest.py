"""A sandbox and a ledger, for what dials without Airflow."""

from __future__ import annotations

import pytest

from airflow_provider_voiceinfra.dialling import storing
from airflow_provider_voiceinfra.ledger import CallLedger
from tests.sandbox_process import SandboxProcess


@pytest.fixture
def sandbox(fresh_sandbox: SandboxProcess) -> SandboxProcess:
    return fresh_sandbox


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    ledger = CallLedger(ledger_url)
    ledger.check()
    return ledger


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a ledger that is away again at once."""
    monkeypatch.setattr(storing, "LONGEST_WAIT", 0.02)
