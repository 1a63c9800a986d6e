"""The values that travel through every part: a call to place, a placed call, and the record of its end.

Nothing here talks to a network, a database or Airflow. Field names are the API's, as the vendor's pages
"Outbound calls" and "Webhooks reference" give them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any

from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.masking import is_number_and_no_id, mask_number, quoted
from airflow_provider_voiceinfra.tasks.xcom_values import for_xcom
from airflow_provider_voiceinfra.webhooks.reasons import KeptReason, UnusableRecordError

_E164 = re.compile(r"\+[1-9]\d{1,14}", re.ASCII)
MAX_CALL_ID_LENGTH = 255
MAX_AGENT_ID_LENGTH = 255
MAX_DEPTH = 50
COMPLETED_EVENT = "call.completed"


class CallOutcome(str, Enum):
    """How a call ended, in the API's words."""

    ANSWERED = "answered"
    VOICEMAIL = "voicemail"
    FAILED = "failed"

    def __str__(self) -> str:
        # What a template makes of it is passed on to the same places as the plain word.
        return self.value


@dataclass(frozen=True)
class OutboundCall:
    """One call to place; the fields are those of ``POST /calls/outbound``.

    :param to_number: who is called, in E.164 form such as ``+14155550100``.
    :param agent_id: the AI agent that talks; if not set, the connection's.
    :param from_number: the caller ID in E.164 form; if not set, the connection's.
    :param first_message: the opening line, for this call only.
    :param context: text added to the agent's system prompt, for this call only.
    :param variables: values for the agent's prompt template, JSON throughout.
    """

    to_number: str
    agent_id: str | None = None
    from_number: str | None = None
    first_message: str | None = field(default=None, repr=False)
    context: str | None = field(default=None, repr=False)
    variables: Mapping[str, Any] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return (
            f"OutboundCall(to_number={mask_number(self.to_number)!r}, agent_id={self.agent_id!r}, "
            f"from_number={mask_number(self.from_number)!r})"
        )

    def with_defaults(self, *, agent_id: str | None, from_number: str | None) -> OutboundCall:
        """Return this call with the connection's agent and caller ID where it names none."""
        return replace(self, agent_id=self.agent_id or agent_id, from_number=self.from_number or from_number)

    def validated(self) -> OutboundCall:
        """Return the call if the API can be expected to take it.

        :raises InvalidCallError: naming the first field that is wrong and the rule it breaks.
        """
        check_agent(self.agent_id)
        check_number("from_number", self.from_number)
        check_number("to_number", self.to_number)
        for name in ("first_message", "context"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InvalidCallError(name, f"must be text, not {type(value).__name__}")
        _check_variables(self.variables)
        return self

    def to_request(self) -> dict[str, Any]:
        """Return the JSON object that the API takes; fields without a value are left out."""
        request = {name: value for name, value in vars(self).items() if value or value not in (None, "", {})}
        variables = dict(request.pop("variables", {}))
        # As JSON will give them back: a tuple is a list and a key is text, or the request that a retry makes
        # would differ from the one that is stored. Plain text, as in most lists of contacts, stays as it is.
        if not all(isinstance(text, str) and text.isascii() for pair in variables.items() for text in pair):
            variables = json.loads(json.dumps(variables))
        return {**request, "variables": variables} if variables else request


def usable_call_id(value: object) -> str | None:
    """Return a ``call_id`` in the one form in which it is stored and compared; ``None`` if it is unusable.

    The API's answer and its webhook are read alike, so that both give the same call the same id.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_CALL_ID_LENGTH:
        return None
    return storable_text(value)


def storable_text(text: str) -> str:
    """Return a text without what databases cannot hold: lone surrogates and NUL characters."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\N{REPLACEMENT CHARACTER}")


def check_agent(agent_id: object) -> None:
    """Raise ``InvalidCallError`` for what the API cannot be expected to take for an agent."""
    if not agent_id:
        raise InvalidCallError(
            "agent_id", "is missing; set it on the task, or as the default on the connection"
        )
    if not isinstance(agent_id, str):
        raise InvalidCallError("agent_id", f"must be text, not {type(agent_id).__name__}")
    if is_number_and_no_id(agent_id):
        raise InvalidCallError("agent_id", f"{quoted(agent_id)} is a phone number; give the id of an agent")
    if len(agent_id) > MAX_AGENT_ID_LENGTH or not agent_id.isprintable() or not agent_id.strip():
        raise InvalidCallError(
            "agent_id", f"must be printable text of at most {MAX_AGENT_ID_LENGTH} characters"
        )


def check_number(name: str, number: object) -> None:
    """Raise ``InvalidCallError``, which names the field and masks the number, for what is no E.164 number."""
    if not number:
        remedy = "; set it on the task, or as the default on the connection" if name == "from_number" else ""
        raise InvalidCallError(name, f"is missing{remedy}")
    if not isinstance(number, str) or _E164.fullmatch(number) is None:
        raise InvalidCallError(
            name,
            # Without an example number: Airflow masks those of the task in its logs, and would mask it, too.
            f"{mask_number(str(number))} is not in E.164 form: a plus sign, the country code and the number, "
            "digits only, such as +1 and ten more digits",
        )
    if not _is_possible(number):
        raise InvalidCallError(
            name, f"{mask_number(number)} cannot be a phone number: wrong country code or length"
        )


