"""A request ends when its time is over, wherever it is by then, and nothing is sent after that."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_provider_voiceinfra.api import transport
from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.api.transport import Session
from airflow_provider_voiceinfra.exceptions import ApiUnreachableError, CallOutcomeUnknownError, TryAgainError
from tests.api.test_client import (
    CALL,
    CONNECTION,
    answering,
    caught_by,
    client_at,
    http,
    not_taking,
    place_at,
    read_request,
    server,
)

GOOD = http(200, b'{"call_id": "call_1"}', Connection="keep-alive")
TIMEOUT = 1.0
# Between two pieces, in seconds: far shorter than the time-out.
INTERVAL = 0.05
# So many pieces take far longer than the time-out.
PIECES = 300

Answer = Callable[[socket.socket], None]


class Dripper:
    """Sends something all the time, and knows whether the client has turned away."""

    def __init__(self, start: bytes, piece: bytes) -> None:
        self._start = start
        self._piece = piece
        self.left_alone = threading.Event()

    def __call__(self, connection: socket.socket) -> None:
        read_request(connection)
        try:
            connection.sendall(self._start)
            for _ in range(PIECES):
                connection.sendall(self._piece)
                threading.Event().wait(INTERVAL)
        except OSError:
            self.left_alone.set()


DRIPS = {
    "status line": (b"HTTP/1.1 200 O", b"K"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "header line": (b"HTTP/1.1 200 OK\r\nX: ", b"1"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{", b" "),
    "body without a length": (b"HTTP/1.1 200 OK\r\n\r\n{", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "chunk line": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: 1\r\n"),
    "refusal": (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1000\r\n\r\n{", b" "),
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 1000\r\n\r\n{", b" "),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key and a certificate for 127.0.0.1 that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(timezone.utc)
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(loopback, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(private + signed.public_bytes(encoding))
    return file


class Serve:
    """Serves plainly, or with TLS, what a test asks for."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.context = context

    def wrapped(self, answer: Answer) -> Answer:
        def wrap(connection: socket.socket) -> None:
            assert self.context is not None
            with self.context.wrap_socket(connection, server_side=True) as secure:
                answer(secure)

        return wrap if self.context else answer

    @contextmanager
    def __call__(self, answer: Answer) -> Iterator[str]:
        with server(self.wrapped(answer)) as url:
            yield url.replace("http:", "https:") if self.context else url


@pytest.fixture(params=["http", "https"])
def serve(request: pytest.FixtureRequest) -> Serve:
    return request.getfixturevalue("secure") if request.param == "https" else Serve(None)


