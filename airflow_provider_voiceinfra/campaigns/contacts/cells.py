"""The values in the cells of a contact, checked; knows one value at a time, never the row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from airflow_provider_voiceinfra.calls import check_agent
from airflow_provider_voiceinfra.campaigns.contacts.rows import MAX_CELL_BYTES
from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.rules.calling_window.regions import region_of
from airflow_provider_voiceinfra.rules.calling_window.zones import zone_named
from airflow_provider_voiceinfra.rules.recipient import Recipient

MAX_KEY_LENGTH = 250
MAX_CONSENT_LENGTH = 255


def filled(value: object) -> object:
    """Return a value without blanks around it; ``None`` if nothing is left."""
    if isinstance(value, str):
        return value.strip() or None
    return value


def agent(value: object) -> str | None:
    """Return an agent's id; ``None`` if the value is empty.

    :raises InvalidCallError: if the API cannot be expected to take it.
    """
    agent_id = filled(value)
    if agent_id is None:
        return None
    check_agent(agent_id)
    return str(agent_id)


def key_of(name: str, value: object) -> str:
    """Return what identifies a contact, out of a column.

    :raises InvalidCallError: if it is empty or no short text.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    key = filled(value)
    if key is None:
        raise InvalidCallError(name, "is empty, and identifies the contacts")
    if not isinstance(key, str) or len(key) > MAX_KEY_LENGTH or not key.isprintable():
        raise InvalidCallError(
            name,
            f"identifies the contacts, so it must be a whole number or printable text of at most "
            f"{MAX_KEY_LENGTH} characters",
        )
    return key


def mark_of(key: str) -> int:
    """Return a number that stands for a key and takes little memory."""
    # Sixteen bytes: two of ten million keys are alike by chance once in 10**24 campaigns.
    return int.from_bytes(blake2b(key.encode(), digest_size=16).digest(), "big")


def variables_of(values: Mapping[str, Any] | None, without: frozenset[str]) -> dict[str, Any]:
    """Return the values that are not empty, but for those of some names.

    :raises InvalidCallError: naming the first value that is not JSON or cannot be stored.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping) or not all([isinstance(name, str) for name in values]):
        raise InvalidCallError("variables", "must be a mapping from names to values")
    variables = {}
    for name, value in values.items():
        if name in without or value is None:
            continue
        if isinstance(value, str):
            if not value or value.isspace():
                continue
            check_text(name, value)
        else:
            _check_value(name, value)
        variables[name] = value
    return variables


def _check_value(name: str, value: object) -> None:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidCallError(
            name, f"the value ({type(value).__name__}) is not JSON; write it as text or a number"
        ) from exc
    if "\\u0000" in text:
        raise InvalidCallError(name, "holds a NUL character; remove it")
    check_text(name, text)


def own_text(name: str, row: Mapping[str, Any]) -> str | None:
    """Return the text in a column; ``None`` if it is empty.

    :raises InvalidCallError: if it is no text.
    """
    value = filled(row.get(name))
    if value is not None and not isinstance(value, str):
        raise InvalidCallError(name, f"must be text, not {type(value).__name__}")
    return value


def recipient_in(row: Mapping[str, Any], number: str) -> Recipient:
    """Return what a row says of the person with a number.

    :raises InvalidCallError: naming the column whose value is wrong.
    """
    timezone, region, consent = (own_text(name, row) for name in Recipient._fields)
    if timezone is not None:
        zone_named(timezone)
    if consent is not None:
        check_text("consent", consent)
        if len(consent) > MAX_CONSENT_LENGTH:
            raise InvalidCallError(
                "consent",
                f"has {len(consent):,} characters, and at most {MAX_CONSENT_LENGTH} are kept; write where "
                "the proof is",
            )
    return Recipient(timezone, region and region_of(region, number), consent)


def check_text(name: str, text: str) -> None:
    """Refuse what databases cannot hold, and what is too long to be meant.

    :raises InvalidCallError: naming the field.
    """
    if len(text) * 4 > MAX_CELL_BYTES or not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError as exc:
            raise InvalidCallError(name, "holds half of a character (a lone surrogate)") from exc
        if size > MAX_CELL_BYTES:
            raise InvalidCallError(name, f"has more than {MAX_CELL_BYTES:,} bytes; shorten it")
    if "\0" in text:
        raise InvalidCallError(name, "holds a NUL character; remove it")
