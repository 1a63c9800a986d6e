"""The routes for the vendor, over real HTTP and onto a real ledger."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.fernet import Fernet
from fastapi import FastAPI

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.keys import Encryption
from airflow_provider_voiceinfra.web.app import create_app
from airflow_provider_voiceinfra.web.receiver.webhook import RETRY_AFTER_SECONDS
from airflow_provider_voiceinfra.webhooks.signing import SIGNATURE_HEADER, sign
from tests.support.ledgers import ON_SQLITE
from tests.support.waiting import until
from tests.web.conftest import CONNECTIONS, MAX_BYTES, NEXT_SECRET, SECRET, Server, completion, signed

Serve = Callable[[FastAPI], Server]
MakeApp = Callable[..., FastAPI]
REFUSED = (401, {"error": "unauthorized"})


@pytest.fixture
def server(make_app: MakeApp, serve: Serve) -> Server:
    return serve(make_app())


def post(server: Server, body: bytes, headers: dict[str, str], path: str = "/webhooks") -> requests.Response:
    return requests.post(server.url + path, data=body, headers=headers, timeout=60)


def raw(server: Server, request: bytes, *, hang_up: bool = False) -> bytes:
    """Send bytes that no HTTP library would, and return the answer's first kilobytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request)
        if hang_up:
            return b""
        return connection.recv(4096)


def raw_post(body: bytes, *headers: str, path: str = "/webhooks") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: receiver", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def stored(ledger: CallLedger) -> tuple[int, int]:
    return ledger.last_sequence(), len(ledger.deliveries.kept(include_replayed=True))


BODY = completion()
DIGEST = sign(SECRET, BODY)


def test_each_way_of_writing_the_digest_is_taken(server: Server, ledger: CallLedger) -> None:
    for number, form in enumerate(("{0}", "{1}", "sha256={0}", "sha256={1}")):
        body = completion(f"call_{number}")
        digest = sign(SECRET, body)
        answer = post(server, body, {SIGNATURE_HEADER: form.format(digest, digest.upper())})
        assert (answer.status_code, answer.json()) == (200, {"status": "recorded"}), form
        entry = ledger.completion(f"call_{number}")
        assert entry is not None
        assert (entry.body, entry.conn_id) == (body, "voiceinfra_default")


OTHER_SIGNATURES = {
    "wrong key": sign("another-secret", BODY),
    "of another body": sign(SECRET, BODY + b" "),
    "cut short": DIGEST[:-1],
    "too long": DIGEST + "0",
    "space inside": f"{DIGEST[:32]} {DIGEST[32:]}",
    "space after the prefix": f"sha256= {DIGEST}",
    "prefix in capitals": f"SHA256={DIGEST}",
    "other prefix": f"sha512={DIGEST}",
    "prefix of another vendor": f"v1,{DIGEST}",
    "joined by a proxy": f"{DIGEST},{DIGEST}",
    "base64": base64.b64encode(hmac.new(SECRET.encode(), BODY, hashlib.sha256).digest()).decode(),
    "empty": "",
    "prefix only": "sha256=",
    "non-ASCII": "é" * 64,
    "digits of another kind": "\u00b2" * 64,
}


@ON_SQLITE
def test_any_other_signature_is_refused_and_nothing_is_stored(server: Server, ledger: CallLedger) -> None:
    for name, signature in OTHER_SIGNATURES.items():
        headers: Any = {SIGNATURE_HEADER: signature.encode("latin-1")}
        answer = post(server, BODY, headers)
        assert (answer.status_code, answer.json()) == REFUSED, name
    missing, altered = (
        post(server, BODY, {}),
        post(server, BODY.replace(b"answered", b"failed"), signed(BODY)),
    )
    for answer in (missing, altered):
        assert (answer.status_code, answer.json()) == REFUSED
    header = f"{SIGNATURE_HEADER}: {DIGEST}"
    twice = raw_post(BODY, header, header, f"Content-Length: {len(BODY)}")
    assert raw(server, twice).startswith(b"HTTP/1.1 401")
    assert stored(ledger) == (0, 0)


@ON_SQLITE
def test_while_secrets_rotate_both_are_good(server: Server) -> None:
    for secret in (SECRET, NEXT_SECRET):
        assert post(server, BODY, signed(BODY, secret), "/webhooks/rotating").status_code == 200


