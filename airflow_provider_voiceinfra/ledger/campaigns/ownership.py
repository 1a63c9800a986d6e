"""Who runs a campaign, asked inside a transaction that depends on the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, select, update

from airflow_provider_voiceinfra.exceptions import CampaignBusyError
from airflow_provider_voiceinfra.ledger.database.schema import campaigns

# Made once, since it is executed for all claims.
_RUNNER = (
    select(campaigns.c.runner)
    .where(campaigns.c.campaign_id == bindparam("campaign_id"))
    .with_for_update(read=True)
)


@dataclass(frozen=True)
class Ownership:
    """A campaign, and the process that says that it runs it.

    :param runner: what ``take`` gave that process.
    """

    campaign_id: str
    runner: str = field(repr=False)


def hold(connection: Connection, owner: Ownership) -> None:
    """Make sure that a process runs a campaign, and that it does until the end of the transaction.

    Whoever takes the campaign over waits for that end, so nothing can be done in the name of the former
    process afterwards. (SQLite lets only one transaction write at a time anyway.)

    :raises CampaignBusyError: if another process has taken the campaign over.
    """
    if connection.execute(_RUNNER, {"campaign_id": owner.campaign_id}).scalar() != owner.runner:
        raise busy(connection, owner.campaign_id)


def change_as_runner(
    connection: Connection,
    campaign_id: str,
    runner: str,
    values: dict[str, Any],
    *conditions: ColumnElement[bool],
) -> bool:
    """Change a campaign if a process runs it; return whether it does."""
    mine = (campaigns.c.campaign_id == campaign_id, campaigns.c.runner == runner, *conditions)
    return connection.execute(update(campaigns).where(*mine).values(**values)).rowcount == 1


def busy(connection: Connection, campaign_id: str) -> CampaignBusyError:
    """Return the error that names who runs a campaign."""
    names = (campaigns.c.dag_id, campaigns.c.run_id, campaigns.c.task_id)
    task = connection.execute(select(*names).where(campaigns.c.campaign_id == campaign_id)).first()
    return CampaignBusyError(campaign_id, *(task or (None, None, None)))
