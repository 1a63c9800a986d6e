"""Turns a webhook's bytes into a record, a kept delivery or a rejection; knows nothing of HTTP or Airflow.

The raw body is verified before a byte of it is parsed, and what was verified is durable in the ledger before
this returns. Unknown calls are not settled here: whoever waits for one adopts its completion.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_provider_voiceinfra import metrics
from airflow_provider_voiceinfra.calls import CallOutcome, CompletionRecord, is_completed_event
from airflow_provider_voiceinfra.ledger.webhooks.records import Arrival, KeptDelivery, Recorded, Stored
from airflow_provider_voiceinfra.webhooks import signing
from airflow_provider_voiceinfra.webhooks.reasons import KeptReason, RejectionReason, UnusableRecordError

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger
    from airflow_provider_voiceinfra.rules.opt_out import OptOut

_UNSTORABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_KNOWN_OUTCOMES = frozenset(outcome.value for outcome in CallOutcome)
# Of a value that nobody foresaw; sent again it would fail again, so it is kept until we can read it.
_UNFORESEEN = (ValueError, TypeError, LookupError, ArithmeticError)
# A connection that is unknown, or has no secret, costs the same time as one that has.
_NOBODYS_SECRET = ("nobody-signs-with-this",)


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


@dataclass(frozen=True)
class Delivery:
    """One webhook as it arrived.

    :param conn_id: the connection named by the path.
    :param body: the raw bytes.
    :param signatures: the text of every signature header; exactly one is right.
    :param event: the text of the event header; ``None`` if there is none. It is not signed.
    :param account: the connection's account: its completions count for calls of that account alone.
    :param opt_outs: what in its record says that the person must not be called again.
    """

    conn_id: str
    body: bytes = field(repr=False)
    signatures: Sequence[str] = field(default=(), repr=False)
    event: str | None = field(default=None, repr=False)
    account: str | None = None
    opt_outs: tuple[OptOut, ...] = ()

    @cached_property
    def digest(self) -> str | None:
        """What its signature says; ``None`` if it carries none, or none of a known form."""
        return signing.digest_in(self.signatures[0]) if len(self.signatures) == 1 else None


@dataclass(frozen=True)
class Receipt:
    """What became of a delivery.

    :param reason: why it was kept or rejected, see ``webhooks.reasons``.
    :param call_id: the call that it is about, if that could be read.
    :param record: what is new in the ledger by it, if anything is.
    :param claimed_at: when its call was claimed, aware UTC, if the ledger knows that call by now.
    :param suppressed: the numbers that must not be called any more by what it says.
    """

    outcome: Outcome
    reason: str | None = None
    call_id: str | None = None
    record: CompletionRecord | None = field(default=None, repr=False, compare=False)
    claimed_at: datetime | None = field(default=None, compare=False)
    suppressed: tuple[str, ...] = field(default=(), repr=False, compare=False)


def shape_rejection(delivery: Delivery, *, allow_unsigned: bool) -> RejectionReason | None:
    """Return why no secret could make this delivery genuine; costs nothing, so it can go first.

    :param allow_unsigned: whether a connection without a secret takes any webhook; if so, every shape may do.
    """
    if allow_unsigned or delivery.digest is not None:
        return None
    return RejectionReason.MALFORMED_SIGNATURE if delivery.signatures else RejectionReason.MISSING_SIGNATURE


def verify(
    delivery: Delivery, secrets: Sequence[str] | None, *, allow_unsigned: bool
) -> RejectionReason | None:
    """Return why a delivery is rejected; ``None`` if it is genuine. Asks nothing of the ledger.

    :param secrets: the connection's webhook secrets; ``None`` if there is no such connection.
    :param allow_unsigned: whether a connection without a secret takes any webhook.
    """
    if secrets is not None and not secrets and allow_unsigned:
        return None
    if delivery.digest is None:
        return shape_rejection(delivery, allow_unsigned=False)
    genuine = signing.verify(secrets or _NOBODYS_SECRET, delivery.body, delivery.digest)
    if secrets is None:
        return RejectionReason.UNKNOWN_CONNECTION
    if not secrets:
        return RejectionReason.NO_SECRET
    return None if genuine else RejectionReason.WRONG_SIGNATURE


def store(deliveries: Sequence[Delivery], ledger: CallLedger) -> list[Receipt]:
    """Record genuine deliveries, or keep them, in one transaction; they are durable once this returns.

    :raises LedgerError: if they could not be stored; their senders have to send them again.
    """
    arrivals = [_read(delivery) for delivery in deliveries]
    try:
        return _store(arrivals, ledger)
    except _UNFORESEEN:  # one of them has to be kept; none of the others fails for it
        return [_store_alone(arrival, ledger) for arrival in arrivals]


def report(delivery: Delivery, receipt: Receipt) -> None:
    """Report to the metrics what became of a delivery; its sender should have the answer before."""
    if receipt.outcome is Outcome.REJECTED:
        # Nobody is known to have sent it, so its conn_id may be anything and makes no tag.
        metrics.count("webhooks.rejected")
        return
    _report_completion(receipt, delivery.conn_id)
    names = {Outcome.RECORDED: "accepted", Outcome.DUPLICATE: "duplicate", Outcome.KEPT: "kept"}
    metrics.count(f"webhooks.{names[receipt.outcome]}", conn_id=delivery.conn_id)


def replay(kept: KeptDelivery, ledger: CallLedger, opt_outs: tuple[OptOut, ...] = ()) -> Receipt:
    """Try a kept delivery again, for example after an upgrade that can read it.

    :param opt_outs: what in its record says that the person must not be called again.
    :return: ``recorded`` or ``duplicate`` if it was of use, ``kept`` with the reason if it still is not.
    :raises LedgerError: if it could not be stored; it stays as it is.
    """
    came = Delivery(kept.conn_id, kept.body, event=kept.event, account=kept.account, opt_outs=opt_outs)
    arrival = _read(came)
    if arrival.record is None:
        return Receipt(Outcome.KEPT, arrival.reason, arrival.call_id)
    receipt = _store_alone(arrival, ledger)
    if receipt.outcome is not Outcome.KEPT:
        ledger.deliveries.mark_replayed(kept.id)
    _report_completion(receipt, kept.conn_id)
    return receipt


def _read(delivery: Delivery) -> Arrival:
    """Return a genuine delivery as the ledger takes it: with its record, or the reason to keep it."""
    arrival = Arrival(delivery.body, delivery.conn_id, delivery.account, event=_plain(delivery.event))
    other = None if is_completed_event(delivery.event) else KeptReason.OTHER_EVENT_HEADER
    try:
        record = CompletionRecord.from_body(delivery.body, datetime.now(timezone.utc))
    except UnusableRecordError as exc:
        return replace(arrival, reason=(other or exc.reason).value)
    # Header and body must not contradict, but both may say nothing.
    if other is None and not is_completed_event(record.payload.get("event")):
        other = KeptReason.OTHER_EVENT_FIELD
    if other is not None:
        return replace(arrival, reason=other.value, call_id=record.call_id)
    opts_out = any(opt_out.is_in(record.payload) for opt_out in delivery.opt_outs)
    return replace(arrival, record=record, opts_out=opts_out)


def _store(arrivals: Sequence[Arrival], ledger: CallLedger) -> list[Receipt]:
    stored = ledger.take_in(arrivals)
    return [_receipt(*both) for both in zip(arrivals, stored, strict=True)]


def _store_alone(arrival: Arrival, ledger: CallLedger) -> Receipt:
    try:
        [receipt] = _store([arrival], ledger)
    except _UNFORESEEN as exc:
        reason = f"{KeptReason.UNFORESEEN_VALUE.value}:{type(exc).__name__}"
        call_id = arrival.call_id if arrival.record is None else arrival.record.call_id
        [receipt] = _store([replace(arrival, record=None, reason=reason, call_id=call_id)], ledger)
    return receipt


def _receipt(arrival: Arrival, stored: Stored) -> Receipt:
    call_id = arrival.call_id if arrival.record is None else arrival.record.call_id
    if stored.recorded is Recorded.NEW:
        return Receipt(Outcome.RECORDED, None, call_id, arrival.record, stored.claimed_at, stored.suppressed)
    if stored.recorded is Recorded.DUPLICATE:
        return Receipt(Outcome.DUPLICATE, call_id=call_id, suppressed=stored.suppressed)
    return Receipt(Outcome.KEPT, stored.reason, call_id, suppressed=stored.suppressed)


def _report_completion(receipt: Receipt, conn_id: str) -> None:
    record = receipt.record
    if record is None:
        return
    outcome = record.outcome if record.outcome in _KNOWN_OUTCOMES else "other"
    metrics.count("calls.completed", conn_id=conn_id, outcome=outcome or "other")
    if receipt.claimed_at is not None and record.received_at is not None:
        duration = record.received_at - receipt.claimed_at
        metrics.time("calls.placing_to_completion", duration, conn_id=conn_id)


def _plain(text: str | None) -> str | None:
    """Return a header's text as every database can hold it."""
    return None if text is None else _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)
