"""A call, and the webhooks that tell how it went."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, Recorded
from tests.support.completions import completion_body, record

CONN_ID = "voiceinfra_default"
CALL = OutboundCall("+14155550100", agent_id="agent_demo", from_number="+14155550101")
FIRST_TRY = CallOrigin("dag", "run", "task", -1, 1)
SECOND_TRY = CallOrigin("dag", "run", "task", -1, 2)


def running(ledger: CallLedger, campaign_id: str) -> str:
    """Return what the process that runs a campaign is known by."""
    entry = ledger.campaigns.get(campaign_id)
    assert entry is not None
    return str(entry.runner)


def seen_from(ledger: CallLedger, now: Callable[[], datetime]) -> CallLedger:
    """Return the same ledger, used by a process whose clock is another one."""
    return CallLedger(ledger._database.url, now=now)


def claim(ledger: CallLedger, key: str = "key", call: OutboundCall = CALL, **options: Any) -> CallEntry:
    """Claim a call that nobody has claimed before."""
    entry, won = ledger.claim(key, call, conn_id=CONN_ID, **options)
    assert won
    return entry


def unknown(ledger: CallLedger, key: str = "key", call: OutboundCall = CALL) -> CallEntry:
    """Claim a call whose answer was lost."""
    return ledger.mark_unknown(claim(ledger, key, call), "answer_lost", "the connection was cut")


def body(call_id: str, start: datetime | timedelta | None = None, **fields: Any) -> bytes:
    """Return a webhook's body; a start as a difference is one from now."""
    moment = start if isinstance(start, datetime) else datetime.now(timezone.utc) + (start or timedelta())
    of_call = {"agent_id": CALL.agent_id, "from_number": CALL.from_number, "to_number": CALL.to_number}
    return completion_body(
        call_id, **{**of_call, "start_time": moment.isoformat(), "duration_seconds": 5, **fields}
    )


def complete(ledger: CallLedger, call_id: str, start: Any = None, **fields: Any) -> Recorded:
    """Record a webhook that fits ``CALL`` but for the given fields."""
    return record(ledger, body(call_id, start, **fields))
