"""One thread that writes to the ledger for many that dial: many claims and answers in one transaction.

Its rule is the ledger's: what is reported has been stored. While the ledger is down everybody waits.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from airflow_provider_voiceinfra.dialling.jobs import INTERRUPTED, Dialled
from airflow_provider_voiceinfra.dialling.storing import until_stored
from airflow_provider_voiceinfra.exceptions import CampaignBusyError, LedgerUnavailableError
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, Job, Settlement, new_token
from airflow_provider_voiceinfra.ledger.store import CallLedger
from airflow_provider_voiceinfra.rules.rule_set import NO_RULES, RuleSet

T = TypeVar("T")

log = logging.getLogger(__name__)

# Claims and answers that are stored in one transaction, at most.
_BATCH = 200
# How long to wait for more after the first of them, in seconds: at a hundred calls a second each would else
# have transactions of its own, which take more of the processor than all else that a call needs.
_TOGETHER = 0.02


@dataclass
class _Claim:
    """A thread that waits for its claim to be stored."""

    job: Job
    stored: threading.Event = field(default_factory=threading.Event)
    entry: CallEntry | None = None
    won: bool = False


class _Unstored:
    """Calls that ring and are not in the ledger yet.

    While the ledger is down each is logged once, in case this process ends before it is back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._untold: set[str] = set()
        self._is_down = False

    def add(self, call_id: str) -> None:
        with self._lock:
            self._untold.add(call_id)
            self._tell()

    def remove(self, call_ids: Iterable[str]) -> None:
        with self._lock:
            self._untold.difference_update(call_ids)

    def ledger_is_down(self, is_down: bool) -> None:
        with self._lock:
            self._is_down = is_down
            self._tell()

    def _tell(self) -> None:
        while self._is_down and self._untold:
            log.warning("Placed, and not yet in the ledger: call %s", self._untold.pop())


class Bookkeeper:
    """Stores claims and answers.

    :param owner: the campaign that all jobs are of, and the process that runs it; nothing is claimed once
        another process runs it.
    :param conn_id: the connection's id, stored with each call, as is its ``account`` if that is known.
    :param done: called with each job once what became of it is stored.
    :param rules: those that are in force, for the ledger to ask about.
    :param gather: called after the first of some claims and answers has come; waits for others.
    """

    def __init__(
        self,
        ledger: CallLedger,
        owner: Ownership,
        conn_id: str,
        account: str | None,
        done: Callable[[Dialled], None],
        gather: Callable[[], object] = lambda: time.sleep(_TOGETHER),
        rules: RuleSet = NO_RULES,
    ) -> None:
        self.broken: BaseException | None = None
        """What ended the thread, if anything did."""
        self.overtaken: CampaignBusyError | None = None
        """That another process runs the campaign, once that is known."""
        self._unstored = _Unstored()
        self._ledger = ledger
        self._claim_many = partial(
            ledger.claim_many, conn_id=conn_id, account=account, owner=owner, rules=rules
        )
        self._done = done
        self._gather = gather
        self._closing = threading.Event()
        # Claims of which it is not known whether they were stored; nothing was sent for them.
        self._doubtful: list[Job] = []
        self._items: queue.SimpleQueue[_Claim | Dialled | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def claim(self, job: Job) -> tuple[CallEntry | None, bool]:
        """Ask for the right to dial; it is durable before this returns.

        :return: the call, or ``None`` if the ledger could not be asked before the end, or another process
            runs the campaign; and whether the right to dial is the caller's.
        """
        claim = _Claim(replace(job, token=new_token()))
        self._items.put(claim)
        claim.stored.wait()
        return claim.entry, claim.won

    def settle(self, dialled: Dialled) -> None:
        """Have it stored what became of a job, and then reported."""
        if dialled.unstored is not None:
            self._unstored.add(dialled.unstored)
        self._items.put(dialled)

    def give_up_claims(self) -> None:
        """Ask no longer for new claims while the ledger is down."""
        self._closing.set()

    def close(self) -> None:
        """Return once everything is stored; nobody may claim or settle after this was called.

        Claims that were stored although the ledger did not say so are given back: nothing was sent for them.
        If the ledger cannot be asked now either, the next process makes them unknown.
        """
        self._items.put(None)
        self._thread.join()
        doubtful, self._doubtful = self._doubtful, []
        try:
            for job in doubtful:
                entry = self._ledger.call_by_key(job.key)
                if entry is not None and entry.state is CallState.CLAIMED and entry.token == job.token:
                    self._ledger.refuse(entry, INTERRUPTED, "it was not sent")
        except LedgerUnavailableError:
            log.warning("%d claims may be left in the ledger; none of their calls was sent.", len(doubtful))

    def _work(self) -> None:
        batch: list[_Claim | Dialled | None] = []
        try:
            while None not in batch:
                batch = [self._items.get()]
                self._gather()
                while len(batch) < _BATCH and not self._items.empty():
                    batch.append(self._items.get())
                self._store_answers([item for item in batch if isinstance(item, Dialled)])
                self._store_claims([item for item in batch if isinstance(item, _Claim)])
        except BaseException as error:
            self.broken = error
            self._clean_up_after(batch)
            raise

    def _clean_up_after(self, batch: Sequence[_Claim | Dialled | None]) -> None:
        """Have nobody wait for a thread that is no more, and save what can be saved."""
        items = deque(batch)
        while True:
            item = items.popleft() if items else self._items.get()
            if item is None:
                return
            if isinstance(item, _Claim):
                item.stored.set()
            elif item.settlement is not None:
                self._save(item.settlement)

    def _save(self, settlement: Settlement) -> None:
        try:
            self._ledger.settle_many([settlement])
        except Exception:  # the others are still to be saved, whatever is wrong with this one
            if settlement.call_id is not None:
                log.exception("Call %s was placed, and the ledger does not have it.", settlement.call_id)

    def _store_claims(self, claims: Sequence[_Claim]) -> None:
        if not claims:
            return
        jobs = [claim.job for claim in claims]
        try:
            found = self._stored(partial(self._claim_many, jobs), give_up=self._closing.is_set)
            for claim, (entry, won) in zip(claims, found, strict=True):
                claim.entry, claim.won = entry, won
        except CampaignBusyError as error:
            self.overtaken = error
        except BaseException as error:
            self._doubtful += jobs  # nobody is told that they are claimed, so nothing is sent
            if not isinstance(error, LedgerUnavailableError):
                raise
        finally:
            for claim in claims:
                claim.stored.set()

    def _store_answers(self, answers: Sequence[Dialled]) -> None:
        settlements = [answer.settlement for answer in answers if answer.settlement is not None]
        work = partial(self._ledger.settle_many, settlements)
        settled = iter(self._stored(work) if settlements else [])
        self._unstored.remove(answer.unstored for answer in answers if answer.unstored is not None)
        for answer in answers:
            if answer.settlement is not None:
                answer = replace(answer, entry=next(settled), settlement=None)
            self._done(answer)

    def _stored(self, work: Callable[[], T], *, give_up: Callable[[], bool] = lambda: False) -> T:
        """Do something with the ledger, again and again while it is down: nothing may be lost meanwhile."""

        def tell() -> None:
            log.warning("The ledger cannot be written; trying again, and dialling nobody meanwhile.")
            self._unstored.ledger_is_down(True)

        found = until_stored(work, on_wait=tell, give_up=lambda seconds: give_up())
        self._unstored.ledger_is_down(False)
        return found
