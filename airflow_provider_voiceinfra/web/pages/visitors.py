"""Who looks at a page, and what Airflow's auth manager lets them see and do."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from fastapi import Depends, HTTPException, Request

from airflow_provider_voiceinfra import teams

VisitorOf = Callable[..., Any]
"""A FastAPI dependency that returns the visitor of a request, or raises the 401 or 403 that answers it."""


def airflow_visitor() -> VisitorOf:
    """Return the dependency that asks Airflow who is logged in."""
    # Loaded by the API server alone, and there it is loaded already.
    from airflow.api_fastapi.core_api.security import get_user

    logged_in = Depends(get_user)

    def visitor(user: Any = logged_in) -> Visitor:
        return Visitor(user)

    return visitor


class Visitor:
    """Somebody who is logged in to Airflow, with the permissions that its auth manager gives.

    :param user: as the auth manager knows them.
    """

    def __init__(self, user: Any) -> None:
        from airflow.api_fastapi.app import get_auth_manager

        self._user = user
        self._manager: Any = get_auth_manager()

    @property
    def name(self) -> str:
        """What they are called, for logs."""
        return str(self._user.get_name())

    def may_see_pages(self) -> bool:
        """Return whether plugins' pages are shown to them at all."""
        from airflow.api_fastapi.auth.managers.models.resource_details import AccessView

        return bool(self._manager.is_authorized_view(access_view=AccessView.PLUGINS, user=self._user))

    def readable_connections(self, conn_ids: Collection[str]) -> set[str]:
        """Return those of these connections that they may read."""
        ask = partial(self._manager.filter_authorized_connections, user=self._user)
        return _allowed(conn_ids, teams.of_connections, lambda wanted, **of: ask(conn_ids=wanted, **of))

    def may_edit_connection(self, conn_id: str) -> bool:
        """Return whether they may change a connection."""
        from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails

        def ask(wanted: set[str], **of: Any) -> Collection[str]:
            details = ConnectionDetails(conn_id=conn_id, **of)
            may = self._manager.is_authorized_connection(method="PUT", details=details, user=self._user)
            return wanted if may else ()

        return bool(_allowed([conn_id], teams.of_connections, ask))

    def may_edit_connections(self) -> bool:
        """Return whether they may change connections in general, and so what holds for all of them."""
        return bool(self._manager.is_authorized_connection(method="PUT", user=self._user))

    def may_read_connections(self) -> bool:
        """Return whether they may read connections in general, and so what was said through any of them."""
        return bool(self._manager.is_authorized_connection(method="GET", user=self._user))

    def readable_dags(self, dag_ids: Collection[str]) -> set[str]:
        """Return those of these DAGs that they may read."""
        ask = partial(self._manager.filter_authorized_dag_ids, user=self._user)
        return _allowed(dag_ids, teams.of_dags, lambda wanted, **of: ask(dag_ids=wanted, **of))

    def may_edit_runs_of(self, dag_id: str) -> bool:
        """Return whether they may change the runs of a DAG, as by marking one as failed."""
        from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails

        def ask(wanted: set[str], **of: Any) -> Collection[str]:
            details, runs = DagDetails(id=dag_id, **of), DagAccessEntity.RUN
            may = self._manager.is_authorized_dag(
                method="PUT", access_entity=runs, details=details, user=self._user
            )
            return wanted if may else ()

        return bool(_allowed([dag_id], teams.of_dags, ask))


def _allowed(
    ids: Collection[str],
    owners_of: Callable[[Collection[str]], dict[str, set[str | None]]],
    ask: Callable[..., Collection[str]],
) -> set[str]:
    """Return those ids that are allowed to a visitor; what belongs to a team needs its permission.

    :param owners_of: returns whose they are.
    :param ask: returns those that are allowed; it gets the team where there are any.
    """
    wanted = set(ids)
    if not teams.are_used():
        return set(ask(wanted))
    owners = owners_of(wanted)
    denied: set[str] = set()
    for team in {team for of in owners.values() for team in of}:
        theirs = {one for one in wanted if team in owners[one]}
        denied |= theirs - set(ask(theirs, team_name=team))
    return wanted - denied


def admit(visitor: VisitorOf) -> Callable[..., None]:
    """Return the dependency that lets visitors in, and says on the request who they are."""
    who = Depends(visitor)

    def check(request: Request, found: Any = who) -> None:
        if any("\0" in value for value in request.query_params.values()):
            # PostgreSQL takes it in no text, so it can be part of nothing that there is.
            raise HTTPException(400, "This address cannot be read: it holds a NUL character.")
        if not found.may_see_pages():
            raise HTTPException(403, "Your Airflow account may not see the pages of plugins.")
        request.state.visitor = found

    return check
