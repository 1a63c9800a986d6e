"""Decides what of the ledger's personal data a command or a page shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_voiceinfra.masking import mask_number, mask_numbers_in

_NUMBERS = frozenset({"to_number", "from_number"})
# Long runs of digits in these are no phone numbers, and hiding them would make the values useless.
_NEVER_NUMBERS = frozenset(
    {"call_id", "agent_id", "event", "recording_url", "start_time", "end_time", "received_at", "call_outcome"}
)
_LEAST_NUMBER = 10**7  # a smaller integer is a duration, a score or a price
_MOST_DEPTH = 50


@dataclass(frozen=True)
class Privacy:
    """What may be shown.

    :param show_numbers: whether phone numbers are shown in full.
    :param include_transcript: whether transcripts are shown at all.
    """

    show_numbers: bool = False
    include_transcript: bool = False

    def number(self, number: str | None) -> str | None:
        """Return a phone number as it may be shown."""
        return number if self.show_numbers or not number else mask_number(number)

    def text(self, text: str | None) -> str | None:
        """Return a text that may hold phone numbers as it may be shown."""
        return text if self.show_numbers or not text else mask_numbers_in(text)

    def record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a webhook's fields as they may be shown."""
        return self._fields(record, _MOST_DEPTH)

    def _fields(self, record: Mapping[str, Any], depth: int) -> dict[str, Any]:
        # Of an event that nobody has seen yet, the transcript may stand anywhere.
        shown = {
            name: value for name, value in record.items() if self.include_transcript or name != "transcript"
        }
        return {self.text(name) or "": self._value(name, value, depth - 1) for name, value in shown.items()}

    def _value(self, name: str, value: Any, depth: int) -> Any:
        if depth == 0:
            return "(nested too deep to be shown)"
        if isinstance(value, list):
            return [self._value(name, item, depth - 1) for item in value]
        if isinstance(value, dict):
            return self._fields(value, depth)
        if self.show_numbers or name in _NEVER_NUMBERS:
            return value
        return _masked(name, value)


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return mask_number(value) if name in _NUMBERS else mask_numbers_in(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) >= _LEAST_NUMBER:
        return mask_number(str(value))
    return value
