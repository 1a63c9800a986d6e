"""Stores deliveries that arrive together in one transaction, and answers none before its commit.

Nobody waits for company: the first delivery is stored at once, and those that come meanwhile go together in
the next transaction. So what a commit costs is shared by all who wait for one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from airflow_provider_voiceinfra.web.workers import BusyError, TooSlowError, Workers
from airflow_provider_voiceinfra.webhooks.receiving import Delivery, Receipt

# One transaction is under way at a time; the others are for those that follow one that takes too long.
THREADS = 4
# Deliveries of one transaction, and what their bodies take together, in bytes.
MOST_TOGETHER = 128
MOST_BYTES = 4 * 1024 * 1024


@dataclass(eq=False)
class _Waiting:
    delivery: Delivery
    receipt: asyncio.Future[Receipt]


class Storing:
    """Stores the deliveries of one event loop.

    :param store: stores deliveries in one transaction, and returns what became of each, in order.
    :param after: called with them and their receipts once they have been answered; must not block.
    :param seconds: how long a delivery waits for the end of its transaction.
    :param most_waiting: deliveries that may wait, with their bodies in memory.
    """

    def __init__(
        self,
        store: Callable[[Sequence[Delivery]], Sequence[Receipt]],
        after: Callable[[Sequence[Delivery], Sequence[Receipt]], object],
        *,
        seconds: float,
        most_waiting: int,
    ) -> None:
        self._store = store
        self._after = after
        self._seconds = seconds
        self._most_waiting = most_waiting
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._workers = Workers("store", threads=THREADS, seconds=seconds, most_waiting=1)

    @property
    def is_full(self) -> bool:
        """Whether so many deliveries wait that no more is taken."""
        return len(self._waiting) >= self._most_waiting

    async def store(self, delivery: Delivery) -> Receipt:
        """Store a delivery, and return what became of it.

        :raises LedgerError: if it could not be stored.
        :raises BusyError: if it was not begun in time; it never will be.
        :raises TooSlowError: if it was begun, and has not ended in time.
        """
        if self.is_full:
            raise BusyError("too many webhooks wait to be stored")
        mine = _Waiting(delivery, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        if self._task is None:
            self._task = asyncio.create_task(self._store_all())
        try:
            return await asyncio.wait_for(mine.receipt, self._seconds)
        except asyncio.TimeoutError as error:
            if mine in self._waiting:
                self._waiting.remove(mine)
                raise BusyError(f"the ledger is still busy after {self._seconds:g} seconds") from error
            raise TooSlowError(f"the ledger has not answered after {self._seconds:g} seconds") from error

    async def _store_all(self) -> None:
        """Store whatever waits, until nothing does."""
        try:
            while batch := self._next():
                await self._store_batch(batch)
        finally:
            self._task = None
            for one in self._waiting:  # the server ends
                one.receipt.cancel()
            self._waiting.clear()

    def _next(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < MOST_TOGETHER:
            one = self._waiting[0]
            size += len(one.delivery.body)
            if batch and size > MOST_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _store_batch(self, batch: Sequence[_Waiting]) -> None:
        deliveries = [one.delivery for one in batch]
        try:
            receipts = await self._workers.run(self._store, deliveries)
        except asyncio.CancelledError:
            for one in batch:
                one.receipt.cancel()
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it is for those who wait
            for one in batch:
                if not one.receipt.done():
                    one.receipt.set_exception(error)
            return
        for one, receipt in zip(batch, receipts, strict=True):
            if not one.receipt.done():
                one.receipt.set_result(receipt)
        self._after(deliveries, receipts)
