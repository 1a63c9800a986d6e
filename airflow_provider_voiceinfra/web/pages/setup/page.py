"""The page /ui/setup: whether connections are set up, what their webhooks are doing, and what was kept."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Set
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import Response

from airflow_provider_voiceinfra.diagnosis import Finding, Verdict, diagnose
from airflow_provider_voiceinfra.diagnosis.inside import check_connection
from airflow_provider_voiceinfra.diagnosis.outside import check_deliveries, default_address
from airflow_provider_voiceinfra.exceptions import ConfigurationError, LedgerError, VoiceInfraError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.webhooks.records import KeptDelivery
from airflow_provider_voiceinfra.rules.opt_out import OptOut
from airflow_provider_voiceinfra.web.pages.rendering import page
from airflow_provider_voiceinfra.web.pages.routes import CheckRoute, PageRoute
from airflow_provider_voiceinfra.web.pages.scope import Scope, require_own_page
from airflow_provider_voiceinfra.web.pages.setup.conn_ids import (
    ConnIds,
    conn_ids_of,
    find_conn_ids,
    readable_of,
)
from airflow_provider_voiceinfra.web.pages.setup.view import (
    body_of,
    findings_of_all,
    rules_of_all,
    stray_of,
    views_of,
)
from airflow_provider_voiceinfra.web.pages.visitors import Visitor
from airflow_provider_voiceinfra.web.receiver.secrets import find_opt_outs
from airflow_provider_voiceinfra.webhooks.reasons import in_words
from airflow_provider_voiceinfra.webhooks.receiving import Outcome, replay

PATIENCE = 8.0
"""How long a check waits for each answer, in seconds: somebody looks on."""
KEPT_ON_A_PAGE = 20
MOST_REPLAYED = 200
ALL = "all"
_LONGEST_CONN_ID = 250  # as Airflow's own column
_LARGEST_ID = 2**63 - 1
Id = Annotated[int, Query(ge=1, le=_LARGEST_ID)]

log = logging.getLogger(__name__)

router = APIRouter(route_class=PageRoute)
checks = APIRouter(route_class=CheckRoute)


@router.get("/setup")
def show_setup(
    request: Request,
    show: Id | None = None,
    older_than: Id | None = None,
    replayed: bool = False,
    conn_id: str = "",
) -> Response:
    """Show the connections and the kept deliveries; with ``show``, what one of those says.

    :param older_than: the id of a kept delivery; those that came before it.
    :param replayed: whether kept deliveries that a replay made use of are listed, too.
    :param conn_id: a connection to show as well, which a secrets backend may hold.
    """
    wanted = {conn_id.strip()} - {""}
    _require_usable(wanted)
    try:
        scope = Scope.of(request)
        every = conn_ids_of(scope, wanted)
        conn_ids = readable_of(scope.visitor, every)
        if show is not None:
            return _delivery(request, scope, show)
        stray, kept = stray_of(scope.ledger), _kept(scope, conn_ids, older_than=older_than, replayed=replayed)
        return _setup(request, every, conn_ids, scope.ledger, stray=stray, kept=kept)
    except (LedgerError, ConfigurationError) as error:
        # Then this page is needed most: it shows what can be said without.
        log.error("The page Setup can say nothing of webhooks: %s", error)
        every = find_conn_ids(wanted)
        conn_ids = readable_of(request.state.visitor, every)
        return _setup(request, every, conn_ids, None, status=503, stray=None, kept=None)


@checks.post("/setup/check", dependencies=[Depends(require_own_page)])
def check(request: Request, conn_id: Annotated[str, Form()]) -> Response:
    """Run every check of the doctor's for a connection."""
    _require_edit(request.state.visitor, conn_id)
    return _findings(request, diagnose(conn_id, patience=PATIENCE))


@checks.post("/setup/test", dependencies=[Depends(require_own_page)])
def send_test_delivery(request: Request, conn_id: Annotated[str, Form()]) -> Response:
    """Send a signed webhook to this Airflow's own address, and look for it in the ledger."""
    scope = Scope.of(request)
    _require_edit(scope.visitor, conn_id)
    found, connection = check_connection(conn_id)
    if connection is None:
        return _findings(request, [found])
    findings = check_deliveries(connection, default_address(), scope.ledger, patience=PATIENCE)
    return _findings(request, findings)


@router.post("/setup/replay", dependencies=[Depends(require_own_page)])
def replay_delivery(request: Request, id: Annotated[str, Form()]) -> Response:
    """Try a kept delivery again, or all of them."""
    scope = Scope.of(request)
    conn_ids = readable_of(scope.visitor, conn_ids_of(scope))
    notice = _replay_all(scope, conn_ids) if id == ALL else _replay_one(scope, id)
    return page(request, "_deliveries.html", kept=_kept(scope, conn_ids), notice=notice)


def _setup(
    request: Request, every: ConnIds, conn_ids: list[str], ledger: CallLedger | None, **shown: Any
) -> Response:
    findings, settings = findings_of_all()
    return page(
        request,
        "setup.html",
        title="Setup",
        current="setup",
        is_complete=every.is_complete,
        findings=findings,
        rules=rules_of_all(),
        views=views_of(request.state.visitor, conn_ids, every, settings, ledger),
        notice=None,
        **shown,
    )


