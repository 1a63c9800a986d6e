"""Ends the connection of a request that was answered before its body had come.

A server would go on reading such a body, and throw it away, for as long as the sender goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class CloseUnread:
    """An ASGI middleware: what is answered with a body still to come is answered ``Connection: close``.

    :param app: the application behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        is_unread = True

        async def receive_on() -> Message:
            nonlocal is_unread
            message = await receive()
            is_unread = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def send_on(message: Message) -> None:
            if is_unread and message["type"] == "http.response.start":
                headers = [one for one in message.get("headers", ()) if one[0].lower() != b"connection"]
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive_on, send_on)


def _has_body(scope: Scope) -> bool:
    # HTTP/2 knows neither the header nor the need for it: there, only the one stream ends.
    if not scope.get("http_version", "1.1").startswith("1"):
        return False
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() not in (b"", b"0"))
        for name, value in scope["headers"]
    )
