"""The file /ui/calls.csv: all calls that are asked for, as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io
import logging
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import anyio
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from airflow_provider_voiceinfra.campaigns.reporting.result_files import spreadsheet_cell
from airflow_provider_voiceinfra.exceptions import LedgerError
from airflow_provider_voiceinfra.ledger.lists.values import ListedCall
from airflow_provider_voiceinfra.web.pages.calls.filters import Wanted
from airflow_provider_voiceinfra.web.pages.calls.rows import outcome_shown
from airflow_provider_voiceinfra.web.pages.rendering import security_headers
from airflow_provider_voiceinfra.web.pages.routes import PageRoute, in_page_threads
from airflow_provider_voiceinfra.web.pages.scope import Scope
from airflow_provider_voiceinfra.web.receiver.webhook import place_of

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Send
    from starlette.types import Scope as Connection

    from airflow_provider_voiceinfra.masking import Privacy

COLUMNS = (
    "claimed_at",
    "state",
    "call_id",
    "outcome",
    "duration_seconds",
    "to_number",
    "from_number",
    "agent_id",
    "conn_id",
    "dag_id",
    "run_id",
    "task_id",
    "map_index",
    "campaign_id",
    "contact_key",
    "attempt",
    "started_at",
    "ended_at",
    "error_code",
    "error_message",
    "direction",
)
"""The columns of the file."""
CUT_OFF = "THIS FILE IS NOT COMPLETE: the ledger could not be read to its end. Export it again."
"""The last line of a file that an error has cut off."""

AT_ONCE = 2
"""How many files one process makes at a time: each takes a processor for as long as it lasts."""

_CHUNK = 500  # calls that are sent at once
_MOST_PATIENCE = 60  # seconds that a browser may take for them, before it counts as gone

_turns = threading.BoundedSemaphore(AT_ONCE)

log = logging.getLogger(__name__)
router = APIRouter(route_class=PageRoute)


class CutOffError(Exception):
    """Ends an answer without its proper end, so that a browser takes the download for failed."""


class _File(StreamingResponse):
    """A file that is made while it is sent; one of ``AT_ONCE`` for as long as that lasts, however it ends.

    :raises HTTPException: 503, if as many are being made as may be.
    """

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Make and send the file."""

        async def patiently(message: Message) -> None:
            with anyio.fail_after(_MOST_PATIENCE):
                await send(message)

        if not _turns.acquire(blocking=False):
            raise HTTPException(
                503,
                f"{AT_ONCE} files are being made already, which is as many as this Airflow makes at a time. "
                "Try again when they are done.",
            )
        try:
            await super().__call__(scope, receive, patiently)
        finally:
            _turns.release()


@router.get("/calls.csv")
def export(request: Request) -> Response:
    """Send all calls that are asked for, some at a time."""
    wanted, scope = Wanted.read(request.query_params), Scope.of(request)
    calls = scope.ledger.lists.stream_calls(scope.filter(**wanted.filter), order=wanted.order)
    # The first are read before anything is sent, so that a ledger that cannot be read is told as such.
    first = list(islice(calls, _CHUNK))
    name = f"voiceinfra-calls-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}.csv"
    return _File(
        in_page_threads(_lines(chain(first, calls), scope)),
        media_type="text/csv; charset=utf-8",
        headers={**security_headers(), "Content-Disposition": f"attachment; filename={name}"},
    )


def _lines(calls: Iterator[ListedCall], scope: Scope) -> Iterator[str]:
    yield _written([COLUMNS])
    try:
        while chunk := list(islice(calls, _CHUNK)):
            shown = (call for call in chunk if scope.shows(call.origin.dag_id, call.conn_id))
            yield _written(_row(call, scope.privacy(call.conn_id)) for call in shown)
    except Exception as error:  # noqa: BLE001  its text may be about people
        why = error if isinstance(error, LedgerError) else place_of(error)
        log.error("An export of calls was cut off: %s", why)
        yield _written([[CUT_OFF]])
        raise CutOffError from None


def _written(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([spreadsheet_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _row(call: ListedCall, privacy: Privacy) -> list[object]:
    origin = call.origin
    values = {
        **{name: getattr(origin, name, None) for name in COLUMNS},
        **{name: getattr(call, name) for name in COLUMNS if hasattr(call, name)},
        "state": call.state.value if call.state else None,
        "direction": call.direction.value,
        "to_number": privacy.number(call.to_number),
        "from_number": privacy.number(call.from_number),
        "contact_key": origin.contact_key if privacy.include_transcript else None,
        "error_code": privacy.text(call.error_code),
        "error_message": privacy.text(call.error_message),
        "outcome": outcome_shown(call.outcome, privacy) if call.outcome else None,
    }
    return [_plain(values[name]) for name in COLUMNS]


def _plain(value: object) -> object:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
