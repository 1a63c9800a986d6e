"""A gate in front of the API that can hold a request, or its answer, so that a test can act in between."""

from __future__ import annotations

import contextlib
import socket
import threading
from enum import Enum
from urllib.parse import urlsplit


class Hold(Enum):
    """What the gate holds back."""

    NOTHING = "nothing"
    REQUEST = "request"
    ANSWER = "answer"


class Gate:
    """Passes TCP connections on to a server on loopback.

    :param upstream: the server's base URL.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (str(parts.hostname), int(parts.port or 80))
        self._path = parts.path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{self._path}"
        self.hold = Hold.NOTHING
        self.held = threading.Event()
        self._release = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, hold: Hold) -> None:
        """Hold the next connection's request or answer."""
        self.held.clear()
        self._release.clear()
        self.hold = hold

    def release(self) -> None:
        """Let go of what is held, and hold nothing more."""
        self.hold = Hold.NOTHING
        self._release.set()

    def close(self) -> None:
        """Stop taking connections."""
        self._release.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, self.hold), daemon=True).start()

    def _serve(self, client: socket.socket, hold: Hold) -> None:
        with client, contextlib.suppress(OSError):
            request = _read_request(client)
            if hold is Hold.REQUEST:
                self.held.set()
                self._release.wait()
                return  # a held request is never passed on: its sender is dead by now
            with socket.create_connection(self._upstream) as server:
                server.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                answer = b"".join(iter(lambda: server.recv(65536), b""))
            if hold is Hold.ANSWER:
                self.held.set()
                self._release.wait()
            client.sendall(answer)


def _read_request(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(client)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += _some(client)
    return head + b"\r\n\r\n" + body


def _some(client: socket.socket) -> bytes:
    data = client.recv(65536)
    if not data:
        raise ConnectionError("the client has gone")
    return data
