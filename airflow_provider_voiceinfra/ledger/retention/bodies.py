"""What is left of a completion record when a part of it has to go."""

from __future__ import annotations

import json
from collections.abc import Collection
from enum import Enum
from typing import Any


class Erased(str, Enum):
    """Which part of a record is gone; whatever comes again for its call is not stored then."""

    NUMBER = "number"
    """Places that spoke of somebody who is forgotten."""
    TEXTS = "texts"
    """All that was said, and what came of it: everything but ``KEPT``."""
    ALL = "all"
    """The texts, and the number of the person."""


NUMBERS = ("from_number", "to_number")
# The vendor may name what the agent extracted as it likes, so what is kept is named, not what goes.
KEPT = (
    *("event", "call_id", "agent_id", *NUMBERS, "call_outcome"),
    *("duration_seconds", "start_time", "end_time"),
)
"""The fields of a record that are not about what was said."""


def without_texts(body: bytes, *, but: Collection[str] = KEPT) -> bytes:
    """Return the body of a record without transcript, summary, recording, extracted data and the like.

    :param but: the fields that stay, if their values are plain.
    """
    payload = json.loads(body)
    kept = {name: payload[name] for name in but if _is_plain(payload.get(name))}
    return encoded(kept)


def encoded(payload: Any) -> bytes:
    """Return a record as it is stored once it is no longer what came."""
    return json.dumps(payload).encode()


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, int, float))
