"""What each answer of the API, and each way of getting none, says about whether a phone rings."""

from __future__ import annotations

import gzip
import json
import logging
import re
import socket
import threading
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_voiceinfra.api import client as client_module
from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.connection import VoiceInfraConnection
from airflow_provider_voiceinfra.exceptions import (
    ApiUnreachableError,
    CallNotPlacedError,
    CallOutcomeUnknownError,
    CallRefusedError,
    InvalidPhoneError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    UnauthorizedError,
    VoiceInfraError,
)
from tests.sandbox_process import SandboxProcess

CALL = OutboundCall("+14155550133", agent_id="agent_demo", from_number="+14155550101", first_message="Hello")
NUMBER = CALL.to_number
API_KEY = "vk_sandbox_key"
CONNECTION = VoiceInfraConnection("vi", API_KEY, timeout=5.0)


@pytest.fixture
def sandbox(fresh_sandbox: SandboxProcess) -> SandboxProcess:
    return fresh_sandbox


def caught_by(action: Callable[[], object]) -> VoiceInfraError:
    """Return the error of an action, having looked for secrets in whatever it tells and remembers."""
    with pytest.raises(VoiceInfraError) as caught:
        action()
    frames = "".join(traceback.format_exception(caught.value))
    for said in (frames, repr(caught.value)):
        assert API_KEY not in said
        assert NUMBER[1:] not in said
    return caught.value


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a server that treats each connection as it is told, and yield its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stopping = threading.Event()

        def serve() -> None:
            while True:
                with listener.accept()[0] as connection:
                    if stopping.is_set():
                        return
                    connection.settimeout(5)
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            stopping.set()
            with socket.socket() as last:
                last.connect(listener.getsockname())
                thread.join()


