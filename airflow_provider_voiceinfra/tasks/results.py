"""What tasks return: records from the ledger, checked outcomes, and errors in Airflow's terms.

Every way to wait ends here, whether it polled, rescheduled or deferred, so that what lands in XCom never
depends on timing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_voiceinfra import exceptions

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger.records import CompletionEntry

# What another try of the same task would meet again.
_FINAL = (
    exceptions.CallNotAllowedError,
    exceptions.CallOutcomeUnknownError,
    exceptions.CallRefusedError,
    exceptions.CampaignContinuedError,
    exceptions.ConfigurationError,
    exceptions.ContactsError,
    exceptions.IdempotencyConflictError,
    exceptions.InvalidCallError,
    exceptions.UnwantedOutcomeError,
)


@contextmanager
def final_errors_fail_the_task() -> Iterator[None]:
    """Turn errors that a retry would only meet again into Airflow's failure without retry."""
    try:
        yield
    except _FINAL as error:
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error


def record_dicts(
    entries: Mapping[str, CompletionEntry], call_ids: Collection[str], *, include_transcript: bool
) -> list[dict[str, Any]]:
    """Return the records of calls as plain JSON, in the order of their ids."""
    return [entries[call_id].record().to_dict(include_transcript=include_transcript) for call_id in call_ids]


def check_outcomes(
    ti: Any,
    result: dict[str, Any] | list[dict[str, Any]],
    *,
    fail_on: Collection[str],
    only: Collection[str] | None = None,
    keep: bool = True,
) -> None:
    """Refuse outcomes that the task does not accept, and leave the result in XCom all the same.

    :param ti: the task instance.
    :param result: the record, or list of records, that the task would return.
    :param fail_on: outcomes that fail the task.
    :param only: the only outcomes that are accepted; if not set, any but those of ``fail_on``.
    :param keep: whether the task wants its result in XCom.
    :raises UnwantedOutcomeError: naming the calls and their outcomes.
    """
    unwanted = {
        str(record["call_id"]): str(record.get("call_outcome"))
        for record in (result if isinstance(result, list) else [result])
        if record.get("call_outcome") in fail_on
        or (only is not None and record.get("call_outcome") not in only)
    }
    if unwanted:
        # A failed task returns nothing, but whoever looks into it wants to know how the calls went.
        if keep:
            ti.xcom_push(key="return_value", value=result)
        raise exceptions.UnwantedOutcomeError(unwanted)
