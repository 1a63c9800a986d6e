"""The rules that were in force for a call, as the ledger keeps them -> which of them applied to a number."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

PLACES = ("deployment", "connection", "task")
"""Where rules are set, the outermost first."""


@dataclass(frozen=True)
class KeptRules:
    """What was set in one place.

    :param place: one of ``PLACES``.
    :param window: the calling window as the user wrote it; ``None`` for any hour.
    :param caps: so many calls within so long, and how that is written.
    :param exempt: the hashes of the numbers that window and caps do not apply to, here and further in.
    """

    place: str
    window: str | None = None
    caps: tuple[tuple[int, timedelta, str], ...] = ()
    exempt: frozenset[str] = field(default=frozenset(), repr=False)
    requires_consent: bool = False


def read_rules(document: bytes, hash_of: Callable[[str], str]) -> tuple[KeptRules, ...]:
    """Read what the ledger keeps of the rules that were in force.

    :param hash_of: returns what the ledger finds a number by.
    :raises ValueError: if they cannot be read.
    """
    stored = json.loads(document)
    if not isinstance(stored, dict) or not set(PLACES).issuperset(stored):
        raise ValueError("the rules are set in a place that is not known")
    found = []
    for place in PLACES:
        values = stored.get(place, {})
        caps = values.get("call_cap") or ""
        found.append(
            KeptRules(
                place,
                values.get("calling_window") or None,
                tuple(_cap(one.strip()) for one in caps.split(",") if one.strip()),
                frozenset(hash_of(number) for number in values.get("exempt_numbers") or ()),
                values.get("require_consent") is True,
            )
        )
    return tuple(found)


def applying(rules: tuple[KeptRules, ...], number_hash: str | None) -> list[KeptRules]:
    """Return the places whose windows and caps applied to a number: all before the one that exempts it."""
    exempting = next((at for at, one in enumerate(rules) if number_hash in one.exempt), len(rules))
    return list(rules[:exempting])


def _cap(text: str) -> tuple[int, timedelta, str]:
    calls, slash, span = text.partition("/")
    unit = {"h": "hours", "d": "days"}.get(span[-1:].lower())
    if not slash or unit is None:
        raise ValueError("a cap is none")
    return int(calls), timedelta(**{unit: int(span[:-1])}), text
