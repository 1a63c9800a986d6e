"""Why a webhook was rejected or kept: short codes, which are stored, and what they say to people.

A stored reason is a code, or a code with a detail behind a colon, such as ``unknown_connection:'typed'``.
"""

from __future__ import annotations

from enum import Enum


class _Reason(str, Enum):
    """A code, and what it says to people."""

    words: str

    def __new__(cls, code: str, words: str) -> _Reason:
        reason = str.__new__(cls, code)
        reason._value_, reason.words = code, words
        return reason


class RejectionReason(_Reason):
    """Why nobody is known to have sent a webhook; for us alone, never for its sender."""

    UNKNOWN_CONNECTION = "unknown_connection", "there is no such connection of type voiceinfra"
    NO_SECRET = "no_secret", "the connection has no webhook_secret"
    MISSING_SIGNATURE = "missing_signature", "it carries no signature"
    MALFORMED_SIGNATURE = "malformed_signature", "its signature has none of the forms that are understood"
    WRONG_SIGNATURE = (
        "wrong_signature",
        "its signature does not belong to its body under any secret of the connection",
    )
    TOO_LARGE = "too_large", "it is larger than [voiceinfra] max_webhook_bytes"


class KeptReason(_Reason):
    """Why a genuine webhook could not be used as a completion."""

    NOT_JSON = "not_json", "the body is not JSON"
    NOT_AN_OBJECT = "not_an_object", "the body is not a JSON object"
    TOO_DEEP = "too_deep", "its values are nested too deep"
    NO_CALL_ID = "no_call_id", "there is no call_id, or none that can be one"
    OTHER_EVENT_HEADER = "other_event_header", "the event header says something else than call.completed"
    OTHER_EVENT_FIELD = "other_event_field", "the field event says something else than call.completed"
    UNFORESEEN_VALUE = "unforeseen_value", "its values cannot be recorded"
    OTHER_ACCOUNT = (
        "other_account",
        "its call was placed through a connection of another account; if both are one account, give both "
        "connections the same value for the extra 'account'",
    )
    OTHER_RECORD = "other_record", "the call has a record already, and this one says something else"


_WORDS = {reason.value: reason.words for reason in (*RejectionReason, *KeptReason)}


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
        return self.reason.words
