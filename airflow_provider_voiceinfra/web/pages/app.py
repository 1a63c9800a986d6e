"""Puts the pages together as one application, which the plugin's receiver mounts under ``/ui``."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from airflow_provider_voiceinfra.exceptions import ConfigurationError, LedgerError
from airflow_provider_voiceinfra.web.pages import run
from airflow_provider_voiceinfra.web.pages.addresses import login_address
from airflow_provider_voiceinfra.web.pages.call import page as call
from airflow_provider_voiceinfra.web.pages.calls import charts, export
from airflow_provider_voiceinfra.web.pages.calls import page as calls
from airflow_provider_voiceinfra.web.pages.campaigns import page as campaigns
from airflow_provider_voiceinfra.web.pages.rendering import assets, is_partial, page, security_headers
from airflow_provider_voiceinfra.web.pages.routes import PageRoute
from airflow_provider_voiceinfra.web.pages.setup import page as setup
from airflow_provider_voiceinfra.web.pages.suppressions import changes
from airflow_provider_voiceinfra.web.pages.suppressions import page as suppressions
from airflow_provider_voiceinfra.web.pages.visitors import VisitorOf, admit, airflow_visitor

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger

_ASSET_SECONDS = 3600

log = logging.getLogger(__name__)


def build_pages(ledger: Callable[[], CallLedger], visitor: VisitorOf | None = None) -> FastAPI:
    """Return the pages as an ASGI application; nobody sees any of it without a login.

    :param ledger: returns the ledger that is shown.
    :param visitor: the dependency that returns who asks; if not set, Airflow's own.
    """
    app = FastAPI(
        title="VoiceInfra pages",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(admit(visitor or airflow_visitor()))],
    )
    app.state.ledger = ledger
    app.router.redirect_slashes = False
    for module in (calls, charts, export, call, campaigns, suppressions, changes, setup, run):
        app.include_router(module.router)
    app.include_router(setup.checks)
    app.include_router(changes.waiting)
    app.include_router(_router)
    app.add_exception_handler(HTTPException, _refusal)
    app.add_exception_handler(RequestValidationError, _bad_request)
    for error in (LedgerError, ConfigurationError):
        app.add_exception_handler(error, _no_ledger)
    return app


_router = APIRouter(route_class=PageRoute)


@_router.get("/")
async def start(request: Request) -> Response:
    """Send whoever asks for no page to the list of calls."""
    return RedirectResponse("calls", headers=security_headers())


@_router.get("/static/{name}")
async def asset(name: str) -> Response:
    """Return a file that pages load."""
    found = assets().get(name)
    if found is None:
        raise HTTPException(404, "There is no such file.")
    content, media_type = found
    headers = {**security_headers(), "Cache-Control": f"private, max-age={_ASSET_SECONDS}"}
    return Response(content, media_type=media_type, headers=headers)


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 401:
        return _answer_unauthenticated(request, 401, "You are not logged in to Airflow, or not any more.")
    if not hasattr(request.state, "visitor"):  # nobody has been asked who they are, or they were not let in
        return _answer_unauthenticated(request, error.status_code, str(error.detail))
    return _message(request, error.status_code, str(error.detail))


async def _bad_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    names = ", ".join(sorted({str(found["loc"][-1]) for found in error.errors()}))
    return _message(request, 400, f"This address cannot be read: {names} is missing or wrong.")


async def _no_ledger(request: Request, error: Exception) -> Response:
    log.error("A page cannot be shown: %s", error)
    text = (
        "The ledger of calls cannot be used at present, so there is nothing to show. Nothing is lost by it. "
        "The log of Airflow's API server says why; `airflow voiceinfra doctor` says what to do."
    )
    return _message(request, 503, text)


def _message(request: Request, status: int, text: str) -> Response:
    return page(request, "message.html", status=status, title="VoiceInfra", text=text, current="")


def _answer_unauthenticated(request: Request, status: int, text: str) -> Response:
    """Answer somebody who has not been let in, with nothing of ours in it but the way to the login."""
    body = f"<p>{html.escape(text)}</p>"
    if status in (401, 403):  # which Airflow answers to a login that it does not know
        body += (
            f'<p><a href="{html.escape(login_address(request))}">Log in to Airflow</a>. If this is a part of '
            "a page of Airflow, reload that page: it asks you to log in.</p>"
        )
    if not is_partial(request):
        body = f'<!doctype html><html lang="en"><title>VoiceInfra</title>{body}</html>'
    return HTMLResponse(body, status, headers=security_headers())
