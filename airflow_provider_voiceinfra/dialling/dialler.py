"""Places many calls of one connection at a pace, from several threads.

With ``placing`` the only code that can ring a phone, under the same rule: claim, POST, store the answer.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence

from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.dialling.bookkeeping import Bookkeeper
from airflow_provider_voiceinfra.dialling.clocks import Clocks
from airflow_provider_voiceinfra.dialling.guard import Guard
from airflow_provider_voiceinfra.dialling.jobs import GONE_FROM_LEDGER, INTERRUPTED, Dialled
from airflow_provider_voiceinfra.dialling.rate import AdaptivePace
from airflow_provider_voiceinfra.dialling.sending import BEGIN_WITHIN
from airflow_provider_voiceinfra.exceptions import (
    CallNotAllowedError,
    CallNotPlacedError,
    CallOutcomeUnknownError,
    RateLimitedError,
    TryAgainError,
)
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, Job, Settlement
from airflow_provider_voiceinfra.ledger.store import CallLedger

log = logging.getLogger(__name__)

# Requests under way at a time, at most; at 50 ms each that is some 900 calls per second.
MAX_THREADS = 48
# How long to wait for more after the first of some jobs has been dialled, in seconds.
_TOGETHER = 0.01
# No 429 holds a campaign up for longer, whatever it asks for, in seconds.
LONGEST_RETRY_AFTER = 900.0


class Dialler:
    """Dials from several threads.

    :param make_client: makes a client, for one thread.
    :param owner: the campaign that is dialled for, and the process that runs it: nothing is claimed once
        another process does.
    :param conn_id: the connection's id, stored with each call, as is its ``account``.
    :param threads: how many requests may be under way at a time.
    :param count: counts ``calls.placed``, ``calls.refused``, ``calls.not_allowed``, ``calls.unknown`` and
        ``calls.rate_limited``.
    :param guard: asked before each request; if not set, one that knows no rules but the suppressions.
    """

    def __init__(
        self,
        ledger: CallLedger,
        make_client: Callable[[], VoiceInfraClient],
        *,
        owner: Ownership,
        conn_id: str,
        account: str | None = None,
        pace: AdaptivePace,
        threads: int = MAX_THREADS,
        clocks: Clocks = Clocks(),  # noqa: B008 # it holds no state
        count: Callable[[str], None] = lambda name: None,
        guard: Guard | None = None,
    ) -> None:
        self.pace = pace
        self._guard = guard or Guard(clocks=clocks)
        self.outstanding = 0
        self._make_client = make_client
        self._clocks = clocks
        self._count = count
        self._most_ahead = 2 * threads
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Dialled] = queue.SimpleQueue()
        self._books = Bookkeeper(ledger, owner, conn_id, account, self._done.put, rules=self._guard.rules)
        self._halt = threading.Event()
        self._closed = False
        self._alive_until = math.inf
        self._broken: BaseException | None = None
        # The hashed keys of all requests that were begun and may have rung: a ledger that is restored from a
        # backup while this process runs has forgotten them, and would let them be claimed once more.
        self._begun: set[bytes] = set()
        self._told = False
        self._workers = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for worker in self._workers:
            worker.start()

    @property
    def room(self) -> int:
        """How many jobs are of use at present; a longer queue would only make what is urgent wait."""
        useful = min(self._most_ahead, 4 + int(self.pace.rate))
        return max(0, useful - self.outstanding)

    def hold(self, held: bool) -> None:
        """Dial nothing for the time being, or go on; jobs that are queued meanwhile come back undialled."""
        if held:
            self._halt.set()
        elif not self._closed:
            self._halt.clear()

    def prolong(self, until: float) -> None:
        """Send until a moment, in seconds of ``Clocks.passed``; then nothing until this is called again."""
        self._alive_until = until

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue jobs, each key once."""
        self.outstanding += len(jobs)
        for job in jobs:
            self._jobs.put(job)

    def wait(self, timeout: float) -> list[Dialled]:
        """Return what has been dialled, waiting for the first at most ``timeout`` seconds.

        :raises CampaignBusyError: if another process has taken the campaign over; or what ended a thread.
        """
        found: list[Dialled] = []
        try:
            found.append(self._done.get(timeout=timeout))
            # What comes one after the other is looked at together: each look takes time from those who dial.
            time.sleep(_TOGETHER)
            while True:
                found.append(self._done.get_nowait())
        except queue.Empty:
            pass
        self.outstanding -= len(found)
        broken = self._broken or self._books.broken or self._books.overtaken
        if broken is not None:
            raise broken
        return found

    def close(self) -> None:
        """Begin no further request, and return once the answers of those under way are stored."""
        self._closed = True
        self._halt.set()
        self._books.give_up_claims()
        for _ in self._workers:
            self._jobs.put(None)
        for worker in self._workers:
            worker.join()
        self._books.close()

    def _work(self) -> None:
        client: VoiceInfraClient | None = None
        try:
            client = self._make_client()
            while (job := self._jobs.get()) is not None:
                self._books.settle(self._dial(job, client))
        except BaseException as error:
            self._broken = error
            raise
        finally:
            if client is not None:
                client.close()

    def _dial(self, job: Job, client: VoiceInfraClient) -> Dialled:
        sent_at = self.pace.acquire(self._halt)
        # What decides whether it may be called is asked after this: a request that begins much later, as
        # after a pause, would not have been asked about.
        asked_at = self._clocks.passed()
        if sent_at is None or self._begin_by(job, asked_at) is None:
            return Dialled(job, None, again=True)
        entry, won = self._books.claim(job)
        if entry is None:
            return Dialled(job, None, again=True)
        if not won and entry.state is CallState.REFUSED:
            return self._not_allowed(job, entry)
        if not won:  # it was called by an earlier try
            return Dialled(job, entry)
        if bytes.fromhex(entry.key_hash) in self._begun:
            return self._forgotten(job, entry)
        begin_by = self._begin_by(job, asked_at)
        if begin_by is None:  # the ledger took its time
            refused = Settlement(entry, CallState.REFUSED, code=INTERRUPTED, message="it was not sent")
            return Dialled(job, entry, again=True, settlement=refused)
        try:
            closes = self._guard.check(job.call.to_number, job.recipient)
        except CallNotAllowedError as error:
            self._count("calls.not_allowed")
            refused = Settlement(entry, CallState.REFUSED, None, error.code, error.reason, error.allowed_from)
            again = error.code == CallNotAllowedError.OUTSIDE_CALLING_WINDOW
            return Dialled(job, entry, again, None if again else error, refused)
        return self._send(job, entry, sent_at, min(begin_by, closes), client)

    def _not_allowed(self, job: Job, entry: CallEntry) -> Dialled:
        """Return a job that the ledger has refused: a cap lets it be called later on."""
        self._count("calls.not_allowed")
        if entry.error_code == CallNotAllowedError.CALL_CAP:
            return Dialled(job, entry, again=True, not_before=entry.allowed_from)
        code = entry.error_code or CallNotAllowedError.default_code
        return Dialled(job, entry, error=CallNotAllowedError(str(entry.error_message), code=code))

    def _forgotten(self, job: Job, entry: CallEntry) -> Dialled:
        """Keep a call that the ledger knew a while ago, and knew no more when it was claimed now."""
        if not self._told:
            self._told = True
            log.warning(
                "The ledger no longer has calls that were placed from here, as after it was restored from a "
                "backup. Nobody is called again for that: how these calls went is unknown."
            )
        why = "the ledger no longer had this call, as after it was restored from a backup"
        unknown = Settlement(entry, CallState.UNKNOWN, code=GONE_FROM_LEDGER, message=why)
        return Dialled(job, entry, settlement=unknown)

    def _begin_by(self, job: Job, asked_at: float) -> float | None:
        """Return by when a job's request must have begun; ``None`` if it must not be sent.

        It is a moment of the clock that nobody can set. What is seen here may have changed after a pause.
        """
        passed = self._clocks.passed()
        latest = min(asked_at + BEGIN_WITHIN, self._alive_until)
        if job.not_after is not None:
            latest = min(latest, passed + (job.not_after - self._clocks.now()).total_seconds())
        return None if self._halt.is_set() or latest <= passed else latest

    def _send(
        self, job: Job, entry: CallEntry, sent_at: float, begin_by: float, client: VoiceInfraClient
    ) -> Dialled:
        key = bytes.fromhex(entry.key_hash)
        self._begun.add(key)
        try:
            placed = client.place(job.call, begin_by=begin_by)
        except CallNotPlacedError as error:
            self._begun.discard(key)
            return self._not_placed(job, entry, sent_at, error)
        except CallOutcomeUnknownError as error:  # tells nothing about the rate
            self._count("calls.unknown")
            unknown = Settlement(entry, CallState.UNKNOWN, code=error.code, message=str(error))
            return Dialled(job, entry, error=error, settlement=unknown)
        self.pace.accepted(sent_at)
        self._count("calls.placed")
        accepted = Settlement(entry, CallState.ACCEPTED, call_id=placed.call_id)
        return Dialled(job, entry, settlement=accepted)

    def _not_placed(self, job: Job, entry: CallEntry, sent_at: float, error: CallNotPlacedError) -> Dialled:
        if isinstance(error, RateLimitedError):
            wait = None if error.retry_after is None else min(error.retry_after, LONGEST_RETRY_AFTER)
            self.pace.rate_limited(wait, sent_at)
            self._count("calls.rate_limited")
        else:
            self.pace.accepted(sent_at)
            if not isinstance(error, TryAgainError):
                self._count("calls.refused")
        # What decides how the campaign goes on later must not depend on the API's own choice of words.
        refused = Settlement(entry, CallState.REFUSED, code=error.default_code, message=str(error))
        return Dialled(job, entry, isinstance(error, TryAgainError), error, refused)
