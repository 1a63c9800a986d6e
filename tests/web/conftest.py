"""What the tests of the receiver share: a real ledger, signed deliveries, and the app over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.settings import Settings
from airflow_provider_voiceinfra.web.app import create_app
from airflow_provider_voiceinfra.webhooks.signing import SIGNATURE_HEADER, sign
from tests.support.serving import Server as Server

SECRET = "first-secret-of-the-tests"
NEXT_SECRET = "second-secret-of-the-tests"
MAX_BYTES = 20_000
CONNECTIONS: dict[str, tuple[str, ...]] = {
    "voiceinfra_default": (SECRET,),
    "rotating": (SECRET, NEXT_SECRET),
    "no_secret": (),
}


def completion(call_id: str = "call_1", **fields: Any) -> bytes:
    """Return the body of a webhook as the vendor sends it."""
    record = {
        "call_id": call_id,
        "event": "call.completed",
        "from_number": "+14155550100",
        "to_number": "+14155550123",
        "agent_id": "agent_1",
        "duration_seconds": 42,
        "start_time": "2026-01-02T03:04:05Z",
        "end_time": "2026-01-02T03:04:47Z",
        "call_outcome": "answered",
        "transcript": "Agent: good morning, this is confidential",
        **fields,
    }
    return json.dumps(record).encode()


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    """Return the headers of a genuine webhook."""
    return {SIGNATURE_HEADER: sign(secret, body), "X-VoiceInfra-Event": "call.completed"}


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    return CallLedger(ledger_url)


@pytest.fixture
def make_app(ledger_url: str) -> Callable[..., FastAPI]:
    """Return a maker of receivers; options are those of the settings."""

    def make(url: str = ledger_url, *, secrets_for: Any = CONNECTIONS.get, **options: Any) -> FastAPI:
        settings = Settings(sql_alchemy_conn=url, **{"max_webhook_bytes": MAX_BYTES, **options})
        return create_app(ledger=CallLedger(url), secrets_for=secrets_for, settings=settings)

    return make


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Return what serves an app over real HTTP until the test ends."""
    servers: list[Server] = []

    def start(app: FastAPI, **options: Any) -> Server:
        servers.append(Server(app, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
