"""What people change on the page /ui/suppressions: adds a number, imports many, removes one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response

from airflow_provider_voiceinfra.campaigns.contacts.do_not_call import sort_out
from airflow_provider_voiceinfra.campaigns.contacts.phone_numbers import NumberReader
from airflow_provider_voiceinfra.exceptions import ContactsError, InvalidCallError
from airflow_provider_voiceinfra.ledger.rules.suppressions import PATIENCE, Suppression, SuppressionSource
from airflow_provider_voiceinfra.masking import mask_number
from airflow_provider_voiceinfra.web.pages.routes import CheckRoute, PageRoute
from airflow_provider_voiceinfra.web.pages.scope import Scope, require_own_page
from airflow_provider_voiceinfra.web.pages.setup.conn_ids import conn_ids_of, readable_of
from airflow_provider_voiceinfra.web.pages.suppressions.forms import LARGEST_FILE, Upload, Wanted, read_form
from airflow_provider_voiceinfra.web.pages.suppressions.page import listing
from airflow_provider_voiceinfra.web.pages.suppressions.view import ALL_CONNECTIONS, Rights

MOST_FAULTS = 20
_LARGEST_ID = 2**63 - 1

log = logging.getLogger(__name__)

router = APIRouter(route_class=PageRoute)
# What waits for requests that are under way takes longer than a page may.
waiting = APIRouter(route_class=CheckRoute)


@waiting.post("/suppressions/add", dependencies=[Depends(require_own_page)])
def add(
    request: Request,
    number: Annotated[str, Form()] = "",
    conn_id: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
    until: Annotated[str, Form()] = "",
    zone: Annotated[str, Form()] = "UTC",
) -> Response:
    """Have one number called no more."""
    scope = Scope.of(request)
    wanted = Wanted(conn_id, reason, until, zone)
    _require_change(scope, wanted.place)
    try:
        ends_at, found = wanted.ends_at(), NumberReader().normalise(number)
    except InvalidCallError as fault:
        return listing(request, scope, notice=f"Nothing was changed. {_named(fault)}", failed=True)
    new = _suppressions([found], wanted, ends_at, SuppressionSource.PAGE, scope)
    added = scope.ledger.suppressions.add(new)
    shown, place = mask_number(found), wanted.place or ALL_CONNECTIONS
    log.info("%s was suppressed for %s by %r.", shown, place, scope.visitor.name)
    said = f"is not called any more, for {place}" if added else "was suppressed already"
    return listing(request, scope, notice=f"{shown} {said}.{_under_way(scope, [found])}")


@waiting.post("/suppressions/import", dependencies=[Depends(require_own_page)])
async def import_file(request: Request) -> Response:
    """Have all numbers of a file, or of a text with one on each line, called no more; all of them or none."""
    # Read here, where the visitor has been let in, and only as much as is taken.
    form = await read_form(request, LARGEST_FILE)
    response: Response = await CheckRoute.workers.run(_import, request, form.upload, form.wanted, form.region)
    return response


def _import(request: Request, upload: Upload, wanted: Wanted, region: str | None) -> Response:
    scope = Scope.of(request)
    _require_change(scope, wanted.place)
    try:
        ends_at = wanted.ends_at()
        found = sort_out(upload.checked(), NumberReader(region), "file", most_named=MOST_FAULTS)
    except InvalidCallError as fault:
        return listing(request, scope, notice=f"Nothing was changed. {_named(fault)}", failed=True)
    except ContactsError as error:
        return listing(request, scope, notice=f"Nothing was changed. {error}.", failed=True)
    if found.faulty:
        notice = (
            f"Nothing was changed: {found.faulty} of the numbers cannot be read, and could not be kept from "
            "being called. Correct or remove them, and import the file again."
        )
        return listing(request, scope, notice=notice, failed=True, faults=found.faults)
    numbers = [f"+{number}" for number in found.numbers]
    new = _suppressions(numbers, wanted, ends_at, SuppressionSource.FILE, scope)
    added, place = scope.ledger.suppressions.add(new), wanted.place or ALL_CONNECTIONS
    log.info("%d numbers of a file were suppressed for %s by %r.", added, place, scope.visitor.name)
    before = len(numbers) - added
    notice = f"{added:,} numbers are not called any more, for {place}; {before:,} were suppressed already."
    return listing(request, scope, notice=f"{notice}{_under_way(scope, numbers)}")


@router.post("/suppressions/remove", dependencies=[Depends(require_own_page)])
def remove(request: Request, id: Annotated[str, Form()] = "") -> Response:
    """End a suppression; it stays in the ledger."""
    scope = Scope.of(request)
    readable_of(scope.visitor, conn_ids_of(scope))
    is_id = id.isascii() and id.isdecimal() and len(id) < len(str(_LARGEST_ID))
    one = scope.ledger.suppressions.get(int(id)) if is_id else None
    if one is None or not Rights(scope).may_see(one.conn_id):
        raise HTTPException(404, "There is no such suppression, or you may not see it; nothing was changed.")
    _require_change(scope, one.conn_id)
    removed = scope.ledger.suppressions.remove([one.id])
    shown, place = mask_number(one.number), one.conn_id or ALL_CONNECTIONS
    if not removed:
        return listing(request, scope, notice=f"Nothing to do: it has been removed before for {shown}.")
    log.info("Suppression %d of %s for %s was removed by %r.", one.id, shown, place, scope.visitor.name)
    return listing(
        request, scope, notice=f"{shown} may be called again, as far as it was suppressed for {place}."
    )


def _suppressions(
    numbers: Sequence[str], wanted: Wanted, ends_at: datetime | None, source: SuppressionSource, scope: Scope
) -> Iterator[Suppression]:
    who = scope.visitor.name[:255]
    for number in numbers:
        yield Suppression(number, wanted.place, wanted.reason or None, source.value, who, ends_at)


def _under_way(scope: Scope, numbers: Sequence[str]) -> str:
    """Wait until no request to these numbers can leave any more; return a sentence if one may ring."""
    if scope.ledger.suppressions.await_last_requests(numbers, patience=PATIENCE):
        return ""
    return " A call to such a number is being placed at this moment, and may ring; it is the last."


def _named(fault: InvalidCallError) -> str:
    return f"{fault.field.replace('to_number', 'Number')} {fault.rule}."


def _require_change(scope: Scope, conn_id: str | None) -> None:
    conn_ids = readable_of(scope.visitor, conn_ids_of(scope))
    if conn_id is not None and conn_id not in conn_ids and not scope.may_read(conn_id):
        raise HTTPException(404, "There is no such connection, or you may not see it; nothing was changed.")
    if not Rights(scope).may_change(conn_id):
        what = "connections in general" if conn_id is None else "the connection"
        raise HTTPException(
            403,
            f"Nothing was changed. This needs the permission to edit {what}, which an administrator of "
            "Airflow can give.",
        )
