"""Sends requests over connections of its own, as an attacker does, and reads how they are answered."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.attack.messages import Message

ANSWER_SECONDS = 30.0
_CLOSED = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError)


class Client:
    """One connection, opened again when the server has closed it.

    :param port: of the receiver on this machine.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, message: Message) -> int:
        """Send a request, and return the status of its answer; 0 if the connection was closed without one.

        :raises TimeoutError: if there was no answer for long.
        """
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        status = 0
        # The answer to what is refused comes before all of it is sent, and then the connection ends.
        with suppress(OSError):
            for part in message.parts:
                self._writer.write(part)
                await self._writer.drain()
                if message.pause:
                    await asyncio.sleep(message.pause)
            if message.is_last:
                self._writer.write_eof()
        if not message.pause:
            with suppress(*_CLOSED):
                status = await asyncio.wait_for(self._answer(), ANSWER_SECONDS)
        if message.is_last or status not in (200, 401, 405):
            await self.close()
        return status

    async def _answer(self) -> int:
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        if "content-length: " not in head:
            raise ValueError("an answer without a length")
        await self._reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
        status = int(head.split(" ")[1])
        if "connection: close" in head:
            await self.close()
        return status

    async def close(self) -> None:
        """Hang up."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
