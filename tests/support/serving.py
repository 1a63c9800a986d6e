"""An ASGI application over real HTTP."""

from __future__ import annotations

import threading
from typing import Any

import uvicorn

from tests.support.waiting import until


class Server:
    """An application that is served on loopback by a thread of this process.

    :param options: those of uvicorn.
    """

    def __init__(self, app: Any, **options: Any) -> None:
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="none", **options))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        until(lambda: self._server.started)
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self, *, waits: bool = True) -> None:
        """Stop serving.

        :param waits: whether answers under way are waited for.
        """
        self._server.force_exit = not waits
        self._server.should_exit = True
        self._thread.join(30)
