"""How a route of the pages answers when something goes wrong that nobody foresaw."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from airflow_provider_voiceinfra.exceptions import VoiceInfraError
from airflow_provider_voiceinfra.web.webhook import place_of

log = logging.getLogger(__name__)


class PageRoute(APIRoute):
    """A route whose unforeseen errors are logged by their place alone."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, guarded."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except (HTTPException, RequestValidationError, VoiceInfraError):
                raise
            except Exception as error:  # noqa: BLE001  its text may be about people
                log.error("A page cannot be shown, for an error of ours: %s", place_of(error))
                raise HTTPException(
                    500,
                    "This page cannot be shown, for an error of ours. The log of Airflow's API server says "
                    "where it is.",
                ) from None

        return guarded
