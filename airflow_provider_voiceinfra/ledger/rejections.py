"""The part of the ledger that remembers, of each connection, the last webhook that was not believed."""

from __future__ import annotations

from sqlalchemy import select, update

from airflow_provider_voiceinfra.ledger.database.connect import Database
from airflow_provider_voiceinfra.ledger.database.schema import rejections
from airflow_provider_voiceinfra.ledger.lists.values import Rejection
from airflow_provider_voiceinfra.ledger.rows import insert_or_nothing, now


class RejectionsLedger:
    """Stores one row for each connection, so that nobody can fill the database with what is not believed."""

    _database: Database

    def note_rejection(self, conn_id: str, reason: str) -> None:
        """Remember that a webhook was not believed.

        :param conn_id: the connection; empty for webhooks to connections that do not exist.
        :param reason: for people, without anything of the webhook's body.
        """
        values = {"reason": reason, "rejected_at": now()}
        counted = (
            update(rejections)
            .where(rejections.c.conn_id == conn_id)
            .values(**values, number=rejections.c.number + 1)
        )
        with self._database.writing() as connection:
            if connection.execute(counted).rowcount == 0:
                first = {"conn_id": conn_id, "number": 1, **values}
                if not insert_or_nothing(connection, rejections, first):
                    connection.execute(counted)  # another process was faster with the first one

    def rejections(self) -> list[Rejection]:
        """Return the last rejection of each connection, newest first."""
        columns = [rejections.c[name] for name in Rejection.__dataclass_fields__]
        query = select(*columns).order_by(rejections.c.rejected_at.desc())
        with self._database.reading() as connection:
            return [Rejection(**row._mapping) for row in connection.execute(query)]
