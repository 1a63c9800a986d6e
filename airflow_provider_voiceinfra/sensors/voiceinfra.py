"""``VoiceInfraCallCompletedSensor``: waits until calls are over, and returns their records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException

from airflow_provider_voiceinfra.deployment import open_ledger
from airflow_provider_voiceinfra.exceptions import (
    CompletionTimeoutError,
    InvalidCallError,
    LedgerUnavailableError,
)
from airflow_provider_voiceinfra.links.voiceinfra import RecordingMixin, VoiceInfraRecordingLink
from airflow_provider_voiceinfra.masking import mask_numbers_in
from airflow_provider_voiceinfra.tasks import arguments
from airflow_provider_voiceinfra.tasks.authored import AuthoredArgumentsMixin
from airflow_provider_voiceinfra.tasks.results import check_outcomes, final_errors_fail_the_task, record_dicts
from airflow_provider_voiceinfra.tasks.template_fields import MaskedNumbersMixin
from airflow_provider_voiceinfra.triggers.events import TIMED_OUT, listed, read_event

if TYPE_CHECKING:
    from airflow.sdk import Context


class VoiceInfraCallCompletedSensor(
    RecordingMixin, AuthoredArgumentsMixin, MaskedNumbersMixin, BaseSensorOperator
):
    """Waits for the completion records of calls.

    :param call_id: the call, or a list of calls, to wait for (templated); or
    :param match: fields of the record and the values that they must have, such as
        ``{"to_number": "+14155550100"}`` (templated): waits for the first record that has them all.
    :param since: for ``match``: only records received at or after this moment, a datetime with a zone or ISO
        8601 (templated); if not set, the start of the DAG run.
    :param outcomes: the outcomes to wait for, of ``answered``, ``voicemail`` and ``failed``; if not set, any.
        With ``call_id``, a call that ends otherwise fails the task, since it has no second outcome.
    :param fail_on_outcomes: outcomes that fail the task, after the record has been pushed.
    :param include_transcript: whether the record in XCom holds ``transcript``, which is long and personal.
    :param deferrable: whether to wait in the triggerer, without a worker; recommended. If not set,
        ``[operators] default_deferrable``.

    ``timeout``, ``poke_interval``, ``mode`` and ``soft_fail`` are those of every sensor, in seconds. It
    returns the record, or a list of records for a list of calls.
    """

    template_fields: Sequence[str] = ("call_id", "match", "since")
    must_not_vanish = ("match", "since", "outcomes", "fail_on_outcomes")
    operator_extra_links = (VoiceInfraRecordingLink(),)
    ui_color = "#d8ecf3"

    def __init__(
        self,
        *,
        call_id: str | Sequence[str] | None = None,
        match: Mapping[str, Any] | None = None,
        since: datetime | str | None = None,
        outcomes: Collection[str] | None = None,
        fail_on_outcomes: Collection[str] | None = (),
        include_transcript: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (call_id is None) == (match is None):
            raise ValueError("exactly one of call_id and match is needed")
        self.call_id = call_id
        self.match = match
        self.since = since
        self.outcomes = arguments.outcomes("outcomes", outcomes)
        self.fail_on_outcomes = arguments.outcomes("fail_on_outcomes", fail_on_outcomes) or ()
        self.include_transcript = include_transcript
        self.deferrable = deferrable
        self._note_left_out()

    def execute(self, context: Context) -> Any:
        """Wait, here or in the triggerer, and return the record or records."""
        for name in ("outcomes", "fail_on_outcomes"):
            for doubt in arguments.doubtful_outcomes(name, getattr(self, name)):
                self.log.warning(doubt)
        if not self.deferrable:
            return self._execute_here(context)
        try:
            with final_errors_fail_the_task():
                self._refuse_vanished(context)
                call_ids = self._settled_ids(context)
                if call_ids is None:
                    self._defer(context)
                return self._finish(context, call_ids)
        except AirflowFailException as error:
            # Airflow does this for a sensor that pokes, and when a deferred one is resumed, but not here.
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once whether the records are there."""
        with final_errors_fail_the_task():
            self._refuse_vanished(context)
            self.log.info("Looking for the completion of %s.", self._subject())
            try:
                call_ids = self._settled_ids(context)
                if call_ids is not None:
                    return PokeReturnValue(is_done=True, xcom_value=self._finish(context, call_ids))
            except LedgerUnavailableError as error:
                # The call is going well, and a dead database must not fail its task: it has its time-out.
                self.log.warning("Cannot look for completions, trying again: %s", error)
            return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Return the record or records after the trigger has fired."""
        told = read_event(event)
        with final_errors_fail_the_task():
            # A record that came at the last moment counts, whatever the trigger said.
            call_ids = told["call_ids"] if told["status"] != TIMED_OUT else self._settled_ids(context)
            if call_ids is None:
                raise AirflowSensorTimeout(self._missing())
            return self._finish(context, call_ids)

    def on_kill(self) -> None:
        """Say that the calls go on."""
        self.log.warning("No longer waiting; the API cannot cancel a call, so the calls go on.")

    def _execute_here(self, context: Context) -> Any:
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            # Airflow's own message tells how long it has taken, but not what was waited for.
            raise AirflowSensorTimeout(self._missing()) from error

    def _settled_ids(self, context: Context) -> list[str] | None:
        """Return the ids of the calls waited for once all are over."""
        ledger = open_ledger()
        if self.match is not None:
            found = ledger.find_completion(
                self._checked_match(), since=self._since(context), outcomes=self.outcomes
            )
            return None if found is None else [found.call_id]
        wanted = self._call_ids()
        return wanted if len(ledger.completions(wanted, with_body=False)) == len(set(wanted)) else None

    def _finish(self, context: Context, call_ids: list[str]) -> Any:
        entries = open_ledger().completions(call_ids)
        records = record_dicts(entries, call_ids, include_transcript=self.include_transcript)
        result = records if self._wants_list() else records[0]
        check_outcomes(
            context["ti"],
            result,
            fail_on=self.fail_on_outcomes,
            only=self.outcomes,
            keep=self.do_xcom_push,
        )
        for record in records:
            self.log.info("Call %s is over: %s.", record["call_id"], record.get("call_outcome"))
        if not self._wants_list():
            self.push_recording(context["ti"], records[0].get("recording_url"))
        return result

    def _defer(self, context: Context) -> NoReturn:
        # Triggers are loaded by a task that waits, not by each DAG file that is parsed.
        from airflow_provider_voiceinfra.triggers.voiceinfra import defer_until_completed

        if self.match is None:
            defer_until_completed(self, self._timeout(), call_ids=self._call_ids())
        since = self._since(context).isoformat()
        match = self._checked_match()
        defer_until_completed(self, self._timeout(), match=match, since=since, outcomes=self.outcomes)

    def _missing(self) -> str:
        """Return what has not come in time, and what to do, for people."""
        waited = self._timeout().total_seconds()
        if self.match is not None:
            return f"no completion record matched {self._match_names()} within {waited:g} s"
        try:
            there = open_ledger().completions(self._call_ids(), with_body=False)
        except LedgerUnavailableError:  # the time is over all the same
            there = {}
        return str(CompletionTimeoutError([it for it in self._call_ids() if it not in there], waited))

    def _subject(self) -> str:
        if self.match is not None:
            return f"a call with matching {self._match_names()}"
        return listed(self._call_ids())

    def _match_names(self) -> str:
        return mask_numbers_in(", ".join(map(str, self._checked_match())))

    def _timeout(self) -> timedelta:
        return self.timeout if isinstance(self.timeout, timedelta) else timedelta(seconds=self.timeout)

    def _wants_list(self) -> bool:
        return self.match is None and not isinstance(self.call_id, str)

    def _call_ids(self) -> list[str]:
        return arguments.call_ids(self.call_id)

    def _checked_match(self) -> Mapping[str, Any]:
        arguments.mapping("match", self.match)
        if not self.match:
            raise InvalidCallError("match", "must be a mapping with at least one field of the record")
        return self.match

    def _since(self, context: Context) -> datetime:
        since = self.since or context["dag_run"].start_date or context["ti"].start_date
        return arguments.moment("since", since)
