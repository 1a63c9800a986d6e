"""The page /ui/suppressions: the numbers that must not be called, and how to find one of them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request, Response

from airflow_provider_voiceinfra.campaigns.contacts.phone_numbers import NumberReader
from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from airflow_provider_voiceinfra.masking import mask_number
from airflow_provider_voiceinfra.web.pages.addresses import page_address
from airflow_provider_voiceinfra.web.pages.rendering import page
from airflow_provider_voiceinfra.web.pages.routes import PageRoute
from airflow_provider_voiceinfra.web.pages.scope import Scope, require_own_page
from airflow_provider_voiceinfra.web.pages.setup.conn_ids import conn_ids_of, readable_of
from airflow_provider_voiceinfra.web.pages.suppressions.view import Rights, rows_of

PAGE_SIZE = 50
MOST_OF_A_NUMBER = 200
_MOST_CHOICES = 50
_LARGEST_ID = 2**63 - 1
_DIGITS = re.compile(r"\d{4}", re.ASCII)

router = APIRouter(route_class=PageRoute)


@router.get("/suppressions")
def show_suppressions(
    request: Request,
    digits: str = "",
    over: bool = False,
    older_than: Annotated[int | None, Query(ge=1, le=_LARGEST_ID)] = None,
) -> Response:
    """Show the numbers that must not be called, newest first.

    :param digits: only numbers that end in these four digits.
    :param over: whether those that are over, or were removed, are listed as well.
    :param older_than: the id of a suppression; those that are older.
    """
    digits = digits.strip()
    if digits and not _DIGITS.fullmatch(digits):
        # More would stand in the logs of servers and proxies.
        raise HTTPException(
            400,
            "digits: an address takes a number's last four digits, and no more of it, such as 0123. Enter a "
            "whole number into the field for that, which sends it otherwise.",
        )
    return listing(request, Scope.of(request), digits=digits or None, over=over, older_than=older_than)


@router.post("/suppressions/find", dependencies=[Depends(require_own_page)])
def find_number(request: Request, number: Annotated[str, Form()] = "") -> Response:
    """Show all that there is of one number, which stands in no address."""
    scope = Scope.of(request)
    readable_of(scope.visitor, conn_ids_of(scope))
    try:
        wanted = NumberReader().normalise(number)
    except InvalidCallError as fault:
        return listing(request, scope, notice=f"This number {fault.rule}.", failed=True)
    found = scope.ledger.suppressions.of_number(wanted, only_in_force=False)[:MOST_OF_A_NUMBER]
    return listing(request, scope, found=found, whose=mask_number(wanted))


def listing(
    request: Request,
    scope: Scope,
    *,
    digits: str | None = None,
    over: bool = False,
    older_than: int | None = None,
    found: list[Suppression] | None = None,
    whose: str | None = None,
    notice: str | None = None,
    failed: bool = False,
    faults: list[str] | None = None,
) -> Response:
    """Return the page with a list.

    :param found: what is listed; if not set, what the next three parameters before ask for.
    :param whose: the masked number that it is about, if it is about one.
    :param notice: what has become of what the visitor asked for; ``failed`` says that it came to nothing.
    :param faults: what is wrong with rows of a file.
    """
    conn_ids = readable_of(scope.visitor, conn_ids_of(scope))
    rights, older = Rights(scope), None
    if found is None:
        # What the connections in the ledger do not name is found as well by those who may read all of them.
        only = None if rights.may_read_all else conn_ids
        found = scope.ledger.suppressions.page(
            conn_ids=only, digits=digits, before=older_than, limit=PAGE_SIZE + 1, only_in_force=not over
        )
        older = found[PAGE_SIZE - 1].id if len(found) > PAGE_SIZE else None
        found = found[:PAGE_SIZE]
    return page(
        request,
        "suppressions.html",
        status=400 if failed else 200,
        title="Suppressions",
        current="suppressions",
        rows=rows_of(rights, found),
        whose=whose,
        digits=digits,
        over=over,
        is_later_page=older_than is not None,
        addresses=_addresses(digits, over, older),
        editable=[conn_id for conn_id in conn_ids if rights.may_change(conn_id)][:_MOST_CHOICES],
        may_change_all=rights.may_change_all,
        notice=notice,
        failed=failed,
        faults=faults or [],
    )


def _addresses(digits: str | None, over: bool, older: int | None) -> dict[str, Any]:
    def address(**more: Any) -> str:
        return page_address("suppressions", **{"digits": digits, "over": "true" if over else None, **more})

    return {
        "newest": address(),
        "older": address(older_than=older) if older else None,
        "switch": address(over=None if over else "true"),
    }
