"""Webhooks as the vendor sends them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import requests

from airflow_provider_voiceinfra.webhooks.signing import EVENT_HEADER, SIGNATURE_HEADER, sign


def completion(call_id: str, **fields: Any) -> dict[str, Any]:
    """Return what tells that a call is over; further fields win."""
    return {
        "event": "call.completed",
        "call_id": call_id,
        "agent_id": "agent_demo",
        "from_number": "+12025550100",
        "to_number": "+14155550143",
        "call_outcome": "answered",
        "duration_seconds": 12,
        "transcript": "Agent: Hello.\nCaller: Hello.",
        "summary": "They said hello.",
        **fields,
    }


def post(url: str, secret: str, webhook: Mapping[str, Any]) -> requests.Response:
    """Sign a webhook and send it."""
    body = json.dumps(webhook).encode()
    headers = {
        "Content-Type": "application/json",
        SIGNATURE_HEADER: sign(secret, body),
        EVENT_HEADER: json.dumps(webhook["event"]).strip('"'),
    }
    return requests.post(url, body, headers=headers, timeout=30)
