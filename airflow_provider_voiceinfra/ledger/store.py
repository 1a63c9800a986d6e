"""``CallLedger``: the only place with state; knows nothing of HTTP or Airflow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import update

from airflow_provider_voiceinfra.ledger.campaigns.turns import CampaignsLedger
from airflow_provider_voiceinfra.ledger.claims import CallsLedger
from airflow_provider_voiceinfra.ledger.completions import CompletionsLedger
from airflow_provider_voiceinfra.ledger.conversion import EncryptionLedger
from airflow_provider_voiceinfra.ledger.database import migrate
from airflow_provider_voiceinfra.ledger.database.connect import database
from airflow_provider_voiceinfra.ledger.database.keys import NO_ENCRYPTION, Encryption
from airflow_provider_voiceinfra.ledger.database.pools import SHARED, Pool
from airflow_provider_voiceinfra.ledger.database.schema import counters
from airflow_provider_voiceinfra.ledger.lists.calls import CallLists
from airflow_provider_voiceinfra.ledger.lists.campaigns import CampaignLists
from airflow_provider_voiceinfra.ledger.lists.statistics import CallFigures
from airflow_provider_voiceinfra.ledger.retention.forgetting import ForgettingLedger
from airflow_provider_voiceinfra.ledger.retention.purging import PurgeLedger
from airflow_provider_voiceinfra.ledger.rows import now
from airflow_provider_voiceinfra.ledger.rules.history import HistoryLedger
from airflow_provider_voiceinfra.ledger.rules.kept import RulesLedger
from airflow_provider_voiceinfra.ledger.rules.quarantines import QuarantinesLedger
from airflow_provider_voiceinfra.ledger.rules.suppressions import SuppressionsLedger
from airflow_provider_voiceinfra.ledger.webhooks.deliveries import DeliveriesLedger


class ListsLedger(CallLists, CallFigures, CampaignLists):
    """``ledger.lists``: what pages and commands show."""


class CallLedger(CallsLedger, CompletionsLedger, PurgeLedger):
    """The ledger of calls and completions in one SQL database; its parts know the rest.

    ``campaigns`` are campaigns and their contacts, ``deliveries`` webhooks that are no completions, ``lists``
    what pages show, ``suppressions`` who must not be called, ``rules`` what allowed a call, ``history`` what
    is kept of calls as proof, ``encryption`` what is done about keys, ``forgetting`` takes out all that is
    about one number, ``quarantines`` are what a restored ledger has forgotten. Creating one opens nothing;
    the first use connects, and creates or upgrades the tables.

    :param url: an SQLAlchemy URL, for example ``postgresql://user:password@host/database``.
    :param pool: the connections to use; if not set, those that most of this process shares.
    :param now: the present, aware UTC, by which a campaign's process counts as alive.
    :param encryption: Airflow's Fernet keys, and whether new values are encrypted; if not set, none are.
    :raises ConfigurationError: if the URL cannot be used, or its driver is not installed.
    """

    def __init__(
        self,
        url: str,
        pool: Pool = SHARED,
        now: Callable[[], datetime] = now,
        encryption: Encryption = NO_ENCRYPTION,
    ) -> None:
        super().__init__(database(url, pool, encryption), now)
        self.campaigns = CampaignsLedger(self._database, now)
        self.deliveries = DeliveriesLedger(self._database, now)
        self.lists = ListsLedger(self._database, now)
        self.suppressions = SuppressionsLedger(self._database, now)
        self.history = HistoryLedger(self._database, now)
        self.rules = RulesLedger(self._database, now)
        self.encryption = EncryptionLedger(self._database, now)
        self.quarantines = QuarantinesLedger(self._database, now)
        self.forgetting = ForgettingLedger(self._database, now)

    def with_pool(self, pool: Pool) -> CallLedger:
        """Return the same ledger, used through connections that belong to one part of this process."""
        return CallLedger(self._database.url, pool, self._now, self._database.encryption)

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
