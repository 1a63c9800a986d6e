"""Webhooks of one account never complete calls of another, over real HTTP and with real connections."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from fastapi import FastAPI

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.deployment import read_connection
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallEntry
from airflow_provider_voiceinfra.settings import Settings
from airflow_provider_voiceinfra.web.app import create_app
from tests.web.conftest import Server, completion, signed

CALL = OutboundCall("+14155550123", agent_id="agent_1", from_number="+14155550100")


def connect(monkeypatch: pytest.MonkeyPatch, conn_id: str, api_key: str, **extra: str) -> None:
    extras = {"webhook_secret": of(conn_id), **extra}
    values = {"conn_type": "voiceinfra", "password": api_key, "extra": extras}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(values))


def of(conn_id: str) -> str:
    """Return the webhook secret of a connection."""
    return f"webhook-secret-of-{conn_id}"


def claim(ledger: CallLedger, conn_id: str) -> CallEntry:
    account = read_connection(conn_id).account
    return ledger.claim("key", CALL, conn_id=conn_id, account=account)[0]


def deliver(server: Server, conn_id: str, body: bytes) -> str:
    headers = signed(body, of(conn_id))
    answer = requests.post(f"{server.url}/webhooks/{conn_id}", data=body, headers=headers, timeout=30)
    assert answer.status_code == 200
    return str(answer.json()["status"])


@pytest.fixture
def server(ledger: CallLedger, ledger_url: str, serve: Callable[[FastAPI], Server]) -> Any:
    return serve(create_app(ledger=ledger, settings=Settings(sql_alchemy_conn=ledger_url)))


@pytest.mark.parametrize("forged_first", [False, True], ids=["after the answer", "before the answer"])
def test_webhook_of_another_account_completes_nothing(
    server: Server, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch, forged_first: bool
) -> None:
    connect(monkeypatch, "conn_a", "vk_key_of_a")
    connect(monkeypatch, "conn_b", "vk_key_of_b")
    forged, genuine = completion("call_1", call_outcome="failed"), completion("call_1")
    entry = claim(ledger, "conn_a")
    if forged_first:
        assert deliver(server, "conn_b", forged) == "recorded"
        ledger.accept(entry, "call_1")
    else:
        ledger.accept(entry, "call_1")
        assert deliver(server, "conn_b", forged) == "kept"
    assert ledger.completion("call_1") is None
    [kept] = ledger.deliveries.kept()
    assert (kept.conn_id, kept.body, kept.reason) == ("conn_b", forged, "other_account")
    assert deliver(server, "conn_a", genuine) == "recorded"
    found = ledger.completion("call_1")
    assert found is not None
    assert found.call_outcome == "answered"


@pytest.mark.parametrize("together_by", ["key", "name"])
def test_connections_of_one_account_share_their_webhooks(
    server: Server, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch, together_by: str
) -> None:
    same = {"account": "sales"} if together_by == "name" else {}
    connect(monkeypatch, "conn_a", "vk_key_1", **same)
    connect(monkeypatch, "conn_b", "vk_key_1" if together_by == "key" else "vk_key_2", **same)
    ledger.accept(claim(ledger, "conn_a"), "call_1")
    assert deliver(server, "conn_b", completion("call_1")) == "recorded"
    assert ledger.completion("call_1") is not None


def test_unknown_call_does_not_adopt_the_completion_of_another_account(
    server: Server, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "conn_a", "vk_key_of_a")
    connect(monkeypatch, "conn_b", "vk_key_of_b")
    entry = ledger.mark_unknown(claim(ledger, "conn_a"), "answer_lost", "the connection was cut")
    now = entry.claimed_at.isoformat()
    deliver(server, "conn_b", completion("call_1", start_time=now, end_time=now))
    assert ledger.adopt(entry) == entry
    deliver(server, "conn_a", completion("call_2", start_time=now, end_time=now))
    assert ledger.adopt(entry).call_id == "call_2"
