"""What a campaign is up to: decided here, for one that was read, and for those that a query looks for."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum

from sqlalchemy import ColumnElement, and_, or_

from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from airflow_provider_voiceinfra.ledger.database.schema import campaigns

# A process that runs a campaign shows every second or so that it is alive.
RUNNER_LEASE = timedelta(seconds=60)

_c = campaigns.c


class CampaignState(str, Enum):
    """What a campaign is up to."""

    RUNNING = "running"
    WAITING = "waiting"
    """Nobody runs it at present."""
    NO_HEARTBEAT = "no_heartbeat"
    """Whoever runs it has not shown itself for a while."""
    CANCELLED = "cancelled"
    FINISHED = "finished"


def is_over(entry: CampaignEntry) -> bool:
    """Return whether a campaign has ended, and does not go on."""
    # One that goes on after its end is still marked as finished until its contacts are loaded anew.
    seen, finished = entry.runner_seen_at, entry.finished_at
    return finished is not None and (seen is None or seen <= finished)


IS_OVER = _c.finished_at.is_not(None) & or_(_c.runner_seen_at.is_(None), _c.runner_seen_at <= _c.finished_at)
"""The same as a condition of a query."""


def is_alive(entry: CampaignEntry, now: datetime) -> bool:
    """Return whether a process runs a campaign at present."""
    seen = entry.runner_seen_at
    recently = seen is not None and seen > now - RUNNER_LEASE
    return recently and entry.runner is not None and not is_over(entry)


def state_of(entry: CampaignEntry, now: datetime) -> CampaignState:
    """Return the state that a campaign is in."""
    if entry.cancelled_at is not None:
        return CampaignState.CANCELLED
    if is_over(entry):
        return CampaignState.FINISHED
    if entry.runner is None:
        return CampaignState.WAITING
    return CampaignState.RUNNING if is_alive(entry, now) else CampaignState.NO_HEARTBEAT


def is_in(state: CampaignState, now: datetime) -> ColumnElement[bool]:
    """Return the condition for campaigns of which ``state_of`` says that they are in a state."""
    if state is CampaignState.CANCELLED:
        return _c.cancelled_at.is_not(None)
    if state is CampaignState.FINISHED:
        return and_(_c.cancelled_at.is_(None), IS_OVER)
    goes_on = and_(_c.cancelled_at.is_(None), ~IS_OVER)
    if state is CampaignState.WAITING:
        return and_(goes_on, _c.runner.is_(None))
    lease = now - RUNNER_LEASE
    seen = _c.runner_seen_at > lease
    if state is CampaignState.NO_HEARTBEAT:
        seen = or_(_c.runner_seen_at.is_(None), _c.runner_seen_at <= lease)
    return and_(goes_on, _c.runner.is_not(None), seen)
