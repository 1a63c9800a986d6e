"""A server on loopback that takes webhooks; what it does with them is told by whoever starts it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from airflow_provider_voiceinfra.ledger import CallLedger
from tests.sandbox_process import SandboxProcess
from tests.support.completions import record

Take = Callable[[str, Mapping[str, str], bytes], int]
"""Takes the path, the headers and the body of a request, and returns the status of its answer."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


@contextmanager
def receiving(take: Take) -> Iterator[str]:
    """Give every POST request to a function; yield the server's URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = take(self.path, dict(self.headers.items()), body)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with _Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class Recorder:
    """Records webhooks in a ledger; the signature is the receiver's own affair, tested there.

    :param ledger: may be exchanged; while it is ``None``, what comes is taken and forgotten.
    """

    def __init__(self, ledger: CallLedger | None) -> None:
        self.ledger = ledger
        self.url = ""

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        """Record one webhook."""
        if self.ledger is not None:
            record(self.ledger, body)
        return 200


@contextmanager
def recording(sandbox: SandboxProcess, ledger: CallLedger) -> Iterator[Recorder]:
    """Have the sandbox's webhooks recorded in a ledger."""
    recorder = Recorder(ledger)
    with receiving(recorder.take) as url:
        recorder.url = url
        sandbox.configure(webhook_url=url)
        try:
            yield recorder
        finally:
            sandbox.reset(settings=True)
