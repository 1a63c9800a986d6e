"""One watcher per process and ledger serves every waiting trigger: each tick asks the database once.

A waiter is registered first and looked up afterwards, and the watcher follows the sequence numbers from
before that look, so that a completion that arrives at any moment is seen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.waiting.following import Follower
from airflow_provider_voiceinfra.waiting.threads import in_own_thread

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger.records import CompletionEntry
    from airflow_provider_voiceinfra.ledger.store import CallLedger

log = logging.getLogger(__name__)

Found = TypeVar("Found")

BATCH = 1000
# Threads that lookups of matches hold at a time.
FINDERS = 2
LONGEST_PAUSE = 60.0


class _Waiter:
    """Somebody who waits for the completions of some calls, or for any that a predicate takes."""

    def __init__(self, call_ids: Iterable[str], wanted: Callable[[CompletionEntry], bool] | None) -> None:
        self.missing = set(call_ids)
        self.wanted = wanted
        self.told = asyncio.Event()


class CompletionWatcher:
    """Watches one ledger for all waiters of one event loop; runs only while somebody waits.

    :param ledger: what to watch; asked in a thread, so that the event loop is never held up.
    :param poll_interval: seconds between two ticks.
    """

    def __init__(self, ledger: CallLedger, poll_interval: float) -> None:
        self._ledger = ledger
        self._poll_interval = poll_interval
        self._by_call: dict[str, set[_Waiter]] = {}
        self._matching: set[_Waiter] = set()
        self._new: list[_Waiter] = []
        self._task: asyncio.Task[None] | None = None
        self._following = asyncio.Event()
        self._finders = asyncio.Semaphore(FINDERS)
        self._failures = 0

    async def wait_for_calls(self, call_ids: Collection[str]) -> None:
        """Return when all these calls have a completion, at once if they have."""
        if not call_ids:
            return
        waiter = _Waiter(call_ids, None)
        for call_id in waiter.missing:
            self._by_call.setdefault(call_id, set()).add(waiter)
        self._new.append(waiter)
        try:
            await self._until(waiter.told)
        finally:
            self._forget(waiter)

    async def wait_for_match(
        self, wanted: Callable[[CompletionEntry], bool], find: Callable[[], Found | None]
    ) -> Found:
        """Return what ``find`` finds, asking it first now, and then after each completion that may matter.

        :param wanted: returns whether a new completion, without its body, is a reason to ask again.
        :param find: asks the ledger; runs in a thread.
        """
        waiter = _Waiter((), wanted)
        self._matching.add(waiter)
        try:
            await self._until(self._following)
            while True:
                waiter.told.clear()
                try:
                    async with self._finders:
                        found = await in_own_thread(find)
                except LedgerUnavailableError as error:
                    log.warning("Cannot look for a completion, trying again: %s", error)
                    await asyncio.sleep(self._pause())
                    continue
                if found is not None:
                    return found
                await self._until(waiter.told)
        finally:
            self._forget(waiter)

    async def _until(self, event: asyncio.Event) -> None:
        """Wait for an event that the watcher sets, and for the watcher's own end."""
        if self._task is None or self._task.done():
            self._following.clear()
            self._task = asyncio.create_task(self._watch())
        watching = self._task
        told = asyncio.create_task(event.wait())
        try:
            await asyncio.wait({told, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not event.is_set():
                watching.result()  # raises what ended the watcher
                raise RuntimeError("the watcher of the ledger ended while somebody was waiting")
        finally:
            told.cancel()

    def _forget(self, waiter: _Waiter) -> None:
        for call_id in waiter.missing:
            others = self._by_call.pop(call_id, set()) - {waiter}
            if others:
                self._by_call[call_id] = others
        self._matching.discard(waiter)
        if waiter in self._new:
            self._new.remove(waiter)
        if not self._by_call and not self._matching and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        follower: Follower | None = None
        while True:
            try:
                if follower is None:
                    follower = await in_own_thread(Follower, self._ledger, BATCH)
                    self._following.set()
                    self._wake_matching()  # for what came since the watcher before this one ended
                await self._look_up_new_waiters()
                await self._follow(follower)
                self._failures = 0
            except LedgerUnavailableError as error:
                # A dead database must not fail tasks whose calls are going well; each has its own timeout.
                self._failures += 1
                log.warning("Cannot look for completions (%d times in a row): %s", self._failures, error)
            await asyncio.sleep(self._pause())

    def _wake_matching(self) -> None:
        for waiter in self._matching:
            waiter.told.set()

    async def _look_up_new_waiters(self) -> None:
        waiters, self._new = self._new, []
        ids = {call_id for waiter in waiters for call_id in waiter.missing}
        if not ids:
            return
        try:
            found = await in_own_thread(self._ledger.completions, ids, with_body=False)
        except LedgerUnavailableError:
            self._new.extend(waiters)
            raise
        for entry in found.values():
            self._settle(entry)

    async def _follow(self, follower: Follower) -> None:
        while True:
            entries = await in_own_thread(follower.look)
            for entry in entries or ():
                self._settle(entry)
            if entries is None:
                log.warning(
                    "The ledger was restored or purged; every call that is waited for is looked up anew."
                )
                self._new = list({waiter for waiters in self._by_call.values() for waiter in waiters})
                await self._look_up_new_waiters()
                self._wake_matching()
            elif len(entries) < BATCH:
                return

    def _settle(self, entry: CompletionEntry) -> None:
        for waiter in self._by_call.pop(entry.call_id, set()):
            waiter.missing.discard(entry.call_id)
            if not waiter.missing:
                waiter.told.set()
        for waiter in self._matching:
            if waiter.wanted is not None and waiter.wanted(entry):
                waiter.told.set()

    def _pause(self) -> float:
        pause = self._poll_interval * 2.0 ** min(self._failures, 10)
        return min(pause, max(LONGEST_PAUSE, self._poll_interval))
