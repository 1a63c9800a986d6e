"""What HTTP frameworks do not offer: errors in the vendor's form, connections cut without a byte."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from airflow_provider_voiceinfra.sandbox.core import first_of


def error_response(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error in the vendor's form."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


def protocol(**arguments: Any) -> asyncio.Protocol:
    """Return uvicorn's protocol for a new connection, which can be found again from a request.

    ASGI has no message for "cut this connection", so the transport must be at hand: uvicorn copies
    ``app_state`` into the scope of every request.
    """
    state = dict(arguments.pop("app_state", {}))
    connection = AutoHTTPProtocol(**arguments, app_state=state)  # type: ignore[call-arg]
    state["connection"] = connection
    return connection


async def cut(request: Request) -> Response:
    """Close the connection of a request without having sent a byte; nobody will see what is returned."""
    request.scope["state"]["connection"].transport.abort()
    # uvicorn drops the response only after it has noticed the loss itself.
    await until_disconnected(request)
    return Response()


async def until_disconnected(request: Request, stopping: asyncio.Event | None = None) -> None:
    """Wait until the client has given up, or the event is set."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    await first_of(gone(), *([stopping.wait()] if stopping else []))
