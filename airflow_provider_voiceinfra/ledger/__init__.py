"""What was attempted and what became of it, in a SQL database; the only part with state."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger.store import CallLedger

__all__ = ["CallLedger"]


def __getattr__(name: str) -> object:
    # SQLAlchemy is loaded on first use, not when a module that merely names the ledger is imported.
    if name == "CallLedger":
        from airflow_provider_voiceinfra.ledger.store import CallLedger

        return CallLedger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
