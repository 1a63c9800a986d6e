"""What a restored ledger does not know: who may have called meanwhile does not call anybody new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.ledger.database.chunks import rows_with
from airflow_provider_voiceinfra.ledger.database.schema import campaigns, database_time, quarantines
from airflow_provider_voiceinfra.ledger.part import LedgerPart
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, CallState, Settlement

_c = quarantines.c
_ACTIVE = select(quarantines).where(_c.released_at.is_(None)).order_by(_c.id)


@dataclass(frozen=True)
class Quarantine:
    """A span of which the ledger has forgotten what was called.

    :param since: the moment of which the ledger has all, aware UTC.
    :param until: when it was in use again, aware UTC.
    :param released_at: when somebody ended it, aware UTC; ``None`` while it is in force.
    """

    id: int
    since: datetime
    until: datetime
    created_at: datetime
    released_at: datetime | None = None

    def why_not(self, origin: CallOrigin, campaign_begun: datetime | None) -> CallNotAllowedError | None:
        """Return why somebody may not place a call that the ledger does not know; ``None`` if they may.

        :param campaign_begun: when the campaign that it is of was begun, if it is of one.
        """
        is_known = campaign_begun is None or campaign_begun >= self.since
        if is_known and not self._may_have_called(origin):
            return None
        since, until = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (self.since, self.until))
        return CallNotAllowedError(
            f"the ledger was restored to its state of {since} UTC and does not know whether this task has "
            f"called until {until} UTC; find out what it did, then run `airflow voiceinfra quarantine "
            "--release` and clear it",
            code=CallNotAllowedError.QUARANTINED,
        )

    def _may_have_called(self, origin: CallOrigin) -> bool:
        began = origin.began
        if began.run is not None and began.run >= self.until:
            return False
        # Of a later try it is not known when the first one was.
        is_first = origin.try_number == 1
        return not (is_first and began.task is not None and began.task >= self.until)


class QuarantinesLedger(LedgerPart):
    """``ledger.quarantines``: begins and ends them; every claim asks, in its own transaction."""

    def begin(self, since: datetime, until: datetime) -> Quarantine:
        """Store that the ledger has forgotten a span; who may have called in it calls nobody new from now on.

        :param since: the moment of the backup, aware.
        :param until: when the restored ledger was in use, aware.
        """
        row = {"since": since, "until": until, "created_at": database_time()}
        with self._database.writing() as connection:
            added = connection.execute(insert(quarantines).values(row).returning(quarantines)).one()
            return Quarantine(**added._mapping)

    def release(self) -> list[Quarantine]:
        """End those in force; return them."""
        ended = update(quarantines).where(_c.released_at.is_(None)).values(released_at=database_time())
        with self._database.writing() as connection:
            return [Quarantine(**row._mapping) for row in connection.execute(ended.returning(*quarantines.c))]

    def active(self) -> list[Quarantine]:
        """Return those in force."""
        return [Quarantine(**row._mapping) for row in self._database.rows(_ACTIVE)]

    def check(self, origin: CallOrigin, campaign_begun: datetime | None) -> None:
        """Refuse a campaign as a whole, before it calls anybody.

        :raises CallNotAllowedError: if it may have called people whom the ledger does not know of.
        """
        for one in self.active():
            why = one.why_not(origin, campaign_begun)
            if why is not None:
                raise why


def refused_by_quarantine(
    connection: Connection, claimed: Sequence[tuple[CallEntry, CallOrigin]]
) -> list[Settlement]:
    """Return the refusals of those claims that the ledger may have forgotten.

    :param claimed: what has just been claimed in this transaction, and who has claimed it.
    """
    active = [Quarantine(**row._mapping) for row in connection.execute(_ACTIVE)]
    if not active:
        return []
    ids = list({origin.campaign_id for _, origin in claimed if origin.campaign_id is not None})
    query = select(campaigns.c.campaign_id, campaigns.c.created_at)
    rows = rows_with(connection.execute, query, campaigns.c.campaign_id, ids)
    begun = {row.campaign_id: row.created_at for row in rows}
    refusals = []
    for entry, origin in claimed:
        found = [one.why_not(origin, begun.get(origin.campaign_id)) for one in active]
        why = next(filter(None, found), None)
        if why is not None:
            refusals.append(Settlement(entry, CallState.REFUSED, code=why.code, message=why.reason))
    return refusals
