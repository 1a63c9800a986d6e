"""Waits in the triggerer until a campaign has something to do again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_voiceinfra.triggers.cancellations import shared_cancellations
from airflow_provider_voiceinfra.triggers.voiceinfra import (
    COMPLETED,
    TIMED_OUT,
    CompletionEvent,
    before,
    opened,
    until,
)

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger
    from airflow_provider_voiceinfra.waiting.watcher import CompletionWatcher


class VoiceInfraCampaignTrigger(BaseTrigger):
    """Fires at a moment, when calls of a campaign are over, or when it is cancelled, whatever comes first.

    :param campaign_id: the campaign.
    :param until: when to fire at the latest, ISO 8601 with an offset.
    :param calls: fire when fewer than so many calls of the campaign have no completion. A number rather than
        call ids: there may be many, and one that ends before this trigger starts counts like any other. If
        not set, calls do not matter.
    :param not_before: fire no earlier than this, ISO 8601 with an offset, see ``earliest_wake_up``.
    """

    def __init__(
        self, campaign_id: str, until: str, calls: int | None = None, not_before: str | None = None
    ) -> None:
        super().__init__()
        self.campaign_id = campaign_id
        self.until = until
        self.calls = calls
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and plain JSON arguments."""
        kwargs = {name: getattr(self, name) for name in ("campaign_id", "until", "calls", "not_before")}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event."""
        watcher, ledger = await opened()
        woken = await before(self.until, self._first_of(watcher, ledger))
        await until(self.not_before)
        yield TriggerEvent(CompletionEvent(status=COMPLETED if woken else TIMED_OUT, call_ids=[]))

    async def _first_of(self, watcher: CompletionWatcher, ledger: CallLedger) -> None:
        waits = [asyncio.create_task(shared_cancellations(ledger).wait_for(self.campaign_id))]
        if self.calls is not None:
            waits.append(asyncio.create_task(self._until_calls_end(watcher, ledger, self.calls)))
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                wait.result()  # raises what ended it
        finally:
            for wait in waits:
                wait.cancel()

    async def _until_calls_end(self, watcher: CompletionWatcher, ledger: CallLedger, fewer_than: int) -> None:
        unended: set[str] = set()

        def find() -> int | None:
            found = ledger.campaigns.open_calls(self.campaign_id)
            unended.update(found)
            return len(found) if len(found) < fewer_than else None

        await watcher.wait_for_match(lambda entry: entry.call_id in unended, find)
