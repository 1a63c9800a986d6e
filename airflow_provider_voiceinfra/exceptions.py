"""Every error of this package; each class says whether a phone may have rung.

Whoever catches decides by class, never by the text of a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from airflow_provider_voiceinfra.masking import mask_numbers_in


class VoiceInfraError(Exception):
    """Base of every error that this package raises."""


class ConfigurationError(VoiceInfraError):
    """A connection or a setting is missing or wrong; the message names it and says what to change."""


class InvalidCallError(VoiceInfraError, ValueError):
    """A call request breaks a rule and was refused before anything was sent.

    :param field: the field of the request that is wrong.
    :param rule: the rule that it breaks, and how to fix it.
    """

    def __init__(self, field: str, rule: str) -> None:
        # What somebody has given is quoted in many rules, and may be a number in the wrong place.
        rule = mask_numbers_in(rule)
        super().__init__(f"{mask_numbers_in(field)}: {rule}")
        self.field = field
        self.rule = rule


class ContactsError(VoiceInfraError):
    """A list of contacts, or how it is to be read, is refused as a whole before anybody is called.

    :param message: what is wrong and how to fix it; numbers in it are masked.
    """

    def __init__(self, message: str) -> None:
        super().__init__(mask_numbers_in(message))


class _AnsweredError(VoiceInfraError):
    """What a request came to.

    :param message: what happened, for a person to read.
    :param code: the API's ``error.code``, or a short name of our own.
    :param http_status: the HTTP status; ``None`` if there was no answer.
    """

    default_code: str

    def __init__(self, message: str, *, code: str | None = None, http_status: int | None = None) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.http_status = http_status


class CallNotPlacedError(_AnsweredError):
    """The call was certainly not placed: nobody's phone rang."""

    default_code = "not_placed"


class CallNotAllowedError(CallNotPlacedError):
    """A rule that is in force does not allow the call now; it was not sent.

    :param reason: which rule, and why, as a part of a sentence.
    :param code: ``suppressed``, ``outside_calling_window``, ``call_cap``, ``no_consent`` or ``quarantined``.
    :param allowed_from: from when on the rule would allow it, aware UTC; ``None`` for never, or
        if that is not known.
    """

    SUPPRESSED = "suppressed"
    OUTSIDE_CALLING_WINDOW = "outside_calling_window"
    CALL_CAP = "call_cap"
    NO_CONSENT = "no_consent"
    QUARANTINED = "quarantined"
    CODES = (SUPPRESSED, OUTSIDE_CALLING_WINDOW, CALL_CAP, NO_CONSENT, QUARANTINED)
    default_code = "not_allowed"

    def __init__(self, reason: str, *, code: str, allowed_from: datetime | None = None) -> None:
        when = f" It would be allowed from {allowed_from:%Y-%m-%d %H:%M:%S} UTC on." if allowed_from else ""
        super().__init__(f"The call is not allowed: {reason}. Nobody was called.{when}", code=code)
        self.reason = reason
        self.allowed_from = allowed_from


class CallOutcomeUnknownError(_AnsweredError):
    """The request was sent and no usable answer came: the call may have been placed, or not."""

    default_code = "outcome_unknown"


class CallRefusedError(CallNotPlacedError):
    """The API refused the request; sending the same one again would change nothing."""

    default_code = "refused"


class InvalidRequestError(CallRefusedError):
    """The API found a parameter missing or bad (400)."""

    default_code = "validation_error"


class UnauthorizedError(CallRefusedError):
    """The API key is wrong, missing or revoked (401)."""

    default_code = "unauthorized"


class NotFoundError(CallRefusedError):
    """The agent or another resource is unknown or inactive (404)."""

    default_code = "not_found"


class InvalidPhoneError(CallRefusedError):
    """The API does not take the number (422)."""

    default_code = "invalid_phone"


class TryAgainError(CallNotPlacedError):
    """Nothing was placed, and the same request may be sent again."""

    default_code = "try_again"
    lasting = False
    """Whether the next try would fail alike, until a person has fixed something."""


