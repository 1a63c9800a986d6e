"""What was attempted and what became of it, in a SQL database: all state; knows no HTTP and no Airflow.

What others use of it is here. Everything is loaded on first use, so that a module which merely names the
ledger does not load SQLAlchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, CallState, CompletionEntry
    from airflow_provider_voiceinfra.ledger.store import CallLedger
    from airflow_provider_voiceinfra.ledger.webhooks.records import KeptDelivery

__all__ = ["CallEntry", "CallLedger", "CallOrigin", "CallState", "CompletionEntry", "KeptDelivery"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = {"CallLedger": "store", "KeptDelivery": "webhooks.records"}.get(name, "records")
    return getattr(import_module(f"{__name__}.{module}"), name)