PATHS = (
    *("/webhooks/nobody_knows_it", "/webhooks/no_secret", "/webhooks/a%2Fb", "/webhooks/%00"),
    *("/webhooks/%ff%fe", "/webhooks//", "/webhooks/..%2f..%2fetc", "/webhooks/" + "x" * 10_000),
    "/webhooks/voiceinfra_default/",
)


@ON_SQLITE
def test_unknown_connections_and_those_without_secret_answer_like_a_wrong_signature(
    server: Server, ledger: CallLedger
) -> None:
    wrong = post(server, BODY, signed(BODY, "another-secret"))
    for path in PATHS:
        headers = (f"{SIGNATURE_HEADER}: {DIGEST}", f"Content-Length: {len(BODY)}")
        head, _, body = raw(server, raw_post(BODY, *headers, path=path)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401"), path
        assert body == wrong.content, path
    assert stored(ledger) == (0, 0)


@ON_SQLITE
def test_path_without_connection_is_the_default_one(server: Server, ledger: CallLedger) -> None:
    for number, path in enumerate(("/webhooks", "/webhooks/", "/webhooks/voiceinfra_default")):
        body = completion(f"call_{number}")
        assert post(server, body, signed(body), path).status_code == 200
    assert {entry.conn_id for entry in ledger.completions_after(0)} == {"voiceinfra_default"}
    assert ledger.last_sequence() == 3


@ON_SQLITE
def test_unsigned_webhooks_are_taken_only_if_allowed_and_no_secret_is_set(
    make_app: MakeApp, serve: Serve
) -> None:
    server = serve(make_app(allow_unsigned_webhooks=True))
    assert post(server, BODY, {}, "/webhooks/no_secret").status_code == 200
    assert post(server, BODY, {SIGNATURE_HEADER: "junk"}, "/webhooks/no_secret").status_code == 200
    assert post(server, BODY, {}, "/webhooks").status_code == 401
    assert post(server, BODY, {SIGNATURE_HEADER: "0" * 64}, "/webhooks").status_code == 401
    assert post(server, BODY, {}, "/webhooks/nobody_knows_it").status_code == 401


@ON_SQLITE
@pytest.mark.parametrize(
    ("announced", "sent"),
    [(MAX_BYTES + 1, MAX_BYTES + 1), (10**12, 10), (None, MAX_BYTES + 1)],
    ids=["honest", "boasting", "not announced"],
)
def test_too_large_body_is_refused(
    server: Server, ledger: CallLedger, announced: int | None, sent: int
) -> None:
    body, length = b"x" * sent, f"Content-Length: {announced}"
    if announced is None:
        body, length = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), "Transfer-Encoding: chunked"
    request = raw_post(body, f"{SIGNATURE_HEADER}: {DIGEST}", length)
    assert raw(server, request).startswith(b"HTTP/1.1 413")
    assert stored(ledger) == (0, 0)


@ON_SQLITE
def test_body_of_exactly_the_limit_is_taken_also_in_chunks(server: Server, ledger: CallLedger) -> None:
    body = completion(padding="")
    body = completion(padding="x" * (MAX_BYTES - len(body)))
    assert len(body) == MAX_BYTES
    half = len(body) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    headers = (f"{SIGNATURE_HEADER}: {sign(SECRET, body)}", "Transfer-Encoding: chunked")
    assert raw(server, raw_post(chunks + b"0\r\n\r\n", *headers)).startswith(b"HTTP/1.1 200")
    assert ledger.last_sequence() == 1


@ON_SQLITE
def test_sender_that_hangs_up_leaves_nothing_behind(
    server: Server, ledger: CallLedger, caplog: pytest.LogCaptureFixture
) -> None:
    request = raw_post(BODY[:20], f"{SIGNATURE_HEADER}: {DIGEST}", f"Content-Length: {len(BODY)}")
    with caplog.at_level(logging.INFO):
        raw(server, request, hang_up=True)
        until(lambda: "hung up" in caplog.text)
    assert post(server, BODY, signed(BODY)).status_code == 200
    assert stored(ledger) == (1, 0)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@ON_SQLITE