class RateLimitedError(TryAgainError):
    """The account's rate limit was met (429).

    :param retry_after: how long the API asked to wait, in seconds; ``None`` if it did not say.
    """

    default_code = "rate_limited"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        http_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code, http_status=http_status)
        self.retry_after = retry_after


class ApiUnreachableError(TryAgainError):
    """No connection to the API could be made, so the request never left.

    :param lasting: whether the next try would fail alike, as at a certificate that is not trusted.
    """

    default_code = "unreachable"

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


class LedgerError(VoiceInfraError):
    """The ledger refused or could not do something."""


class LedgerUnavailableError(LedgerError):
    """The ledger's database cannot be reached or written."""


class LedgerKeyError(ConfigurationError, LedgerError):
    """The ledger is encrypted, and this process lacks the key for it, or has another one."""


class UnstorableValueError(LedgerError, ValueError):
    """The ledger's database cannot hold a value; to try again would not help."""


class IdempotencyConflictError(LedgerError):
    """The idempotency key was used before, for a request that differs.

    :param key: the idempotency key.
    :param fields: the names of the fields that differ.
    """

    def __init__(self, key: str, fields: Sequence[str]) -> None:
        super().__init__(
            f"idempotency key {mask_numbers_in(key)!r} already stands for a call with another "
            f"{', '.join(fields)}. Keep the request as it was, or use another idempotency_key to dial anew."
        )
        self.key = key
        self.fields = tuple(fields)


class ClaimLostError(LedgerError):
    """Another process has taken this call over; this one must not dial."""


class CampaignBusyError(LedgerError):
    """Another task is running this campaign; this one must not dial.

    :param campaign_id: the campaign.
    :param dag_id: of the task that runs it; likewise ``run_id`` and ``task_id``.
    """

    def __init__(self, campaign_id: str, dag_id: str | None, run_id: str | None, task_id: str | None) -> None:
        super().__init__(
            f"campaign {mask_numbers_in(campaign_id)!r} is being run by task {task_id!r} of DAG {dag_id!r}, "
            f"run {run_id!r}. Nobody was called twice, and nobody is forgotten: that task goes on with it. "
            "Wait for its end, or give this one a campaign_id of its own."
        )
        self.campaign_id = campaign_id


class CampaignContinuedError(LedgerError):
    """Another run has continued this campaign with contacts of its own, while this one slept.

    :param campaign_id: the campaign.
    """

    def __init__(self, campaign_id: str) -> None:
        super().__init__(
            f"campaign {mask_numbers_in(campaign_id)!r} was continued by another run while this task slept, "
            "and the contacts of that run are those that count now. This task calls nobody else."
        )
        self.campaign_id = campaign_id


class CompletionTimeoutError(VoiceInfraError):
    """No completion record arrived in time; the calls themselves go on.

    :param call_ids: the calls that are not known to be over.
    :param timeout: how long was waited, in seconds.
    """

    def __init__(self, call_ids: Sequence[str], timeout: float) -> None:
        super().__init__(
            f"no completion record for {', '.join(call_ids)} within {timeout:g} s. The API cannot cancel a "
            "call, so it goes on or is already over; if it is over, the webhook did not reach the receiver: "
            "`airflow voiceinfra doctor` tests that path."
        )
        self.call_ids = tuple(call_ids)
        self.timeout = timeout


class UnwantedOutcomeError(VoiceInfraError):
    """A call is over, with an outcome that the task must not accept.

    :param outcomes: the outcome of each such call, by call id.
    """

    def __init__(self, outcomes: dict[str, str]) -> None:
        listed = ", ".join(f"{call_id} ended as {outcome!r}" for call_id, outcome in outcomes.items())
        super().__init__(
            f"{listed}. The record was pushed to XCom before this task failed. A retry would find the same "
            "call; use another idempotency_key, or a new run, to dial again."
        )
        self.outcomes = dict(outcomes)