@lru_cache(maxsize=1024)  # a call is checked where it comes in, and again where it is placed
def _is_possible(number: str) -> bool:
    # Imported late: its tables are of no use to a process that only parses DAG files.
    import phonenumbers

    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return False


def _check_variables(variables: object) -> None:
    if variables is None:
        return
    if not isinstance(variables, Mapping) or not all(isinstance(name, str) for name in variables):
        raise InvalidCallError("variables", "must be a mapping from names to values")
    for name, value in variables.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as exc:
            raise InvalidCallError("variables", f"the value of {name!r} is not JSON: {exc}") from exc


@dataclass(frozen=True)
class PlacedCall:
    """A call that the API accepted.

    :param call_id: the API's id, the only link to the later completion record.
    :param status: the API's word for it, ``queued``.
    """

    call_id: str
    status: str = "queued"

    def to_dict(self) -> dict[str, str]:
        """Return both fields as plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class CompletionRecord:
    """How a call went, as its ``call.completed`` webhook reported.

    :param call_id: the call.
    :param payload: every field of the webhook under its own name, unknown ones included.
    :param received_at: when it was recorded here, aware UTC.
    """

    call_id: str
    payload: Mapping[str, Any] = field(repr=False)
    received_at: datetime | None = None

    @classmethod
    def from_body(cls, body: bytes, received_at: datetime | None = None) -> CompletionRecord:
        """Read a record from the raw body of a webhook.

        Values that JSON databases cannot hold (NUL characters, lone surrogates, NaN) are replaced, so that
        a record once accepted can always be stored and passed on.

        :raises UnusableRecordError: if it is not a JSON object with a ``call_id``.
        """
        try:
            payload = json.loads(body, parse_constant=lambda _: None)
        except (ValueError, RecursionError) as exc:
            raise UnusableRecordError(KeptReason.NOT_JSON) from exc
        if not isinstance(payload, dict):
            raise UnusableRecordError(KeptReason.NOT_AN_OBJECT)
        payload = _storable(payload, MAX_DEPTH)
        call_id = usable_call_id(payload.get("call_id"))
        if call_id is None:
            raise UnusableRecordError(KeptReason.NO_CALL_ID)
        return cls(call_id=call_id, payload={**payload, "call_id": call_id}, received_at=received_at)

    def text(self, name: str) -> str | None:
        """Return a field if it is text, else ``None``."""
        value = self.payload.get(name)
        return value if isinstance(value, str) and value else None

    @property
    def event(self) -> str | None:
        """What happened; ``call.completed`` is the only event that the API documents."""
        return self.text("event")

    @property
    def outcome(self) -> str | None:
        """``answered``, ``voicemail``, ``failed``, or whatever else the API said."""
        return self.text("call_outcome")

    @property
    def duration_seconds(self) -> int | None:
        """Seconds from answer to hang-up."""
        value = self.payload.get("duration_seconds")
        usable = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**31
        return int(value) if usable else None  # type: ignore[arg-type]  # usable implies a number

    @property
    def started_at(self) -> datetime | None:
        """When the call started, aware UTC; ``None`` if the API did not say so in ISO 8601."""
        return _moment(self.text("start_time"))

    @property
    def ended_at(self) -> datetime | None:
        """When the call ended, aware UTC; ``None`` if the API did not say so in ISO 8601."""
        return _moment(self.text("end_time"))

    def to_dict(self, *, include_transcript: bool = False) -> dict[str, Any]:
        """Return the record as plain JSON, as tasks find it in XCom; what Airflow cannot hold is text there.

        :param include_transcript: whether to keep ``transcript``, which is long and personal.
        """
        record: dict[str, Any] = for_xcom(self.payload)
        if not include_transcript:
            record.pop("transcript", None)
        if self.received_at is not None:
            record["received_at"] = self.received_at.isoformat()
        return record


def _moment(text: str | None) -> datetime | None:
    # Loaded by those who read records, not by each DAG file that is parsed.
    from airflow_provider_voiceinfra.webhooks.moments import parse_time

    return parse_time(text)


def is_completed_event(event: object) -> bool:
    """Return whether a webhook's header or field for the event is a completion's; both may be absent."""
    return event is None or (isinstance(event, str) and event.strip() in ("", COMPLETED_EVENT))


def _storable(value: Any, depth: int) -> Any:
    """Return a JSON value that every database and JSON writer can hold."""
    if depth == 0:
        raise UnusableRecordError(KeptReason.TOO_DEEP)
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_storable(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {_storable(name, depth - 1): _storable(item, depth - 1) for name, item in value.items()}
    return value
