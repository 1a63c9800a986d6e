"""``VoiceInfraPurgeOperator``: deletes what is old from the ledger, on a schedule; calls nobody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_voiceinfra.deployment import airflow_connection, open_ledger
from airflow_provider_voiceinfra.exceptions import ConfigurationError, InvalidCallError
from airflow_provider_voiceinfra.masking import quoted
from airflow_provider_voiceinfra.tasks.ages import parse_age
from airflow_provider_voiceinfra.tasks.authored import AuthoredArgumentsMixin
from airflow_provider_voiceinfra.tasks.results import final_errors_fail_the_task

if TYPE_CHECKING:
    from airflow.sdk import Context

_AGES = ("older_than", "transcripts_older_than")


class VoiceInfraPurgeOperator(AuthoredArgumentsMixin, BaseOperator):
    """Deletes the personal data of what is old from the ledger, and returns how much of each kind.

    What keeps a call from being placed again stays, and so do suppressions in force. Some hundred rows go at
    a time, so that webhooks and calls never wait for long; a task that was killed is retried, and goes on.

    :param older_than: the age from which everything goes, a ``timedelta`` or text such as ``90d``, ``12h`` or
        ``4w`` (templated).
    :param transcripts_older_than: a lower age, from which records lose what was said: transcript, summary,
        recording and extracted data (templated). If not set, they keep it as long as the rest.
    :param voiceinfra_conn_id: only what went through this connection (templated); if not set, through any.
        One that neither Airflow nor the ledger knows fails the task.
    """

    template_fields: Sequence[str] = (*_AGES, "voiceinfra_conn_id")
    must_not_vanish = (*_AGES, "voiceinfra_conn_id")
    ui_color = "#e4e4e4"

    def __init__(
        self,
        *,
        older_than: timedelta | str = "90d",
        transcripts_older_than: timedelta | str | None = None,
        voiceinfra_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.older_than = older_than
        self.transcripts_older_than = transcripts_older_than
        self.voiceinfra_conn_id = voiceinfra_conn_id
        self._note_left_out()
        for name in filter(self._is_literal, _AGES):
            self._age(name)
        if all(map(self._is_literal, _AGES)):
            self._ages()

    def execute(self, context: Context) -> dict[str, int]:
        """Delete what is old by now."""
        with final_errors_fail_the_task():
            self._refuse_vanished(context)
            age, texts = self._ages()
            now = datetime.now(timezone.utc)
            ledger, conn_id = open_ledger(), self.voiceinfra_conn_id
            if conn_id is not None and conn_id not in ledger.lists.known_connections():
                _check_connection(conn_id)
            gone = ledger.purge(
                now - age, conn_id=conn_id, transcripts_before=None if texts is None else now - texts
            ).to_dict()
            self.log.info("Purged: %s.", ", ".join(f"{name} {number}" for name, number in gone.items()))
            return gone

    def _ages(self) -> tuple[timedelta, timedelta | None]:
        age = self._age("older_than")
        if self.transcripts_older_than is None:
            return age, None
        texts = self._age("transcripts_older_than")
        if texts >= age:
            raise InvalidCallError(
                "transcripts_older_than", "must be a lower age than older_than, by which all of it goes"
            )
        return age, texts

    def _age(self, name: str) -> timedelta:
        value = getattr(self, name)
        found = parse_age(value) if isinstance(value, str) else value
        # Nothing is older than the first day of the calendar.
        if not isinstance(found, timedelta) or not timedelta() < found < timedelta(days=365_000):
            rule = "must be a timedelta, or a number and m (minutes), h, d or w, such as 90d"
            raise InvalidCallError(name, f"{rule}, not {quoted(value)}")
        return found


def _check_connection(conn_id: str) -> None:
    """Refuse a connection that nothing went through and that is not there: its data would stay for good."""
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        airflow_connection(conn_id)
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"voiceinfra_conn_id: Airflow has no connection {quoted(conn_id)}, and nothing in the ledger "
            "went through one. Correct its id, or remove the task; nothing was deleted."
        ) from error
