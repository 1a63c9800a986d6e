"""Which field of a completion record says that the person must not be called again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_voiceinfra.calls import CompletionRecord
from airflow_provider_voiceinfra.exceptions import InvalidCallError

_EXAMPLE = "'extracted_data.opt_out = true'"


@dataclass(frozen=True)
class OptOut:
    """Fields of a record, each with the value that says so; one of them is enough.

    :param fields: the names on the way to a field, from the record down, and the value as text in lower case.
    """

    fields: tuple[tuple[tuple[str, ...], str], ...]
    spec: str = ""
    """What the user wrote."""

    @classmethod
    def parse(cls, spec: object) -> OptOut:
        """Read what users write.

        :param spec: such as ``"extracted_data.opt_out = true"``; several are separated by ``;``. Values are
            compared as text, whatever their case: an agent may extract ``true``, ``"true"`` or ``"True"``.
        :raises InvalidCallError: naming ``opt_out`` and what is wrong in it.
        """
        if not isinstance(spec, str):
            raise _error(f"must be text such as {_EXAMPLE}, not {type(spec).__name__}")
        parts = [part.strip() for part in spec.split(";") if part.strip()]
        if not parts:
            raise _error(f"is empty; write a field and its value such as {_EXAMPLE}, or leave it out")
        return cls(tuple(_field(part) for part in parts), "; ".join(parts))

    def is_in(self, payload: Mapping[str, Any]) -> bool:
        """Return whether a record says that the person must not be called again."""
        return any(_as_text(_value(payload, path)) == value for path, value in self.fields)

    def names_in(self, payload: Mapping[str, Any]) -> set[str]:
        """Return the names of those of its fields that a record has, whatever their values."""
        return {".".join(path) for path, _ in self.fields if _has(payload, path)}

    @property
    def names(self) -> set[str]:
        """The names of its fields."""
        return {".".join(path) for path, _ in self.fields}


def whose(record: CompletionRecord, dialled: str | None) -> tuple[str, ...]:
    """Return the numbers that somebody's opt-out is about.

    :param dialled: the number that was dialled from here, which the record may write otherwise. If none was,
        both of the record's are returned: it does not say who called whom, and in a call that came in it is
        the caller who opts out.
    """
    caller = None if dialled else record.text("from_number")
    return tuple(dict.fromkeys(filter(None, (record.text("to_number"), dialled, caller))))


def _field(part: str) -> tuple[tuple[str, ...], str]:
    path, equals, value = part.partition("=")
    names = tuple(name.strip() for name in path.split("."))
    # As in Python and elsewhere, where people copy it from.
    value = value.removeprefix("=").strip().strip("\"'").strip()
    if not equals or not all(names) or not value:
        raise _error(f"{part[:64]!r} is no field with a value; write it such as {_EXAMPLE}")
    return names, value.lower()


def _value(payload: object, path: tuple[str, ...]) -> object:
    for name in path:
        payload = payload.get(name) if isinstance(payload, Mapping) else None
    return payload


def _has(payload: object, path: tuple[str, ...]) -> bool:
    holder = _value(payload, path[:-1])
    return isinstance(holder, Mapping) and path[-1] in holder


def _as_text(value: object) -> str | None:
    if isinstance(value, str):
        return value.strip().lower()
    return None if value is None else json.dumps(value).lower()


def _error(rule: str) -> InvalidCallError:
    return InvalidCallError("opt_out", rule)
