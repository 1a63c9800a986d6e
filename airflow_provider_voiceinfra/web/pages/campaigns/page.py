"""The pages /ui/campaigns and /ui/campaign: how far each is; cancels one, or takes that back."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import Response

from airflow_provider_voiceinfra.dialling.clocks import utc_now
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from airflow_provider_voiceinfra.ledger.campaigns.states import CampaignState
from airflow_provider_voiceinfra.ledger.lists.campaigns import CampaignFilter, CampaignsPage
from airflow_provider_voiceinfra.masking import mask_numbers_in
from airflow_provider_voiceinfra.web.pages.addresses import page_address, unseal
from airflow_provider_voiceinfra.web.pages.campaigns.airflow_tasks import task_state
from airflow_provider_voiceinfra.web.pages.campaigns.view import CampaignView, poll_seconds_of
from airflow_provider_voiceinfra.web.pages.rendering import page
from airflow_provider_voiceinfra.web.pages.routes import PageRoute
from airflow_provider_voiceinfra.web.pages.scope import Scope, require_own_page

PAGE_SIZE = 25
_LONGEST_TEXT = 250

log = logging.getLogger(__name__)

router = APIRouter(route_class=PageRoute)


@router.get("/campaigns")
def list_campaigns(
    request: Request, state: str = "", text: str = "", after: str = "", before: str = ""
) -> Response:
    """Show campaigns, newest first."""
    scope = Scope.of(request)
    text = text.replace("\0", "").strip()[:_LONGEST_TEXT]
    behind, ahead = _place("after", after), _place("before", before)
    found = _page_of(scope, state, text, behind, ahead)
    views = [CampaignView(entry, utc_now()) for entry in found.campaigns]

    def address(**place: str | None) -> str:
        return page_address("campaigns", state=state or None, text=text or None, **place)

    return page(
        request,
        "campaigns.html",
        title="Campaigns",
        current="campaigns",
        states=[one.value for one in CampaignState],
        state=state,
        text=text,
        views=views,
        here=address(after=behind, before=ahead),
        first=address() if after or before else None,
        newer=address(before=found.before) if found.before else None,
        older=address(after=found.after) if found.after else None,
        poll_seconds=poll_seconds_of(views),
        # Who looks on is not told every few seconds how long the list is.
        notice=request.headers.get("hx-trigger") not in (None, "campaigns"),
    )


@router.get("/campaign")
def show_campaign(request: Request, id: str, was: str = "") -> Response:
    """Show one campaign.

    :param was: the state that the page shows at present, if it asks for news.
    """
    scope = Scope.of(request)
    return _campaign(request, scope, _visible(scope, id), was=was)


@router.post("/campaign/cancel", dependencies=[Depends(require_own_page)])
def cancel(request: Request, id: Annotated[str, Form()]) -> Response:
    """Have a campaign dial nobody else."""
    scope = Scope.of(request)
    entry = _changeable(scope, id, "cancel")
    changed = scope.ledger.campaigns.cancel(entry.campaign_id)
    entry = scope.ledger.campaigns.get(entry.campaign_id) or entry
    said, moment = "Nothing was changed: the campaign was over before it could be cancelled.", None
    if changed:
        log.info("Campaign %r was cancelled by %r.", mask_numbers_in(entry.campaign_id), scope.visitor.name)
        said = "The campaign is cancelled."
    elif entry.cancelled_at is not None:
        said = "Nothing was changed: the campaign was cancelled before, at"
        moment = entry.cancelled_at
    return _campaign(request, scope, entry, notice=said, notice_at=moment)


@router.post("/campaign/resume", dependencies=[Depends(require_own_page)])
def resume(request: Request, id: Annotated[str, Form()]) -> Response:
    """Take a cancellation back."""
    scope = Scope.of(request)
    entry = _changeable(scope, id, "resume")
    changed = scope.ledger.campaigns.uncancel(entry.campaign_id)
    entry = scope.ledger.campaigns.get(entry.campaign_id) or entry
    said = "Nothing was changed: the campaign is not cancelled."
    if changed:
        shown = mask_numbers_in(entry.campaign_id)
        log.info("The cancellation of campaign %r was taken back by %r.", shown, scope.visitor.name)
        said = f"The cancellation is taken back. {CampaignView(entry, utc_now()).after_resuming()}"
    return _campaign(request, scope, entry, notice=said)


def _campaign(
    request: Request,
    scope: Scope,
    entry: CampaignEntry,
    *,
    was: str = "",
    notice: str | None = None,
    notice_at: datetime | None = None,
) -> Response:
    """Return the page of a campaign.

    :param was: the state that the page shows at present; a different one is announced.
    :param notice: what has become of what the visitor asked for, ``notice_at`` the moment that it ends with.
    """
    # A campaign says nothing of itself before its contacts are loaded; how many there are so far is known.
    counts = {} if entry.progress else scope.ledger.campaigns.count_contacts(entry.campaign_id)
    view = CampaignView(entry, utc_now(), counts=counts)
    if view.state in (CampaignState.WAITING, CampaignState.NO_HEARTBEAT):
        # One that runs, or is over, says so itself.
        view = replace(view, task=task_state(entry))
    return page(
        request,
        "campaign.html",
        title=entry.campaign_id,
        current="campaigns",
        view=view,
        shown=view.shown,
        may_change=scope.may_change(entry),
        here=page_address("campaign", id=entry.campaign_id, was=view.state_told),
        announced=bool(was) and was != view.state_told,
        notice=notice,
        notice_at=notice_at,
    )


def _place(name: str, sealed: str) -> str | None:
    try:
        return unseal(sealed) if sealed else None
    except ValueError:
        raise _no_place(name) from None


def _no_place(name: str) -> HTTPException:
    return HTTPException(
        400, f"{name}: this is no place in the list of campaigns; begin anew with the first page."
    )


def _page_of(scope: Scope, state: str, text: str, after: str | None, before: str | None) -> CampaignsPage:
    if state and state not in {one.value for one in CampaignState}:
        names = ", ".join(one.value for one in CampaignState)
        raise HTTPException(400, f"state: campaigns have no state {state[:50]!r}; choose one of {names}.")
    sources = scope.ledger.lists.campaign_sources()
    dags = {dag_id for dag_id, _ in sources if dag_id is not None}
    conns = {conn_id for dag_id, conn_id in sources if dag_id is None}
    # Those that may be seen are named, so that one that begins this very moment is not shown to everybody.
    wanted = CampaignFilter(
        state=state or None,
        text=text or None,
        dag_ids=frozenset(scope.visitor.readable_dags(dags)),
        dagless_conns=frozenset(scope.visitor.readable_connections(conns)),
    )
    try:
        return scope.ledger.lists.page_of_campaigns(wanted, after=after, before=before, limit=PAGE_SIZE)
    except ValueError:
        raise _no_place("before" if before else "after") from None


def _visible(scope: Scope, campaign_id: str) -> CampaignEntry:
    """Return a campaign, unless there is none or it is hidden, which look alike."""
    entry = scope.ledger.campaigns.get(campaign_id)
    if entry is None or not scope.shows(entry.dag_id, entry.conn_id):
        raise HTTPException(
            404,
            "There is no such campaign, or you may not see it. The list of campaigns shows all that you may.",
        )
    return entry


def _changeable(scope: Scope, campaign_id: str, what: str) -> CampaignEntry:
    entry = _visible(scope, campaign_id)
    if not scope.may_change(entry):
        missing = (
            f"to edit the connection {entry.conn_id!r}"
            if entry.dag_id is None
            else f"to edit the runs of the DAG {entry.dag_id!r}"
        )
        raise HTTPException(
            403,
            f"Nothing was changed. To {what} this campaign you need permission {missing}; an administrator "
            "of Airflow can give it to you.",
        )
    return entry
