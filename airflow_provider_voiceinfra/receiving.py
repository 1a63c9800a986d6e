"""Turns a webhook's bytes into a record, or a kept delivery, or a refusal; knows nothing of HTTP or Airflow.

The raw body is verified before a byte of it is parsed, and what was verified is durable in the ledger before
the caller is told so. Unknown calls are not settled here: whoever waits for one adopts its completion.
"""

from __future__ import annotations

import logging
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING

from airflow_provider_voiceinfra import metrics, signing
from airflow_provider_voiceinfra.calls import (
    COMPLETED_EVENT,
    CallOutcome,
    CompletionRecord,
    UnusableRecordError,
    is_completed_event,
)
from airflow_provider_voiceinfra.exceptions import LedgerError
from airflow_provider_voiceinfra.ledger.records import FOREIGN_REASON, KeptDelivery, Recorded

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger

_DIGEST_LENGTH = 64
_UNSTORABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_KNOWN_OUTCOMES = frozenset(outcome.value for outcome in CallOutcome)
# A connection that is unknown, or has no secret, costs the same time as one that has.
_NOBODYS_SECRET = ("nobody-signs-with-this",)

log = logging.getLogger(__name__)


class Outcome(str, Enum):
    """What became of a delivery; all but ``rejected`` are durable."""

    RECORDED = "recorded"
    """It is the first record of its call."""
    DUPLICATE = "duplicate"
    """This very record is stored already."""
    KEPT = "kept"
    """It is genuine and cannot be used; it is kept as it came, for a replay."""
    REJECTED = "rejected"
    """Nobody is known to have signed it; nothing of it is stored."""


class Rejection(str, Enum):
    """Why a delivery was not believed; for our logs, never for the sender."""

    UNKNOWN_CONNECTION = "there is no such connection of type voiceinfra"
    NO_SECRET = "the connection has no webhook_secret"
    MISSING_SIGNATURE = "it carries no signature"
    MALFORMED_SIGNATURE = "its signature has none of the forms that are understood"
    WRONG_SIGNATURE = "its signature does not belong to its body under any secret of the connection"


@dataclass(frozen=True)
class Delivery:
    """One webhook as it arrived.

    :param conn_id: the connection named by the path.
    :param body: the raw bytes.
    :param signatures: the text of every signature header; exactly one is right.
    :param event: the text of the event header; ``None`` if there is none. It is not signed.
    :param account: the connection's account: its completions count for calls of that account alone.
    """

    conn_id: str
    body: bytes = field(repr=False)
    signatures: Sequence[str] = field(default=(), repr=False)
    event: str | None = field(default=None, repr=False)
    account: str | None = None


@dataclass(frozen=True)
class Receipt:
    """What became of a delivery.

    :param reason: why it was kept or rejected.
    :param call_id: the call that it tells of, if that could be read.
    :param record: what is new in the ledger by it, if anything is.
    """

    outcome: Outcome
    reason: str | None = None
    call_id: str | None = None
    record: CompletionRecord | None = field(default=None, repr=False, compare=False)


def shape_rejection(delivery: Delivery, *, allow_unsigned: bool) -> Rejection | None:
    """Return why no secret could make this delivery genuine; costs nothing, so it can go first.

    :param allow_unsigned: whether a connection without a secret takes any webhook; if so, every shape may do.
    """
    if allow_unsigned:
        return None
    if not delivery.signatures:
        return Rejection.MISSING_SIGNATURE
    if len(delivery.signatures) != 1 or not _looks_signed(delivery.signatures[0]):
        return Rejection.MALFORMED_SIGNATURE
    return None


def receive(
    delivery: Delivery, *, secrets: Sequence[str] | None, allow_unsigned: bool, ledger: CallLedger
) -> Receipt:
    """Verify, read, store and count a delivery, where nobody waits for the answer meanwhile.

    :param secrets: the connection's webhook secrets; ``None`` if there is no such connection.
    :param allow_unsigned: whether a connection without a secret takes any webhook.
    :raises LedgerError: if it could not be stored; the sender has to send it again.
    """
    rejection = verify(delivery, secrets, allow_unsigned=allow_unsigned)
    receipt = Receipt(Outcome.REJECTED, rejection.value) if rejection else store(delivery, ledger)
    report(delivery, receipt, ledger)
    return receipt


def verify(delivery: Delivery, secrets: Sequence[str] | None, *, allow_unsigned: bool) -> Rejection | None:
    """Return why a delivery is not believed; ``None`` if it is genuine. Asks nothing of the ledger.

    :param secrets: the connection's webhook secrets; ``None`` if there is no such connection.
    :param allow_unsigned: whether a connection without a secret takes any webhook.
    """
    if secrets is not None and not secrets and allow_unsigned:
        return None
    rejection = shape_rejection(delivery, allow_unsigned=False)
    if rejection is not None:
        return rejection
    genuine = signing.verify(secrets or _NOBODYS_SECRET, delivery.body, delivery.signatures[0])
    if secrets is None:
        return Rejection.UNKNOWN_CONNECTION
    if not secrets:
        return Rejection.NO_SECRET
    return None if genuine else Rejection.WRONG_SIGNATURE


