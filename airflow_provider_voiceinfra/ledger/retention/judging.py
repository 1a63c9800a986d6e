"""What each row of the ledger becomes when somebody is forgotten; asks for nothing, changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from airflow_provider_voiceinfra.ledger.records import decode_request, encode_request
from airflow_provider_voiceinfra.ledger.retention.bodies import KEPT, NUMBERS, Erased, encoded, without_texts
from airflow_provider_voiceinfra.ledger.retention.purging import PERSONAL
from airflow_provider_voiceinfra.ledger.retention.written import WrittenNumber
from airflow_provider_voiceinfra.ledger.rows import now

FORGOTTEN = "forgotten"
"""Why somebody who was forgotten is not called again."""

Values = Mapping[Any, Any]
# The caller ID is the deployment's own, and by it calls that come in are known as such.
_OF_THE_PERSON = [name for name in PERSONAL if name != "from_number"]
_TEXTS_OF_CALL = ("idempotency_key", "error_message", "contact_key", "consent")


class Whose(str, Enum):
    """Whose a row is that has to change."""

    THEIRS = "theirs"
    """About a call to or from the person, or nothing but their number."""
    OTHERS = "others"
    """About somebody else, and speaks of the number somewhere."""


@dataclass(frozen=True)
class Change:
    """What becomes of a row.

    :param values: the columns that change; ``None`` if the row goes.
    """

    whose: Whose
    values: Values | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Judge:
    """Knows the number that is forgotten, and what it is found by.

    :param digest: the hash of the number in this ledger.
    :param call_ids: those of the calls to it.
    """

    number: WrittenNumber
    digest: str = field(repr=False)
    call_ids: frozenset[str]

    def call(self, row: Values) -> Change | None:
        """Judge a call."""
        if row["to_number_hash"] == self.digest or self.number.is_it(row["to_number"]):
            # Without the hash, too: nothing is to lead from the person to the call.
            gone = dict.fromkeys((*_OF_THE_PERSON, "to_number_end", "to_number_hash"))
            return Change(Whose.THEIRS, {**gone, "purged_at": row["purged_at"] or now()})
        spoken = {name: None for name in _TEXTS_OF_CALL if self.number.is_in(row[name])}
        if row["request"] and self.number.is_in_document(row["request"]):
            spoken["request"] = None
        return Change(Whose.OTHERS, spoken) if spoken else None

    def completion(self, row: Values) -> Change | None:
        """Judge a completion record."""
        theirs = [name for name in NUMBERS if self._is_theirs(row, name)]
        if theirs or row["call_id"] in self.call_ids:
            return self._their_completion(row, theirs or ["to_number"])
        if not self.number.is_in_document(row["body"]):
            return None
        body = encoded(self.number.without(json.loads(row["body"])))
        return Change(Whose.OTHERS, {"body": body, "erased": row["erased"] or Erased.NUMBER.value})

    def _is_theirs(self, row: Values, name: str) -> bool:
        return row[f"{name}_hash"] == self.digest or self.number.is_it(row[name])

    def _their_completion(self, row: Values, theirs: list[str]) -> Change | None:
        if row["erased"] == Erased.ALL.value and all(row[name] is None for name in theirs):
            return None
        kept = without_texts(row["body"], but=[name for name in KEPT if name not in theirs])
        gone = dict.fromkeys([*theirs, *(f"{name}_hash" for name in theirs)])
        body = encoded(self.number.without(json.loads(kept)))
        return Change(Whose.THEIRS, {**gone, "body": body, "erased": Erased.ALL.value})

    def delivery(self, row: Values) -> Change | None:
        """Judge a kept delivery: one that speaks of the number goes, since it is of no use as it is."""
        if row["call_id"] in self.call_ids or self.number.is_in_document(row["body"]):
            return Change(Whose.THEIRS)
        return None

    def contact(self, row: Values) -> Change | None:
        """Judge a contact of a campaign."""
        request = decode_request(row["request"]) if row["request"] else {}
        if self.number.is_it(request.get("to_number")) or self.number.is_in(row["contact_key"]):
            return Change(Whose.THEIRS)
        spoken: dict[str, Any] = self._spoken(row, ("consent", "reason"))
        if row["request"] and self.number.is_in_document(row["request"]):
            spoken["request"] = encode_request(self.number.without(request))
        return Change(Whose.OTHERS, spoken) if spoken else None

    def suppression(self, row: Values) -> Change | None:
        """Judge a suppression: who is forgotten is still not called."""
        if row["number_hash"] == self.digest or self.number.is_it(row["number"]):
            left = {"number": None, "number_end": None, "reason": FORGOTTEN, "added_by": None}
            is_done = all(row[name] == value for name, value in left.items())
            return None if is_done else Change(Whose.THEIRS, left)
        spoken = self._spoken(row, ("reason",))
        return Change(Whose.OTHERS, spoken) if spoken else None

    def rules(self, row: Values) -> Change | None:
        """Judge a set of rules: it is proof, and its id is its hash, so nothing of it can change."""
        return Change(Whose.OTHERS, {}) if self.number.is_in_document(row["document"]) else None

    def _spoken(self, row: Values, names: tuple[str, ...]) -> dict[str, Any]:
        return {name: self.number.without(row[name]) for name in names if self.number.is_in(row[name])}