def _require_usable(conn_ids: Set[str]) -> None:
    if any(len(conn_id) > _LONGEST_CONN_ID for conn_id in conn_ids):
        raise HTTPException(
            400, f"conn_id: ids of connections have at most {_LONGEST_CONN_ID} characters; this is none."
        )


def _require_edit(visitor: Visitor, conn_id: str) -> None:
    _require_usable({conn_id})
    if not visitor.may_edit_connection(conn_id):
        raise HTTPException(
            403,
            "Nothing was done. This needs the permission to edit the connection, which an administrator of "
            "Airflow can give.",
        )


def _findings(request: Request, findings: Iterable[Finding]) -> Response:
    found = list(findings)
    verdicts = {one.verdict for one in found}
    if Verdict.FAILED in verdicts:
        said = "Something has to be fixed."
    else:
        said = "It works, with a remark." if Verdict.WARNING in verdicts else "Everything is in order."
    return page(request, "_findings.html", findings=found, said=said)


def _kept(
    scope: Scope, conn_ids: list[str], *, older_than: int | None = None, replayed: bool = False
) -> dict[str, Any]:
    """Return what the list of kept deliveries is given."""
    found = scope.ledger.deliveries.listed(
        conn_ids, include_replayed=replayed, before=older_than, limit=KEPT_ON_A_PAGE + 1
    )
    shown = found[:KEPT_ON_A_PAGE]
    editable = {id_ for id_ in {one.conn_id for one in shown} if scope.visitor.may_edit_connection(id_)}
    return {
        "deliveries": shown,
        "editable": editable,
        "older": shown[-1].id if len(found) > len(shown) else None,
        "is_later_page": older_than is not None,
        "replayed": replayed,
    }


def _delivery(request: Request, scope: Scope, delivery_id: int) -> Response:
    kept = _readable_delivery(scope, delivery_id)
    title = "A kept delivery"
    return page(request, "delivery.html", title=title, current="setup", kept=kept, body=body_of(kept))


def _readable_delivery(scope: Scope, delivery_id: int) -> KeptDelivery:
    """Return a kept delivery, unless there is none or it is hidden, which look alike."""
    delivery = scope.ledger.deliveries.get(delivery_id)
    if delivery is None or not scope.may_read(delivery.conn_id):
        raise HTTPException(
            404, "There is no such delivery, or you may not see it; it may have been purged meanwhile."
        )
    return delivery


def _replay_one(scope: Scope, id: str) -> str:
    if not (id.isascii() and id.isdecimal() and len(id) < len(str(_LARGEST_ID))):
        raise HTTPException(
            400, f"id: kept deliveries are named by their number, or by {ALL!r}; this is neither."
        )
    delivery = _readable_delivery(scope, int(id))
    _require_edit(scope.visitor, delivery.conn_id)
    receipt = replay(delivery, scope.ledger, _opt_outs({delivery.conn_id})[delivery.conn_id])
    log.info("Delivery %d was replayed by %r: %s", delivery.id, scope.visitor.name, receipt.outcome.value)
    said = {
        Outcome.KEPT: f"still cannot be used, and stays: {in_words(receipt.reason or '')}",
        Outcome.DUPLICATE: "says what the ledger knows already; it is done with",
        Outcome.RECORDED: "is recorded as the completion of its call",
    }
    return f"Delivery {delivery.id} {said[receipt.outcome]}.{_opted_out(scope, set(receipt.suppressed))}"


def _replay_all(scope: Scope, conn_ids: list[str]) -> str:
    editable = [conn_id for conn_id in conn_ids if scope.visitor.may_edit_connection(conn_id)]
    if not editable:
        _require_edit(scope.visitor, conn_ids[0])
    listed = scope.ledger.deliveries.listed(editable, limit=MOST_REPLAYED)
    # In the order in which they came; one may be purged meanwhile.
    found = map(scope.ledger.deliveries.get, [one.id for one in reversed(listed)])
    opt_outs = _opt_outs({one.conn_id for one in listed})
    receipts = [replay(one, scope.ledger, opt_outs[one.conn_id]) for one in found if one is not None]
    used = sum(receipt.outcome is not Outcome.KEPT for receipt in receipts)
    log.info("%d deliveries were replayed by %r; %d of use", len(receipts), scope.visitor.name, used)
    notice = f"{len(receipts)} tried again: {used} could be used, {len(receipts) - used} stay as they are."
    notice += _opted_out(scope, {number for receipt in receipts for number in receipt.suppressed})
    if len(listed) < MOST_REPLAYED:
        return notice
    return f"{notice} These were the newest; `airflow voiceinfra deliveries --replay all` tries every one."


def _opt_outs(conn_ids: Set[str]) -> dict[str, tuple[OptOut, ...]]:
    """Return what in a record says that the person must not be called again, for each connection."""
    try:
        return {conn_id: find_opt_outs(conn_id) for conn_id in conn_ids}
    except VoiceInfraError as error:
        raise HTTPException(
            409, f"Nothing was done, or somebody who opted out could be missed. {error}"
        ) from None


def _opted_out(scope: Scope, numbers: Set[str]) -> str:
    """Return what there is to say of people who opted out in what was replayed, as a further sentence."""
    if not numbers:
        return ""
    said = " Who opted out in it is not called any more."
    if scope.ledger.suppressions.await_last_requests(sorted(numbers), patience=PATIENCE):
        return said
    return f"{said} A call to such a number is being placed at this moment, and may ring; it is the last."