def store(delivery: Delivery, ledger: CallLedger) -> Receipt:
    """Record a genuine delivery, or keep it; it is durable once this returns.

    :raises LedgerError: if it could not be stored; the sender has to send it again.
    """
    receipt = _record(delivery, ledger)
    if receipt.outcome is Outcome.KEPT:
        ledger.keep_delivery(
            delivery.body,
            conn_id=delivery.conn_id,
            account=delivery.account,
            reason=receipt.reason or "",
            event=_plain(delivery.event),
            call_id=receipt.call_id,
        )
    return receipt


def report(delivery: Delivery, receipt: Receipt, ledger: CallLedger | None) -> None:
    """Report to the metrics what became of a delivery; its sender should have the answer before.

    :param ledger: tells when the call was placed; without it, how long it took is not reported.
    """
    if receipt.outcome is Outcome.REJECTED:
        # Nobody is known to have sent it, so its conn_id is a stranger's choice and makes no tag.
        metrics.count("webhooks.rejected")
        return
    if receipt.record is not None:
        _report_completion(receipt.record, delivery.conn_id, ledger)
    names = {Outcome.RECORDED: "accepted", Outcome.DUPLICATE: "duplicate", Outcome.KEPT: "kept"}
    metrics.count(f"webhooks.{names[receipt.outcome]}", conn_id=delivery.conn_id)


def replay(kept: KeptDelivery, ledger: CallLedger) -> Receipt:
    """Try a kept delivery again, for example after an upgrade that can read it.

    :return: ``recorded`` or ``duplicate`` if it was of use, ``kept`` with the reason if it still is not.
    :raises LedgerError: if it could not be stored; it stays as it is.
    """
    receipt = _record(Delivery(kept.conn_id, kept.body, event=kept.event, account=kept.account), ledger)
    if receipt.outcome is not Outcome.KEPT:
        ledger.mark_replayed(kept.id)
    if receipt.record is not None:
        _report_completion(receipt.record, kept.conn_id, ledger)
    return receipt


def _looks_signed(signature: str) -> bool:
    digest = signature.removeprefix("sha256=")
    return len(digest) == _DIGEST_LENGTH and set(digest) <= set(string.hexdigits)


def _record(delivery: Delivery, ledger: CallLedger) -> Receipt:
    """Record a genuine delivery, or say why it has to be kept."""
    try:
        record = CompletionRecord.from_body(delivery.body, datetime.now(timezone.utc))
    except UnusableRecordError as exc:
        return Receipt(Outcome.KEPT, _other_header(delivery.event) or str(exc))
    other = _other_event(delivery.event, record)
    if other is not None:
        return Receipt(Outcome.KEPT, other, record.call_id)
    try:
        recorded = ledger.complete(record, delivery.body, conn_id=delivery.conn_id, account=delivery.account)
    except (ValueError, TypeError, LookupError, ArithmeticError) as exc:
        # A value that nobody foresaw: sent again it would fail again, so it is kept until we can read it.
        return Receipt(Outcome.KEPT, f"its values cannot be recorded: {type(exc).__name__}", record.call_id)
    if recorded is Recorded.FOREIGN:
        return Receipt(Outcome.KEPT, FOREIGN_REASON, record.call_id)
    if recorded is Recorded.DIFFERENT:
        reason = "the call has a record already, and this one says something else"
        return Receipt(Outcome.KEPT, reason, record.call_id)
    if recorded is Recorded.DUPLICATE:
        return Receipt(Outcome.DUPLICATE, call_id=record.call_id)
    return Receipt(Outcome.RECORDED, call_id=record.call_id, record=record)


def _other_event(header: str | None, record: CompletionRecord) -> str | None:
    """Return why this is no completion; header and body must not contradict, but both may be silent."""
    other = _other_header(header)
    if other is not None:
        return other
    if not is_completed_event(record.payload.get("event")):
        return f"the field event says something else than {COMPLETED_EVENT}"
    return None


def _other_header(header: str | None) -> str | None:
    if not is_completed_event(header):
        return f"the event header says something else than {COMPLETED_EVENT}"
    return None


def _report_completion(record: CompletionRecord, conn_id: str, ledger: CallLedger | None) -> None:
    outcome = record.outcome if record.outcome in _KNOWN_OUTCOMES else "other"
    metrics.count("calls.completed", conn_id=conn_id, outcome=outcome or "other")
    if ledger is None:
        return
    try:
        call = ledger.call_by_id(record.call_id)
    except LedgerError:
        # The record is durable; a figure is not worth having it sent again.
        log.warning("The time from placing to completion was not reported: the ledger could not be read")
        return
    if call is not None and record.received_at is not None:
        metrics.time("calls.placing_to_completion", record.received_at - call.claimed_at, conn_id=conn_id)


def _plain(text: str | None) -> str | None:
    """Return a header's text as every database can hold it."""
    return (
        None if text is None else re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)
    )
