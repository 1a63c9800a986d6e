"""The sandbox, and a connection to it in the environment, where Airflow finds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.sandbox_process import SandboxProcess

EXTRA = {
    "webhook_secret": "a-long-secret-of-no-meaning",
    "agent_id": "agent_default",
    "from_number": "+12025550100",
    "timeout": 2,
}


@pytest.fixture
def sandbox(fresh_sandbox: SandboxProcess) -> SandboxProcess:
    return fresh_sandbox


@pytest.fixture
def ledger_url(fresh_sqlite_url: str) -> str:
    """Return the URL of a ledger without rows; how ledgers differ is not what is tested here."""
    return fresh_sqlite_url


def connect(
    monkeypatch: pytest.MonkeyPatch, host: str, extra: Mapping[str, Any] | None = None, **changes: Any
) -> None:
    """Set the connection; ``None`` takes an extra out."""
    kept = {name: value for name, value in {**EXTRA, **(extra or {})}.items() if value is not None}
    connection = {"conn_type": "voiceinfra", "host": host, "password": "vk_sandbox_key", "extra": kept}
    monkeypatch.setenv("AIRFLOW_CONN_VOICEINFRA_DEFAULT", json.dumps({**connection, **changes}))
