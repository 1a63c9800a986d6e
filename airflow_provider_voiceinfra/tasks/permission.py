"""What a task does about a call that no rule allows now: it fails, is skipped, or waits."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.triggers.events import earliest_wake_up

ON_NOT_ALLOWED = ("fail", "skip", "wait")
_WAITED_FOR = (CallNotAllowedError.OUTSIDE_CALLING_WINDOW, CallNotAllowedError.CALL_CAP)


def skip_or_wait(
    operator: Any, error: CallNotAllowedError, *, since: datetime, seen: bool, method_name: str
) -> None:
    """Skip the task, or defer it, if its ``on_not_allowed`` says so; return if it is to fail.

    Nobody waits for a suppressed number, and nobody begins to wait for what comes too late. If the ledger
    may have forgotten the call, the task fails in any case: somebody has to look.

    :param since: since when it waits, aware UTC; ``not_allowed_timeout`` counts from there.
    :param seen: whether the ledger had the call before, which may have rung.
    :param method_name: what goes on with it; it is given ``since`` and ``seen`` again.
    :raises AirflowSkipException: with ``on_not_allowed="skip"``.
    :raises CallNotAllowedError: if the time-out comes before the moment from which the call is allowed.
    """
    if operator.on_not_allowed == "skip" and error.code != CallNotAllowedError.QUARANTINED:
        raise AirflowSkipException(str(error))
    if operator.on_not_allowed != "wait" or error.code not in _WAITED_FOR or error.allowed_from is None:
        return
    until = since + timedelta(seconds=operator.not_allowed_timeout)
    if error.allowed_from >= until:
        raise CallNotAllowedError(
            f"{error.reason}, and not_allowed_timeout ends before that, at {until:%Y-%m-%d %H:%M:%S} UTC",
            code=error.code,
            allowed_from=error.allowed_from,
        )
    # Loaded by a task that waits, not by each DAG file that is parsed.
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger

    operator.log.info("%s Waiting in the triggerer until then.", error)
    moment = max(error.allowed_from, datetime.fromisoformat(earliest_wake_up()))
    kwargs = {"since": since.isoformat(), "seen": seen}
    operator.defer(trigger=DateTimeTrigger(moment=moment), method_name=method_name, kwargs=kwargs)
