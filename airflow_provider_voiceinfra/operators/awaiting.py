"""Waits for the end of a call: in a worker or in the triggerer, with the same result."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_voiceinfra.deployment import open_ledger
from airflow_provider_voiceinfra.exceptions import CompletionTimeoutError, LedgerUnavailableError
from airflow_provider_voiceinfra.links.voiceinfra import RecordingMixin
from airflow_provider_voiceinfra.tasks.results import check_outcomes, final_errors_fail_the_task, record_dicts
from airflow_provider_voiceinfra.triggers.events import read_event

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context


class AwaitsCompletionMixin(RecordingMixin):
    """Waits until a call is over, and returns its record."""

    completion_timeout: float
    poke_interval: float
    fail_on_outcomes: Collection[str]
    include_transcript: bool
    deferrable: bool
    do_xcom_push: bool
    log: Any
    _call_id: str | None = None

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Return the record after the trigger has fired."""
        self._call_id = read_event(event)["call_ids"][0]
        with final_errors_fail_the_task():
            record = self._record(context, self._call_id)
            if record is None:
                raise CompletionTimeoutError([self._call_id], self.completion_timeout)
            return record

    def _wait(self, context: Context, call_id: str) -> Any:
        timeout = timedelta(seconds=self.completion_timeout)
        deadline = datetime.now(timezone.utc) + timeout
        record = self._look(context, call_id)
        if record is None and self.deferrable:
            # Triggers are loaded by a task that waits, not by each DAG file that is parsed.
            from airflow_provider_voiceinfra.triggers.voiceinfra import defer_until_completed

            self.log.info("Waiting in the triggerer for the completion of call %s.", call_id)
            defer_until_completed(cast("BaseOperator", self), timeout, call_ids=[call_id])
        if record is None:
            self.log.info("Waiting for the completion of call %s.", call_id)
        while record is None:
            if datetime.now(timezone.utc) >= deadline:
                raise CompletionTimeoutError([call_id], self.completion_timeout)
            time.sleep(self.poke_interval)
            record = self._look(context, call_id)
        return record

    def _look(self, context: Context, call_id: str) -> dict[str, Any] | None:
        try:
            return self._record(context, call_id)
        except LedgerUnavailableError as error:
            # The call is going well, and a dead database must not fail its task: it has its time-out.
            self.log.warning("Cannot look for its completion, trying again: %s", error)
            return None

    def _record(self, context: Context, call_id: str) -> dict[str, Any] | None:
        """Return the record of a call that is over, after checking its outcome."""
        entries = open_ledger().completions([call_id])
        if not entries:
            return None
        record = record_dicts(entries, [call_id], include_transcript=self.include_transcript)[0]
        self.log.info("Call %s is over: %s.", call_id, record.get("call_outcome"))
        self.push_recording(context["ti"], record.get("recording_url"))
        check_outcomes(context["ti"], record, fail_on=self.fail_on_outcomes, keep=self.do_xcom_push)
        return record