def test_sender_that_asks_before_it_sends_is_answered(server: Server) -> None:
    head = raw_post(
        b"", f"{SIGNATURE_HEADER}: {DIGEST}", f"Content-Length: {len(BODY)}", "Expect: 100-continue"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head)
        assert connection.recv(4096).startswith(b"HTTP/1.1 100")
        connection.sendall(BODY)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


@ON_SQLITE
def test_other_methods_are_not_allowed(server: Server) -> None:
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        for path in ("/webhooks", "/webhooks/voiceinfra_default"):
            assert requests.request(method, server.url + path, timeout=20).status_code == 405, method


def test_repetitions_at_the_same_moment_make_one_record(server: Server, ledger: CallLedger) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: post(server, BODY, signed(BODY)), range(16)))
    assert [answer.status_code for answer in answers] == [200] * 16
    assert sorted(answer.json()["status"] for answer in answers) == ["duplicate"] * 15 + ["recorded"]
    assert stored(ledger) == (1, 0)


def test_signed_but_unusable_webhook_is_kept_once(server: Server, ledger: CallLedger) -> None:
    bodies = [b"", b"not json", b"[]", b'{"event": "call.completed"}', completion(event="call.started")]
    for body in bodies:
        for _ in range(3):
            answer = post(server, body, signed(body))
            assert (answer.status_code, answer.json()) == (200, {"status": "kept"}), body
    assert [kept.body for kept in ledger.deliveries.kept()] == bodies[::-1]
    assert {(kept.conn_id, kept.event) for kept in ledger.deliveries.kept()} == {
        ("voiceinfra_default", "call.completed")
    }


@ON_SQLITE
def test_while_the_ledger_is_down_the_sender_is_asked_to_come_again(
    make_app: MakeApp, serve: Serve, ledger_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "not there yet"
    url = f"sqlite:///{folder / 'ledger.db'}"
    server = serve(make_app(url))
    answer = post(server, BODY, signed(BODY))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, str(RETRY_AFTER_SECONDS))
    assert str(folder) not in answer.text
    folder.mkdir()
    assert post(server, BODY, signed(BODY)).json() == {"status": "recorded"}
    assert CallLedger(url).completion("call_1") is not None


@ON_SQLITE
def test_unreachable_postgresql_is_answered_503(make_app: MakeApp, serve: Serve) -> None:
    server = serve(make_app("postgresql://nobody:nothing@127.0.0.1:1/ledger"))
    assert post(server, BODY, signed(BODY)).status_code == 503
    assert requests.get(server.url + "/health", timeout=20).status_code == 503


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


@ON_SQLITE
def test_logs_hold_no_secret_number_signature_or_body(
    make_app: MakeApp, serve: Serve, everything_logged: pytest.LogCaptureFixture
) -> None:
    server = serve(make_app())
    broken = serve(make_app("postgresql://nobody:nothing@127.0.0.1:1/ledger"))
    for body in (BODY, completion(summary="another"), b"+14155550123 confidential"):
        for headers in (signed(body), signed(body, "another-secret"), {SIGNATURE_HEADER: "confidential"}):
            for path in ("/webhooks", "/webhooks/no_secret", "/webhooks/+14155550123"):
                post(server, body, headers, path)
        post(broken, body, signed(body))
    ours = [record for record in everything_logged.records if record.name.startswith("airflow_provider")]
    assert any("could not be used and was kept" in record.getMessage() for record in ours)
    assert any("was rejected" in record.getMessage() for record in ours)
    for hidden in (SECRET, DIGEST, "confidential", "good morning"):
        assert hidden not in everything_logged.text, hidden
    # The server's own access log has the path that its sender chose; ours must not.
    assert not any("5550123" in record.getMessage() for record in ours)


def test_while_the_receiver_lacks_the_ledgers_key_the_sender_is_asked_to_come_again(
    serve: Serve, ledger_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = Fernet.generate_key().decode()
    CallLedger(ledger_url, encryption=Encryption((key,))).check()
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", ledger_url)
    for fernet_key in ("", Fernet.generate_key().decode()):
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", fernet_key)
        server = serve(create_app(secrets_for=CONNECTIONS.get))
        assert post(server, BODY, signed(BODY)).status_code == 503
        assert requests.get(server.url + "/health", timeout=20).status_code == 503
        assert "Set [core] fernet_key" in caplog.text
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", key)
    assert post(serve(create_app(secrets_for=CONNECTIONS.get)), BODY, signed(BODY)).status_code == 200
