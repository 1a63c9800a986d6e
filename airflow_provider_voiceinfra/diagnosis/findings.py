"""What a check hands back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum

TYPE_A_SECRET = "Type a secret into the vendor's dashboard and the same one into the field 'Webhook secret'."


class Verdict(str, Enum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    :param name: what was checked.
    :param found: what was found, for a person to read.
    :param remedy: what to do about it; empty if nothing.
    """

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the finding as plain JSON."""
        return {**asdict(self), "verdict": self.verdict.value}
