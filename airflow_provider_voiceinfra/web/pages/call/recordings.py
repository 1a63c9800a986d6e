"""Decides what a page may do with the address of a recording, which is whatever a webhook says."""

from __future__ import annotations

import re

# An address that means the same to every browser: no credentials, no backslash, and nothing that would end an
# attribute or a part of the content security policy.
_ADDRESS = re.compile(
    r"(https?://[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?)"
    r"(?:[/?#][A-Za-z0-9!#$%&'()*+,./:;=?@\[\]_~-]*)?",
    re.IGNORECASE | re.ASCII,
)
_LONGEST = 4000


def origin_of(address: str) -> str | None:
    """Return where a recording is loaded from, such as ``https://recordings.example``.

    :return: ``None`` if the address is none that can be played or followed.
    """
    found = _ADDRESS.fullmatch(address) if len(address) <= _LONGEST else None
    return found.group(1).lower() if found else None
