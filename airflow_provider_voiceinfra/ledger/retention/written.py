"""Finds one phone number in texts and documents, in the ways in which people and programs write it."""

from __future__ import annotations

import json
import re
from typing import Any

import phonenumbers

REMAINS = "[forgotten]"
"""What stands in the place of a number that is forgotten."""

# What may stand between two digits, the marks without width and the dashes of other scripts included.
_BETWEEN = r"[\s.()/_*,'\u00ad\u00b7\u200b-\u2015\u202a-\u202f\u2060-\u2069\u2212\ufeff-]{0,3}"
_ABROAD = r"(?:\+|00|011)?"
_LEAST_ALONE = 7  # digits; fewer without the country's code may be anything
_NOT_DIGITS = re.compile(r"[^0-9]+")


class WrittenNumber:
    """A phone number, found with or without its country's code, whatever stands between its digits.

    Not found is what is spelt out in words.

    :param number: in E.164 form.
    """

    def __init__(self, number: str) -> None:
        self.number = number
        code, national, dialled = _parts(number)
        ways = [rf"{_ABROAD}{_BETWEEN}{_spaced(code + national)}"]
        if code:
            # As in +44 (0)20 ...
            ways.append(rf"{_ABROAD}{_BETWEEN}{_spaced(code)}{_BETWEEN}0{_BETWEEN}{_spaced(national)}")
        self._numbers = {code + national}
        for alone in dict.fromkeys((dialled, national)):
            if len(alone) >= _LEAST_ALONE:
                ways.append(_spaced(alone))
                self._numbers.add(alone)
        self._pattern = re.compile(rf"(?<![0-9])(?:{'|'.join(ways)})(?![0-9])")
        self._core = tuple(dict.fromkeys((national, dialled)))

    def is_it(self, text: object) -> bool:
        """Return whether a value is this number and nothing else."""
        digits = _NOT_DIGITS.sub("", text) if isinstance(text, str) else ""
        return bool(digits) and (
            digits in self._numbers or self._pattern.fullmatch(str(text).strip()) is not None
        )

    def is_in(self, text: str | None) -> bool:
        """Return whether a text speaks of this number."""
        if not text:
            return False
        # Most texts do not have its digits at all, which is found out in a fraction of the time.
        digits = _NOT_DIGITS.sub("", text)
        return any(core in digits for core in self._core) and self._pattern.search(text) is not None

    def is_in_document(self, document: bytes) -> bool:
        """Return whether a document, JSON or not, speaks of this number."""
        text = document.decode("utf-8", "replace")
        if self.is_in(text):
            return True
        if "\\" not in text:  # without escapes, JSON has no other text than what is seen
            return False
        try:
            value = json.loads(document)
            return bool(self.without(value) != value)
        except (ValueError, RecursionError):
            return False

    def without(self, value: Any) -> Any:
        """Return a JSON value in which ``REMAINS`` stands wherever it speaks of this number."""
        if isinstance(value, str):
            return self._pattern.sub(REMAINS, value) if self.is_in(value) else value
        if isinstance(value, list):
            return [self.without(item) for item in value]
        if isinstance(value, dict):
            return {self.without(name): self.without(item) for name, item in value.items()}
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return REMAINS if self.is_in(f"{value:.0f}") else value
        return value


def _parts(number: str) -> tuple[str, str, str]:
    """Return the digits of the country's code, those behind it, and those that are dialled at home."""
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        digits = _NOT_DIGITS.sub("", number)
        return "", digits, digits
    at_home = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
    national = phonenumbers.national_significant_number(parsed)
    return str(parsed.country_code), national, _NOT_DIGITS.sub("", at_home)


def _spaced(digits: str) -> str:
    return _BETWEEN.join(digits)
