"""What the ledger takes and hands out: frozen values, and the states that a call goes through."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from airflow_provider_voiceinfra.calls import CompletionRecord, OutboundCall
from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.rules.recipient import ANYBODY, Recipient
from airflow_provider_voiceinfra.tasks.identity import TaskIdentity


def new_token() -> str:
    """Return a token that no other claim has."""
    return uuid.uuid4().hex


class CallState(str, Enum):
    """What is known of a call; whether it is over is not a state but the existence of its completion."""

    CLAIMED = "claimed"
    """About to be sent."""
    ACCEPTED = "accepted"
    """The API gave it a ``call_id``."""
    REFUSED = "refused"
    """Nothing rang; it may be tried again."""
    UNKNOWN = "unknown"
    """It was sent, or was about to be, and no answer is known."""


class Began(NamedTuple):
    """When a try of a task instance began, and its DAG run, aware; ``None`` if that is not known."""

    task: datetime | None = None
    run: datetime | None = None


@dataclass(frozen=True)
class CallOrigin:
    """Which task instance or campaign places a call; every part may be missing.

    :param position: the contact's place in its campaign.
    :param attempt: which call to this contact it is, from 1.
    :param began: since when who places it is at work; is not stored.
    """

    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    try_number: int | None = None
    campaign_id: str | None = None
    contact_key: str | None = field(default=None, repr=False)
    position: int | None = None
    attempt: int | None = None
    began: Began = field(default=Began(), repr=False, compare=False)

    @classmethod
    def of_task(cls, ti: Any, dag_run: Any = None) -> CallOrigin:
        """Return the origin of what an Airflow task instance does."""
        began = Began(getattr(ti, "start_date", None), getattr(dag_run, "start_date", None))
        return cls(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number, began=began)

    @property
    def columns(self) -> dict[str, Any]:
        """What of it is stored with a call, by the names of the columns."""
        return {name: getattr(self, name) for name in ORIGIN_COLUMNS}

    @property
    def task(self) -> TaskIdentity:
        """The task instance, whichever try."""
        return TaskIdentity.of(self)

    def is_same_try_as(self, other: CallOrigin) -> bool:
        """Return whether this is the same try of the same task instance."""
        return self.task == other.task and self.try_number == other.try_number

    def is_later_try_than(self, other: CallOrigin) -> bool:
        """Return whether this is the same task instance, tried again."""
        is_same_task = self.task == other.task and self.task_id is not None
        return is_same_task and (self.try_number or 0) > (other.try_number or 0)


ORIGIN_COLUMNS = tuple(name for name in CallOrigin.__dataclass_fields__ if name != "began")

# Columns that calls are only found by.
_FOUND_BY = ("to_number_end", "to_number_hash", "from_number_hash")


@dataclass(frozen=True)
class CallEntry:
    """One call as the ledger knows it.

    :param token: whose claim it is; changes with each new dial, so that only its owner can settle it.
    :param dials: how often the right to dial was given for this key; more than 1 after a refusal or redial.
    :param redials: how often it was given again although the call before may have rung.
    :param adopted: whether the ``call_id`` was learned from a webhook instead of the API's answer.
    :param claimed_at: when this dial was claimed, aware UTC.
    :param renewed_at: when its owner last said that it is still at work.
    :param unsettled_since: of a call that was redialled: when the dial before, which may have rung, was sent.
    :param purged_at: when the personal data was deleted; ``None`` if it is still there.
    :param account: the vendor's account that the call goes through; ``None`` if that is not known.
    :param sent_after: the newest completion when the first request that may have rung was about to be sent.
    :param sent_at: when that was by the database's own clock, aware UTC.
    :param dialled_at: when the last request was about to be sent, by the database's own clock, aware UTC.
    :param rules_id: the rules that allowed it, see ``CallLedger.rules``; ``None`` if none were in force.
    :param timezone: the zone that the person is in, if the caller said so; likewise ``region``.
    :param consent: what proves that the person agreed to be called.
    :param allowed_from: of a call that a rule kept from being placed: from when on it would be allowed, aware
        UTC.
    """

    key_hash: str
    idempotency_key: str | None = field(repr=False)
    state: CallState
    token: str
    dials: int
    redials: int
    conn_id: str
    agent_id: str | None
    from_number: str | None = field(repr=False)
    to_number: str | None = field(repr=False)
    request: dict[str, Any] | None = field(repr=False)
    call_id: str | None
    adopted: bool
    error_code: str | None
    error_message: str | None
    origin: CallOrigin
    claimed_at: datetime
    renewed_at: datetime
    answered_at: datetime | None
    unsettled_since: datetime | None
    purged_at: datetime | None
    account: str | None = None
    sent_after: int | None = None
    sent_at: datetime | None = None
    dialled_at: datetime | None = None
    rules_id: str | None = None
    timezone: str | None = None
    region: str | None = None
    consent: str | None = field(default=None, repr=False)
    allowed_from: datetime | None = None

    @classmethod
    def from_row(cls, row: Mapping[Any, Any]) -> CallEntry:
        """Read a row of the table ``calls``."""
        values = dict(row)
        origin = CallOrigin(**{name: values.pop(name) for name in ORIGIN_COLUMNS})
        request = values.pop("request")
        for name in _FOUND_BY:
            values.pop(name, None)
        values["state"] = CallState(values["state"])
        return cls(origin=origin, request=decode_request(request) if request else None, **values)

    @property
    def recipient(self) -> Recipient:
        """What was said of the person who is called."""
        return Recipient(self.timezone, self.region, self.consent)

    @property
    def rang_from(self) -> datetime:
        """The earliest moment at which this call can have rung."""
        return self.unsettled_since or self.renewed_at

    def differences(self, request: Mapping[str, Any], conn_id: str) -> list[str]:
        """Return the names of the fields in which another request for this key differs."""
        if self.request is None:  # purged: what it was is no longer known
            return []
        names = sorted({*self.request, *request})
        different = [name for name in names if self.request.get(name) != request.get(name)]
        return different + (["voiceinfra_conn_id"] if self.conn_id != conn_id else [])


@dataclass(frozen=True)
class Job:
    """One call to place; ``CallLedger.claim_many`` gives the right to dial once for its key.

    :param origin: who asks, and which contact and attempt of a campaign it is for.
    :param recipient: what is known of the person besides the number.
    :param not_after: do not dial at or after this moment, aware UTC; ``None`` for no such moment.
    :param token: whose claim it becomes. If ``claim_many`` raises, the same job may be claimed again, and
        finds what it has claimed; once that was answered, it needs another token.
    :param against: why a rule that needs no ledger does not allow it now; its claim is stored as refused.
    """

    key: str = field(repr=False)
    call: OutboundCall
    origin: CallOrigin
    not_after: datetime | None = None
    recipient: Recipient = ANYBODY
    token: str = field(default_factory=new_token, repr=False)
    against: CallNotAllowedError | None = None

    @property
    def place(self) -> tuple[int, int]:
        """The contact's position in its campaign, and which call to it this is, from 1."""
        return self.origin.position or 0, self.origin.attempt or 0


