"""The webhook that tells how a call went."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_voiceinfra.calls import CompletionRecord
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.webhooks.records import Arrival, Recorded

CONN_ID = "voiceinfra_default"


def completion_body(call_id: str, call_outcome: str | None = "answered", **fields: Any) -> bytes:
    """Return the body of a webhook.

    :param fields: further ones of the vendor's, and whatever else is to be in it.
    """
    payload = {"event": "call.completed", "call_id": call_id, "call_outcome": call_outcome, **fields}
    return json.dumps(payload).encode()


def record(
    ledger: CallLedger, body: bytes, *, conn_id: str = CONN_ID, account: str | None = None
) -> Recorded:
    """Put a webhook's body into a ledger as the receiver does once it has verified it."""
    [stored] = ledger.take_in([Arrival(body, conn_id, account, CompletionRecord.from_body(body))])
    return stored.recorded


def keep_delivery(ledger: CallLedger, body: bytes, *, conn_id: str, reason: str, **fields: Any) -> None:
    """Put a webhook that cannot be used into a ledger.

    :param fields: ``account``, ``event`` and ``call_id``.
    """
    ledger.take_in([Arrival(body, conn_id, reason=reason, **fields)])


def complete(
    ledger: CallLedger,
    call_id: str,
    call_outcome: str | None = "answered",
    *,
    conn_id: str = CONN_ID,
    account: str | None = None,
    **fields: Any,
) -> Recorded:
    """Let the webhook of a call arrive.

    :param fields: further ones of its body.
    """
    body = completion_body(call_id, call_outcome, **fields)
    return record(ledger, body, conn_id=conn_id, account=account)
