"""``CallLedger``: the only place with state; knows nothing of HTTP or Airflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Delete, Update, delete, func, select, update

from airflow_provider_voiceinfra.ledger.campaigns.turns import CampaignsLedger
from airflow_provider_voiceinfra.ledger.claims import CallsLedger
from airflow_provider_voiceinfra.ledger.completions import CompletionsLedger
from airflow_provider_voiceinfra.ledger.database import migrate
from airflow_provider_voiceinfra.ledger.database.connect import database
from airflow_provider_voiceinfra.ledger.database.personal import PersonalBytes, PersonalText
from airflow_provider_voiceinfra.ledger.database.pools import SHARED, Pool
from airflow_provider_voiceinfra.ledger.database.schema import (
    calls,
    campaigns,
    completions,
    contacts,
    counters,
    deliveries,
)
from airflow_provider_voiceinfra.ledger.lists.calls import CallLists
from airflow_provider_voiceinfra.ledger.lists.campaigns import CampaignLists
from airflow_provider_voiceinfra.ledger.lists.statistics import CallFigures
from airflow_provider_voiceinfra.ledger.rows import now
from airflow_provider_voiceinfra.ledger.rules.history import HistoryLedger
from airflow_provider_voiceinfra.ledger.rules.suppressions import SuppressionsLedger
from airflow_provider_voiceinfra.ledger.webhooks.deliveries import DeliveriesLedger

_PERSONAL = [column.name for column in calls.c if isinstance(column.type, PersonalText | PersonalBytes)]
_PERSONAL += ["to_number_end", "error_message"]
_last_run = func.coalesce(campaigns.c.runner_seen_at, campaigns.c.created_at)


@dataclass(frozen=True)
class Purged:
    """How many rows of each kind a purge emptied or deleted."""

    calls: int
    completions: int
    deliveries: int
    contacts: int


class ListsLedger(CallLists, CallFigures, CampaignLists):
    """``ledger.lists``: what pages and commands show."""


class CallLedger(CallsLedger, CompletionsLedger):
    """The ledger of calls and completions in one SQL database; its parts know the rest.

    ``campaigns`` are campaigns and their contacts, ``deliveries`` webhooks that are no completions, ``lists``
    what pages show, ``suppressions`` who must not be called, ``history`` what is kept of calls as proof.
    Creating one opens nothing; the first use connects, and creates or upgrades the tables.

    :param url: an SQLAlchemy URL, for example ``postgresql://user:password@host/database``.
    :param pool: the connections to use; if not set, those that most of this process shares.
    :param now: the present, aware UTC, by which a campaign's process counts as alive.
    :raises ConfigurationError: if the URL cannot be used, or its driver is not installed.
    """

    def __init__(self, url: str, pool: Pool = SHARED, now: Callable[[], datetime] = now) -> None:
        super().__init__(database(url, pool), now)
        self.campaigns = CampaignsLedger(self._database, now)
        self.deliveries = DeliveriesLedger(self._database, now)
        self.lists = ListsLedger(self._database, now)
        self.suppressions = SuppressionsLedger(self._database, now)
        self.history = HistoryLedger(self._database, now)

    def with_pool(self, pool: Pool) -> CallLedger:
        """Return the same ledger, used through connections that belong to one part of this process."""
        return CallLedger(self._database.url, pool, self._now)

    def check(self) -> str:
        """Write to the ledger, undo it, and return the schema's revision.

        :raises LedgerUnavailableError: if it cannot be reached or written.
        """
        with self._database.writing() as connection:
            nested = connection.begin_nested()
            connection.execute(update(counters).values(value=counters.c.value + 1))
            nested.rollback()
            return str(migrate.current_revision(connection))

    def upgrade(self) -> bool:
        """Create or upgrade the tables; return whether anything had to be done.

        :raises LedgerUnavailableError: if the database cannot be reached or written.
        """
        return self._database.upgrade()

    def purge(self, before: datetime) -> Purged:
        """Delete the personal data of everything older than a moment.

        Completions and deliveries go, and so do the contacts of campaigns. Of a call there remain its hashed
        key, its ``call_id`` and its state, so that a task that is cleared years later still does not dial
        again.

        :param before: aware; calls claimed, webhooks received, and campaigns last run earlier than this.
        """
        unpurged = update(calls).where(calls.c.claimed_at < before, calls.c.purged_at.is_(None))
        idle = select(campaigns.c.campaign_id).where(_last_run < before)
        with self._database.writing(unhurried=True) as connection:

            def changed(statement: Update | Delete) -> int:
                return connection.execute(statement).rowcount

            emptied = changed(unpurged.values(**dict.fromkeys(_PERSONAL), purged_at=now()))
            ended = changed(delete(completions).where(completions.c.received_at < before))
            dropped = changed(delete(deliveries).where(deliveries.c.received_at < before))
            # Whoever takes one of these campaigns up meanwhile waits for this, and then loads contacts anew.
            changed(update(campaigns).where(_last_run < before).values(loaded_by=None))
            forgotten = changed(delete(contacts).where(contacts.c.campaign_id.in_(idle)))
        return Purged(calls=emptied, completions=ended, deliveries=dropped, contacts=forgotten)
