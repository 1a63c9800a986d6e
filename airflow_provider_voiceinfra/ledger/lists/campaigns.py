"""The part of the ledger that lists campaigns: page after page, by state or text, or those of one DAG run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, false, or_, select

from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from airflow_provider_voiceinfra.ledger.campaigns.states import CampaignState, is_in
from airflow_provider_voiceinfra.ledger.database.schema import campaigns
from airflow_provider_voiceinfra.ledger.lists.search import Cursor
from airflow_provider_voiceinfra.ledger.part import LedgerPart

# PostgreSQL stores no text with it, and refuses to be asked for one.
_NUL = "\0"
_c = campaigns.c


@dataclass(frozen=True)
class CampaignFilter:
    """Which campaigns are wanted; what is not set does not matter.

    :param state: the name of a ``CampaignState``.
    :param text: stands in the campaign's id, or in that of its DAG or run, whatever the case.
    :param dag_ids: if set, of campaigns with a DAG only those of these.
    :param dagless_conns: if set, of campaigns without a DAG only those of these connections.
    """

    state: str | None = None
    text: str | None = None
    dag_ids: frozenset[str] | None = None
    dagless_conns: frozenset[str] | None = None


@dataclass(frozen=True)
class CampaignsPage:
    """Some campaigns of a list, newest first.

    :param before: what ``page_of_campaigns`` wants for the page before this one; ``None`` if this is the
        first.
    :param after: the same for the next page; ``None`` if this is the last.
    """

    campaigns: list[CampaignEntry]
    before: str | None
    after: str | None


class CampaignLists(LedgerPart):
    """Lists campaigns: page after page, or those of one DAG run."""

    def campaigns(self, *, limit: int = 100) -> list[CampaignEntry]:
        """Return campaigns, newest first."""
        return self._entries(_newest_first(select(campaigns)).limit(limit))

    def campaigns_of_run(self, dag_id: str, run_id: str, *, limit: int = 100) -> list[CampaignEntry]:
        """Return the campaigns that a DAG run runs, or was the last to run, newest first."""
        if _NUL in dag_id + run_id:
            return []
        query = select(campaigns).where(_c.dag_id == dag_id, _c.run_id == run_id)
        return self._entries(_newest_first(query).limit(limit))

    def campaign_sources(self) -> list[tuple[str | None, str]]:
        """Return the DAGs of all campaigns, ``None`` for those without one, with their connections."""
        query = select(_c.dag_id, _c.conn_id).distinct()
        return [(row.dag_id, row.conn_id) for row in self._database.rows(query)]

    def page_of_campaigns(
        self, wanted: CampaignFilter, *, after: str | None = None, before: str | None = None, limit: int = 50
    ) -> CampaignsPage:
        """Return a page of the list of campaigns.

        :param after: from the page before it.
        :param before: from the page behind it.
        :param limit: how many campaigns at most.
        :raises ValueError: if ``after`` or ``before`` is not what a page has given out, or the state is none.
        """
        query = select(campaigns).where(*_conditions(wanted, self._now()))
        if before is not None:
            query = query.where(_beyond(before, newer=True))
            query = query.order_by(_c.created_at, _c.campaign_id.desc())
        else:
            query = _newest_first(query if after is None else query.where(_beyond(after, newer=False)))
        found = self._entries(query.limit(limit + 1))
        more, found = len(found) > limit, found[:limit]
        if before is not None:
            found.reverse()
        places = [Cursor(entry.created_at, entry.campaign_id).written() for entry in found[:1] + found[-1:]]
        first, last = places or (None, None)
        if before is not None:
            return CampaignsPage(found, before=first if more else None, after=last)
        return CampaignsPage(found, before=first if after else None, after=last if more else None)

    def _entries(self, query: Select[Any]) -> list[CampaignEntry]:
        return [campaign_of(row) for row in self._database.rows(query)]


def campaign_of(row: Row[Any]) -> CampaignEntry:
    """Return the campaign of a row that holds all its columns."""
    said = {name: json.loads(row._mapping[name] or "null") for name in ("progress", "summary")}
    return CampaignEntry(**{**row._mapping, **said})


def _newest_first(query: Select[Any]) -> Select[Any]:
    return query.order_by(_c.created_at.desc(), _c.campaign_id)


def _conditions(wanted: CampaignFilter, now: datetime) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.state is not None:
        if wanted.state not in {state.value for state in CampaignState}:
            raise ValueError(f"campaigns have no state {wanted.state!r}")
        found.append(is_in(CampaignState(wanted.state), now))
    if wanted.text and _NUL in wanted.text:
        found.append(false())
    elif wanted.text:
        columns = (_c.campaign_id, _c.dag_id, _c.run_id)
        found.append(or_(*(column.icontains(wanted.text, autoescape=True) for column in columns)))
    if wanted.dag_ids is not None:
        found.append(_c.dag_id.is_(None) | _one_of(_c.dag_id, wanted.dag_ids))
    if wanted.dagless_conns is not None:
        found.append(_c.dag_id.is_not(None) | _one_of(_c.conn_id, wanted.dagless_conns))
    return found


def _one_of(column: ColumnElement[Any], values: frozenset[str]) -> ColumnElement[bool]:
    return column.in_(sorted(values)) if values else false()


def _beyond(text: str, *, newer: bool) -> ColumnElement[bool]:
    """Return the condition for what lies on one side of a place in the list."""
    place = Cursor.read(text)
    if place is None or not isinstance(place.value, datetime):
        raise ValueError("not a place in a list of campaigns")
    moment, id_ = place.value, place.key
    if newer:
        return or_(_c.created_at > moment, and_(_c.created_at == moment, _c.campaign_id < id_))
    return or_(_c.created_at < moment, and_(_c.created_at == moment, _c.campaign_id > id_))
