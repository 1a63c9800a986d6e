"""The page /ui/calls: all calls that a visitor may see, by filter, page after page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from markupsafe import Markup

from airflow_provider_voiceinfra.ledger.lists.values import CallsPage, Order
from airflow_provider_voiceinfra.ledger.records import CallState
from airflow_provider_voiceinfra.web.pages.addresses import unseal
from airflow_provider_voiceinfra.web.pages.calls import filters
from airflow_provider_voiceinfra.web.pages.calls.filters import Wanted
from airflow_provider_voiceinfra.web.pages.calls.rows import rows_of
from airflow_provider_voiceinfra.web.pages.rendering import is_partial, moment, page
from airflow_provider_voiceinfra.web.pages.routes import PageRoute
from airflow_provider_voiceinfra.web.pages.scope import Scope

PAGE = 50
"""How many calls a page shows."""
MOST_ROUNDS = 20
"""How often a page searches further by itself before it waits for a click."""
MOST_UNKNOWN = 100
"""How many unknown calls are counted."""

_MOST_SUGGESTED = 500
_NO_PLACE = (
    "This address leads to no page of this list (after, before): it was cut off, or made for another order. "
    "Open the list of calls anew."
)
_DELAY = 300  # milliseconds between two rounds, so that the database gets its breath

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class Place:
    """Which page of a list is wanted.

    :param shown: how many calls the page shows already, for which a search looks for more.
    :param round: how often it has searched further by itself.
    """

    after: str | None = None
    before: str | None = None
    last: bool = False
    shown: int = 0
    round: int = 0

    @classmethod
    def read(cls, request: Request) -> Place:
        """Read it out of an address.

        :raises HTTPException: 400, naming the field.
        """
        query = request.query_params
        return cls(
            after=_unsealed(query.get("after")),
            before=_unsealed(query.get("before")),
            last=query.get("last") == "1",
            shown=_whole(query.get("shown"), PAGE - 1) if is_partial(request) else 0,
            round=_whole(query.get("round"), MOST_ROUNDS),
        )

    @property
    def is_backwards(self) -> bool:
        """Whether the list is read towards its start."""
        return self.last or self.before is not None


@router.get("/calls")
def calls(request: Request) -> Response:
    """Show a page of calls; while a page is being filled, the part of it that has been found since."""
    wanted, place = Wanted.read(request.query_params), Place.read(request)
    scope = Scope.of(request)
    found = page_of(scope, wanted, place)
    number = place.shown + len(found.calls)
    # A search may come to its bound with the very call that fills the page.
    unfinished = found.searched_to is not None and number < PAGE
    partial = is_partial(request)
    shown: dict[str, Any] = {
        "title": "Calls",
        "current": "calls",
        "wanted": wanted,
        "rows": rows_of(scope, found.calls),
        "found": _count(number, unfinished),
        "shown": number,
        "pager": _pager(wanted, place, found, unfinished),
        "search": _further(wanted, place, found, number) if unfinished else None,
        "is_backwards": place.is_backwards,
        "goes_on": partial and "shown" in request.query_params,
    }
    if shown["goes_on"]:
        return page(request, "_calls_more.html", **shown)
    shown |= {"partial": partial, "sorting": _sorting(wanted), "unknown": _unknown(scope, wanted)}
    if not partial:
        return page(request, "calls.html", **shown, choices=_choices(scope, wanted))
    answer = page(request, "calls.html", **shown)
    # Without the fields that were left empty, so that the address can be read and passed on.
    answer.headers["HX-Push-Url"] = wanted.address(
        after=place.after, before=place.before, last="1" if place.last else None
    )
    return answer


def page_of(scope: Scope, wanted: Wanted, place: Place) -> CallsPage:
    """Return a page of the calls that a visitor may see.

    :raises HTTPException: 400, if the place is none of this list.
    """
    try:
        return scope.ledger.lists.page_of_calls(
            scope.filter(**wanted.filter),
            order=wanted.order,
            after=place.after,
            before=place.before,
            last=place.last,
            limit=PAGE - place.shown,
        )
    except ValueError:
        raise HTTPException(400, _NO_PLACE) from None


def _unsealed(place: str | None) -> str | None:
    try:
        return unseal(place) if place else None
    except ValueError:
        raise HTTPException(400, _NO_PLACE) from None


def _whole(text: str | None, most: int) -> int:
    return min(int(text), most) if text and text.isascii() and text.isdigit() and len(text) < 9 else 0


def _count(number: int, unfinished: bool) -> str:
    calls = "1 call" if number == 1 else f"{number} calls"
    if unfinished:
        return f"{calls} found so far; not all calls have been looked at yet."
    return f"{calls} on this page." if number else "No calls."


def _pager(wanted: Wanted, place: Place, found: CallsPage, unfinished: bool) -> dict[str, str | None]:
    """Return where the pages around a page are; ``None`` stands for a page that is not there."""
    # As long as the page is being filled, what lies beyond its end is not another page's.
    back = found.before if not (unfinished and place.is_backwards) else None
    onwards = found.after if not unfinished or place.is_backwards else None
    return {
        "first": wanted.address() if found.before else None,
        "previous": wanted.address(before=back) if back else None,
        "next": wanted.address(after=onwards) if onwards else None,
        "last": wanted.address(last="1") if found.after else None,
    }


def _further(wanted: Wanted, place: Place, found: CallsPage, number: int) -> dict[str, Any]:
    """Return how far an unfinished search came, and where a script and a person go on with it."""
    beyond: dict[str, Any] = {"before": found.before} if place.is_backwards else {"after": found.after}
    goes_on = place.round < MOST_ROUNDS
    following = place.round + 1 if goes_on else 0
    return {
        "so_far": _so_far(wanted, place, found),
        "address": wanted.address(**beyond, shown=str(number), round=str(following)),
        "by_hand": wanted.address(**beyond),
        "goes_on": goes_on,
        "is_backwards": place.is_backwards,
        "delay": _DELAY,
    }


def _so_far(wanted: Wanted, place: Place, found: CallsPage) -> str:
    if wanted.order not in (Order.NEWEST, Order.OLDEST):
        return "Only a part of the calls has been looked at so far."
    way = "back" if (wanted.order is Order.NEWEST) != place.is_backwards else "on"
    return Markup("Searched {} to {}.").format(way, moment(found.searched_to))


def _sorting(wanted: Wanted) -> dict[str, dict[str, str | None]]:
    """Return the heads of the columns that sort."""
    return {
        "time": _column(wanted, Order.NEWEST, Order.OLDEST),
        "duration": _column(wanted, Order.LONGEST, Order.SHORTEST),
    }


def _column(wanted: Wanted, falling: Order, rising: Order) -> dict[str, str | None]:
    """Return how ``aria-sort`` says that a column sorts, where a click leads, and what it does."""
    directions = {falling: "descending", rising: "ascending"}
    following = rising if wanted.order is falling else falling
    address = replace(wanted, order=following).address()
    title = f"Show the {following.value} first"
    return {"direction": directions.get(wanted.order), "address": address, "title": title}


def _unknown(scope: Scope, wanted: Wanted) -> dict[str, Any] | None:
    """Return how many of the calls that are asked for somebody has to look after."""
    if wanted.outcome is not None or wanted.state not in (None, CallState.UNKNOWN):
        return None
    asked = replace(wanted, state=CallState.UNKNOWN)
    found = scope.ledger.lists.page_of_calls(scope.filter(**asked.filter), limit=MOST_UNKNOWN)
    if not found.calls:
        return None
    address = None if wanted.state is CallState.UNKNOWN else asked.address()
    return {"number": len(found.calls), "has_more": found.after is not None, "address": address}


def _choices(scope: Scope, wanted: Wanted) -> dict[str, Any]:
    """Return what the fields of the filter suggest; nothing that the visitor must not know of."""
    known = scope.ledger.lists.known_connections()
    dags = [one for one in scope.ledger.lists.known_dags() if one not in scope.hidden_dags]
    outcomes = dict(filters.OUTCOMES)
    if wanted.outcome is not None:
        outcomes.setdefault(wanted.outcome, wanted.outcome)
    connections = sorted({*scope.connections, *((wanted.conn_id,) if wanted.conn_id else ())})
    return {
        "connections": connections[:_MOST_SUGGESTED],
        "has_all_connections": scope.connections >= frozenset(known) and len(known) <= _MOST_SUGGESTED,
        "dags": sorted(dags)[:_MOST_SUGGESTED],
        "outcomes": outcomes,
        "states": filters.STATES,
        "directions": filters.DIRECTIONS,
    }
