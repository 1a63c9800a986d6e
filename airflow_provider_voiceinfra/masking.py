"""How phone numbers and records are shown to people, and what is left out; never used to store or compare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# A number as people and gateways write it: seven digits or more, with the usual separators between them.
_WRITTEN = r"(?<![\w.:-])\+?\d(?:[ .()/-]{0,2}\d){6,}(?!\w|[:-]\w)"
# Inside a longer word, such as an idempotency key, ten digits in a row are taken for a number.
_EMBEDDED = r"\+?(?<!\d)\d{10,15}(?!\d)"
# Ten digits or more may follow any sign; gateways write dashes and blanks of every kind between them.
_BETWEEN = r"[ .()/_\u00a0\u2007\u2009\u202f\u2010-\u2015\u2212-]{0,3}"
_LONG = rf"(?<![\w.])\+?\d(?:{_BETWEEN}\d){{9,14}}(?!\w|[-_]\w|\.\d|:\d)"
_NUMBER = re.compile(f"{_WRITTEN}|{_LONG}|{_EMBEDDED}")

_NUMBERS = frozenset({"to_number", "from_number"})
# Long runs of digits in these are no phone numbers, and hiding them would make the values useless.
_NEVER_NUMBERS = frozenset(
    {"call_id", "agent_id", "event", "recording_url", "start_time", "end_time", "received_at", "call_outcome"}
)
_LEAST_NUMBER = 10**7  # a smaller integer is a duration, a score or a price
_MOST_DEPTH = 50


def mask_number(number: str | None) -> str:
    """Return a phone number with its middle hidden, such as ``+1415***0100``."""
    if not number:
        return "(none)"
    if len(number) < 10:
        return f"{number[:2]}***"
    hidden = 3  # digits at least, however short the number is
    return f"{number[: min(5, len(number) - 4 - hidden)]}***{number[-4:]}"


def mask_numbers_in(text: str) -> str:
    """Return a text from elsewhere, such as an API's message, with every phone number in it masked."""
    return _NUMBER.sub(lambda found: mask_number(re.sub(r"[^\d+]", "", found.group())), text)


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
