"""The vendor's endpoint, and every way in which it can go wrong."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.requests import ClientDisconnect

from airflow_provider_voiceinfra.sandbox import control
from airflow_provider_voiceinfra.sandbox.completion import Call, recording
from airflow_provider_voiceinfra.sandbox.core import Sandbox, first_of
from airflow_provider_voiceinfra.sandbox.faults import REFUSING, Fault
from airflow_provider_voiceinfra.sandbox.limits import retry_after
from airflow_provider_voiceinfra.sandbox.validation import Refusal, check_key, read_call
from airflow_provider_voiceinfra.sandbox.wire import cut, error_response, until_disconnected

_GATEWAY_PAGE = (
    "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
)
# Taken in turn: cut off, empty, without an id, and not JSON at all.
_USELESS_BODIES = ('{"call_id": "call_', "", '{"status": "queued"}', "<html><body>OK</body></html>")

_CUTS = frozenset({Fault.CUT_BEFORE, Fault.CUT_AFTER})
_HANGS = frozenset({Fault.HANG_BEFORE, Fault.HANG})
_STATUSES = {
    Fault.ERROR_BEFORE: 500,
    Fault.ERROR_AFTER: 500,
    Fault.GATEWAY_HTML: 502,
    Fault.GATEWAY_HTML_AFTER: 502,
    Fault.RATE_LIMITED: 429,
    **dict.fromkeys(_CUTS | _HANGS, None),
}


class Endpoint:
    """Answers ``POST /v1/calls/outbound``; what it decides is in the audit log before it is sent."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._useless_bodies = itertools.cycle(_USELESS_BODIES)

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        try:
            body = await request.body()
        except ClientDisconnect:
            self._note(None, code="incomplete")
            return Response()
        response = await self._decide(request, body)
        seconds = self._sandbox.settings.latency_ms / 1000
        if seconds:
            await first_of(asyncio.sleep(seconds), self._sandbox.stopping.wait())
        return response

    async def _decide(self, request: Request, body: bytes) -> Response:
        sandbox, settings = self._sandbox, self._sandbox.settings
        try:
            check_key(settings, request.headers.get("x-api-key"))
            fault = sandbox.plan.take_refusing()
            if fault is not None:
                return await self._strike(request, fault, None)
            wait = sandbox.bucket.wait(settings.rate_limit, settings.rate_burst)
            if wait:
                self._note(429, code="rate_limited")
                return self._rate_limited(wait)
            fields = read_call(settings, request.headers.get("content-type", ""), body)
        except Refusal as refusal:
            self._note(refusal.status, code=refusal.code)
            return error_response(refusal.status, refusal.code, refusal.message)
        fault = sandbox.plan.take(fields["to_number"], settings)
        call = None if fault in REFUSING else sandbox.accept(fields, fault)
        return await self._strike(request, fault, call, fields)

    async def _strike(
        self, request: Request, fault: Fault | None, call: Call | None, fields: dict[str, Any] | None = None
    ) -> Response:
        status = _STATUSES.get(fault, 200) if fault else 200
        self._note(status, fault=fault, call=call, to_number=fields["to_number"] if fields else None)
        if call and fault is Fault.WEBHOOK_EARLY:
            await self._sandbox.end_early(call)
        if fault in _HANGS:
            await until_disconnected(request, self._sandbox.stopping)
        if fault in _HANGS or fault in _CUTS:
            return await cut(request)
        if status == 429:
            return self._rate_limited(1)
        if status == 500:
            return error_response(500, "server_error", "Something went wrong on our side.")
        if status == 502:
            return HTMLResponse(_GATEWAY_PAGE, status_code=502)
        if fault is Fault.BAD_JSON_2XX:
            return Response(next(self._useless_bodies), media_type="application/json")
        return JSONResponse({"call_id": call.call_id if call else None, "status": "queued"})

    def _rate_limited(self, wait: float) -> Response:
        headers = retry_after(self._sandbox.settings.retry_after, wait)
        return error_response(429, "rate_limited", "Too many requests.", headers)

    def _note(
        self,
        status: int | None,
        *,
        code: str | None = None,
        fault: Fault | None = None,
        call: Call | None = None,
        to_number: str | None = None,
    ) -> None:
        self._sandbox.audit.add(
            "requests",
            accepted=call is not None,
            status=status,
            code=code,
            fault=fault and fault.value,
            call_id=call and call.call_id,
            to_number=to_number,
        )


def create_sandbox_app(sandbox: Sandbox) -> FastAPI:
    """Return the ASGI application of a sandbox."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sandbox.sender.start()
        yield
        await sandbox.sender.stop()
        sandbox.audit.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    endpoint = Endpoint(sandbox)

    @app.post("/v1/calls/outbound", response_model=None)
    async def outbound(request: Request) -> Response:
        return await endpoint(request)

    @app.get("/recordings/{call_id}.wav", response_model=None)
    async def recorded(call_id: str) -> Response:
        if not sandbox.has_recording(call_id):
            return error_response(404, "not_found", "There is no such recording, or not yet.")
        return Response(recording(), media_type="audio/wav")

    @app.exception_handler(404)
    @app.exception_handler(405)
    async def no_such_route(request: Request, error: Any) -> Response:
        # The vendor has one endpoint; a client that looks for another must see a proper refusal.
        return error_response(
            error.status_code, "not_found", f"{request.method} {request.url.path} does not exist."
        )

    app.include_router(control.routes(sandbox))
    return app
