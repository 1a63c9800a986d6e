"""The request of a claim: sent only while the claim is seen to be its owner's, and soon after that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.calls import OutboundCall, PlacedCall
from airflow_provider_voiceinfra.dialling.clocks import Clocks
from airflow_provider_voiceinfra.dialling.guard import Guard
from airflow_provider_voiceinfra.exceptions import CallNotPlacedError
from airflow_provider_voiceinfra.ledger.records import CallEntry
from airflow_provider_voiceinfra.ledger.store import CallLedger

# A request begins within this of the last look at its claim, or not at all, in seconds: after a longer pause
# others may have given the claim up, and redialled.
BEGIN_WITHIN = 10.0
# A claim that is older is looked at again before its first request, in seconds, as after a wait for the rate.
FRESH_FOR = 0.25


@dataclass
class Request:
    """Sends the request of a claim, again if it surely placed nothing.

    :param asked_at: when the claim was asked for, in seconds of ``Clocks.passed``.
    :param before_send: called before each request; may wait, to keep a pace.
    :param guard: asked after that, and before each request.
    """

    ledger: CallLedger
    client: VoiceInfraClient
    entry: CallEntry
    call: OutboundCall
    asked_at: float
    clocks: Clocks
    before_send: Callable[[], None]
    guard: Guard
    may_ring: bool = field(default=False, init=False)
    """Whether the last request may have rung."""
    _is_again: bool = field(default=False, init=False)

    def send(self) -> PlacedCall:
        """Send it once.

        :raises ClaimLostError: if the claim is no longer its owner's; nothing was sent.
        :raises CallNotAllowedError: if a rule does not allow the call now; nothing was sent.
        """
        self.before_send()
        closes = self.guard.check(self.call.to_number, self.entry.recipient)
        passed = self.clocks.passed()
        if self._is_again or passed - self.asked_at > FRESH_FOR:
            self.asked_at = passed
            self.ledger.renew(self.entry)
        self.may_ring = self._is_again = True
        try:
            return self.client.place(self.call, begin_by=min(self.asked_at + BEGIN_WITHIN, closes))
        except CallNotPlacedError:
            self.may_ring = False
            raise
