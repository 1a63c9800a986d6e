"""A sandbox, a connection to it, and a ledger, for operators that run without Airflow's task runner."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard

from airflow_provider_voiceinfra.ledger import CallLedger
from tests.hooks import conftest as hooks
from tests.hooks.conftest import ledger_url, sandbox
from tests.sandbox_process import SandboxProcess

__all__ = ["ledger_url", "sandbox"]  # fixtures

Connect = Callable[..., None]


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    return CallLedger(ledger_url)


@pytest.fixture(autouse=True)
def connect(sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, ledger_url: str) -> Connect:
    """Return what changes the extras of the connection to the sandbox; ``None`` takes one out."""

    def connect(**extra: str | None) -> None:
        hooks.connect(monkeypatch, sandbox.base_url, extra)

    connect()
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", ledger_url)
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)
    return connect
