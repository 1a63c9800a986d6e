"""The one way in which phone numbers are shown to people; never used to store or compare them."""

from __future__ import annotations

import re

# A number as people and gateways write it: seven digits or more, with the usual separators between them.
_WRITTEN = r"(?<![\w.:-])\+?\d(?:[ .()/-]{0,2}\d){6,}(?!\w|[:-]\w)"
# Inside a longer word, such as an idempotency key, ten digits in a row are taken for a number.
_EMBEDDED = r"\+?(?<!\d)\d{10,15}(?!\d)"
# Ten digits or more may follow any sign; gateways write dashes and blanks of every kind between them.
_BETWEEN = r"[ .()/_\u00a0\u2007\u2009\u202f\u2010-\u2015\u2212-]{0,3}"
_LONG = rf"(?<![\w.])\+?\d(?:{_BETWEEN}\d){{9,14}}(?!\w|[-_]\w|\.\d|:\d)"
_NUMBER = re.compile(f"{_WRITTEN}|{_LONG}|{_EMBEDDED}")


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
