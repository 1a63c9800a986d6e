"""Prepares values of a webhook, which may be any JSON, so that a page can show them as nested lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MOST_VALUES = 300
"""How many values are shown one by one; a field with more of them is shown as JSON."""
MOST_DEPTH = 5
"""How deep lists are nested on a page; what lies deeper is shown as JSON."""

_MOST_INDENTED = 20_000  # characters; indenting may make the text many times as long


def fields_of(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return fields as a page lists them: too many are one field, and so shown as JSON."""
    return values if len(values) <= MOST_VALUES else {"(all of them)": values}


def depth_of(value: Any) -> int:
    """Return how deep a page nests the lists of a JSON value; 0 if it has too many values for lists."""
    found, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        found += 1
        if found > MOST_VALUES:
            return 0
        if isinstance(one, (dict, list)):
            inner = one.values() if isinstance(one, dict) else one
            waiting.extend(list(inner)[: MOST_VALUES + 1])
    return MOST_DEPTH


def word_for(value: Any) -> str | None:
    """Return our own word for a JSON value that has no text; ``None`` for all others."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "(none)"
    return "(empty)" if value in ("", [], {}) else None


def as_json(value: Any) -> str:
    """Return a value as JSON for people."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) > _MOST_INDENTED else json.dumps(value, ensure_ascii=False, indent=1)