@pytest.fixture
def secure(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    return Serve(context)


class TestAnswer:
    # What drips is read alike with TLS, whose own reads end with those of the socket.
    @pytest.mark.parametrize(
        ("serve", "drip"),
        [*(("http", drip) for drip in DRIPS), ("https", "header line"), ("https", "chunks")],
        indirect=["serve"],
    )
    def test_answer_that_drips_is_lost_when_the_time_is_over(self, serve: Serve, drip: str) -> None:
        dripper = Dripper(*DRIPS[drip])
        with serve(dripper) as url:
            error = caught_by(lambda: place_at(url, timeout=TIMEOUT))
        assert isinstance(error, CallOutcomeUnknownError)
        assert error.code == "answer_lost"
        assert dripper.left_alone.is_set()

    def test_answer_without_an_end_is_lost_when_the_time_is_over(self, serve: Serve) -> None:
        # It never makes the client wait, so no time-out of a single read would ever be met.
        left_alone = threading.Event()

        def answer(connection: socket.socket) -> None:
            read_request(connection)
            try:
                while True:
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
            except OSError:
                left_alone.set()

        with serve(answer) as url:
            error = caught_by(lambda: place_at(url, timeout=TIMEOUT))
        assert isinstance(error, CallOutcomeUnknownError)
        assert left_alone.is_set()

    def test_answer_that_drips_and_ends_in_time_is_understood(self, serve: Serve) -> None:
        def answer(connection: socket.socket) -> None:
            read_request(connection)
            for byte in GOOD:
                connection.sendall(bytes([byte]))

        with serve(answer) as url:
            assert place_at(url).call_id == "call_1"

    def test_each_request_has_its_own_time(self, serve: Serve) -> None:
        opened = []
        dripper = Dripper(*DRIPS["body"])

        def answer(connection: socket.socket) -> None:
            opened.append(connection)
            for _ in range(2):
                read_request(connection)
                connection.sendall(GOOD)
            dripper(connection)

        with serve(answer) as url:
            connection = replace(CONNECTION, base_url=url, timeout=1.5)
            with VoiceInfraClient(connection, monotonic=lambda: 0.0) as client:
                client.place(CALL)
                threading.Event().wait(connection.timeout)
                client.place(CALL)
                error = caught_by(lambda: client.place(CALL))
        assert isinstance(error, CallOutcomeUnknownError)
        assert dripper.left_alone.is_set()
        assert len(opened) == 1

    def test_answer_that_came_in_time_is_understood_by_a_process_that_was_paused(self, serve: Serve) -> None:
        # More than is read at once, so that the rest is read when the time is over.
        long = GOOD.replace(b"\r\n", b"\r\nX: " + b"x" * 30_000 + b"\r\n", 1)
        with ExitStack() as stack:

            def answer(connection: socket.socket) -> None:
                read_request(connection)
                client.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, client.pid, os.WSTOPPED)
                connection.sendall(long)
                threading.Event().wait(2 * TIMEOUT)
                client.send_signal(signal.SIGCONT)

            url = stack.enter_context(serve(answer))
            code = (
                "from airflow_provider_voiceinfra.api.client import VoiceInfraClient, VoiceInfraConnection\n"
                "from airflow_provider_voiceinfra.calls import OutboundCall\n"
                f"connection = VoiceInfraConnection('vi', 'vk', {url!r}, timeout={TIMEOUT})\n"
                "with VoiceInfraClient(connection) as client:\n"
                "    print(client.place(OutboundCall('+14155550133', 'agent', '+14155550101')).call_id)\n"
            )
            client = stack.enter_context(
                subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
            )
            assert client.communicate(timeout=120)[0] == "call_1\n"


