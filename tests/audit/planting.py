"""Plants what a ledger would never let happen, row by row, and audits it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import insert, update

from airflow_provider_voiceinfra.audit.auditing import Audit, Wanted
from airflow_provider_voiceinfra.audit.verdicts import Verdict, Why
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.schema import calls, suppressions
from airflow_provider_voiceinfra.ledger.database.schema import rules as stored_rules
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.ledger.rows import new_claim
from tests.ledger.examples import execute

NUMBER = "+12125550100"
"""In New York."""
NOON = datetime(2026, 3, 4, 17, tzinfo=timezone.utc)
"""A Wednesday, 12:00 in New York."""
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


class Field:
    """A ledger into which rows are planted."""

    def __init__(self, ledger: CallLedger) -> None:
        self.ledger = ledger
        self._planted = 0

    def rules(self, **places: dict[str, Any]) -> str:
        """Plant rules, each by the place where they are set; return their id."""
        self._planted += 1
        row = {"id": f"rules {self._planted}", "created_at": NOON}
        document = json.dumps(places, sort_keys=True).encode()
        execute(self.ledger, insert(stored_rules).values(**row, document=document))
        return row["id"]  # type: ignore[return-value]

    def call(self, at: datetime | None = NOON, to: str = NUMBER, **values: Any) -> str:
        """Plant a call that was dialled at a moment; return its key's hash."""
        self._planted += 1
        conn_id = values.pop("conn_id", "c")
        request = {"to_number": to, "agent_id": "a", "from_number": "+12125550199"}
        row = new_claim(f"key {self._planted}", request, conn_id, CallOrigin())
        moments = dict.fromkeys(("claimed_at", "renewed_at"), at or NOON)
        row |= {"state": "accepted", "dialled_at": at, **moments, **values}
        execute(self.ledger, insert(calls).values(**row))
        return str(row["key_hash"])

    def change(self, key: str, **values: Any) -> None:
        """Change what was planted."""
        execute(self.ledger, update(calls).where(calls.c.key_hash == key).values(**values))

    def suppression(self, created_at: datetime, to: str = NUMBER, **values: Any) -> None:
        """Plant a suppression."""
        row = {"number_hash": to, "number": to, "source": "cli", "created_at": created_at, **values}
        execute(self.ledger, insert(suppressions).values(**row))

    def verdicts(
        self, since: datetime = NOON - 400 * DAY, until: datetime = NOON + 400 * DAY, **equal: str
    ) -> Iterator[Verdict]:
        """Yield what an audit finds."""
        return Audit(self.ledger.history, Wanted(since, until, **equal)).verdicts()

    def found(self, **wanted: Any) -> list[tuple[str, str]]:
        """Return the offenders: the hash of the call's key, and the code."""
        return [
            (verdict.call.key_hash, finding.code)
            for verdict in self.verdicts(**wanted)
            for finding in verdict.findings
        ]

    def unjudged(self) -> list[tuple[str, str, Why]]:
        """Return what cannot be judged: the hash of the call's key, the code, and why."""
        return [
            (verdict.call.key_hash, code, why)
            for verdict in self.verdicts()
            for code, why in verdict.unjudged
        ]
