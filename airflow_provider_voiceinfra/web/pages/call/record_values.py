"""Prepares values of a webhook, which may be any JSON, so that a page can show them as nested lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_VALUES = 300
"""How many values are shown one by one; a field with more of them is shown as JSON."""
MOST_DEPTH = 5
"""How deep lists are nested on a page; what lies deeper is shown as JSON."""

_MOST_INDENTED = 20_000  # characters; indenting may make the text many times as long
_IN_WORDS = {True: "yes", False: "no", None: "(none)", "": "(empty)"}


@dataclass(frozen=True)
class Shown:
    """A value as a page shows it; of the four, one is set.

    :param text: a plain value.
    :param is_word: whether the text is ours, in place of a value that has none.
    :param fields: the values of an object by their names.
    :param items: the values of a list.
    :param json: something too long, or nested too deep, for a list.
    """

    text: str | None = None
    is_word: bool = False
    fields: list[tuple[str, Shown]] = field(default_factory=list)
    items: list[Shown] = field(default_factory=list)
    json: str | None = None


def shown(value: Any) -> Shown:
    """Return what a page shows of a JSON value."""
    if _number_of_values(value, MOST_VALUES) > MOST_VALUES:
        return Shown(json=_json(value))
    return _shown(value, MOST_DEPTH)


def fields_of(values: Mapping[str, Any]) -> list[tuple[str, Shown]]:
    """Return what a page shows of some fields, by their names."""
    if len(values) > MOST_VALUES:
        return [("(all of them)", Shown(json=_json(dict(values))))]
    return [(name, shown(value)) for name, value in values.items()]


def _shown(value: Any, depth: int) -> Shown:
    if isinstance(value, (dict, list)) and value:
        if depth == 0:
            return Shown(json=_json(value))
        if isinstance(value, dict):
            return Shown(fields=[(name, _shown(inner, depth - 1)) for name, inner in value.items()])
        return Shown(items=[_shown(inner, depth - 1) for inner in value])
    if isinstance(value, (dict, list)):
        return Shown(text="(empty)", is_word=True)
    if value is None or value == "" or isinstance(value, bool):
        return Shown(text=_IN_WORDS[value], is_word=True)
    return Shown(text=str(value))


def _number_of_values(value: Any, most: int) -> int:
    """Count values, and stop once there are more than so many."""
    found, waiting = 0, [value]
    while waiting and found <= most:
        one = waiting.pop()
        found += 1
        if isinstance(one, dict):
            waiting.extend(list(one.values())[: most + 1])
        elif isinstance(one, list):
            waiting.extend(one[: most + 1])
    return found


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) > _MOST_INDENTED else json.dumps(value, ensure_ascii=False, indent=1)
