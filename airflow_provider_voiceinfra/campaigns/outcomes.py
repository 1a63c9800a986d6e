"""How contacts end: the API's own words for it, and those for contacts that it has no word for."""

from __future__ import annotations

from airflow_provider_voiceinfra.calls import CallOutcome

REFUSED = "refused"
"""The API refused the call for good."""
UNKNOWN = "unknown"
"""It was called, or may have been, and nobody has heard how that went."""
EXPIRED = "expired"
"""Its time was over before it was called."""
CANCELLED = "cancelled"
"""The campaign was cancelled before it was called."""
DO_NOT_CALL = "do_not_call"
"""Its number is suppressed; as contacts that the campaign's own list leaves out."""
OTHER = "other"
"""The API gave an outcome that it does not document."""
ALL = (*(outcome.value for outcome in CallOutcome), REFUSED, UNKNOWN, EXPIRED, CANCELLED, OTHER)
"""The outcomes in the order in which they are always named."""
