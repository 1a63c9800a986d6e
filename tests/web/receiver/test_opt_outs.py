"""Somebody who opts out in a call is suppressed with the record; the 200 comes after the last request."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import requests
from fastapi import FastAPI

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.connection import WebhookSecrets
from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.rules.suppressions import SuppressionSource
from airflow_provider_voiceinfra.web.receiver import webhook
from tests.support.ledgers import ON_SQLITE
from tests.support.waiting import until
from tests.web.conftest import SECRET, Server, completion, signed

NUMBER = "+14155550123"
CALL = OutboundCall(NUMBER, agent_id="agent_1", from_number="+14155550100")
OPT_OUT = "extracted_data.opt_out = true"
CONN_ID = "voiceinfra_default"


def body(call_id: str = "call_1", opt_out: object = True, **fields: Any) -> bytes:
    return completion(call_id, extracted_data={"opt_out": opt_out}, **fields)


def post(server: Server, sent: bytes) -> requests.Response:
    return requests.post(f"{server.url}/webhooks", data=sent, headers=signed(sent), timeout=60)


def with_own(opt_out: str | None) -> Callable[[str], WebhookSecrets]:
    """Return the secrets of connections that have an opt-out of their own."""
    secrets = WebhookSecrets((SECRET,))
    secrets.opt_out = opt_out
    return lambda conn_id: secrets


@pytest.fixture
def server(make_app: Callable[..., FastAPI], serve: Callable[[FastAPI], Server]) -> Server:
    return serve(make_app(secrets_for=with_own(OPT_OUT)))


def suppressed(ledger: CallLedger, number: str = NUMBER) -> bool:
    return bool(ledger.suppressions.of_number(number))


@pytest.mark.parametrize("said", [True, "true", "True", " TRUE "])
def test_opt_out_suppresses_the_number_everywhere_with_the_record(
    server: Server, ledger: CallLedger, said: object
) -> None:
    assert post(server, body(opt_out=said)).status_code == 200
    [found] = ledger.suppressions.of_number(NUMBER)
    assert (found.conn_id, found.source, found.added_by) == (None, SuppressionSource.WEBHOOK.value, "call_1")
    assert ledger.completion("call_1") is not None
    with pytest.raises(CallNotAllowedError):
        ledger.claim("key", CALL, conn_id="another")


@ON_SQLITE
@pytest.mark.parametrize("said", [False, "false", None, 1, {"of": "it"}, ["true"]])
def test_anything_else_suppresses_nobody(server: Server, ledger: CallLedger, said: object) -> None:
    assert post(server, body(opt_out=said)).status_code == 200
    assert post(server, completion("call_2")).status_code == 200
    assert not suppressed(ledger)


@ON_SQLITE
def test_number_that_was_dialled_counts_however_the_record_writes_it(
    server: Server, ledger: CallLedger
) -> None:
    entry, _ = ledger.claim("key", CALL, conn_id=CONN_ID)
    ledger.accept(entry, "call_1")
    assert post(server, body(to_number="(415) 555-0123")).status_code == 200
    assert suppressed(ledger)


@ON_SQLITE
def test_caller_of_a_call_that_came_in_may_say_it_and_of_our_own_call_only_who_was_called(
    server: Server, ledger: CallLedger
) -> None:
    caller = "+14155550177"
    assert post(server, body("came_in", from_number=caller)).status_code == 200
    assert suppressed(ledger, caller)
    entry, _ = ledger.claim("key", replace(CALL, to_number="+14155550124"), conn_id=CONN_ID)
    ledger.accept(entry, "ours")
    assert post(server, body("ours", to_number="+14155550124", from_number="+14155550178")).status_code == 200
    assert suppressed(ledger, "+14155550124")
    assert not suppressed(ledger, "+14155550178")


@ON_SQLITE
def test_later_webhook_of_a_call_may_say_it_as_well(server: Server, ledger: CallLedger) -> None:
    assert post(server, body(opt_out=False)).json() == {"status": "recorded"}
    assert post(server, body()).json() == {"status": "kept"}  # the first record stays
    assert suppressed(ledger)
    assert post(server, body()).json()["status"] in ("kept", "duplicate")
    assert len(ledger.suppressions.of_number(NUMBER)) == 1


@ON_SQLITE
def test_that_of_the_deployment_counts_for_every_connection(
    make_app: Callable[..., FastAPI], serve: Callable[[FastAPI], Server], ledger: CallLedger
) -> None:
    server = serve(make_app(opt_out="do_not_call = yes"))  # whose connections say nothing of it
    assert post(server, completion(do_not_call="Yes")).status_code == 200
    assert suppressed(ledger)


@ON_SQLITE
def test_one_that_cannot_be_read_is_logged_and_the_record_is_kept(
    make_app: Callable[..., FastAPI],
    serve: Callable[[FastAPI], Server],
    ledger: CallLedger,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = serve(make_app(secrets_for=with_own("opt_out")))
    assert post(server, body()).status_code == 200
    assert ledger.completion("call_1") is not None
    assert "extra 'opt_out'" in caplog.text
    assert "--from-records" in caplog.text


def test_answer_waits_for_a_request_that_may_be_leaving(server: Server, ledger: CallLedger) -> None:
    entry, _ = ledger.claim("key", CALL, conn_id=CONN_ID)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, server, body())
        until(lambda: suppressed(ledger))
        assert not answer.done()
        ledger.accept(entry, "call_2")
        assert answer.result(30).status_code == 200


def test_one_that_does_not_end_is_answered_503_and_200_when_it_is_sent_again(
    server: Server, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "_OPT_OUT_PATIENCE", 0.05)
    entry, _ = ledger.claim("key", CALL, conn_id=CONN_ID)
    for _ in range(2):
        answer = post(server, body())
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        assert suppressed(ledger)
    ledger.refuse(entry, "rate_limited", "429")
    assert post(server, body()).status_code == 200
