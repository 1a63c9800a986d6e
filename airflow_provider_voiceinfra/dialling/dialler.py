"""Places many calls of one connection at a pace, from several threads.

With ``placing`` the only code that can ring a phone, under the same rule: claim, POST, store the answer.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Sequence

from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.campaigns.standings import INTERRUPTED
from airflow_provider_voiceinfra.dialling.bookkeeping import Answer, Bookkeeper
from airflow_provider_voiceinfra.dialling.jobs import Dialled, Job
from airflow_provider_voiceinfra.dialling.rate import AdaptivePace
from airflow_provider_voiceinfra.exceptions import (
    CallNotPlacedError,
    CallOutcomeUnknownError,
    RateLimitedError,
    TryAgainError,
)
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, Settlement
from airflow_provider_voiceinfra.ledger.store import CallLedger

# Requests under way at a time, at most; at 50 ms each that is some 900 calls per second.
MAX_THREADS = 48
# No 429 holds a campaign up for longer, whatever it asks for, in seconds.
LONGEST_RETRY_AFTER = 900.0


class Dialler:
    """Dials from several threads.

    :param ledger: where calls are claimed and settled.
    :param make_client: makes a client, for one thread.
    :param conn_id: the connection's id, stored with each call.
    :param account: the connection's account, likewise.
    :param pace: how fast requests may go.
    :param threads: how many requests may be under way at a time.
    :param owner: the campaign that is dialled for, and the process that runs it: nothing is claimed once
        another process does. If not set, that is not asked.
    :param count: told of ``calls.placed``, ``calls.refused``, ``calls.unknown``, ``calls.rate_limited``.
    """

    def __init__(
        self,
        ledger: CallLedger,
        make_client: Callable[[], VoiceInfraClient],
        *,
        conn_id: str,
        account: str | None = None,
        pace: AdaptivePace,
        threads: int = MAX_THREADS,
        owner: Ownership | None = None,
        count: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.pace = pace
        self.outstanding = 0
        self._make_client = make_client
        self._count = count
        self._most_ahead = 2 * threads
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Dialled] = queue.SimpleQueue()
        self._books = Bookkeeper(ledger, conn_id, self._done.put, owner, account)
        self._halt = threading.Event()
        self._closed = False
        self._alive_until = math.inf
        self._broken: BaseException | None = None
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
        """Send until a moment, in seconds of ``time.monotonic``; then nothing until this is called again."""
        self._alive_until = until

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue jobs, each key once."""
        self.outstanding += len(jobs)
        for job in jobs:
            self._jobs.put(job)

    def wait(self, timeout: float) -> list[Dialled]:
        """Return what has been dialled, waiting for the first at most ``timeout`` seconds.

        :raises CampaignBusyError: if another process has taken the campaign over.
        :raises Exception: what ended a thread, if one broke.
        """
        found: list[Dialled] = []
        try:
            found.append(self._done.get(timeout=timeout))
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

    def _dial(self, job: Job, client: VoiceInfraClient) -> Answer:
        sent_at = self.pace.acquire(self._halt)
        if sent_at is None or not self._may_send(job):
            return Answer(Dialled(job, None, again=True))
        entry, won = self._books.claim(job)
        if entry is None:
            return Answer(Dialled(job, None, again=True))
        if not won:  # it was called by an earlier try
            return Answer(Dialled(job, entry))
        if not self._may_send(job):  # the ledger took its time
            settlement = Settlement(entry, CallState.REFUSED, code=INTERRUPTED, message="it was not sent")
            return Answer(Dialled(job, entry, again=True), settlement)
        return self._send(job, entry, sent_at, client)

    def _may_send(self, job: Job) -> bool:
        return not (self._halt.is_set() or job.is_late or time.monotonic() > self._alive_until)

    def _send(self, job: Job, entry: CallEntry, sent_at: float, client: VoiceInfraClient) -> Answer:
        try:
            placed = client.place(job.call)
        except RateLimitedError as error:
            wait = None if error.retry_after is None else min(error.retry_after, LONGEST_RETRY_AFTER)
            self.pace.rate_limited(wait, sent_at)
            self._count("calls.rate_limited")
            return _not_placed(job, entry, error)
        except CallNotPlacedError as error:
            self.pace.accepted(sent_at)
            if not isinstance(error, TryAgainError):
                self._count("calls.refused")
            return _not_placed(job, entry, error)
        except CallOutcomeUnknownError as error:  # tells nothing about the rate
            self._count("calls.unknown")
            settlement = Settlement(entry, CallState.UNKNOWN, code=error.code, message=str(error))
            return Answer(Dialled(job, entry, error=error), settlement)
        self.pace.accepted(sent_at)
        self._count("calls.placed")
        return Answer(Dialled(job, entry), Settlement(entry, CallState.ACCEPTED, call_id=placed.call_id))


def _not_placed(job: Job, entry: CallEntry, error: CallNotPlacedError) -> Answer:
    # What decides how the campaign goes on later must not depend on the API's own choice of words.
    settlement = Settlement(entry, CallState.REFUSED, code=error.default_code, message=str(error))
    return Answer(Dialled(job, entry, again=isinstance(error, TryAgainError), error=error), settlement)
