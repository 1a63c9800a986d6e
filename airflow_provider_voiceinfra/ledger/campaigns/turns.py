"""The part of the ledger that knows campaigns: who runs one, what it says of itself, whether it is cancelled.

How far a campaign is is not stored here: it is what the calls to its contacts, and their completions, say.
So a campaign that is killed at any moment goes on from what really happened.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from airflow_provider_voiceinfra.exceptions import CampaignBusyError
from airflow_provider_voiceinfra.ledger.campaigns.contacts import ContactsLedger
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership, busy, change_as_runner, hold
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from airflow_provider_voiceinfra.ledger.campaigns.states import IS_OVER, is_alive
from airflow_provider_voiceinfra.ledger.database.chunks import rows_with
from airflow_provider_voiceinfra.ledger.database.schema import campaigns
from airflow_provider_voiceinfra.ledger.lists.campaigns import campaign_of
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.ledger.rows import insert_or_nothing

_c = campaigns.c


class CampaignsLedger(ContactsLedger):
    """``ledger.campaigns``: stores campaigns, and lets one process at a time run each.

    What it lists for pages is in ``ledger.lists``.
    """

    def get(self, campaign_id: str) -> CampaignEntry | None:
        """Return a campaign, if there is one of this id."""
        if "\0" in campaign_id:  # which PostgreSQL refuses to be asked for
            return None
        rows = self._database.rows(select(campaigns).where(_c.campaign_id == campaign_id))
        return campaign_of(rows[0]) if rows else None

    def take(self, campaign_id: str, *, conn_id: str, origin: CallOrigin) -> CampaignEntry:
        """Become the process that runs a campaign, which is begun if there is none of this id.

        Another try of the same task instance takes it over at once, since only one of them is meant to live.

        :param conn_id: the connection that it goes through.
        :param origin: the task instance that runs it.
        :return: the campaign, whose ``runner`` is what ``heartbeat`` and ``release`` want. A process
            from which it was taken may still dial until its next heartbeat.
        :raises CampaignBusyError: if another task instance is running it.
        """
        task = origin.task._asdict()
        begun = {
            "campaign_id": campaign_id,
            "conn_id": conn_id,
            "loads": 0,
            "created_at": self._now(),
            **task,
        }
        with self._database.writing() as connection:
            insert_or_nothing(connection, campaigns, begun)  # one that is there goes on where it was
        with self._database.writing() as connection:
            entry = _read(connection, campaign_id, lock=True)
            if entry.task != origin.task and is_alive(entry, self._now()):
                raise CampaignBusyError(campaign_id, entry.dag_id, entry.run_id, entry.task_id)
            values = {"runner": uuid.uuid4().hex, "runner_seen_at": self._now(), "conn_id": conn_id, **task}
            connection.execute(update(campaigns).where(_c.campaign_id == campaign_id).values(**values))
            return _read(connection, campaign_id)

    def heartbeat(
        self, campaign_id: str, runner: str, progress: Mapping[str, Any] | None = None
    ) -> CampaignEntry:
        """Show that the process that runs a campaign is alive, and what it says of the campaign.

        :param progress: plain JSON; ``None`` leaves what was said before.
        :raises CampaignBusyError: if another process has taken the campaign over; it must not dial any more.
        """
        said = {} if progress is None else {"progress": json.dumps(progress)}
        with self._database.writing() as connection:
            if not change_as_runner(connection, campaign_id, runner, {"runner_seen_at": self._now(), **said}):
                raise busy(connection, campaign_id)
            return _read(connection, campaign_id)

    @contextmanager
    def held(self, owner: Ownership) -> Iterator[None]:
        """Have nobody take a campaign over meanwhile, as long as the block takes no time.

        A server ends a transaction that is idle for some seconds. The block is then carried out all the same,
        while another process may have the campaign.

        :raises CampaignBusyError: if another process has taken it over; nothing in the block is done then.
        :raises LedgerUnavailableError: afterwards, if the block took longer than that.
        """
        with self._database.writing() as connection:
            hold(connection, owner)
            yield

    def release(self, campaign_id: str, runner: str, *, forget_load: bool = False) -> None:
        """Run a campaign no longer, so that any other process may.

        :param forget_load: whether the contacts are to be loaded anew by whoever runs it next.
        """
        forgotten = {"loaded_by": None} if forget_load else {}
        with self._database.writing() as connection:
            change_as_runner(connection, campaign_id, runner, {"runner": None, **forgotten})

    def finish(self, campaign_id: str, runner: str, summary: Mapping[str, Any]) -> None:
        """Store a campaign's result.

        :raises CampaignBusyError: if another process has taken the campaign over, and goes on with it.
        """
        values = {"summary": json.dumps(summary), "finished_at": self._now(), "loaded_by": None}
        with self._database.writing() as connection:
            if not change_as_runner(connection, campaign_id, runner, values):
                raise busy(connection, campaign_id)

    def cancel(self, campaign_id: str) -> bool:
        """Ask a campaign to dial no more; return whether it was there, unfinished, and not asked before.

        One that had finished and has been taken up again since is unfinished.
        """
        return self._set_cancelled(campaign_id, self._now())

    def uncancel(self, campaign_id: str) -> bool:
        """Take a cancellation back; return whether there was one.

        A campaign that has ended meanwhile goes on when its task is cleared, or another run continues it.
        """
        return self._set_cancelled(campaign_id, None)

    def cancelled(self, campaign_ids: Collection[str]) -> set[str]:
        """Return those of some campaigns that somebody has cancelled."""
        query = select(_c.campaign_id).where(_c.cancelled_at.is_not(None))
        rows = rows_with(self._database.rows, query, _c.campaign_id, list(campaign_ids))
        return {row.campaign_id for row in rows}

    def _set_cancelled(self, campaign_id: str, moment: datetime | None) -> bool:
        is_cancelled = _c.cancelled_at.is_not(None)
        condition = is_cancelled if moment is None else ~is_cancelled & ~IS_OVER
        change = update(campaigns).where(_c.campaign_id == campaign_id, condition).values(cancelled_at=moment)
        with self._database.writing() as connection:
            return connection.execute(change).rowcount == 1


def _read(connection: Connection, campaign_id: str, *, lock: bool = False) -> CampaignEntry:
    query = select(campaigns).where(_c.campaign_id == campaign_id)
    # Of two that want it at the same time, the second is to see that the first has it.
    return campaign_of(connection.execute(query.with_for_update() if lock else query).one())
