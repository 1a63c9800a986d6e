"""A call, the webhooks that tell how it went, and what the ledger has of both."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import Executable

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, CompletionEntry
from airflow_provider_voiceinfra.ledger.retention.purging import Purged
from airflow_provider_voiceinfra.ledger.webhooks.records import Recorded
from tests.support.completions import completion_body, record

CONN_ID = "voiceinfra_default"
CALL = OutboundCall("+14155550100", agent_id="agent_demo", from_number="+14155550101")
FIRST_TRY = CallOrigin("dag", "run", "task", -1, 1)
SECOND_TRY = CallOrigin("dag", "run", "task", -1, 2)


def stored(ledger: CallLedger, key: str = "key") -> CallEntry:
    """Return the call of a key, which there is."""
    entry = ledger.call_by_key(key)
    assert entry is not None
    return entry


def completed(ledger: CallLedger, call_id: str = "call_1") -> CompletionEntry:
    """Return the completion of a call, which there is."""
    entry = ledger.completion(call_id)
    assert entry is not None
    return entry


def campaign(ledger: CallLedger, campaign_id: str = "c") -> CampaignEntry:
    """Return a campaign, which there is."""
    entry = ledger.campaigns.get(campaign_id)
    assert entry is not None
    return entry


def running(ledger: CallLedger, campaign_id: str = "c") -> str:
    """Return what the process that runs a campaign is known by."""
    return str(campaign(ledger, campaign_id).runner)


def execute(ledger: CallLedger, *statements: Executable) -> None:
    """Do to the rows of a ledger what it never would."""
    with ledger._database.writing() as connection:
        for statement in statements:
            connection.execute(statement)


def purge_all(ledger: CallLedger) -> Purged:
    """Delete the personal data of everything that there is."""
    return ledger.purge(datetime.now(timezone.utc) + timedelta(seconds=1))


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
    return become(ledger, claim(ledger, key, call), "unknown")


def become(ledger: CallLedger, entry: CallEntry, state: str, call_id: str = "call_1") -> CallEntry:
    """Let a claimed call be ``accepted``, ``refused``, ``unknown`` or ``redialled``, or stay ``claimed``."""
    if state == "accepted":
        return ledger.accept(entry, call_id)
    if state == "refused":
        return ledger.refuse(entry, "rate_limited", "429")
    if state == "claimed":
        return entry
    lost = ledger.mark_unknown(entry, "answer_lost", "the connection was cut")
    return ledger.claim_redial(lost) if state == "redialled" else lost


def body(call_id: str, start: datetime | timedelta | None = None, **fields: Any) -> bytes:
    """Return a webhook's body; a start as a difference is one from now."""
    moment = start if isinstance(start, datetime) else datetime.now(timezone.utc) + (start or timedelta())
    of_call = {"agent_id": CALL.agent_id, "from_number": CALL.from_number, "to_number": CALL.to_number}
    of_end = {"start_time": moment.isoformat(), "duration_seconds": 5}
    return completion_body(call_id, **{**of_call, **of_end, **fields})


def complete(ledger: CallLedger, call_id: str, start: Any = None, **fields: Any) -> Recorded:
    """Record a webhook that fits ``CALL`` but for the given fields."""
    return record(ledger, body(call_id, start, **fields))
