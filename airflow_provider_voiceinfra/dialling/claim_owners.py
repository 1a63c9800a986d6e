"""Waits for another process that is placing the call of the same key; never places one itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState
from airflow_provider_voiceinfra.ledger.store import CallLedger

log = logging.getLogger(__name__)

# How often a process that lost the race for a key looks for the winner's answer, in seconds.
LOSERS_INTERVAL = 0.25


def await_owner(
    ledger: CallLedger, seen: CallEntry, *, lease: float, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Wait until another process has settled its claim, or has sent no heartbeat for a lease.

    :param seen: the claim as it was read; without a heartbeat it is marked as unknown.
    :param lease: how long a claim is left to its owner without a heartbeat, in seconds.
    :param sleep: waits for a number of seconds.
    """
    log.info("Another process is placing the call for this key; waiting for its answer.")
    last_sign = time.monotonic()
    while True:
        entry = ledger.call_by_hash(seen.key_hash)
        if entry is None or entry.state is not CallState.CLAIMED or entry.token != seen.token:
            return
        if entry.renewed_at != seen.renewed_at:
            seen, last_sign = entry, time.monotonic()
        elif time.monotonic() - last_sign > lease:
            ledger.mark_unknown(entry, "owner_silent", f"its owner sent no heartbeat for {lease:g} s")
            return
        sleep(LOSERS_INTERVAL)