class TestRequest:
    def test_request_that_is_taken_in_drips_may_have_been_understood(self, serve: Serve) -> None:
        given_up, waited_for_ever = threading.Event(), threading.Event()

        def answer(connection: socket.socket) -> None:
            for _ in range(PIECES):
                with suppress(OSError):
                    connection.recv(16_384)
                if given_up.wait(INTERVAL):
                    return
            waited_for_ever.set()

        with serve(answer) as url:
            big = replace(CALL, context="x" * 20_000_000)
            error = caught_by(lambda: place_at(url, big, timeout=TIMEOUT))
            given_up.set()
        assert isinstance(error, CallOutcomeUnknownError)
        assert not waited_for_ever.is_set()

    @pytest.mark.parametrize(("late", "sent"), [(0.1, False), (-60.0, True)])
    def test_request_is_not_begun_after_the_moment_that_is_given(self, late: float, sent: bool) -> None:
        received = []

        def answer(connection: socket.socket) -> None:
            received.append(read_request(connection))
            connection.sendall(GOOD)

        with server(answer) as url, client_at(url) as client, suppress(TryAgainError):
            client.place(CALL, begin_by=time.monotonic() - late)
        assert any(received) is sent

    def test_request_whose_connection_took_until_after_that_moment_is_not_sent(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        received: list[bytes] = []
        begin_by = time.monotonic() + 60.0
        original = socket.getaddrinfo

        def slow(*args: Any, **options: Any) -> Any:
            found = original(*args, **options)
            monkeypatch.setattr(transport, "time", SimpleNamespace(monotonic=lambda: begin_by + 0.1))
            return found

        def answer(connection: socket.socket) -> None:
            received.append(read_request(connection))

        with server(answer) as url, client_at(url, timeout=120.0) as client:
            monkeypatch.setattr(socket, "getaddrinfo", slow)
            with pytest.raises(TryAgainError, match="held up") as caught:
                client.place(CALL, begin_by=begin_by)
        assert not isinstance(caught.value, ApiUnreachableError)
        assert not any(CALL.to_number.encode() in request for request in received)

    @pytest.mark.parametrize(
        ("owner", "name"),
        [(Session, "send"), (socket, "getaddrinfo")],
        ids=["clock", "name"],
    )
    def test_request_is_not_sent_when_the_time_is_over_after(
        self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
    ) -> None:
        received = []
        original = getattr(owner, name)

        def slow(*args: Any, **options: Any) -> Any:
            threading.Event().wait(2 * TIMEOUT)
            return original(*args, **options)

        monkeypatch.setattr(owner, name, slow)
        with server(lambda connection: received.append(read_request(connection))) as url:
            error = caught_by(lambda: place_at(url, timeout=TIMEOUT))
        assert type(error) is ApiUnreachableError
        assert not any(received)


class TestAddresses:
    @pytest.fixture
    def hosts(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
        """Return the addresses of made-up hosts, for a test to fill in."""
        hosts: dict[str, list[str]] = {}
        found = socket.getaddrinfo

        def look_up(host: str, *args: Any, **kwargs: Any) -> Any:
            names = hosts.get(host, [host])
            return [entry for name in names for entry in found(name, *args, **kwargs)]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        return hosts

    def test_host_with_a_silent_address_is_reached_by_another(self, hosts: dict[str, list[str]]) -> None:
        hosts["two.example"] = ["127.0.0.2", "127.0.0.1"]
        with server(answering(GOOD)) as url, not_taking("127.0.0.2", int(urlsplit(url).port or 0)):
            assert place_at(url.replace("127.0.0.1", "two.example"), timeout=3.0).call_id == "call_1"

    def test_silent_addresses_share_the_time(self, hosts: dict[str, list[str]]) -> None:
        hosts["many.example"] = ["127.0.0.2"] * 20
        start = time.monotonic()
        with not_taking("127.0.0.2") as url:
            error = caught_by(lambda: place_at(url.replace("127.0.0.2", "many.example"), timeout=TIMEOUT))
        assert type(error) is ApiUnreachableError
        assert time.monotonic() - start < 20 * TIMEOUT / 2


class TestProxy:
    @pytest.fixture
    def through(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], Any]:
        """Return what places a call through a proxy, and returns the error."""
        for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)

        def place(answer: Answer) -> Any:
            with server(answer) as url:
                monkeypatch.setenv("https_proxy", url.removesuffix("/v1"))
                return caught_by(lambda: place_at("https://127.0.0.1:1/v1", timeout=1.0))

        return place

    def test_proxy_that_drips_has_sent_nothing(self, through: Callable[[Answer], Any]) -> None:
        dripper = Dripper(b"HTTP/1.1 200 OK\r\nX: ", b"1")
        assert type(through(dripper)) is ApiUnreachableError
        assert dripper.left_alone.is_set()

    @pytest.mark.parametrize(
        "raw",
        [b"HTTP/1.1 \xff\r\n\r\n", b"\xff", b"", b"HTTP/1.1 407 No\r\n\r\n", b"HTTP/1.1 302 Found\r\n\r\n"],
    )
    def test_proxy_that_makes_no_sense_has_sent_nothing(
        self, through: Callable[[Answer], Any], raw: bytes
    ) -> None:
        assert type(through(answering(raw))) is ApiUnreachableError

    def test_answer_that_drips_through_a_proxy_is_lost(
        self, through: Callable[[Answer], Any], secure: Serve
    ) -> None:
        dripper = Dripper(*DRIPS["chunks"])

        def answer(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            secure.wrapped(dripper)(connection)

        assert isinstance(through(answer), CallOutcomeUnknownError)
        assert dripper.left_alone.is_set()
