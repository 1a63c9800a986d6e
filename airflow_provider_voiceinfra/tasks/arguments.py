"""Checks of what users pass to operators, sensors and hooks, made before anything rings or waits.

Each names the argument in its error: an ``InvalidCallError``, or a ``ValueError`` when a DAG is read.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_voiceinfra.calls import MAX_CALL_ID_LENGTH, CallOutcome
from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.masking import is_number_and_no_id, mask_numbers_in, quoted
from airflow_provider_voiceinfra.tasks.identity import TaskIdentity

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.rules.recipient import Recipient

# What a template makes of a value that is not there, or that is empty.
_NOTHING = frozenset({"", "None", "[]", "{}"})
MAX_CAMPAIGN_ID = 250  # what the ledger's column takes
# Neither a template nor JSON, whose names have quotes.
_PLACEHOLDER = r"(?<!\{)\{\s*([^\W\d]\w*)\s*\}(?!\})"
# Where a value that is nothing comes from, as a part of a sentence.
FROM_NOTHING = "from an upstream task that returned nothing, or an empty param or variable"
_LONGEST = timedelta(days=3650).total_seconds()


def is_nothing(value: Any) -> bool:
    """Return whether a value is none at all, an empty collection, or what a template makes of nothing."""
    if isinstance(value, str):
        return value.strip() in _NOTHING
    return value is None or (isinstance(value, Sized) and len(value) == 0)


def is_literal(value: Any) -> bool:
    """Return whether a value stands in the DAG file, and holds no template and nothing of another task."""
    if isinstance(value, str):
        return not any(mark in value for mark in ("{{", "{%", "{#"))
    if isinstance(value, Mapping):
        return all(is_literal(part) for pair in value.items() for part in pair)
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(is_literal, value))
    return not hasattr(value, "resolve")  # as XComs and the like have


def seconds(name: str, value: Any) -> float:
    """Return a duration in seconds, given as a number or a ``timedelta``."""
    found = _as_float(value.total_seconds() if isinstance(value, timedelta) else value)
    if not 0 <= found <= _LONGEST:
        raise ValueError(f"{name} must be a number of seconds from 0 to {_LONGEST:.0f}, not {quoted(value)}")
    return found


def recipient(timezone: Any, region: Any, consent: Any) -> Recipient:
    """Return what a task says of the person who is called besides the number; texts, or nothing."""
    # Loaded when a task runs: a DAG file that is parsed needs none of it.
    from airflow_provider_voiceinfra.rules.calling_window.place import place_of
    from airflow_provider_voiceinfra.rules.recipient import MAX_CONSENT, Recipient

    given = {"timezone": timezone, "region": region, "consent": consent}
    found = {name: None if is_nothing(value) else value for name, value in given.items()}
    for name, value in found.items():
        if value is not None and not isinstance(value, str):
            raise InvalidCallError(name, f"must be text, not {type(value).__name__}")
    if found["consent"] and len(found["consent"]) > MAX_CONSENT:
        raise InvalidCallError("consent", f"must be text of at most {MAX_CONSENT} characters")
    person = Recipient(**found)
    if person.timezone or person.region:
        place_of("", person)
    return person


def number(name: str, value: Any, *, whole: bool = False) -> float:
    """Return a number above 0, given as such or as text, which is what a template gives.

    :param whole: whether it must be 1, 2, 3 and so on.
    """
    found = _as_float(value)
    if not (0 < found < math.inf) or (whole and found != int(found)):
        kind = "a whole number from 1 on" if whole else "a number above 0"
        raise InvalidCallError(name, f"must be {kind}, not {quoted(value)}")
    return found


def _as_float(value: Any) -> float:
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def campaign_id(value: Any, ti: Any) -> str:
    """Return the id of a campaign: the user's own, or the task instance's."""
    if value is None:
        own = TaskIdentity.of(ti).path
        digest = hashlib.sha256(own.encode()).hexdigest()[:16]
        return own if len(own) <= MAX_CAMPAIGN_ID else f"{own[: MAX_CAMPAIGN_ID - 17]}/{digest}"
    given = str(value)
    if is_nothing(given) or len(given) > MAX_CAMPAIGN_ID or not given.isprintable():
        raise InvalidCallError(
            "campaign_id",
            f"{quoted(given)} names no campaign; use 1 to {MAX_CAMPAIGN_ID} printable characters",
        )
    return given


def moment(name: str, value: Any) -> datetime:
    """Return a moment in UTC, given as a datetime or as text in ISO 8601."""
    try:
        found = value if isinstance(value, datetime) else _parsed(str(value))
        if found is not None and found.tzinfo is not None:
            return found.astimezone(timezone.utc)
    # Some odd forms end in errors of other kinds than ValueError.
    except (ValueError, OverflowError, TypeError, LookupError, AttributeError):
        pass
    raise InvalidCallError(
        name, f"must be a moment with its time zone, such as 2026-01-31T20:00:00+01:00, not {quoted(value)}"
    )


def _parsed(text: str) -> datetime | None:
    # Imported late: a DAG file that is parsed needs no moment read.
    import pendulum

    if not text[:4].isdigit():  # the parser takes "now" for now
        return None
    found = pendulum.parse(text, tz=None)
    return found if isinstance(found, datetime) else None


def outcomes(name: str, value: Collection[str] | None) -> tuple[str, ...] | None:
    """Return outcomes as plain texts, given as a list or as one alone; ``None`` if none are given."""
    if value is None:
        return None
    if isinstance(value, str):  # letter by letter, none of a text that is no outcome would ever be met
        words = [outcome.value for outcome in CallOutcome]
        if value not in words:
            raise ValueError(
                f"{name} must be a list of outcomes, such as ['failed'], not the text {quoted(value)}"
                f"{nearest(value, words)}"
            )
        value = [value]
    return tuple(str(getattr(outcome, "value", outcome)) for outcome in value)


def doubtful_outcomes(name: str, values: Collection[str] | None) -> Iterator[str]:
    """Yield a sentence for each outcome that the API does not document; a call may never end like that."""
    documented = [outcome.value for outcome in CallOutcome]
    for value in values or ():
        if value not in documented:
            yield (
                f"{name}: VoiceInfra documents no outcome {quoted(value)}, only {', '.join(documented)}"
                f"{nearest(value, documented)}"
            )


def one_of(name: str, value: Any, words: Sequence[str]) -> str:
    """Return a value that must be one of some words."""
    if value not in words:
        listed = " or ".join(map(repr, words))
        raise ValueError(f"{name} must be {listed}, not {quoted(value)}{nearest(value, words)}")
    return str(getattr(value, "value", value))


def nearest(value: Any, words: Sequence[str]) -> str:
    """Return which of some words may have been meant, to be put behind a sentence; empty if none is near."""
    # Imported late: it is of use for what is misspelt alone.
    from difflib import get_close_matches

    found = get_close_matches(str(value).strip().lower(), words, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def needed(name: str, value: Any) -> None:
    """Refuse what came to nothing although a call cannot do without it."""
    if value is None or (isinstance(value, str) and is_nothing(value)):
        raise InvalidCallError(name, f"is missing: it is {value!r}, {FROM_NOTHING}")


def placeholders(name: str, text: Any) -> Iterator[str]:
    """Yield a sentence for what a campaign would fill in, and a single call says as it stands."""
    found = re.search(_PLACEHOLDER, text) if isinstance(text, str) else None
    if found:
        column = mask_numbers_in(found[1])
        yield (
            f"{name}: {{{column}}} is not filled in but said as it stands. Placeholders are for the contacts "
            f"of a campaign; write a Jinja template here, such as {{{{ params.{column} }}}}"
        )


def mapping(name: str, value: Any) -> None:
    """Refuse what was meant to be a mapping, but is none."""
    if isinstance(value, str):
        raise InvalidCallError(
            name,
            "must be a mapping from names to values, and is text, as a template makes it: write the "
            "templates inside the mapping, pass the output of a task, or set "
            "render_template_as_native_obj=True on the DAG",
        )
    if value is not None and not isinstance(value, Mapping):
        raise InvalidCallError(name, f"must be a mapping from names to values, not {type(value).__name__}")


def idempotency_key(value: Any) -> str:
    """Return a key of the user's own as text; refuse what came to nothing: every call would share it."""
    # With render_template_as_native_obj the number of an order comes as a number.
    key = "" if value is None else str(value)
    if is_nothing(key):
        raise InvalidCallError("idempotency_key", f"{key!r} names no call; what was it to be made of?")
    return key


def call_ids(value: Any) -> list[str]:
    """Return the calls to wait for, given as one id or a list of them.

    What else is given is not quoted: it may be a whole record.
    """
    if not isinstance(value, Sequence):
        raise InvalidCallError("call_id", f"must be text or a list of texts, not {type(value).__name__}")
    # The results of a mapped task are fetched one by one, so only once.
    listed: list[Any] = [value] if isinstance(value, str) else list(value)
    for item in listed:
        if not isinstance(item, str):
            raise InvalidCallError("call_id", f"must be text or a list of texts, not {type(item).__name__}s")
        if is_number_and_no_id(item):
            raise InvalidCallError(
                "call_id",
                f"{quoted(item)} is a phone number and no call_id; pass the call_id that the task which "
                "places the call has pushed, or wait with match={'to_number': ...}",
            )
        if is_nothing(item) or len(item) > MAX_CALL_ID_LENGTH or item.startswith(("{", "[")):
            raise InvalidCallError(
                "call_id",
                f"{len(item)} characters that cannot be a call_id; does the task before it push one? A task "
                "that waits for its call returns the record, and pushes the id under the key call_id",
            )
    return listed
