"""How phone numbers and records are shown to people, and what is left out; never used to store or compare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

# What looks like a number and is none: a day, a random id, and a number that is masked already.
_DAY = r"(?<![^\W_])(?<![+.-])(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?![\d-])"
_RANDOM_ID = r"(?<![\w-])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![\w-])"
_MASKED = r"\+?(?<!\d)\d{1,5}\*{3}\d{4}(?!\d)"
_KEPT = f"(?P<kept>{_DAY}|{_RANDOM_ID}|{_MASKED})"
# In a key a number stands between slashes, and what is beside it are the numbers of a task and of a call.
_IN_A_KEY = r"(?<![\d+])\+?\d{10,15}(?=/\d{1,2}(?![\w.-]))"
_BESIDE_IT = r"(?!\d{1,5}/\+?\d{10,15}(?!\d))"
# A number as people and gateways write it: seven digits or more, with the usual separators between them.
_WRITTEN = rf"(?<![\w.:-]){_BESIDE_IT}\+?\d(?:[ .()/-]{{0,2}}\d){{6,}}(?!\w|[:-]\w)"
# Inside a longer word, such as an idempotency key, ten digits in a row are taken for a number.
_EMBEDDED = r"\+?(?<!\d)\d{10,15}(?!\d)"
# Ten digits or more may follow any sign. Dashes, blanks and marks of every kind may stand between them, those
# without width, too. A comma with a blank behind it parts two numbers.
_SIGNS = r" .()/_'\u2018\u2019*|\u00a0\u00ad\u2007\u2009\u200b-\u2015\u202a-\u202f\u2060-\u2069\u2212\ufeff-"
_LONG = (
    rf"(?<![^\W_])(?<!\.){_BESIDE_IT}\+?\d(?:(?:[{_SIGNS}]{{0,3}}|,)\d){{9,14}}(?!\w(?<!_)|[-_]\d|\.\d|:\d)"
)
# As a spreadsheet writes a number that it takes for an amount.
_POWER_OF_TEN = r"(?<![\w.,])\+?\d(?:[.,]?\d){5,}[eE]\+?\d{1,2}(?![\w.])"
_NUMBER = "|".join((_KEPT, _POWER_OF_TEN, _IN_A_KEY, _WRITTEN, _LONG, _EMBEDDED))

_NUMBERS = frozenset({"to_number", "from_number"})
# Long runs of digits in these are no phone numbers, and hiding them would make the values useless.
_NEVER_NUMBERS = frozenset(
    {"call_id", "agent_id", "event", "recording_url", "start_time", "end_time", "received_at", "call_outcome"}
)
_LEAST_NUMBER = 10**7  # a smaller integer is a duration, a score or a price
_MOST_DEPTH = 50
_MOST_QUOTED = 100  # characters of a value in an error


@cache
def _numbers() -> re.Pattern[str]:
    """Return what finds numbers; made when it is first needed, since no DAG file that is parsed does."""
    return re.compile(_NUMBER)


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
    return _numbers().sub(_replacement, text)


def _replacement(found: re.Match[str]) -> str:
    return found["kept"] or mask_number(re.sub(r"[^\d+]", "", found.group()))


def is_phone_number(text: str) -> bool:
    """Return whether a text is a phone number, or several, and nothing else."""
    one = text.strip().removeprefix("tel:")
    parts = [one] if _is_one(one) else [part for part in re.split(r"[,;|\s]+(?=[+(\d])", one) if part]
    return bool(parts) and all(map(_is_one, parts))


def is_number_and_no_id(text: str) -> bool:
    """Return whether a text that should be an id is a phone number; an id may well be of digits."""
    return text.strip().startswith(("+", "(", "tel:")) and is_phone_number(text)


def _is_one(text: str) -> bool:
    found = _numbers().fullmatch(text.strip().removeprefix("("))
    return found is not None and not found["kept"]


def quoted(value: object) -> str:
    """Return a value that somebody has given as an error may quote it: on one line, short, numbers masked."""
    text = mask_numbers_in(repr(value))
    return text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}..."


# No dataclass: each costs every DAG file that is parsed half a millisecond.
class Privacy(NamedTuple):
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
        return self._shown(record, _MOST_DEPTH)

    def _shown(self, record: Mapping[str, Any], depth: int) -> dict[str, Any]:
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
            return self._shown(value, depth)
        if self.show_numbers or name in _NEVER_NUMBERS:
            return value
        return _masked(name, value)


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return mask_number(value) if name in _NUMBERS else mask_numbers_in(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) >= _LEAST_NUMBER:
        return mask_number(str(value))
    return value
