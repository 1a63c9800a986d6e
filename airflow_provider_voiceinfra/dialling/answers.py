"""Stores what became of the request of a claim, and holds on to it while the ledger is down."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from airflow_provider_voiceinfra.calls import PlacedCall
from airflow_provider_voiceinfra.dialling.storing import until_stored
from airflow_provider_voiceinfra.exceptions import (
    CallNotAllowedError,
    CallNotPlacedError,
    CallOutcomeUnknownError,
    LedgerUnavailableError,
)
from airflow_provider_voiceinfra.ledger.records import CallEntry
from airflow_provider_voiceinfra.ledger.store import CallLedger

log = logging.getLogger(__name__)

# How long the answer to a call that was placed is held on to while the ledger cannot be written, in seconds.
STORE_PATIENCE = 300.0
_RETRY_WAITS = (
    "With an idempotency key a retry waits for the call's webhook, and dials once more only with "
    "on_unknown='redial', if none comes in time; without one it calls again."
)


class Answers:
    """Stores answers, and counts them.

    :param sleep: waits for a number of seconds.
    :param count: counts ``calls.placed``, ``calls.refused``, ``calls.not_allowed`` and ``calls.unknown``.
    """

    def __init__(
        self, ledger: CallLedger, sleep: Callable[[float], None], count: Callable[[str], None]
    ) -> None:
        self._ledger = ledger
        self._sleep = sleep
        self._count = count

    def accepted(self, entry: CallEntry, placed: PlacedCall) -> CallEntry | None:
        """Store that a call was accepted; ``None`` if what became of the claim has to be looked up."""
        self._count("calls.placed")
        try:
            accepted = self._store(lambda: self._ledger.accept(entry, placed.call_id))
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
        if accepted.call_id != placed.call_id:  # taken over meanwhile, or the answer cannot be this call's
            log.warning("The ledger has another story of the call than %s; looking it up.", placed.call_id)
            return None
        return accepted

    def refused(self, entry: CallEntry, error: CallNotPlacedError) -> CallEntry:
        """Store that nothing was placed; return the call as it stands then."""
        if not isinstance(error, CallNotAllowedError):
            self._count("calls.refused")
            return self.given_up(entry, error.code, error)
        self._count("calls.not_allowed")
        return self._store(
            lambda: self._ledger.refuse(entry, error.code, error.reason, allowed_from=error.allowed_from)
        )

    def given_up(self, entry: CallEntry, code: str, error: Exception) -> CallEntry:
        """Store that nothing was sent; return the call as it stands then."""
        return self._store(lambda: self._ledger.refuse(entry, code, str(error)))

    def unknown(self, entry: CallEntry, error: CallOutcomeUnknownError) -> None:
        """Store that nobody knows whether the call was placed."""
        self._count("calls.unknown")
        log.warning(
            "%s Its webhook will settle it; it is not dialled again before that had time to come.", error
        )
        try:
            self._store(lambda: self._ledger.mark_unknown(entry, error.code, str(error)))
        except LedgerUnavailableError as down:
            raise LedgerUnavailableError(f"{error} {_RETRY_WAITS} {down}") from down

    def interrupted(self, entry: CallEntry, error: BaseException, *, may_ring: bool) -> None:
        """Store that the task ended meanwhile, if that can be stored at once."""
        settle = self._ledger.mark_unknown if may_ring else self._ledger.refuse
        try:
            settle(entry, "interrupted", f"interrupted by {type(error).__name__}")
        except LedgerUnavailableError:
            # The claim stays as it is, and the next try turns it into unknown.
            log.warning("The ledger cannot be written; the claim stays until the next try.", exc_info=True)

    def _store(self, write: Callable[[], CallEntry]) -> CallEntry:
        return until_stored(
            write,
            on_wait=lambda: log.warning("The ledger cannot be written; trying again."),
            give_up=lambda seconds: seconds >= STORE_PATIENCE,
            sleep=self._sleep,
        )
