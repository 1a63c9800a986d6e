"""Webhooks that are no completions: signed ones are kept as they came, the last rejected one is remembered.

So nothing signed is ever lost, and nobody can fill the database with what is not signed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, select, update

from airflow_provider_voiceinfra.ledger.database.personal import plain_size
from airflow_provider_voiceinfra.ledger.database.schema import deliveries, rejections
from airflow_provider_voiceinfra.ledger.lists.values import LastRejection, ListedDelivery
from airflow_provider_voiceinfra.ledger.part import LedgerPart
from airflow_provider_voiceinfra.ledger.rows import insert_or_nothing, now
from airflow_provider_voiceinfra.ledger.webhooks.records import KeptDelivery

_KEPT = [deliveries.c[name] for name in KeptDelivery.__dataclass_fields__]


class DeliveriesLedger(LedgerPart):
    """Keeps deliveries and hands them out again for a replay; stores one rejection for each connection."""

    def kept(self, *, include_replayed: bool = False, limit: int = 100) -> list[KeptDelivery]:
        """Return kept deliveries, newest first.

        :param include_replayed: whether those that a replay made use of are included.
        """
        query = _newest(select(*_KEPT), include_replayed).limit(limit)
        return [KeptDelivery(**row._mapping) for row in self._database.rows(query)]

    def listed(
        self,
        conn_ids: Collection[str],
        *,
        include_replayed: bool = False,
        before: int | None = None,
        limit: int = 20,
    ) -> list[ListedDelivery]:
        """Return kept deliveries of some connections, newest first, without their bodies.

        :param conn_ids: the connections.
        :param include_replayed: whether those that a replay made use of are included.
        :param before: the id of a delivery; only those that came before it.
        """
        names = [name for name in ListedDelivery.__dataclass_fields__ if name != "size"]
        columns = [*(deliveries.c[name] for name in names), plain_size(deliveries.c.body).label("size")]
        query = _newest(select(*columns).where(deliveries.c.conn_id.in_(list(conn_ids))), include_replayed)
        if before is not None:
            query = query.where(deliveries.c.id < before)
        return [ListedDelivery(**row._mapping) for row in self._database.rows(query.limit(limit))]

    def get(self, delivery_id: int) -> KeptDelivery | None:
        """Return one kept delivery."""
        rows = self._database.rows(select(*_KEPT).where(deliveries.c.id == delivery_id))
        return KeptDelivery(**rows[0]._mapping) if rows else None

    def mark_replayed(self, delivery_id: int) -> None:
        """Store that a replay made use of a delivery."""
        replayed = update(deliveries).where(deliveries.c.id == delivery_id).values(replayed_at=now())
        with self._database.writing() as connection:
            connection.execute(replayed)

    def note_rejection(self, conn_id: str, reason: str) -> None:
        """Remember that a webhook was rejected.

        :param conn_id: the connection; ``NO_CONNECTION`` for webhooks to connections that do not exist.
        :param reason: see ``webhooks.reasons``; holds nothing of the webhook's body.
        """
        values = {"reason": reason, "rejected_at": now()}
        counted = update(rejections).where(rejections.c.conn_id == conn_id)
        counted = counted.values(**values, number=rejections.c.number + 1)
        with self._database.writing() as connection:
            if connection.execute(counted).rowcount == 0:
                first = {"conn_id": conn_id, "number": 1, **values}
                if not insert_or_nothing(connection, rejections, first):
                    connection.execute(counted)  # another process was faster with the first one

    def rejections(self) -> list[LastRejection]:
        """Return the last rejection of each connection, newest first."""
        columns = [rejections.c[name] for name in LastRejection.__dataclass_fields__]
        query = select(*columns).order_by(rejections.c.rejected_at.desc())
        return [LastRejection(**row._mapping) for row in self._database.rows(query)]


def _newest(query: Select[Any], include_replayed: bool) -> Select[Any]:
    replayed = () if include_replayed else (deliveries.c.replayed_at.is_(None),)
    return query.where(*replayed).order_by(deliveries.c.id.desc())
