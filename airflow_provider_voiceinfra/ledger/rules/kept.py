"""The rules that were in force when calls were made, each set of them once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from airflow_provider_voiceinfra.ledger.database.schema import rules
from airflow_provider_voiceinfra.ledger.part import LedgerPart


@dataclass(frozen=True)
class KeptRules:
    """A set of rules, see ``RuleSet.document``.

    :param places: what was set, by where: ``deployment``, ``connection`` and ``task``.
    :param created_at: when they were in force for the first time, aware UTC.
    """

    id: str
    places: Mapping[str, Mapping[str, Any]] = field(repr=False)
    created_at: datetime


class RulesLedger(LedgerPart):
    """Reads rules; claims store them."""

    def get(self, rules_id: str) -> KeptRules | None:
        """Return a set of rules by its id, which each call that they allowed has."""
        rows = self._database.rows(select(rules).where(rules.c.id == rules_id))
        return KeptRules(rules_id, json.loads(rows[0].document), rows[0].created_at) if rows else None
