"""The page /ui/run, which Airflow shows as a tab of a DAG run: the calls and campaigns of that run."""

from __future__ import annotations

import unicodedata

from fastapi import APIRouter, HTTPException, Request, Response

from airflow_provider_voiceinfra.dialling.clocks import utc_now
from airflow_provider_voiceinfra.ledger.lists.values import OPEN, CallStatistics
from airflow_provider_voiceinfra.ledger.records import CallState
from airflow_provider_voiceinfra.web.pages.addresses import page_address
from airflow_provider_voiceinfra.web.pages.calls.rows import rows_of, standing_word
from airflow_provider_voiceinfra.web.pages.campaigns.view import CampaignView, poll_seconds_of
from airflow_provider_voiceinfra.web.pages.rendering import page
from airflow_provider_voiceinfra.web.pages.routes import PageRoute
from airflow_provider_voiceinfra.web.pages.scope import Scope

MOST_CALLS = 25
"""How many calls the tab lists; the page of calls has the others."""
MOST_CAMPAIGNS = 20
MOST_COUNTED = 10_000
"""How many calls the figures are about, at most."""

_LONGEST_ID = 250  # as Airflow's own columns
# Outcomes in the order in which they are always named; others follow.
_ORDER = ("answered", "voicemail", "failed", OPEN, *(state.value for state in CallState))

router = APIRouter(route_class=PageRoute)


@router.get("/run")
def show_run(request: Request, dag_id: str, run_id: str) -> Response:
    """Show what a DAG run has called."""
    _check("dag_id", dag_id)
    _check("run_id", run_id)
    scope = Scope.of(request)
    if dag_id not in scope.visitor.readable_dags([dag_id]):
        raise HTTPException(404, "There is no such DAG, or you may not see it.")
    wanted = scope.filter(dag_id=dag_id, run_id=run_id)
    found = scope.ledger.lists.page_of_calls(wanted, limit=MOST_CALLS)
    campaigns = scope.ledger.lists.campaigns_of_run(dag_id, run_id, limit=MOST_CAMPAIGNS)
    views = [CampaignView(entry, utc_now()) for entry in campaigns]
    counted = scope.ledger.lists.call_statistics(wanted, limit=MOST_COUNTED) if found.calls else None
    return page(
        request,
        "run.html",
        title="Calls of a DAG run",
        current="",
        dag_id=dag_id,
        run_id=run_id,
        rows=rows_of(scope, found.calls),
        has_more=found.after is not None,
        views=views,
        most_campaigns=MOST_CAMPAIGNS,
        counted=counted,
        figures=_figures(counted) if counted else [],
        here=page_address("run", dag_id=dag_id, run_id=run_id),
        poll_seconds=poll_seconds_of(views),
    )


def _check(name: str, value: str) -> None:
    if not value or len(value) > _LONGEST_ID or any(unicodedata.category(one) == "Cc" for one in value):
        raise HTTPException(
            400,
            f"{name}: nothing has this id. Open this page by the tab Calls of a DAG run, which fills it in.",
        )


def _figures(counted: CallStatistics) -> list[tuple[str, str, int]]:
    """Return how many calls stand how: for people, by its name, and the number."""
    known = [name for name in _ORDER if name in counted.outcomes]
    others = sorted(counted.outcomes.keys() - set(known))
    return [(standing_word(name), name, counted.outcomes[name]) for name in (*known, *others)]
