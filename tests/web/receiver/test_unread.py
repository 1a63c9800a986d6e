"""A request that is answered before its body has come is not read any further: its connection ends."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from fastapi import FastAPI

from airflow_provider_voiceinfra.webhooks.signing import SIGNATURE_HEADER
from tests.web.conftest import MAX_BYTES, Server, completion, signed

ENDLESS = 64 * 2**20
# What the sockets of both sides may hold, although nobody has read it.
MOST_BUFFERED = 24 * 2**20


def send_without_end(server: Server, head: str, *, until_answer: int) -> tuple[bytes, int]:
    """Send a request whose body never ends; return its answer, and how many bytes were sent until the end.

    :param until_answer: how many bytes of the body are sent before the answer is read.
    """
    sent = 0
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(f"{head}\r\nHost: receiver\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        if until_answer:
            connection.sendall(b"%x\r\n" % until_answer + b"x" * until_answer + b"\r\n")
        answer = connection.recv(4096)
        try:
            while sent < ENDLESS:
                connection.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
    return answer, sent


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("POST /webhooks HTTP/1.1", 413),
        (f"POST /webhooks HTTP/1.1\r\n{SIGNATURE_HEADER}: {'0' * 64}", 413),
        ("PUT /webhooks HTTP/1.1", 405),
        ("POST /health HTTP/1.1", 405),
        ("POST /elsewhere HTTP/1.1", 404),
    ],
    ids=["unsigned", "signed", "other method", "health", "no such path"],
)
def test_body_without_end_is_not_read_on_after_the_answer(
    make_app: Callable[..., FastAPI],
    serve: Callable[..., Server],
    http: str,
    request_line: str,
    status: int,
) -> None:
    # Only what is too large has to be sent first; the others are answered at once, and then cut off.
    until_answer = MAX_BYTES + 1 if status == 413 else 0
    answer, sent = send_without_end(serve(make_app(), http=http), request_line, until_answer=until_answer)
    head = answer.lower()
    assert head.startswith(b"http/1.1 %d" % status)
    assert b"\r\nconnection: close\r\n" in head
    assert sent < MOST_BUFFERED


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_connection_is_kept_for_the_next_webhook_once_the_body_was_read(
    make_app: Callable[..., FastAPI], serve: Callable[..., Server], http: str
) -> None:
    server = serve(make_app(), http=http)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        for headers, status in (({}, 401), (signed(completion()), 200)):
            lines = ["POST /webhooks HTTP/1.1", "Host: receiver", f"Content-Length: {len(completion())}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + completion())
            assert connection.recv(4096).startswith(b"HTTP/1.1 %d" % status)
