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

from airflow_provider_voiceinfra.sandbox.settings import Settings

EVENT = "call.completed"


@dataclass(frozen=True)
class Call:
    """A call that was accepted; its fields are those of the request."""

    call_id: str
    fields: dict[str, Any]
    accepted_at: datetime
    seconds: float
    outcome: str


def record(call: Call, ended_at: datetime, settings: Settings, *, recordings: str) -> dict[str, Any]:
    """Return the payload of the webhook that reports how a call went.

    :param recordings: the URL under which recordings are found, without a slash at its end.
    """
    # At least a second, so that whoever picked up has talked even if calls take no time here.
    lasted = max(1, round((ended_at - call.accepted_at).total_seconds()))
    failed = call.outcome == "failed"
    return {
        settings.extracted_field: _extracted(call),  # a documented field of that name wins
        "event": EVENT,
        "call_id": call.call_id,
        "agent_id": call.fields["agent_id"],
        "from_number": call.fields["from_number"],
        "to_number": call.fields["to_number"],
        "call_outcome": call.outcome,
        "duration_seconds": 0 if failed else lasted,
        "start_time": _written(call.accepted_at, settings.webhook_times),
        "end_time": _written(ended_at, settings.webhook_times),
        "recording_url": "" if failed else f"{recordings}/{call.call_id}.wav",
        "transcript": _transcript(call) if call.outcome == "answered" else "",
        "summary": _SUMMARIES[call.outcome],
    }


def _written(moment: datetime, form: str) -> str:
    """Return a time in one of the ISO 8601 forms that the vendor may use."""
    if form == "offset":
        return moment.isoformat(timespec="milliseconds")
    return moment.replace(tzinfo=None).isoformat(timespec=form) + "Z"


def sample_call(call_id: str, given: dict[str, Any]) -> Call:
    """Return an inbound call for payloads that are sent by hand, with the fields that are given."""
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
        audio.setparams((1, 2, rate, rate, "NONE", ""))
        audio.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return buffer.getvalue()
