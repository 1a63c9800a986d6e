"""Decides what a page may do with the address of a recording, which is whatever a webhook says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# An address that means the same to every browser: no credentials, no backslash, and nothing that would end an
# attribute or a part of the content security policy.
_ADDRESS = re.compile(
    r"(https?://[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?)"
    r"(?:[/?#][A-Za-z0-9!#$%&'()*+,./:;=?@\[\]_~-]*)?",
    re.IGNORECASE | re.ASCII,
)
_LONGEST = 4000


@dataclass(frozen=True)
class Recording:
    """A recording of a call.

    :param address: as the webhook has it.
    :param origin: where it is loaded from, such as ``https://recordings.example``; ``None`` if the address is
        none that can be played or followed.
    """

    address: str
    origin: str | None

    @classmethod
    def of(cls, value: Any) -> Recording | None:
        """Return the recording that a webhook's ``recording_url`` stands for; ``None`` if there is none."""
        if not isinstance(value, str) or not value.strip():
            return None
        found = _ADDRESS.fullmatch(value) if len(value) <= _LONGEST else None
        return cls(value, found.group(1).lower() if found else None)
