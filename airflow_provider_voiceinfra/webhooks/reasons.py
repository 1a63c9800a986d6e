"""Why a webhook was rejected or kept: short codes, which are stored, and what they say to people.

A stored reason is a code, or a code with a detail behind a colon, such as ``unknown_connection:'typed'``.
"""

from __future__ import annotations

from enum import Enum


class RejectionReason(str, Enum):
    """Why nobody is known to have sent a webhook; for us alone, never for its sender."""

    UNKNOWN_CONNECTION = "unknown_connection"
    NO_SECRET = "no_secret"
    MISSING_SIGNATURE = "missing_signature"
    MALFORMED_SIGNATURE = "malformed_signature"
    WRONG_SIGNATURE = "wrong_signature"
    TOO_LARGE = "too_large"


class KeptReason(str, Enum):
    """Why a genuine webhook could not be used as a completion."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    TOO_DEEP = "too_deep"
    NO_CALL_ID = "no_call_id"
    OTHER_EVENT_HEADER = "other_event_header"
    OTHER_EVENT_FIELD = "other_event_field"
    UNFORESEEN_VALUE = "unforeseen_value"
    OTHER_ACCOUNT = "other_account"
    OTHER_RECORD = "other_record"


_WORDS: dict[str, str] = {
    RejectionReason.UNKNOWN_CONNECTION: "there is no such connection of type voiceinfra",
    RejectionReason.NO_SECRET: "the connection has no webhook_secret",
    RejectionReason.MISSING_SIGNATURE: "it carries no signature",
    RejectionReason.MALFORMED_SIGNATURE: "its signature has none of the forms that are understood",
    RejectionReason.WRONG_SIGNATURE: (
        "its signature does not belong to its body under any secret of the connection"
    ),
    RejectionReason.TOO_LARGE: "it is larger than [voiceinfra] max_webhook_bytes",
    KeptReason.NOT_JSON: "the body is not JSON",
    KeptReason.NOT_AN_OBJECT: "the body is not a JSON object",
    KeptReason.TOO_DEEP: "its values are nested too deep",
    KeptReason.NO_CALL_ID: "there is no call_id, or none that can be one",
    KeptReason.OTHER_EVENT_HEADER: "the event header says something else than call.completed",
    KeptReason.OTHER_EVENT_FIELD: "the field event says something else than call.completed",
    KeptReason.UNFORESEEN_VALUE: "its values cannot be recorded",
    KeptReason.OTHER_ACCOUNT: (
        "its call was placed through a connection of another account; if both are one account, give both "
        "connections the same value for the extra 'account'"
    ),
    KeptReason.OTHER_RECORD: "the call has a record already, and this one says something else",
}


def in_words(reason: str) -> str:
    """Return a stored reason for people; one that is not known here, as it is stored."""
    code, _, detail = reason.partition(":")
    words = _WORDS.get(code)
    if words is None:
        return reason
    return f"{words}: {detail}" if detail else words


class UnusableRecordError(ValueError):
    """A webhook's body holds no completion record.

    :param reason: what is wrong with it.
    """

    def __init__(self, reason: KeptReason) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return in_words(self.reason.value)
