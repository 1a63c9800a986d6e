"""Claim, POST, accept: places one call under an idempotency key, or finds out what became of it.

The gap that it cannot close: a process may die between sending the request and storing the answer. The call
is then ``unknown`` until its webhook comes, and is not dialled again unless the user asked for that.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.dialling.answers import Answers
from airflow_provider_voiceinfra.dialling.clocks import Clocks
from airflow_provider_voiceinfra.dialling.guard import Guard
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
from airflow_provider_voiceinfra.dialling.sending import BEGIN_WITHIN, Request
from airflow_provider_voiceinfra.exceptions import (
    CallNotAllowedError,
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
from airflow_provider_voiceinfra.rules.recipient import ANYBODY, Recipient

log = logging.getLogger(__name__)

# How often a process that lost the race for a key looks for the winner's answer, in seconds.
LOSERS_INTERVAL = 0.25
# Nobody redials sooner after a claim, whatever time-out was asked for: until then its owner, if it was only
# paused, could still send its request.
REDIAL_AFTER = BEGIN_WITHIN


class CallPlacer:
    """Places calls of one connection through the ledger.

    :param conn_id: the connection's id, stored with each call, as is its ``account``.
    :param lease: how long a claim is left to its owner without a heartbeat, in seconds; longer than one
        request may take.
    :param bounds: how long to go on with requests that placed nothing.
    :param before_send: called before each request; may wait, to keep a pace.
    :param count: counts ``calls.rate_limited``, and what ``Answers`` does.
    :param guard: asked before each request; if not set, one that knows no rules but the suppressions.
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
        clocks: Clocks = Clocks(),  # noqa: B008 # it holds no state
        before_send: Callable[[], None] = lambda: None,
        count: Callable[[str], None] = lambda name: None,
        guard: Guard | None = None,
    ) -> None:
        self._ledger = ledger
        self._guard = guard or Guard(clocks=clocks)
        self._claim_by = partial(ledger.claim, conn_id=conn_id, account=account, rules=self._guard.rules)
        self._client = client
        self._lease = lease
        self._bounds = bounds or RetryBounds()
        self._sleep = self._bounds.sleep
        self._clocks = clocks
        self._before_send = before_send
        self._count = count
        self._answers = Answers(ledger, self._sleep, count)

    def place(
        self,
        key: str,
        call: OutboundCall,
        policy: UnknownPolicy,
        *,
        origin: CallOrigin | None = None,
        recipient: Recipient = ANYBODY,
        poll_interval: float = 2.0,
    ) -> Placement:
        """Place a call, or find out what became of it, however long that takes; raises what ``step`` does.

        :param recipient: what is known of the person besides the number.
        :param poll_interval: seconds between two looks while its outcome is unknown.
        """
        result = self.step(key, call, policy, origin=origin, recipient=recipient)
        while not isinstance(result, Placement):
            self._sleep(poll_interval)
            result = self.step(key, call, policy, origin=origin, recipient=recipient, seen=True)
        return result

    def place_without_key(
        self, call: OutboundCall, *, origin: CallOrigin | None = None, recipient: Recipient = ANYBODY
    ) -> Placement:
        """Place a call under a key of its own, which nothing can take up again; raises what ``step`` does.

        The ledger keeps it like any other call, so that its completion is not taken for another call's.
        """
        call = call.validated()
        asked_at = self._clocks.passed()
        entry, _ = self._claim(f"without-key/{uuid.uuid4().hex}", call, origin, recipient)
        result = self._dial(entry, call, asked_at)
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
        recipient: Recipient = ANYBODY,
        seen: bool = False,
    ) -> Placement | Pending:
        """Do what can be done now, without waiting for the webhook of an unknown call.

        :param seen: whether the ledger has had a call for this key before, which may have rung.
        :return: the placement, or what is still unknown and until when.
        :raises CallNotAllowedError: if a rule does not allow the call now; a kind of ``CallNotPlacedError``.
        :raises CallNotPlacedError: if it is certain that nothing rang.
        :raises CallOutcomeUnknownError: if its outcome stayed unknown until the policy's time-out.
        :raises IdempotencyConflictError: if the key stands for another request.
        """
        call = call.validated()
        while True:
            if seen and self._ledger.call_by_key(key) is None:
                raise gone_from_ledger(call)
            asked_at = self._clocks.passed()
            entry, won = self._claim(key, call, origin, recipient)
            seen = True
            result: Placement | Pending | None = None
            if won:
                result = self._dial(entry, call, asked_at)
            elif entry.state is CallState.CLAIMED:
                self._await_owner(entry)
            elif entry.state is CallState.ACCEPTED:
                return placement(entry, How.ADOPTED if entry.adopted else How.TAKEN_UP)
            else:
                result = self._reconcile(entry, call, policy, origin)
            if result is not None:
                return result

    def _claim(
        self, key: str, call: OutboundCall, origin: CallOrigin | None, recipient: Recipient
    ) -> tuple[CallEntry, bool]:
        # It is asked before each request anyway; but a claim that nobody may dial, of a process that dies
        # before it asks, would look like a call that may have rung.
        against = self._against(call.to_number, recipient)
        try:
            return self._claim_by(key, call, origin=origin, recipient=recipient, against=against)
        except CallNotAllowedError:
            self._count("calls.not_allowed")
            raise

    def _against(self, number: str, recipient: Recipient) -> CallNotAllowedError | None:
        try:
            self._guard.check(number, recipient)
        except CallNotAllowedError as error:
            return error
        return None

    def _await_owner(self, seen: CallEntry) -> None:
        """Wait until another process has settled its claim; without a heartbeat it is unknown then."""
        log.info("Another process is placing the call for this key; waiting for its answer.")
        last_sign = self._clocks.passed()
        while True:
            entry = self._ledger.call_by_hash(seen.key_hash)
            if entry is None or entry.state is not CallState.CLAIMED or entry.token != seen.token:
                return
            if entry.renewed_at != seen.renewed_at:
                seen, last_sign = entry, self._clocks.passed()
            elif self._clocks.passed() - last_sign > self._lease:
                reason = f"its owner sent no heartbeat for {self._lease:g} s"
                self._ledger.mark_unknown(entry, "owner_silent", reason)
                return
            self._sleep(LOSERS_INTERVAL)

    def _dial(self, entry: CallEntry, call: OutboundCall, asked_at: float) -> Placement | None:
        """Send the request of a claim that is ours; ``None`` if its outcome has to be looked up again.

        :param asked_at: when the claim was asked for, in seconds of ``Clocks.passed``.
        """
        number = mask_number(call.to_number)
        log.info("Placing a call to %s with agent %s.", number, call.agent_id)
        request = Request(
            self._ledger, self._client, entry, call, asked_at, self._clocks, self._before_send, self._guard
        )
        try:
            placed = send_until_decided(request.send, self._bounds, on_again=self._tell_again)
        except ClaimLostError:
            log.warning("The claim for the call to %s was taken over; looking up what became of it.", number)
            return None
        except CallNotPlacedError as error:
            if self._answers.refused(entry, error).state is CallState.ACCEPTED:
                return None  # the answer to the dial before came while the redial was refused
            raise
        except CallOutcomeUnknownError as error:
            self._answers.unknown(entry, error)
            return None
        except LedgerUnavailableError as error:  # from renew, so the request was not sent
            self._answers.given_up(entry, "ledger_unavailable", error)
            raise
        except BaseException as error:  # killed, timed out by Airflow, interrupted
            self._answers.interrupted(entry, error, may_ring=request.may_ring)
            raise
        log.info("The API accepted the call to %s as %s.", number, placed.call_id)
        accepted = self._answers.accepted(entry, placed)
        return None if accepted is None else placement(accepted, How.PLACED)

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
        patience = policy.timeout
        if policy.on_unknown is OnUnknown.REDIAL:
            patience = max(patience, REDIAL_AFTER)
        deadline = entry.renewed_at + timedelta(seconds=patience)
        if self._clocks.now() < deadline:
            return Pending(entry, deadline)
        redial = policy.on_unknown is OnUnknown.REDIAL and entry.redials == 0
        if redial and entry.purged_at is None:  # of a purged call it is not known any more what it was
            log.warning(
                "The outcome of the call to %s is still unknown after %g s; redialling once, as asked for.",
                mask_number(call.to_number),
                policy.timeout,
            )
            try:
                if against := self._against(call.to_number, entry.recipient):
                    self._count("calls.not_allowed")
                    raise against
                asked_at = self._clocks.passed()
                claimed = self._ledger.claim_redial(entry, origin=origin, rules=self._guard.rules)
                return self._dial(claimed, call, asked_at)
            except ClaimLostError:
                return None
            except CallNotPlacedError:
                log.warning("The redial was not placed; whether the first dial was stays unknown.")
                raise
        raise still_unknown(entry, policy, self._ledger.candidates(entry, window=window))

    def _tell_again(self, error: TryAgainError, wait: float) -> None:
        if isinstance(error, RateLimitedError):
            self._count("calls.rate_limited")
        log.info("%s Nothing was placed; trying again in %.1f s.", error, wait)
