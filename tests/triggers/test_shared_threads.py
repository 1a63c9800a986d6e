"""Sleeping campaigns cost a triggerer one query a look, and never the threads that all triggers share."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import event

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.connect import database
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.triggers import cancellations
from airflow_provider_voiceinfra.triggers.campaign import VoiceInfraCampaignTrigger
from airflow_provider_voiceinfra.triggers.voiceinfra import (
    VoiceInfraCallCompletedTrigger,
    VoiceInfraUnknownCallTrigger,
)
from tests.support.waiting import in_loop, until_async

CONN_ID = "voiceinfra_default"
LATER = (datetime.now(timezone.utc) + timedelta(hours=1)).isoformat()
MATCH = {"to_number": "+14155550100"}


@pytest.fixture
def campaigns(ledger: CallLedger) -> None:
    for number in range(40):
        ledger.campaigns.take(f"campaign {number}", conn_id=CONN_ID, origin=CallOrigin("dag", "run", "task"))


class Gate:
    """A ledger whose database answers nothing while it is shut."""

    def __init__(self, url: str) -> None:
        self.open = threading.Event()
        self.waiting = 0
        self.seen: list[tuple[str, int]] = []
        """Each statement, and how many values it was sent with."""
        self._lock = threading.Lock()
        event.listen(database(url).engine, "before_cursor_execute", self._on_statement)

    def _on_statement(
        self, _conn: object, _cursor: object, statement: str, values: Collection[object], *_: object
    ) -> None:
        with self._lock:
            self.seen.append((statement, len(values)))
            self.waiting += 1
        assert self.open.wait(60)
        with self._lock:
            self.waiting -= 1


@pytest.fixture
def gate(campaigns: None, ledger_url: str) -> Iterator[Gate]:
    gate = Gate(ledger_url)
    yield gate
    gate.open.set()


async def events(triggers: list[object]) -> list[asyncio.Task[object]]:
    return [asyncio.create_task(anext(trigger.run())) for trigger in triggers]  # type: ignore[attr-defined]


async def give_up(waits: list[asyncio.Task[object]]) -> None:
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


@in_loop
async def test_ledger_that_hangs_leaves_the_threads_of_others_alone(gate: Gate) -> None:
    """Each other trigger, whoever's it is, goes on while 40 campaigns and as many calls wait for a ledger."""

    # As many threads as asyncio gives to a machine with two cores.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(6))
    triggers: list[object] = []
    for number in range(40):
        triggers += [
            VoiceInfraCampaignTrigger(f"campaign {number}", LATER, calls=1),
            VoiceInfraCallCompletedTrigger(call_ids=[f"call_{number}"]),
            VoiceInfraCallCompletedTrigger(match=MATCH, since=LATER),
            VoiceInfraUnknownCallTrigger("0" * 64, LATER, 3600.0),
        ]
    waits = await events(triggers)
    await until_async(lambda: gate.waiting >= 2)
    for _ in range(6):
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "at once"), 60) == "at once"
    assert not gate.open.is_set()
    assert gate.waiting >= 2
    gate.open.set()
    await give_up(waits)


@in_loop
async def test_campaigns_that_sleep_are_looked_after_with_one_query_a_look(
    ledger: CallLedger, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancellations, "INTERVAL", 0.02)
    gate.open.set()

    def looks() -> list[int]:
        """Return how many campaigns were asked for in each look."""
        return [count for statement, count in gate.seen if "cancelled_at IS NOT NULL" in statement]

    waits = await events([VoiceInfraCampaignTrigger(f"campaign {number}", LATER) for number in range(40)])
    await until_async(lambda: looks()[-4:] == [40, 40, 40, 40])  # the first may come before all wait
    ledger.campaigns.cancel("campaign 7")
    ledger.campaigns.cancel("campaign 23")
    await until_async(lambda: sum(wait.done() for wait in waits) == 2)
    assert [number for number, wait in enumerate(waits) if wait.done()] == [7, 23]
    await give_up(waits)
    count = len(looks())
    await asyncio.sleep(0.2)
    assert len(looks()) <= count + 1, "one that had begun may still have been sent"
