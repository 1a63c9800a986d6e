"""What is known once a call is over: the webhook's fields, a plausible conversation, and a recording."""

from __future__ import annotations

import io
import math
import struct
import wave
import zlib
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from typing import Any

EVENT = "call.completed"


@dataclass(frozen=True)
class Call:
    """A call that was accepted.

    :param fields: the documented fields of the request, as received.
    :param accepted_at: aware UTC.
    :param seconds: how long it takes.
    :param outcome: ``answered``, ``voicemail`` or ``failed``.
    """

    call_id: str
    fields: dict[str, Any]
    accepted_at: datetime
    seconds: float
    outcome: str


def length_of(to_number: str, seconds: float, jitter: float) -> float:
    """Return how long a call to a number takes, in seconds; always the same for the same number.

    :param seconds: the shortest length.
    :param jitter: the longest addition, in seconds.
    """
    return seconds + jitter * zlib.crc32(to_number.encode()) / 2**32


def record(call: Call, ended_at: datetime, *, recordings: str, times: str, extracted: str) -> dict[str, Any]:
    """Return the payload of the webhook that reports how a call went.

    :param ended_at: aware UTC.
    :param recordings: the URL under which recordings are found, without a slash at its end.
    :param times: how times are written; see the setting ``webhook_times``.
    :param extracted: the name of the field with extracted data; a documented field of that name wins.
    """
    # At least a second, so that whoever picked up has talked even if calls take no time here.
    lasted = max(1, round((ended_at - call.accepted_at).total_seconds()))
    failed = call.outcome == "failed"
    return {
        extracted: _extracted(call),
        "event": EVENT,
        "call_id": call.call_id,
        "agent_id": call.fields["agent_id"],
        "from_number": call.fields["from_number"],
        "to_number": call.fields["to_number"],
        "call_outcome": call.outcome,
        "duration_seconds": 0 if failed else lasted,
        "start_time": written(call.accepted_at, times),
        "end_time": written(ended_at, times),
        "recording_url": "" if failed else f"{recordings}/{call.call_id}.wav",
        "transcript": _transcript(call) if call.outcome == "answered" else "",
        "summary": _SUMMARIES[call.outcome],
    }


def written(moment: datetime, form: str) -> str:
    """Return a time in one of the ISO 8601 forms that the vendor may use.

    :param moment: aware UTC.
    :param form: ``milliseconds``, ``seconds`` or ``offset``.
    """
    if form == "offset":
        return moment.isoformat(timespec="milliseconds")
    return moment.replace(tzinfo=None).isoformat(timespec=form) + "Z"


def sample_call(call_id: str, given: dict[str, Any]) -> Call:
    """Return an inbound call for payloads that are sent by hand.

    :param given: fields that take the place of the sample's.
    """
    fields = {"agent_id": "agent_demo", "from_number": "+12025550142", "to_number": "+12025550100"}
    outcome = str(given.get("call_outcome", "answered"))
    return Call(
        call_id=call_id,
        fields={name: given.get(name, default) for name, default in fields.items()},
        accepted_at=datetime.now(timezone.utc),
        seconds=0,
        outcome=outcome if outcome in _SUMMARIES else "answered",
    )


_SUMMARIES = {
    "answered": "The caller was reached, confirmed the details and had no further questions.",
    "voicemail": "The call was taken by a voicemail box; nobody was reached.",
    "failed": "The call could not be connected.",
}


def _transcript(call: Call) -> str:
    opening = call.fields.get("first_message") or "Hello, this is an automated call. Is this a good moment?"
    told = ", ".join(f"{name}: {value}" for name, value in (call.fields.get("variables") or {}).items())
    lines = [f"Agent: {opening}", "Caller: Yes, go ahead."]
    if told:
        lines += [
            f"Agent: I have this on file for you: {told}. Is that right?",
            "Caller: Yes, that is right.",
        ]
    return "\n".join([*lines, "Agent: Thank you for your time. Goodbye.", "Caller: Goodbye."])


def _extracted(call: Call) -> dict[str, Any]:
    if call.outcome != "answered":
        return {}
    return {"confirmed": True, "lead_score": zlib.crc32(call.fields["to_number"].encode()) % 101}


@cache
def recording() -> bytes:
    """Return one second of a quiet tone as a WAV file."""
    rate = 8_000
    samples = [round(3_000 * math.sin(2 * math.pi * 440 * n / rate)) for n in range(rate)]
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(rate)
        audio.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return buffer.getvalue()