@dataclass(frozen=True)
class Settlement:
    """What became of a claimed call.

    :param state: ``accepted``, with the ``call_id``; or ``refused`` or ``unknown``, with a code and message.
    :param allowed_from: from when on a rule that refused it would allow it, aware UTC.
    """

    entry: CallEntry
    state: CallState
    call_id: str | None = None
    code: str = ""
    message: str = ""
    allowed_from: datetime | None = None

    @property
    def not_allowed(self) -> CallNotAllowedError:
        """The error for a call that a rule has refused."""
        return CallNotAllowedError(self.message, code=self.code, allowed_from=self.allowed_from)


@dataclass(frozen=True)
class CompletionEntry:
    """One completion as the ledger knows it; the columns are those that people filter on.

    :param sequence: grows with every completion, in the order in which they became visible.
    :param account: the vendor's account that its webhook came from; ``None`` if that is not known.
    :param stored_at: when it was stored by the database's own clock, aware UTC.
    :param erased: which part of its body is gone, see ``retention.bodies.Erased``; ``None`` if none is.
    """

    call_id: str
    sequence: int
    conn_id: str
    agent_id: str | None
    from_number: str | None = field(repr=False)
    to_number: str | None = field(repr=False)
    call_outcome: str | None
    duration_seconds: int | None
    started_at: datetime | None
    ended_at: datetime | None
    received_at: datetime
    body: bytes | None = field(default=None, repr=False)
    account: str | None = None
    stored_at: datetime | None = None
    erased: str | None = None

    def is_same(self, body: bytes, conn_id: str, account: str | None) -> bool:
        """Return whether it is this very delivery; the entry must have been read with its body.

        If a part of the body is gone, all that comes of the same account for this call is: nothing of it may
        bring back what was deleted.
        """
        is_of_account = account is not None and self.account == account
        is_alike = self.erased is not None or self.body == body
        return is_alike and (self.conn_id == conn_id or is_of_account)

    def record(self) -> CompletionRecord:
        """Return the whole record; the entry must have been read with its body."""
        if self.body is None:
            raise ValueError(f"the completion of {self.call_id} was read without its body")
        return CompletionRecord.from_body(self.body, self.received_at)


def hash_key(idempotency_key: str) -> str:
    """Return what the ledger finds a key by; keys may be of any length."""
    return hashlib.sha256(idempotency_key.encode("utf-8", "surrogatepass")).hexdigest()


_ENCODER = json.JSONEncoder(sort_keys=True)


def encode_request(request: Mapping[str, Any]) -> bytes:
    """Return a request in the one form in which requests are stored and compared."""
    return _ENCODER.encode(request).encode()


def decode_request(stored: bytes) -> dict[str, Any]:
    """Return a request as it was before it was stored."""
    request: dict[str, Any] = json.loads(stored)
    return request
