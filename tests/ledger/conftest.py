"""A ledger on each kind of database in turn."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from airflow_provider_voiceinfra.ledger import CallLedger


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    """Return an empty ledger."""
    return CallLedger(ledger_url)


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Return what waits for a condition that another thread or process brings about."""

    def wait_until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, "the condition was not met in time"
            time.sleep(0.01)

    return wait_until
