"""Waits in the triggerer until a campaign has something to do again."""

from __future__ import annotations

import asyncio

from airflow_provider_voiceinfra.triggers.voiceinfra import LedgerTrigger, Shared


class VoiceInfraCampaignTrigger(LedgerTrigger):
    """Fires at a moment, when calls of a campaign are over, or when it is cancelled, whatever comes first.

    :param campaign_id: the campaign.
    :param deadline: when to fire at the latest, ISO 8601 with an offset.
    :param calls: fire when fewer than so many calls of the campaign have no completion. A number rather than
        call ids: there may be many, and one that ends before this trigger starts counts like any other. If
        not set, calls do not matter.
    :param not_before: fire no earlier than this, ISO 8601 with an offset, see ``earliest_wake_up``.
    """

    def __init__(
        self, campaign_id: str, deadline: str, calls: int | None = None, not_before: str | None = None
    ) -> None:
        super().__init__()
        self.campaign_id = campaign_id
        self.deadline = deadline
        self.calls = calls
        self.not_before = not_before

    async def _wait(self, shared: Shared) -> list[str]:
        waits = [asyncio.create_task(shared.cancellations.wait_for(self.campaign_id))]
        if self.calls is not None:
            waits.append(asyncio.create_task(self._until_calls_end(shared, self.calls)))
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                wait.result()  # raises what ended it
        finally:
            for wait in waits:
                wait.cancel()
        return []

    async def _until_calls_end(self, shared: Shared, fewer_than: int) -> None:
        unended: set[str] = set()

        def find() -> int | None:
            found = shared.ledger.campaigns.open_calls(self.campaign_id)
            unended.update(found)
            return len(found) if len(found) < fewer_than else None

        await shared.completions.wait_for_match(lambda entry: entry.call_id in unended, find)
