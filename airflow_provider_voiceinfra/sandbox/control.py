"""The control routes under ``/_sandbox``: the audit log, faults, settings and webhooks by hand."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from airflow_provider_voiceinfra.sandbox.audit import KINDS
from airflow_provider_voiceinfra.sandbox.completion import sample_call
from airflow_provider_voiceinfra.sandbox.core import Sandbox
from airflow_provider_voiceinfra.sandbox.faults import Fault
from airflow_provider_voiceinfra.sandbox.settings import SIGNATURE_FORMS, SettingError, is_loopback
from airflow_provider_voiceinfra.sandbox.webhooks import Delivery
from airflow_provider_voiceinfra.sandbox.wire import error_response

_CONTENT_OPTIONS = {"payload": dict, "raw": str, "fill": bool}
_DELIVERY_OPTIONS = {
    "secret": str,
    "signature": str,
    "signature_form": str,
    "event": str,
    "retry": bool,
    "url": str,
}
_MOST = 100_000


def routes(sandbox: Sandbox) -> APIRouter:
    """Return the control routes of a sandbox."""
    router = APIRouter(prefix="/_sandbox")

    @router.get("/health", response_model=None)
    async def health() -> Response:
        return JSONResponse({"status": "ok"})

    @router.get("/audit", response_model=None)
    async def audit(since: int = 0, wait: float = 0, kinds: str = ",".join(KINDS)) -> Response:
        chosen = tuple(kind for kind in KINDS if kind in kinds.split(","))
        if wait > 0:
            await sandbox.audit.wait(since, min(wait, 60.0))
        # Plain json, since what callers sent may hold characters that cannot be written as UTF-8.
        return Response(json.dumps(sandbox.audit.read(since, chosen)), media_type="application/json")

    @router.get("/counts", response_model=None)
    async def counts() -> Response:
        return JSONResponse(sandbox.counts())

    @router.get("/settings", response_model=None)
    async def settings() -> Response:
        return JSONResponse(asdict(sandbox.settings))

    actions = {
        ("PATCH", "/settings"): _configure,
        ("POST", "/reset"): _reset,
        ("POST", "/faults"): _script,
        ("POST", "/calls/end"): _end_calls,
        ("POST", "/webhooks"): _send,
    }
    for (method, path), action in actions.items():
        router.add_api_route(path, _guarded(sandbox, action), methods=[method], response_model=None)
    return router


def _guarded(sandbox: Sandbox, action: Any) -> Any:
    """Return a route that reads the body, and answers 422 with a sentence for what it cannot use."""

    async def route(request: Request) -> Response:
        raw = await request.body()
        try:
            body = json.loads(raw or b"{}")
            if not isinstance(body, dict):
                raise SettingError("the body must be a JSON object")
            return JSONResponse(await action(sandbox, body))
        except (ValueError, RecursionError) as error:
            return error_response(422, "invalid_setting", str(error))

    return route


def _only(body: dict[str, Any], **types: type) -> None:
    for name, value in body.items():
        if name not in types:
            raise SettingError(f"{name}: not known here; known are {', '.join(types)}")
        # A bool is an int in Python, and must not pass for a number here.
        if type(value) is not types[name]:
            raise SettingError(f"{name}: must be of JSON type {types[name].__name__}")


def _count(body: dict[str, Any], name: str) -> int:
    count = body.get(name, 1)
    if not 1 <= count <= _MOST:
        raise SettingError(f"{name}: must be from 1 to {_MOST}")
    return int(count)


async def _configure(sandbox: Sandbox, body: dict[str, Any]) -> dict[str, Any]:
    sandbox.configure(body)
    return asdict(sandbox.settings)


async def _reset(sandbox: Sandbox, body: dict[str, Any]) -> dict[str, Any]:
    _only(body, settings=bool)
    sandbox.reset(settings=body.get("settings", False))
    return {"status": "reset"}


async def _script(sandbox: Sandbox, body: dict[str, Any]) -> dict[str, Any]:
    _only(body, fault=str, count=int)
    try:
        fault = Fault(str(body.get("fault")))
    except ValueError:
        raise SettingError(f"fault: must be one of {', '.join(fault.value for fault in Fault)}") from None
    sandbox.plan.script(fault, _count(body, "count"))
    return {"faults": sandbox.plan.scripted}


async def _end_calls(sandbox: Sandbox, body: dict[str, Any]) -> dict[str, Any]:
    _only(body, call_ids=list)
    return {"ended": sandbox.end_calls(body.get("call_ids"))}


async def _send(sandbox: Sandbox, body: dict[str, Any]) -> dict[str, Any]:
    _only(body, **_CONTENT_OPTIONS, **_DELIVERY_OPTIONS, copies=int)
    url = body.get("url") or sandbox.settings.webhook_url
    if not is_loopback(url):
        raise SettingError("url: give an http(s) URL on loopback here or as the setting webhook_url")
    if body.get("signature_form", "hex") not in SIGNATURE_FORMS:
        raise SettingError(f"signature_form: must be one of {', '.join(SIGNATURE_FORMS)}")
    call_id, content = _content(sandbox, body)
    options = {"retry": False, **{name: body[name] for name in _DELIVERY_OPTIONS if name in body}, "url": url}
    copies = range(1, _count(body, "copies") + 1)
    deliveries = [Delivery(call_id, content, copy=copy, **options) for copy in copies]
    for delivery in deliveries:
        sandbox.sender.submit_now(delivery)
    for delivery in deliveries:
        await sandbox.until_tried(delivery)
    return {"call_id": call_id, "attempts": [delivery.first for delivery in deliveries]}


def _content(sandbox: Sandbox, body: dict[str, Any]) -> tuple[str | None, bytes]:
    if "raw" in body:
        return None, body["raw"].encode()
    payload = body.get("payload", {})
    if body.get("fill", "payload" not in body):
        call = sample_call(str(payload.get("call_id") or f"call_{uuid.uuid4().hex}"), payload)
        payload = {**sandbox.payload(call), **payload}
    call_id = payload.get("call_id")
    return call_id if isinstance(call_id, str) else None, json.dumps(payload).encode()
