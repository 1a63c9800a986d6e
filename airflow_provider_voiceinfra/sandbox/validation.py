"""Reads a request to the endpoint and refuses it as the vendor would; knows nothing of faults or limits."""

from __future__ import annotations

import json
import re
from typing import Any

from airflow_provider_voiceinfra.sandbox.settings import Settings

_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_REQUIRED = ("agent_id", "from_number", "to_number")
_OPTIONAL = ("first_message", "context")


class Refusal(Exception):  # noqa: N818  a refusal is an answer, not a fault of the sandbox
    """The request is answered with an error and no call is placed."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def check_key(settings: Settings, key: str | None) -> None:
    """Raise the ``Refusal`` of an API key that is missing or wrong."""
    if key is None:
        raise Refusal(401, "unauthorized", "The X-API-Key header is missing.")
    if key not in settings.api_keys:
        raise Refusal(401, "unauthorized", "The API key is wrong or has been revoked.")


def read_call(settings: Settings, content_type: str, body: bytes) -> dict[str, Any]:
    """Return the documented fields of a request.

    :raises Refusal: naming the field, as the vendor does.
    """
    fields = _json_object(content_type, body)
    for name in _REQUIRED:
        if name not in fields:
            raise Refusal(400, "validation_error", f"{name} is required.")
    for name in _REQUIRED + _OPTIONAL:
        if name in fields and not isinstance(fields[name], str):
            raise Refusal(400, "validation_error", f"{name} must be a string.")
    for name in _REQUIRED:
        if not fields[name]:
            raise Refusal(400, "validation_error", f"{name} must not be empty.")
    if not isinstance(fields.get("variables", {}), dict):
        raise Refusal(400, "validation_error", "variables must be an object.")
    _check_numbers(settings, fields)
    _check_agent(settings, fields["agent_id"])
    return {name: fields[name] for name in (*_REQUIRED, *_OPTIONAL, "variables") if name in fields}


def _not_json(constant: str) -> None:
    # Python reads NaN and Infinity, JSON has neither.
    raise ValueError(constant)


def _json_object(content_type: str, body: bytes) -> dict[str, Any]:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refusal(400, "validation_error", "Content-Type must be application/json.")
    try:
        fields = json.loads(body, parse_constant=_not_json)
    except (ValueError, RecursionError):
        raise Refusal(400, "validation_error", "The body is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise Refusal(400, "validation_error", "The body must be a JSON object.")
    return fields


def _check_numbers(settings: Settings, fields: dict[str, Any]) -> None:
    for name in ("from_number", "to_number"):
        if _E164.fullmatch(fields[name]) is None:
            raise Refusal(422, "invalid_phone", f"{name} is not a valid E.164 number.")
    if settings.from_numbers and fields["from_number"] not in settings.from_numbers:
        raise Refusal(400, "validation_error", "from_number is not configured in this account.")


def _check_agent(settings: Settings, agent_id: str) -> None:
    if agent_id.startswith("inactive"):
        raise Refusal(404, "invalid_agent", "The agent is not active.")
    known = agent_id in settings.agents if settings.agents else not agent_id.startswith("unknown")
    if not known:
        raise Refusal(404, "not_found", "There is no such agent.")
