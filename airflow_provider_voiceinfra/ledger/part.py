"""What the ledger and its parts have in common: a database, and a clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from airflow_provider_voiceinfra.ledger.database.connect import Database
from airflow_provider_voiceinfra.ledger.rows import now


class LedgerPart:
    """A part of the ledger.

    :param now: the present, aware UTC.
    """

    def __init__(self, database: Database, now: Callable[[], datetime] = now) -> None:
        self._database = database
        self._now = now
