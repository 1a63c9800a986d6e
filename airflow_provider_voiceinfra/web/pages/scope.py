"""What of the ledger one visitor may see; every page asks here, so that no page forgets to."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import HTTPException, Request

from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from airflow_provider_voiceinfra.ledger.lists.values import CallFilter, Direction
from airflow_provider_voiceinfra.masking import Privacy

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger
    from airflow_provider_voiceinfra.web.pages.visitors import Visitor

_MOST_CONNECTIONS = 50  # whose caller IDs are looked for one by one
_CSRF_HEADER = "x-voiceinfra-request"


class Scope:
    """What one visitor may see, as far as one request asks for it.

    :param visitor: who looks.
    :param ledger: what they look at.
    """

    def __init__(self, visitor: Visitor, ledger: CallLedger) -> None:
        self.visitor = visitor
        self.ledger = ledger
        self._readable: dict[str, bool] = {}
        self._readable_dags: dict[str, bool] = {}

    @classmethod
    def of(cls, request: Request) -> Scope:
        """Return the scope of a request that has been let in."""
        return cls(request.state.visitor, request.app.state.ledger())

    @cached_property
    def connections(self) -> frozenset[str]:
        """Those connections in the ledger that the visitor may read."""
        return frozenset(self.visitor.readable_connections(self.ledger.lists.known_connections()))

    @cached_property
    def own_numbers(self) -> frozenset[str]:
        """The numbers that calls are placed from, by which inbound ones are known."""
        return self.ledger.lists.own_numbers(sorted(self.connections)[:_MOST_CONNECTIONS])

    @cached_property
    def hidden_dags(self) -> frozenset[str]:
        """Those DAGs in the ledger that the visitor may not read."""
        known = self.ledger.lists.known_dags()
        return frozenset(known) - self.visitor.readable_dags(known)

    def may_read(self, conn_id: str) -> bool:
        """Return whether the visitor may read a connection, and so what was said through it."""
        if conn_id not in self._readable:
            self._readable[conn_id] = conn_id in self.visitor.readable_connections([conn_id])
        return self._readable[conn_id]

    def shows(self, dag_id: str | None, conn_id: str) -> bool:
        """Return whether a call or a campaign is shown to the visitor at all."""
        if dag_id is None:
            return self.may_read(conn_id)
        if dag_id not in self._readable_dags:
            self._readable_dags[dag_id] = dag_id in self.visitor.readable_dags([dag_id])
        return self._readable_dags[dag_id]

    def may_change(self, campaign: CampaignEntry) -> bool:
        """Return whether the visitor may cancel a campaign."""
        if campaign.dag_id is None:
            return self.visitor.may_edit_connection(campaign.conn_id)
        return self.visitor.may_edit_runs_of(campaign.dag_id)

    def privacy(self, conn_id: str) -> Privacy:
        """Return what may be shown of what went through a connection."""
        allowed = self.may_read(conn_id)
        return Privacy(show_numbers=allowed, include_transcript=allowed)

    def filter(self, **wanted: Any) -> CallFilter:
        """Return a filter of calls that leaves out what the visitor must not see.

        :param wanted: the fields of the filter that the visitor chose.
        """
        direction = wanted.get("direction", Direction.OUTBOUND)
        return CallFilter(
            **wanted,
            hidden_dags=self.hidden_dags,
            dagless_conns=self.connections,
            own_numbers=frozenset() if direction is Direction.OUTBOUND else self.own_numbers,
        )


def require_own_page(request: Request) -> None:
    """Refuse a change that another site has made this visitor's browser ask for.

    No other site can send the header without asking first, which Airflow does not grant; and a browser says
    where a request came from, unless it is old or the address is neither https nor loopback.

    :raises HTTPException: 403.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    if _CSRF_HEADER not in request.headers or site != "same-origin" or not _is_own_origin(request):
        raise HTTPException(
            403, "This request did not come from a page of this Airflow; nothing was changed."
        )


def _is_own_origin(request: Request) -> bool:
    """Return whether the origin, if a browser has sent one, is this Airflow's."""
    origin = request.headers.get("origin")
    if origin is None:
        return True
    from airflow.configuration import conf

    # A proxy may have put another name in the place of the one that the browser knows.
    base_url = str(conf.get("api", "base_url", fallback="") or "")
    return urlsplit(origin).netloc in {request.headers.get("host"), urlsplit(base_url).netloc} - {"", None}
