"""An API that accepts every call at once, and costs as little as it can; for benchmarks.

Run as ``python bare_api.py`` it prints the port that it listens on, and ends when its standard input does.
The package's sandbox checks and records what it is asked, and so is slower than what is measured here.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import Any

import uvloop

_numbers = itertools.count()


class Api(asyncio.Protocol):
    """One connection: each whole request is answered as an accepted call."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: Any = transport
        self._got = b""

    def data_received(self, data: bytes) -> None:
        """Answer once the request is whole."""
        self._got += data
        head, gap, body = self._got.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if not gap or len(body) < int(length):
            return
        self._got = b""
        answer = b'{"call_id": "call_%012d", "status": "queued"}' % next(_numbers)
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(answer), answer)
        )


async def main() -> None:
    """Serve until whoever started this process is gone."""
    server = await asyncio.get_running_loop().create_server(Api, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(main())
