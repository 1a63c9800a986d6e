"""Group commit: what several threads store at the same moment shares one transaction.

Nobody waits for company. The first thread stores what it has at once, and what comes meanwhile goes together
in the next transaction, which the first of those that wait carries out. So there is no thread to start, to
end, or to be missing after a fork.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 200
"""Items in one transaction."""


@dataclass(eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    woken: threading.Event = field(default_factory=threading.Event)
    results: list[Result] = field(default_factory=list)
    error: Exception | None = None

    @property
    def is_over(self) -> bool:
        return bool(self.results) or self.error is not None


class GroupCommit(Generic[Item, Result]):
    """Stores the items of many threads, those that come together in one transaction.

    :param store: stores items and returns what became of each, in order. If it raises anything but
        ``LedgerUnavailableError``, each of the items is stored alone, so that none fails for another. An item
        may come twice, if the thread that stored it was interrupted.
    """

    def __init__(self, store: Callable[[Sequence[Item]], Sequence[Result]]) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._is_storing = False

    def __call__(self, item: Item) -> Result:
        """Store an item, and return what became of it; durable before this returns."""
        mine: _Waiting[Item, Result] = _Waiting(item)
        try:
            with self._lock:
                self._waiting.append(mine)
                if not self._is_storing:
                    self._wake_first()
            mine.woken.wait()
            if not mine.is_over:
                self._store_first()
        except BaseException:
            self._leave(mine)
            raise
        if mine.error is not None:
            raise mine.error
        return mine.results[0]

    def _store_first(self) -> None:
        """Store what waits, as the thread that was woken for it."""
        with self._lock:
            batch = list(islice(self._waiting, MOST))
        try:
            self._store_batch(batch)
        finally:
            # Whatever has no result, since this thread was interrupted in the midst, goes on waiting.
            with self._lock:
                for one in batch:
                    if one.is_over:
                        self._waiting.remove(one)
                        one.woken.set()
                self._wake_first()

    def _store_batch(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        try:
            results = self._store([one.item for one in batch])
            for one, result in zip(batch, results, strict=True):
                one.results.append(result)
        except LedgerUnavailableError as error:
            for one in batch:
                one.error = error
        except Exception as error:  # noqa: BLE001  it is for whose item it was
            if len(batch) == 1:
                batch[0].error = error
                return
            for one in batch:
                self._store_batch([one])

    def _wake_first(self) -> None:
        """Have the first of those that wait store what there is, if anything is."""
        if self._waiting:
            self._waiting[0].woken.set()
        self._is_storing = bool(self._waiting)

    def _leave(self, mine: _Waiting[Item, Result]) -> None:
        """Have nobody wait for a thread that was interrupted."""
        with self._lock:
            if mine in self._waiting:
                self._waiting.remove(mine)
                if mine.woken.is_set():
                    self._wake_first()
