"""An endpoint that reads the body and does nothing with it: what the web server takes at the least.

It is a plugin of Airflow if it is put among its plugins, and an application of its own by ``create_app``.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse


def create_app() -> FastAPI:
    """Return the application."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/webhooks")
    async def take(request: Request) -> JSONResponse:
        await request.body()
        return JSONResponse({"status": "recorded"})

    @app.get("/health")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    return app


class NothingPlugin(AirflowPlugin):
    """Serves the endpoint in Airflow's API server."""

    name = "nothing"
    fastapi_apps: Any = [{"name": "nothing", "app": create_app(), "url_prefix": "/nothing"}]  # noqa: RUF012
