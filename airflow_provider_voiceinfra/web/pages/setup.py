"""The page /ui/setup: whether connections are set up, what their webhooks are doing, and what was kept."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import Response

from airflow_provider_voiceinfra.diagnosis import Finding, Verdict, diagnose
from airflow_provider_voiceinfra.diagnosis.deployment import check_connection
from airflow_provider_voiceinfra.diagnosis.receiver import check_deliveries, default_address
from airflow_provider_voiceinfra.receiving import Outcome, replay
from airflow_provider_voiceinfra.web.pages.connections import all_connections
from airflow_provider_voiceinfra.web.pages.rendering import page
from airflow_provider_voiceinfra.web.pages.routes import PageRoute
from airflow_provider_voiceinfra.web.pages.scope import Scope, require_own_page
from airflow_provider_voiceinfra.web.pages.setup_views import body_of, stray_of, views_of

KEPT_ON_A_PAGE = 20
MOST_REPLAYED = 1000
ALL = "all"
_LARGEST_ID = 2**63 - 1
Id = Annotated[int, Query(ge=1, le=_LARGEST_ID)]

log = logging.getLogger(__name__)

router = APIRouter(route_class=PageRoute)


@router.get("/setup")
def show_setup(
    request: Request, show: Id | None = None, before: Id | None = None, replayed: bool = False
) -> Response:
    """Show the connections and the kept deliveries; with ``show``, what one of those says.

    :param before: the id of a kept delivery; those that came before it.
    :param replayed: whether kept deliveries that a replay made use of are listed, too.
    """
    scope = Scope.of(request)
    conn_ids = _readable(scope)
    if show is not None:
        return _delivery(request, scope, show)
    return page(
        request,
        "setup.html",
        title="Setup",
        current="setup",
        views=views_of(scope, conn_ids),
        stray=stray_of(scope),
        **_kept(scope, conn_ids, before=before, replayed=replayed),
    )


@router.post("/setup/check", dependencies=[Depends(require_own_page)])
def check(request: Request, conn_id: Annotated[str, Form()]) -> Response:
    """Run every check of the doctor's for a connection."""
    _require_edit(Scope.of(request), conn_id)
    return _findings(request, diagnose(conn_id))


@router.post("/setup/test", dependencies=[Depends(require_own_page)])
def send_test_delivery(request: Request, conn_id: Annotated[str, Form()]) -> Response:
    """Send a signed webhook to this Airflow's own address, and look for it in the ledger."""
    scope = Scope.of(request)
    _require_edit(scope, conn_id)
    found, connection = check_connection(conn_id)
    if connection is None:
        return _findings(request, [found])
    return _findings(request, check_deliveries(connection, default_address(), scope.ledger))


@router.post("/setup/replay", dependencies=[Depends(require_own_page)])
def replay_delivery(request: Request, id: Annotated[str, Form()]) -> Response:
    """Try a kept delivery again, or all of them."""
    scope = Scope.of(request)
    conn_ids = _readable(scope)
    told = _replay_all(scope, conn_ids) if id == ALL else _replay_one(scope, id)
    return page(request, "_deliveries.html", **{**_kept(scope, conn_ids), "told": told})


def _readable(scope: Scope) -> list[str]:
    every = all_connections(scope.ledger)
    allowed = scope.visitor.readable_connections(every)
    if not allowed:
        raise HTTPException(
            403,
            "Your Airflow account may not read any connection, which this page is about. Whoever administers "
            "Airflow can give it that permission: in the simple auth manager, the role op or admin.",
        )
    return [conn_id for conn_id in every if conn_id in allowed]


def _require_edit(scope: Scope, conn_id: str) -> None:
    if not scope.visitor.may_edit_connection(conn_id):
        raise HTTPException(403, "This needs edit permission on the connection, which your account lacks.")


def _findings(request: Request, findings: Iterable[Finding]) -> Response:
    found = list(findings)
    verdicts = {one.verdict for one in found}
    if Verdict.FAILED in verdicts:
        said = "Something has to be mended."
    else:
        said = "It works, with a remark." if Verdict.WARNING in verdicts else "Everything is in order."
    return page(request, "_findings.html", findings=found, said=said)


def _kept(
    scope: Scope, conn_ids: list[str], *, before: int | None = None, replayed: bool = False
) -> dict[str, Any]:
    """Return what the list of kept deliveries is given."""
    found = scope.ledger.listed_deliveries(
        conn_ids, include_replayed=replayed, before=before, limit=KEPT_ON_A_PAGE + 1
    )
    shown = found[:KEPT_ON_A_PAGE]
    editable = {id_ for id_ in {one.conn_id for one in shown} if scope.visitor.may_edit_connection(id_)}
    return {
        "told": None,
        "deliveries": shown,
        "editable": editable,
        "older": shown[-1].id if len(found) > len(shown) else None,
        "is_later_page": before is not None,
        "replayed": replayed,
    }


def _delivery(request: Request, scope: Scope, delivery_id: int) -> Response:
    delivery = scope.ledger.delivery(delivery_id)
    if delivery is None or not scope.may_read(delivery.conn_id):
        raise HTTPException(404, "There is no such delivery; it may have been purged.")
    return page(
        request,
        "delivery.html",
        title="A kept delivery",
        current="setup",
        kept=delivery,
        body=body_of(delivery),
    )


def _replay_one(scope: Scope, id: str) -> str:
    number = int(id) if id.isascii() and id.isdecimal() and len(id) < len(str(_LARGEST_ID)) else 0
    delivery = scope.ledger.delivery(number)
    if delivery is None or not scope.may_read(delivery.conn_id):
        raise HTTPException(404, "There is no such delivery; it may have been purged.")
    _require_edit(scope, delivery.conn_id)
    receipt = replay(delivery, scope.ledger)
    log.info("Delivery %d was replayed by %r: %s", delivery.id, scope.visitor.name, receipt.outcome.value)
    if receipt.outcome is Outcome.KEPT:
        return f"Delivery {delivery.id} still cannot be used, and stays: {receipt.reason}."
    if receipt.outcome is Outcome.DUPLICATE:
        return f"Delivery {delivery.id} says what the ledger knows already; it is done with."
    return f"Delivery {delivery.id} is recorded as the completion of its call."


def _replay_all(scope: Scope, conn_ids: list[str]) -> str:
    editable = [conn_id for conn_id in conn_ids if scope.visitor.may_edit_connection(conn_id)]
    listed = scope.ledger.listed_deliveries(editable, limit=MOST_REPLAYED)
    outcomes = []
    for one in reversed(listed):  # in the order in which they came
        delivery = scope.ledger.delivery(one.id)
        if delivery is not None:
            outcomes.append(replay(delivery, scope.ledger).outcome)
    used = sum(outcome is not Outcome.KEPT for outcome in outcomes)
    log.info("%d deliveries were replayed by %r; %d of use", len(outcomes), scope.visitor.name, used)
    return f"{len(outcomes)} were tried again: {used} could be used, {len(outcomes) - used} stay."
