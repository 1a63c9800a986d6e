"""Claim, POST, accept: the only module that can ring a phone under an idempotency key.

The gap that it cannot close: a process may die between sending the request and storing the answer. The call
is then ``unknown`` until its webhook comes, and is not dialled again unless the user asked for that.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone

from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.calls import OutboundCall, PlacedCall
from airflow_provider_voiceinfra.dialling.claim_owners import await_owner
from airflow_provider_voiceinfra.dialling.outcomes import (
    How,
    OnUnknown,
    Pending,
    Placement,
    UnknownPolicy,
    gone_from_ledger,
    placement,
    still_unknown,
    unknown_without_key,
)
from airflow_provider_voiceinfra.dialling.retrying import RetryBounds, send_until_decided
from airflow_provider_voiceinfra.dialling.storing import until_stored
from airflow_provider_voiceinfra.exceptions import (
    CallNotPlacedError,
    CallOutcomeUnknownError,
    ClaimLostError,
    LedgerUnavailableError,
    RateLimitedError,
    TryAgainError,
)
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, CallState
from airflow_provider_voiceinfra.ledger.store import CallLedger
from airflow_provider_voiceinfra.masking import mask_number

__all__ = ["CallPlacer", "How", "OnUnknown", "Pending", "Placement", "UnknownPolicy"]

log = logging.getLogger(__name__)

# How long the answer to a call that was placed is held on to while the ledger cannot be written, in seconds.
STORE_PATIENCE = 300.0
# A request begins within this of the last look at its claim, or not at all, in seconds: after a longer pause
# others may have given the claim up, and redialled.
BEGIN_WITHIN = 10.0
_RETRY_WAITS = (
    "With an idempotency key a retry waits for the call's webhook, and dials once more only with "
    "on_unknown='redial', if none comes in time; without one it calls again."
)


class CallPlacer:
    """Places calls of one connection through the ledger.

    :param ledger: where calls are claimed and settled.
    :param client: what sends them.
    :param conn_id: the connection's id, stored with each call.
    :param account: the connection's account, stored with each call.
    :param lease: how long a claim is left to its owner without a sign of life, in seconds; longer than one
        request may take.
    :param bounds: how long to go on with requests that placed nothing.
    :param before_send: called before each request; may wait, to keep a pace.
    :param count: counts ``calls.placed``, ``calls.refused``, ``calls.unknown``, ``calls.rate_limited``.
    """

    def __init__(
        self,
        ledger: CallLedger,
        client: VoiceInfraClient,
        *,
        conn_id: str,
        account: str | None = None,
        lease: float = 240.0,
        bounds: RetryBounds | None = None,
        before_send: Callable[[], None] = lambda: None,
        count: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._conn_id = conn_id
        self._account = account
        self._lease = lease
        self._bounds = bounds or RetryBounds()
        self._sleep = self._bounds.sleep
        self._before_send = before_send
        self._count = count

    def place(
        self,
        key: str,
        call: OutboundCall,
        policy: UnknownPolicy,
        *,
        origin: CallOrigin | None = None,
        poll_interval: float = 2.0,
    ) -> Placement:
        """Place a call, or find out what became of it, waiting as long as that takes.

        :param poll_interval: seconds between two looks while its outcome is unknown.
        :raises CallNotPlacedError: if it is certain that nothing rang.
        :raises CallOutcomeUnknownError: if its outcome stayed unknown.
        """
        seen = False
        while True:
            result = self.step(key, call, policy, origin=origin, seen=seen)
            if isinstance(result, Placement):
                return result
            seen = True
            self._sleep(poll_interval)

    def place_without_key(self, call: OutboundCall, *, origin: CallOrigin | None = None) -> Placement:
        """Place a call under a key of its own, which nothing can take up again.

        The ledger keeps it like any other call, so that its completion is not taken for another call's.

        :raises CallNotPlacedError: if it is certain that nothing rang.
        :raises CallOutcomeUnknownError: if the call may have been placed.
        """
        call = call.validated()
        entry, _ = self._claim(f"without-key/{uuid.uuid4().hex}", call, origin)
        result = self._dial(entry, call)
        if result is not None:
            return result
        entry = self._ledger.call_by_hash(entry.key_hash) or entry
        if entry.state is CallState.ACCEPTED:
            return placement(entry, How.PLACED)
        raise unknown_without_key(entry)

    def step(
        self,
        key: str,
        call: OutboundCall,
        policy: UnknownPolicy,
        *,
        origin: CallOrigin | None = None,
        seen: bool = False,
    ) -> Placement | Pending:
        """Do what can be done now, without waiting for the webhook of an unknown call.

        :param seen: whether the ledger has had a call for this key before, which may have rung.
        :return: the placement, or what is still unknown and until when.
        :raises CallNotPlacedError: if it is certain that nothing rang.
        :raises CallOutcomeUnknownError: if its outcome stayed unknown until the policy's time-out.
        :raises IdempotencyConflictError: if the key stands for another request.
        """
        call = call.validated()
        while True:
            result: Placement | Pending | None
            if seen and self._ledger.call_by_key(key) is None:
                raise gone_from_ledger(call)
            entry, won = self._claim(key, call, origin)
            seen = True
            if won:
                result = self._dial(entry, call)
            elif entry.state is CallState.CLAIMED:
                await_owner(self._ledger, entry, lease=self._lease, sleep=self._sleep)
                continue
            elif entry.state is CallState.ACCEPTED:
                return placement(entry, How.ADOPTED if entry.adopted else How.TAKEN_UP)
            else:
                result = self._reconcile(entry, call, policy, origin)
            if result is not None:
                return result

    def _claim(self, key: str, call: OutboundCall, origin: CallOrigin | None) -> tuple[CallEntry, bool]:
        return self._ledger.claim(key, call, conn_id=self._conn_id, account=self._account, origin=origin)

    def _dial(self, entry: CallEntry, call: OutboundCall) -> Placement | None:
        """Send the request of a claim that is ours; ``None`` if its outcome has to be looked up again."""
        number = mask_number(call.to_number)
        log.info("Placing a call to %s with agent %s.", number, call.agent_id)
        may_ring = False

        def send() -> PlacedCall:
            nonlocal may_ring
            self._before_send()
            begin_by = time.monotonic() + BEGIN_WITHIN
            self._ledger.renew(entry)
            may_ring = True
            try:
                return self._client.place(call, begin_by=begin_by)
            except CallNotPlacedError:
                may_ring = False
                raise

        try:
            placed = send_until_decided(send, self._bounds, on_again=self._tell_again)
        except ClaimLostError:
            log.warning("The claim for the call to %s was taken over; looking up what became of it.", number)
            return None
        except CallNotPlacedError as error:
            self._count("calls.refused")
            code, message = error.code, str(error)
            stored = self._store(lambda: self._ledger.refuse(entry, code, message))
            if stored.state is CallState.ACCEPTED:
                return None  # the answer to the dial before came while the redial was refused
            raise
        except CallOutcomeUnknownError as error:
            self._keep_unknown(entry, error)
            return None
        except LedgerUnavailableError as error:  # from renew, so the request was not sent
            reason = str(error)
            self._store(lambda: self._ledger.refuse(entry, "ledger_unavailable", reason))
            raise
        except BaseException as error:  # killed, timed out by Airflow, interrupted
            self._abandon(entry, error, may_ring=may_ring)
            raise
        log.info("The API accepted the call to %s as %s.", number, placed.call_id)
        return self._keep_answer(entry, placed)

    def _keep_answer(self, entry: CallEntry, placed: PlacedCall) -> Placement | None:
        """Store that a call was accepted; ``None`` if what became of the claim has to be looked up."""
        self._count("calls.placed")
        accepted = self._accept(entry, placed)
        if accepted.call_id != placed.call_id:  # taken over meanwhile, or the answer cannot be this call's
            log.warning("The ledger has another story of the call than %s; looking it up.", placed.call_id)
            return None
        return placement(accepted, How.PLACED)

    def _keep_unknown(self, entry: CallEntry, error: CallOutcomeUnknownError) -> None:
        self._count("calls.unknown")
        log.warning(
            "%s Its webhook will settle it; it is not dialled again before that had time to come.", error
        )
        try:
            self._store(lambda: self._ledger.mark_unknown(entry, error.code, str(error)))
        except LedgerUnavailableError as down:
            raise LedgerUnavailableError(f"{error} {_RETRY_WAITS} {down}") from down

    def _reconcile(
        self, entry: CallEntry, call: OutboundCall, policy: UnknownPolicy, origin: CallOrigin | None
    ) -> Placement | Pending | None:
        window = timedelta(seconds=policy.timeout)
        entry = self._ledger.adopt(entry, window=window)
        if entry.state is not CallState.UNKNOWN:
            if entry.state is CallState.ACCEPTED:
                log.info("Call %s was found by its webhook; its answer had been lost.", entry.call_id)
            return None
        # Not after the claim: its owner may have been told to wait for long before it sent anything.
        deadline = entry.renewed_at + timedelta(seconds=policy.timeout)
        if datetime.now(timezone.utc) < deadline:
            return Pending(entry, deadline)
        redial = policy.on_unknown is OnUnknown.REDIAL and entry.redials == 0
        if redial and entry.purged_at is None:  # of a purged call it is not known any more what it was
            log.warning(
                "The outcome of the call to %s is still unknown after %g s; redialling once, as asked for.",
                mask_number(call.to_number),
                policy.timeout,
            )
            try:
                return self._dial(self._ledger.claim_redial(entry, origin=origin), call)
            except ClaimLostError:
                return None
            except CallNotPlacedError:
                log.warning("The redial was not placed; whether the first dial was stays unknown.")
                raise
        raise still_unknown(entry, policy, self._ledger.candidates(entry, window=window))

    def _accept(self, entry: CallEntry, placed: PlacedCall) -> CallEntry:
        try:
            return self._store(lambda: self._ledger.accept(entry, placed.call_id))
        except LedgerUnavailableError as error:
            raise LedgerUnavailableError(
                f"Call {placed.call_id} was placed, but the ledger could not be written for "
                f"{STORE_PATIENCE:g} s, so note this id. {_RETRY_WAITS} {error}"
            ) from error
        except BaseException:  # killed, or timed out by Airflow, while the ledger could not be written
            log.error("Call %s was placed, and this task ends before the ledger has it.", placed.call_id)
            with suppress(LedgerUnavailableError):  # its webhook will settle it
                self._ledger.accept(entry, placed.call_id)
            raise

    def _store(self, write: Callable[[], CallEntry]) -> CallEntry:
        return until_stored(
            write,
            on_wait=lambda: log.warning("The ledger cannot be written; trying again."),
            give_up=lambda seconds: seconds >= STORE_PATIENCE,
            sleep=self._sleep,
        )

    def _abandon(self, entry: CallEntry, error: BaseException, *, may_ring: bool) -> None:
        settle = self._ledger.mark_unknown if may_ring else self._ledger.refuse
        try:
            settle(entry, "interrupted", f"interrupted by {type(error).__name__}")
        except LedgerUnavailableError:
            # The claim stays as it is, and the next try turns it into unknown.
            log.warning("The ledger cannot be written; the claim stays until the next try.", exc_info=True)

    def _tell_again(self, error: TryAgainError, wait: float) -> None:
        if isinstance(error, RateLimitedError):
            self._count("calls.rate_limited")
        log.info("%s Nothing was placed; trying again in %.1f s.", error, wait)
