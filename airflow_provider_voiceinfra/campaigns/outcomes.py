"""How contacts end: the API's own words for it, and those for contacts that it has no word for."""

from __future__ import annotations

from enum import Enum

from airflow_provider_voiceinfra.calls import CallOutcome


class ContactOutcome(str, Enum):
    """How a contact of a campaign ended, in the order in which outcomes are always named."""

    ANSWERED = CallOutcome.ANSWERED.value
    VOICEMAIL = CallOutcome.VOICEMAIL.value
    FAILED = CallOutcome.FAILED.value
    REFUSED = "refused"
    """The API refused the call for good."""
    UNKNOWN = "unknown"
    """It was called, or may have been, and nobody has heard how that went."""
    EXPIRED = "expired"
    """Its time was over before it was called."""
    CANCELLED = "cancelled"
    """The campaign was cancelled before it was called."""
    OTHER = "other"
    """The API gave an outcome that it does not document."""


UNKNOWN = ContactOutcome.UNKNOWN.value
REFUSED = ContactOutcome.REFUSED.value
EXPIRED = ContactOutcome.EXPIRED.value
CANCELLED = ContactOutcome.CANCELLED.value
OTHER = ContactOutcome.OTHER.value
ALL = tuple(outcome.value for outcome in ContactOutcome)
