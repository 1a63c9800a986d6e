"""Asks the ledger once for all campaigns that sleep in a triggerer which of them were cancelled."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.waiting.threads import in_own_thread

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger

log = logging.getLogger(__name__)

# How often the ledger is asked, in seconds.
INTERVAL = 10.0


class CancellationWatcher:
    """Watches one ledger for all campaigns of one event loop; runs only while one of them sleeps."""

    def __init__(self, ledger: CallLedger) -> None:
        self._ledger = ledger
        self._sleeping: dict[asyncio.Future[None], str] = {}
        self._joined = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def wait_for(self, campaign_id: str) -> None:
        """Return when a campaign is cancelled, at once if it is."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleeping[woken] = campaign_id
        self._joined.set()
        if self._task is None:
            self._task = asyncio.create_task(self._watch())
        try:
            await woken
        finally:
            self._sleeping.pop(woken, None)
            if not self._sleeping and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _watch(self) -> None:
        try:
            while True:
                self._joined.clear()
                await self._look()
                try:
                    await asyncio.wait_for(self._joined.wait(), INTERVAL)
                except asyncio.TimeoutError:
                    continue
        except Exception as error:  # noqa: BLE001  a mistake in the code ends each of the waits, not just this one
            self._task = None
            for woken in self._sleeping:
                if not woken.done():
                    woken.set_exception(error)

    async def _look(self) -> None:
        try:
            cancelled = await in_own_thread(self._ledger.campaigns.cancelled, set(self._sleeping.values()))
        except LedgerUnavailableError as error:
            log.warning("Cannot see whether campaigns are cancelled, trying again: %s", error)
            return
        for woken, campaign_id in self._sleeping.items():
            if campaign_id in cancelled and not woken.done():
                woken.set_result(None)
