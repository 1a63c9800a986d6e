"""What was rejected is remembered: seldom, without anything of its sender's, and in nobody's way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from fastapi import FastAPI
from fastapi.testclient import TestClient

from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.lists.values import LastRejection
from airflow_provider_voiceinfra.ledger.webhooks.deliveries import DeliveriesLedger
from airflow_provider_voiceinfra.web.receiver import rejections
from airflow_provider_voiceinfra.web.receiver.rejections import (
    EVERY_SECONDS,
    EVERY_SECONDS_PER_CONNECTION,
    Rejections,
)
from airflow_provider_voiceinfra.web.receiver.secrets import ConnectionsUnavailableError
from airflow_provider_voiceinfra.webhooks.reasons import RejectionReason as Reason
from airflow_provider_voiceinfra.webhooks.signing import SIGNATURE_HEADER
from tests.support.clocks import Clock
from tests.support.ledgers import ON_SQLITE
from tests.web.conftest import CONNECTIONS, MAX_BYTES, Server, completion, signed

BODY = completion()
WRONG = Reason.WRONG_SIGNATURE.value
UNSIGNED = Reason.MISSING_SIGNATURE.value
UNKNOWN = Reason.UNKNOWN_CONNECTION.value


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def receiver(make_app: Callable[..., FastAPI]) -> TestClient:
    """Return a client for whose requests everything is done when they return."""
    return TestClient(make_app())


class Notes:
    """Takes rejections as the receiver does.

    :param written: what came to the ledger.
    """

    def __init__(self, clock: Clock, written: list[tuple[str, str]]) -> None:
        self.written = written
        deliveries = SimpleNamespace(note_rejection=lambda *what: written.append(what))
        ledger: Any = SimpleNamespace(deliveries=deliveries)
        self._rejections = Rejections(lambda: ledger, CONNECTIONS.get, clock)

    def reject(self, conn_id: str, reason: str) -> None:
        if self._rejections.is_due(conn_id, reason):
            self._rejections.write(conn_id, reason)


@pytest.fixture
def notes(clock: Clock) -> Notes:
    return Notes(clock, [])


def remembered(ledger: CallLedger) -> LastRejection:
    [only] = ledger.deliveries.rejections()
    return only


WRONG_KEY = signed(BODY, "another-secret")


@pytest.mark.parametrize(
    ("conn_id", "headers", "known_as", "reason"),
    [
        ("voiceinfra_default", WRONG_KEY, "voiceinfra_default", WRONG),
        ("voiceinfra_default", {}, "voiceinfra_default", UNSIGNED),
        ("voiceinfra_default", {SIGNATURE_HEADER: "junk"}, "voiceinfra_default", "malformed_signature"),
        ("no_secret", signed(BODY), "no_secret", "no_secret"),
        # By what was typed: there is none of that id.
        ("voiceinfra_defualt", signed(BODY), "", "unknown_connection:'voiceinfra_defualt'"),
        ("voiceinfra_defualt", {}, "", "unknown_connection:'voiceinfra_defualt'"),
    ],
    ids=["wrong", "missing", "malformed", "no secret", "unknown, signed", "unknown, unsigned"],
)
def test_last_rejection_is_remembered_with_its_reason_and_nothing_of_its_sender(
    receiver: TestClient,
    ledger: CallLedger,
    conn_id: str,
    headers: dict[str, str],
    known_as: str,
    reason: str,
) -> None:
    assert receiver.post(f"/webhooks/{conn_id}", content=BODY, headers=headers).status_code == 401
    found = remembered(ledger)
    assert (found.conn_id, found.reason, found.number) == (known_as, reason, 1)
    hidden = (WRONG_KEY[SIGNATURE_HEADER], "5550123", "good morning")
    assert not [word for word in hidden if word in str(found)]


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "not announced"])
def test_too_large_body_is_remembered(receiver: TestClient, ledger: CallLedger, announced: bool) -> None:
    body = b"x" * (MAX_BYTES + 1)
    answer = receiver.post("/webhooks", content=body if announced else iter([body]))
    assert answer.status_code == 413
    assert (remembered(ledger).conn_id, remembered(ledger).reason) == ("voiceinfra_default", "too_large")


@ON_SQLITE
@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("+14155550123", "'+1415***0123'"),
        ("x" * 10_000, f"'{'x' * 64}'"),
        ("x" * 55 + "+14155550123", f"'{'x' * 55}+1415***0'"),
        ("a%00b%09c%ff", "'a\\x00b\\tc"),
        ("<script>", "'<script>'"),
        ("it's", '"it\'s"'),
    ],
    ids=["number", "long", "number that is cut", "control characters", "markup", "quote"],
)
def test_what_an_unauthenticated_sender_typed_is_kept_short_quoted_and_without_numbers(
    receiver: TestClient, ledger: CallLedger, typed: str, shown: str
) -> None:
    receiver.post(f"/webhooks/{typed}", content=BODY, headers=signed(BODY))
    reason = remembered(ledger).reason
    assert shown in reason
    assert len(reason) < 400
    assert reason.isprintable()


def test_genuine_webhook_is_no_rejection(receiver: TestClient, ledger: CallLedger) -> None:
    assert receiver.post("/webhooks", content=BODY, headers=signed(BODY)).status_code == 200
    assert ledger.deliveries.rejections() == []


@pytest.mark.parametrize(
    ("conn_id", "reasons", "step", "written"),
    [
        ("voiceinfra_default", (WRONG,), EVERY_SECONDS_PER_CONNECTION / 500, 2),
        ("connection_{0}", (WRONG,), EVERY_SECONDS / 100, 10),
        ("made_up_{0}", (UNKNOWN, UNSIGNED), EVERY_SECONDS_PER_CONNECTION / 500, 2),
    ],
    ids=["one connection", "many connections", "made-up connections"],
)
def test_flood_is_written_once_in_a_while(
    notes: Notes, clock: Clock, conn_id: str, reasons: tuple[str, ...], step: float, written: int
) -> None:
    for number in range(1000):
        notes.reject(conn_id.format(number), reasons[number % len(reasons)])
        clock.now += step
    assert len(notes.written) == written


def test_flood_of_made_up_connections_does_not_hide_a_real_one(notes: Notes, clock: Clock) -> None:
    for number in range(300):
        notes.reject(f"made_up_{number}", UNSIGNED)
        clock.now += EVERY_SECONDS / 50
        if number == 100:
            notes.reject("voiceinfra_default", WRONG)
    assert ("voiceinfra_default", WRONG) in notes.written


def test_existing_connection_is_known_again_whatever_was_wrong(notes: Notes, clock: Clock) -> None:
    notes.reject("voiceinfra_default", UNSIGNED)
    clock.now += EVERY_SECONDS_PER_CONNECTION
    notes.reject("nowhere", UNSIGNED)
    clock.now += EVERY_SECONDS
    # The turn of unknown connections has just been; the connection has its own.
    notes.reject("voiceinfra_default", UNSIGNED)
    assert [conn_id for conn_id, _ in notes.written] == ["voiceinfra_default", "", "voiceinfra_default"]


@pytest.mark.parametrize(
    "failure",
    [LedgerUnavailableError("down"), ConnectionsUnavailableError("down"), RuntimeError("+14155550123")],
    ids=["ledger", "connections", "ours"],
)
def test_rejection_that_cannot_be_written_changes_nothing(
    receiver: TestClient,
    ledger: CallLedger,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failure: Exception,
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(DeliveriesLedger, "note_rejection", fail)
    answer = receiver.post("/webhooks", content=BODY)
    assert (answer.status_code, answer.json()) == (401, {"error": "unauthorized"})
    assert "5550123" not in caplog.text
    monkeypatch.undo()
    assert ledger.deliveries.rejections() == []


def test_slow_ledger_keeps_neither_the_answer_nor_genuine_webhooks_waiting(
    make_app: Callable[..., FastAPI],
    serve: Callable[[FastAPI], Server],
    ledger: CallLedger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        begun.set()
        go_on.wait(60)

    monkeypatch.setattr(DeliveriesLedger, "note_rejection", wait)
    for name in ("EVERY_SECONDS", "EVERY_SECONDS_PER_CONNECTION"):
        monkeypatch.setattr(rejections, name, 0.0)
    server = serve(make_app())
    try:
        for number in range(40):  # more than there are threads
            unsigned = requests.post(f"{server.url}/webhooks/of_{number}", data=BODY, timeout=20)
            assert unsigned.status_code == 401
        assert begun.wait(20)
        genuine = requests.post(f"{server.url}/webhooks", data=BODY, headers=signed(BODY), timeout=20)
        assert genuine.json() == {"status": "recorded"}
    finally:
        go_on.set()
