"""Runs the sandbox on loopback, says when it is ready, and ends within a second when asked to."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any, cast

import uvicorn

from airflow_provider_voiceinfra.sandbox.app import create_sandbox_app
from airflow_provider_voiceinfra.sandbox.core import Sandbox
from airflow_provider_voiceinfra.sandbox.settings import Settings
from airflow_provider_voiceinfra.sandbox.wire import protocol

LOOPBACK = "127.0.0.1"


class _Server(uvicorn.Server):
    """uvicorn, which ends with exit code 0 on a signal and lets go of clients that were kept hanging."""

    def __init__(self, config: uvicorn.Config, sandbox: Sandbox) -> None:
        super().__init__(config)
        self._sandbox = sandbox

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again after its shutdown, which would make a clean end look like a kill.
        loop = asyncio.get_running_loop()
        for signal in (SIGINT, SIGTERM):
            loop.add_signal_handler(signal, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True
        self._sandbox.stopping.set()
        self._sandbox.audit.wake()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        sys.stdout.write(f"VoiceInfra sandbox listening on {self._sandbox.public_url}/v1\n")
        sys.stdout.flush()


def run(settings: Settings, *, port: int, audit_file: Path | None) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code; port 0 picks a free one."""
    # The protocol must be named: without it asyncio does not switch TCP_NODELAY on, and every answer on a
    # reused connection takes 40 ms, since headers and body are written apart.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
    except OSError as error:
        sys.stderr.write(
            f"voiceinfra-sandbox: cannot listen on port {port}: {error.strerror}. Try --port 0.\n"
        )
        return 1
    try:
        asyncio.run(_serve(settings, listening, audit_file))
    except OSError as error:
        sys.stderr.write(f"voiceinfra-sandbox: {error}\n")
        return 1
    return 0


async def _serve(settings: Settings, listening: socket.socket, audit_file: Path | None) -> None:
    public_url = f"http://{LOOPBACK}:{listening.getsockname()[1]}"
    sandbox = Sandbox(settings, public_url=public_url, audit_file=audit_file)
    config = uvicorn.Config(
        create_sandbox_app(sandbox),
        http=cast(Any, protocol),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        # Clients that pause must not lose their connection just as they send the next call.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    await _Server(config, sandbox).serve(sockets=[listening])