@contextmanager
def not_taking(host: str, port: int = 0) -> Iterator[str]:
    """Yield the base URL of an address that takes no connection, as behind a firewall: its queue is full."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind((host, port))
        full.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield f"http://{host}:{full.getsockname()[1]}/v1"


def read_request(connection: socket.socket) -> bytes:
    """Read one whole request; empty if the client has gone."""
    received, length = b"", 0
    while True:
        head, end, body = received.partition(b"\r\n\r\n")
        if end:
            found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            length = int(found[1]) if found else 0
        if end and len(body) >= length:
            return received
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        received += chunk


def http(status: int, body: bytes = b"", **headers: str) -> bytes:
    fields = {"Content-Length": str(len(body)), "Connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Something\r\n{lines}\r\n".encode() + body


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def answering(raw: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        read_request(connection)
        with suppress(OSError):  # the client has read enough
            connection.sendall(raw)

    return answer


def client_at(url: str, **values: Any) -> VoiceInfraClient:
    return VoiceInfraClient(replace(CONNECTION, base_url=url, **values))


def place_at(url: str, call: OutboundCall = CALL, **values: Any) -> Any:
    with client_at(url, **values) as client:
        return client.place(call)


def error_of(raw: bytes) -> VoiceInfraError:
    with server(answering(raw)) as url:
        return caught_by(lambda: place_at(url))


USELESS = {
    "empty": http(200),
    "204": http(204),
    "html": http(200, b"<html>ok</html>"),
    "no id": http(200, b"{}"),
    "list": http(200, b"[]"),
    "null": http(200, b"null"),
    "null id": http(200, b'{"call_id": null}'),
    "empty id": http(200, b'{"call_id": ""}'),
    "bool id": http(200, b'{"call_id": true}'),
    "long id": http(200, b'{"call_id": "' + b"x" * 256 + b'"}'),
    "no text": http(200, b"\xff\xfe"),
    "deep": http(200, b"[" * 200_000),
    "huge": http(200, b'{"call_id": "call_1", "padding": "' + b" " * 1_200_000 + b'"}'),
}


class TestAccepted:
    def test_call_is_placed_once_with_every_field(self, sandbox: SandboxProcess) -> None:
        placed = place_at(sandbox.base_url, replace(CALL, context="Be brief.", variables={"n": 1}))
        (accepted,) = sandbox.audit()["calls"]
        assert (placed.call_id, placed.status) == (accepted["call_id"], "queued")
        assert len(sandbox.audit()["requests"]) == 1

    def test_request_is_what_the_api_documents(self) -> None:
        seen: list[bytes] = []

        def answer(connection: socket.socket) -> None:
            seen.append(read_request(connection))
            connection.sendall(http(200, b'{"call_id": "call_1", "status": "queued"}'))

        with server(answer) as url:
            place_at(url)
        head, _, body = seen[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/calls/outbound HTTP/1.1\r\n")
        assert f"X-API-Key: {API_KEY}".encode() in head
        assert b"Content-Type: application/json" in head
        assert json.loads(body) == CALL.to_request()

    @pytest.mark.parametrize(
        ("raw", "call_id", "status"),
        [
            (http(201, b'{"call_id": "call_1"}'), "call_1", "queued"),
            (http(202, b'{"call_id": 17, "status": 5}'), "17", "queued"),
            (http(299, b'{"call_id": "call_1", "status": "ringing", "more": {}}'), "call_1", "ringing"),
            (http(200, b'{"call_id": "call_1"}', Content_Encoding="none"), "call_1", "queued"),
            (http(200, b'{"call_id": "call_1"}', Set_Cookie="=; domain=\x01"), "call_1", "queued"),
            (http(200, b'{"call_id": "c\\u0000"}'), "c\N{REPLACEMENT CHARACTER}", "queued"),
        ],
    )
    def test_every_2xx_with_an_id_is_a_call(self, raw: bytes, call_id: str, status: str) -> None:
        with server(answering(raw)) as url:
            placed = place_at(url)
        assert (placed.call_id, placed.status) == (call_id, status)

    @pytest.mark.parametrize("raw", USELESS.values(), ids=USELESS)
    def test_2xx_without_an_id_is_a_call_that_may_ring(self, raw: bytes) -> None:
        error = error_of(raw)
        assert isinstance(error, CallOutcomeUnknownError)
        assert error.code == "no_call_id"
        assert error.http_status in (200, 204)
        assert "may have been placed" in str(error)


class TestRefused:
    @pytest.mark.parametrize(
        ("settings", "fields", "expected", "remedy"),
        [
            ({"from_numbers": [NUMBER]}, {}, (InvalidRequestError, 400, "validation_error"), "Correct"),
            ({"api_keys": ["another"]}, {}, (UnauthorizedError, 401, "unauthorized"), "Check the API key"),
            ({}, {"agent_id": "inactive_1"}, (NotFoundError, 404, "invalid_agent"), "Check agent_id"),
            ({}, {"agent_id": "unknown_1"}, (NotFoundError, 404, "not_found"), "Check agent_id"),
            ({}, {"to_number": "4155550100"}, (InvalidPhoneError, 422, "invalid_phone"), "E.164"),
        ],
    )
    def test_refusal_is_told_with_its_remedy(
        self, sandbox: SandboxProcess, settings: Any, fields: Any, expected: tuple[Any, int, str], remedy: str
    ) -> None:
        sandbox.configure(**settings)
        error: Any = caught_by(lambda: place_at(sandbox.base_url, replace(CALL, **fields)))
        _, status, code = expected
        assert (type(error), error.http_status, error.code) == expected
        assert isinstance(error, CallNotPlacedError)
        assert str(error).startswith(f"HTTP {status}: the call was refused: {code}: ")
        assert "Nobody was called." in str(error)
        assert remedy in str(error)
        assert sandbox.counts()["calls"] == 0

    def test_a_path_that_is_not_there_is_a_matter_of_the_base_url_first(
        self, sandbox: SandboxProcess
    ) -> None:
        error = caught_by(lambda: place_at(sandbox.base_url.removesuffix("/v1")))
        said = str(error)
        assert isinstance(error, NotFoundError)
        assert "POST /calls/outbound does not exist" in said
        assert "Check the base URL of the connection: it ends in /v1" in said
        assert said.index("base URL") < said.index("agent_id")
        assert "Check the base URL of the connection: it ends in /v1" in str(error_of(http(404)))

    @pytest.mark.parametrize("status", [301, 302, 307, 308, 402, 403, 405, 410, 413, 451])
    def test_other_refusals_and_redirects_are_no_calls(self, status: int) -> None:
        error = error_of(http(status, b"<html>no</html>", Location="https://gateway.example/"))
        assert type(error) is CallRefusedError
        assert error.http_status == status
        assert error.code == "refused"
        assert "not the API's own" in str(error)
        assert "base URL" in str(error)

    @pytest.mark.parametrize(
        ("body", "code", "said"),
        [
            (b'{"error": {"code": "x", "message": "no"}}', "x", ": x: no."),
            (b'{"error": {"message": "Number +14155550100: it\\nis\\u0000not ours."}}', "validation_error",
             ": Number +1415***0100: it is not ours."),
            (b'{"error": {"code": 5, "message": ["x"]}}', "validation_error", "refused. Nobody"),
            (b'{"error": "no"}', "validation_error", "not the API's own"),
            (b'{"error": {"code": "\\ud800", "message": ""}}', "?", ": ?."),
            (json.dumps({"error": {"code": "c" * 9999, "message": "m" * 9999}}).encode(), "c" * 255, "mm"),
        ],
        ids=["both", "message alone", "no texts", "no object", "no text", "without end"],
    )  # fmt: skip
    def test_words_of_the_api_are_made_fit_for_a_log(self, body: bytes, code: str, said: str) -> None:
        error = error_of(http(400, body))
        assert isinstance(error, InvalidRequestError)
        assert error.code == code
        assert said in str(error)
        assert len(str(error)) < 1500


class TestRateLimited:
    @pytest.mark.parametrize("form", ["seconds", "date", "none"])
    def test_each_form_of_retry_after_is_understood(self, sandbox: SandboxProcess, form: str) -> None:
        sandbox.configure(retry_after=form)
        sandbox.fault("rate_limited")
        error = caught_by(lambda: place_at(sandbox.base_url))
        assert isinstance(error, RateLimitedError)
        assert (error.http_status, error.code) == (429, "rate_limited")
        assert (error.retry_after is None) == (form == "none")
        assert sandbox.counts()["calls"] == 0

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ("7", 7.0),
            ("0.5", 1.0),
            ("2.0", 2.0),
            ("-3", None),
            ("inf", None),
            ("nan", None),
            ("soon", None),
            ("", None),
            (None, None),
            ("9" * 400 + ".5", None),
            ("9" * 5000, None),
            ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
            ("Wed, 21 Oct 2015 07:28:00", 0.0),
            ("Wed, 21 Smarch 2015 07:28:00 GMT", None),
        ],
    )
    def test_nonsense_in_retry_after_is_as_good_as_none(
        self, header: str | None, seconds: float | None
    ) -> None:
        assert client_module._retry_after(header) == seconds

    def test_date_is_seconds_from_now(self) -> None:
        moment = datetime.now(timezone.utc) + timedelta(hours=1)
        error = error_of(http(429, Retry_After=format_datetime(moment, usegmt=True)))
        assert isinstance(error, RateLimitedError)
        assert error.retry_after is not None
        assert 3000 < error.retry_after <= 3600

    @given(st.text())
    @example("Wed, 21 Oct 2015 99999999999:28:00 GMT")
    @example("Wed, 21 Oct 2015 07:28:00 +99999999999999")
    @example("9" * 400)
    def test_no_retry_after_breaks_it(self, header: str) -> None:
        waited = client_module._retry_after(header)
        assert waited is None or waited >= 0


ODD = {
    "nothing": b"",
    "half a line": b"HTTP/1.1 200",
    "no http": b"not http at all\r\n\r\n",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "location that is no address": http(302, Location="http://[" + NUMBER),
    "location with no port": http(307, Location=f"http://a:{NUMBER}0000/"),
    "location that is no text": b"HTTP/1.1 302 Found\r\nLocation: /\xff" + NUMBER.encode() + b"\r\n\r\n",
    "location that is empty": http(301, Location=""),
    "no location": http(308),
    "endless redirect": b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n" + b"x" * 5_000_000,
    "negative chunk": CHUNKED + b"-5\r\n" + NUMBER.encode(),
    "chunk of minus one": CHUNKED + b"-1\r\n" + NUMBER.encode(),
    "huge chunk": CHUNKED + b"f" * 40 + b"\r\n" + NUMBER.encode(),
    "chunk in no size": CHUNKED + NUMBER.encode() + b"z\r\n",
    "chunk in underscores": CHUNKED + b"1_0\r\n" + NUMBER.encode() + b"\r\n",
    "chunk in other digits": CHUNKED + "\N{ARABIC-INDIC DIGIT FIVE}\r\nhello\r\n".encode(),
    "chunks that end early": CHUNKED + b"5\r\nhel",
    "chunks without an end": CHUNKED + b"5\r\nhello\r\n",
    "chunk line without an end": CHUNKED + b"0" * 10_000_000,
    "encodings without an end": http(200, b"x", Content_Encoding=", ".join(["gzip"] * 1000)),
    "gzip that is none": http(200, NUMBER.encode(), Content_Encoding="gzip"),
    "gzip bomb": http(200, gzip.compress(b"[" * 5_000_000), Content_Encoding="gzip"),
    "deflate bomb": http(500, zlib.compress(b" " * 5_000_000), Content_Encoding="deflate"),
    "no header lines": b"HTTP/1.1 200 OK\r\n" + NUMBER.encode() + b"\r\n: x\r\n\r\n",
    "no text in headers": b"HTTP/1.1 200 \xff\xfe\r\n\xff: \xfe\r\nContent-Type: \xff\r\n\r\n",
    "null in headers": b"HTTP/1.1 200 OK\r\nX\x00: \x00\r\nContent-Length: 1\x00\r\n\r\n{",
    "long header line": b"HTTP/1.1 200 OK\r\nX: " + b"1" * 70_000 + b"\r\n\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 200 + b"\r\n",
    "length of no number": b"HTTP/1.1 200 OK\r\nContent-Length: " + NUMBER.encode() + b"z\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "huge length": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
    "cookies of no sense": http(500, Set_Cookie="=;;=\x01; expires=never; domain=" + NUMBER),
    "no status": b"HTTP/1.1 " + NUMBER.encode() + b" OK\r\n\r\n",
    "negative status": b"HTTP/1.1 -200 OK\r\n\r\n",
    "status of five digits": b"HTTP/1.1 20000 OK\r\n\r\n",
    "other version": b"HTTP/9.9 200 OK\r\n\r\n",
    "version 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version 0.9": b'{"call_id": "' + NUMBER.encode() + b'"}',
    "long status line": b"HTTP/1.1 200 " + b"1" * 70_000 + b"\r\n\r\n",
    "flood of interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 400_000,
    "long interim answers": (b"HTTP/1.1 100 Continue\r\n" + b"X: 1\r\n" * 200 + b"\r\n") * 2,
    "switched protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
}  # fmt: skip
WELL_FORMED = [
    http(200, b'{"call_id": "call_1", "status": "queued"}'),
    CHUNKED + b'16\r\n{"call_id": "call_17"}\r\n0\r\nTrailer: 1\r\n\r\n',
    http(200, gzip.compress(b'{"call_id": "call_1"}'), Content_Encoding="gzip", Set_Cookie="a=1; path=/"),
    http(302, b"moved", Location="https://gateway.example:443/?a=b"),
    http(429, b'{"error": {"code": "rate_limited", "message": "slow"}}', Retry_After="1"),
    b"HTTP/1.1 100 Continue\r\n\r\n" + http(500, b"<html>"),
]
TROUBLE = [b"\r\n", b"\n", b"\r", b"\x00", b"\xff", b"-1", b":", b";", b",", b"[", b"%", b"//", b"@", b" ",
           b"9" * 30]  # fmt: skip


class TestUnknown:
    @pytest.mark.parametrize(
        ("fault", "accepted", "status", "code"),
        [
            ("error_before", 0, 500, "server_error"),
            ("error_after", 1, 500, "server_error"),
            ("gateway_html", 0, 502, "server_error"),
            ("gateway_html_after", 1, 502, "server_error"),
            ("cut_before", 0, None, "answer_lost"),
            ("cut_after", 1, None, "answer_lost"),
            ("hang_before", 0, None, "answer_lost"),
            ("hang", 1, None, "answer_lost"),
            ("bad_json_2xx", 1, 200, None),
        ],
    )
    def test_call_of_which_nobody_knows_may_ring(
        self, sandbox: SandboxProcess, fault: str, accepted: int, status: int | None, code: str | None
    ) -> None:
        sandbox.fault(fault)
        error = caught_by(lambda: place_at(sandbox.base_url, timeout=0.3))
        assert isinstance(error, CallOutcomeUnknownError)
        assert error.http_status == status
        assert code in (error.code, None)
        assert "The call may have been placed." in str(error)
        assert sandbox.counts()["calls"] == accepted

    @pytest.mark.parametrize("status", [303, 304, 408, 409, 499, 500, 501, 502, 503, 504, 520, 599, 103])
    def test_gateway_may_have_passed_it_on(self, status: int) -> None:
        error = error_of(http(status, b"<html>+14155550100</html>"))
        assert isinstance(error, CallOutcomeUnknownError)
        assert error.http_status == status

    @pytest.mark.parametrize("raw", ODD.values(), ids=ODD)
    def test_odd_answer_is_one_that_is_not_understood(
        self, raw: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        error = error_of(raw)
        assert isinstance(error, CallOutcomeUnknownError)
        assert "The call may have been placed." in str(error)
        assert error.code in ("answer_lost", "no_call_id", "bad_redirect", "server_error")
        assert NUMBER[1:] not in caplog.text

    def test_no_answer_ends_in_another_error(self) -> None:
        raw = b""

        @settings(max_examples=150)
        @given(st.data())
        def check(data: st.DataObject) -> None:
            nonlocal raw
            raw = data.draw(st.sampled_from(WELL_FORMED))
            for _ in range(data.draw(st.integers(1, 3))):
                places = [found.end() for found in re.finditer(rb"[\s:/,]", raw)]
                at = data.draw(st.one_of(st.sampled_from(places or [0]), st.integers(0, len(raw))))
                put = data.draw(st.one_of(st.sampled_from(TROUBLE), st.binary(max_size=4)))
                raw = raw[:at] + put + raw[at + data.draw(st.integers(0, 3)) :]
            with suppress(CallOutcomeUnknownError, CallRefusedError, RateLimitedError):
                place_at(url)

        with server(lambda connection: answering(raw)(connection)) as url:
            check()

    def test_answer_in_lines_that_are_no_headers_is_understood_all_the_same(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        body = b'{"call_id": "call_1"}'
        raw = b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + NUMBER.encode() + b" \xff\r\nX: \xfe\r\n\r\n"
        with server(answering(raw + body)) as url:
            assert place_at(url).call_id == "call_1"
        assert NUMBER not in caplog.text

    def test_connection_that_breaks_in_the_middle_of_the_request_may_have_carried_it(self) -> None:
        def answer(connection: socket.socket) -> None:
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

        with server(answer) as url:
            error = caught_by(lambda: place_at(url, replace(CALL, context="x" * 5_000_000)))
        assert isinstance(error, CallOutcomeUnknownError)


class TestUnreachable:
    """Nothing was sent, so the same request may be sent again."""

    def check(self, url: str, **values: Any) -> ApiUnreachableError:
        error = caught_by(lambda: place_at(url, **values))
        assert type(error) is ApiUnreachableError
        assert (error.code, error.http_status) == ("unreachable", None)
        assert url in str(error)
        assert "Nothing was sent. Check" in str(error)
        return error

    def test_refused_connection(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.check(f"http://127.0.0.1:{port}/v1")

    @pytest.mark.parametrize("host", ["voiceinfra.invalid", f"{'x' * 64}.example", "a..b", "a b"])
    def test_host_name_that_leads_nowhere(self, host: str) -> None:
        self.check(f"https://{host}/v1")

    def test_what_does_not_speak_tls_is_told_so_and_will_not_heal(self) -> None:
        def answer(connection: socket.socket) -> None:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        with server(answer) as url:
            error = self.check(url.replace("http:", "https:"))
        assert error.lasting
        assert "what listens there does not speak https. Nothing was sent. Check the port." in str(error)

    def test_handshake_that_is_cut_off_may_heal(self) -> None:
        with server(lambda connection: None) as url:
            assert not self.check(url.replace("http:", "https:")).lasting

    def test_connection_that_is_not_taken(self) -> None:
        with not_taking("127.0.0.1") as url:
            self.check(url, timeout=0.3)


class TestConnections:
    def count_connections(self, clock: Callable[[], float]) -> int:
        opened = []

        def answer(connection: socket.socket) -> None:
            opened.append(connection)
            while read_request(connection):
                connection.sendall(http(200, b'{"call_id": "call_1"}', Connection="keep-alive"))

        with server(answer) as url:
            client = VoiceInfraClient(replace(CONNECTION, base_url=url), monotonic=clock)
            for _ in range(3):
                client.place(CALL)
            client.close()
        return len(opened)

    def test_connection_is_used_again(self) -> None:
        assert self.count_connections(lambda: 0.0) == 1

    def test_connection_that_was_idle_is_not_used_again(self) -> None:
        # The server may close it just then, and nobody could tell whether it has read the request.
        times = iter(range(0, 1000, 10))
        assert self.count_connections(lambda: float(next(times))) == 3

    def test_redirect_is_not_followed(self, sandbox: SandboxProcess) -> None:
        error = error_of(http(307, Location=f"{sandbox.base_url}/calls/outbound"))
        assert isinstance(error, CallRefusedError)
        assert sandbox.counts()["requests"] == 0


class TestProbe:
    def test_good_key_is_told_without_a_call(self, sandbox: SandboxProcess) -> None:
        with client_at(sandbox.base_url) as client:
            client.probe()
        assert sandbox.counts()["calls"] == 0

    def probe(self, raw: bytes) -> None:
        with server(answering(raw)) as url, client_at(url) as client:
            client.probe()

    def test_422_is_a_good_key_too(self) -> None:
        self.probe(http(422))

    @pytest.mark.parametrize(
        ("raw", "kind", "said"),
        [
            (http(401), UnauthorizedError, ""),
            (http(404), NotFoundError, ""),
            (http(429), RateLimitedError, ""),
            (http(503), CallOutcomeUnknownError, ""),
            (b"", CallOutcomeUnknownError, ""),
            (http(200, b"{}"), VoiceInfraError, "leads somewhere else"),
        ],
    )
    def test_every_other_answer_is_an_error(self, raw: bytes, kind: type[VoiceInfraError], said: str) -> None:
        error = caught_by(lambda: self.probe(raw))
        assert type(error) is kind
        assert said in str(error)


def test_log_holds_neither_key_nor_number(sandbox: SandboxProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    place_at(sandbox.base_url)
    sandbox.fault("error_after")
    caught_by(lambda: place_at(sandbox.base_url))
    assert caplog.records
    assert API_KEY not in caplog.text
    assert NUMBER[1:] not in caplog.text
