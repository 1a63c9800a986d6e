"""How a route of the pages runs, and how it answers when something goes wrong that nobody foresaw."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from airflow_provider_voiceinfra.exceptions import VoiceInfraError
from airflow_provider_voiceinfra.web.receiver.webhook import place_of
from airflow_provider_voiceinfra.web.workers import BusyError, TooSlowError, Workers

PAGE_SECONDS = 15.0
"""How long somebody waits for a page, or for the next part of a file."""
CHECK_SECONDS = 60.0
"""How long somebody waits for checks, which ask other servers, each with a limit of its own."""

_END = object()

log = logging.getLogger(__name__)


class PageRoute(APIRoute):
    """A route that waits for the ledger in threads of the pages, and whose unforeseen errors stay ours.

    Airflow's own routes have one set of threads for all that is not asynchronous: with pages in it, a ledger
    that does not answer would stop its user interface and its tasks' API.
    """

    workers: ClassVar[Workers] = Workers("pages", threads=8, seconds=PAGE_SECONDS, most_waiting=64)

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _in_threads(endpoint, self.workers), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, guarded."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except (BusyError, TooSlowError) as error:
                log.error("A page cannot be shown in time: %s", error)
                raise HTTPException(
                    503,
                    "The ledger of calls does not answer at present, so there is nothing to show. Nothing "
                    "is lost by it. Try again in a moment; if it goes on, `airflow voiceinfra doctor` says "
                    "what to do.",
                ) from None
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


class CheckRoute(PageRoute):
    """A route that asks other servers, and so takes long; it keeps no page waiting."""

    workers: ClassVar[Workers] = Workers("checks", threads=4, seconds=CHECK_SECONDS, most_waiting=16)


async def in_page_threads(parts: Iterator[str]) -> AsyncIterator[str]:
    """Yield what an iterator yields, each part made in a thread of the pages."""
    while (part := await PageRoute.workers.run(next, parts, _END)) is not _END:
        yield part


def _in_threads(endpoint: Callable[..., Any], workers: Workers) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(endpoint):  # a route that is included elsewhere is made a second time
        return endpoint

    async def run(**arguments: Any) -> Any:
        return await workers.run(lambda: endpoint(**arguments))

    # Not ``functools.wraps``: FastAPI looks through it, and would take this for a function that blocks.
    run.__name__, run.__doc__ = endpoint.__name__, endpoint.__doc__
    run.__signature__ = inspect.signature(endpoint, eval_str=True)  # type: ignore[attr-defined]
    return run
