"""The file /ui/calls.csv: all calls that are asked for, as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from airflow_provider_voiceinfra.campaigns.result_files import spreadsheet_cell
from airflow_provider_voiceinfra.exceptions import LedgerError
from airflow_provider_voiceinfra.ledger.listed import ListedCall
from airflow_provider_voiceinfra.web.pages.filters import Wanted
from airflow_provider_voiceinfra.web.pages.rendering import security_headers
from airflow_provider_voiceinfra.web.pages.routes import PageRoute
from airflow_provider_voiceinfra.web.pages.scope import Scope
from airflow_provider_voiceinfra.web.webhook import place_of

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.privacy import Privacy

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
)
"""The columns of the file."""
CUT_OFF = "THIS FILE IS NOT COMPLETE: the ledger could not be read to its end. Export it again."
"""The last line of a file that an error has cut off."""

_CHUNK = 500  # calls that are sent at once

log = logging.getLogger(__name__)
router = APIRouter(route_class=PageRoute)


class CutOffError(Exception):
    """Ends an answer without its proper end, so that a browser takes the download for failed."""


@router.get("/calls.csv")
def export(request: Request) -> Response:
    """Send all calls that are asked for, some at a time."""
    wanted, scope = Wanted.read(request.query_params), Scope.of(request)
    calls = scope.ledger.stream_calls(scope.filter(**wanted.filter), order=wanted.order)
    # The first are read before anything is sent, so that a ledger that cannot be read is told as such.
    first = list(islice(calls, _CHUNK))
    name = f"voiceinfra-calls-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}.csv"
    return StreamingResponse(
        _lines(chain(first, calls), scope),
        media_type="text/csv; charset=utf-8",
        headers={**security_headers(), "Content-Disposition": f"attachment; filename={name}"},
    )


def _lines(calls: Iterator[ListedCall], scope: Scope) -> Iterator[str]:
    yield _written([COLUMNS])
    try:
        while chunk := list(islice(calls, _CHUNK)):
            yield _written(_row(call, scope.privacy(call.conn_id)) for call in chunk)
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
        "state": call.state.value,
        "to_number": privacy.number(call.to_number),
        "from_number": privacy.number(call.from_number),
        "contact_key": origin.contact_key if privacy.include_transcript else None,
        "error_message": privacy.text(call.error_message),
    }
    return [_plain(values[name]) for name in COLUMNS]


def _plain(value: object) -> object:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
