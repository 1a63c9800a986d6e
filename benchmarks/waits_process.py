"""Many triggers that wait in one event loop, as a triggerer runs them; for benchmarks.

Run as ``python waits_process.py KIND COUNT`` it starts them, prints a line, and then, for each line on
standard input, measures for so many seconds and prints how many statements were sent to the ledger meanwhile,
and how much processor time this process took.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
import uuid
from typing import Any, TextIO

from airflow.triggers.base import BaseTrigger, TriggerEvent
from sqlalchemy import Engine, event

from airflow_provider_voiceinfra.deployment import open_ledger
from airflow_provider_voiceinfra.settings import load_settings
from airflow_provider_voiceinfra.triggers.voiceinfra import VoiceInfraCallCompletedTrigger
from airflow_provider_voiceinfra.waiting.threads import in_own_thread

# After the last trigger was started, in seconds: each looks once for its own call.
SETTLE = 8.0

statements = 0


@event.listens_for(Engine, "before_cursor_execute")
def count(*_: Any) -> None:
    """Count a statement, whoever sends it."""
    global statements
    statements += 1


class PollingTrigger(BaseTrigger):
    """Asks for its own call again and again, as the triggers of dbt Cloud and of HTTP do."""

    def __init__(self, call_id: str, poll_interval: float) -> None:
        super().__init__()
        self.call_id = call_id
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return "waits_process.PollingTrigger", {"call_id": self.call_id, "poll_interval": self.poll_interval}

    async def run(self) -> Any:
        """Wait, and yield one event."""
        ledger = open_ledger()
        await asyncio.sleep(random.uniform(0, self.poll_interval))  # tasks defer at any moment
        while await in_own_thread(ledger.completion, self.call_id) is None:  # noqa: ASYNC110  what it is about
            await asyncio.sleep(self.poll_interval)
        yield TriggerEvent(self.call_id)


async def until_fired(trigger: BaseTrigger) -> None:
    """Run a trigger to its event, which here never comes."""
    async for fired in trigger.run():
        raise RuntimeError(f"a trigger fired: {fired}")


async def main(kind: str, number: int, out: TextIO) -> None:
    """Start triggers, and measure when asked to."""
    interval, run = load_settings().poll_interval, uuid.uuid4().hex
    ids = [f"call_{run}{one:08d}" for one in range(number)]
    triggers: list[BaseTrigger] = (
        [VoiceInfraCallCompletedTrigger(call_ids=[call_id]) for call_id in ids]
        if kind == "ours"
        else [PollingTrigger(call_id, interval) for call_id in ids]
    )
    waits = [asyncio.create_task(until_fired(trigger)) for trigger in triggers]
    await asyncio.sleep(SETTLE)
    print("waiting", file=out, flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        since, began, cpu = statements, time.monotonic(), time.process_time()
        await asyncio.sleep(float(line))
        seconds = time.monotonic() - began
        for wait in waits:
            if wait.done():
                wait.result()
        found = {
            "statements": (statements - since) / seconds,
            "cpu": (time.process_time() - cpu) / seconds,
        }
        print(json.dumps(found), file=out, flush=True)
    for wait in waits:
        wait.cancel()


if __name__ == "__main__":
    reports = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # where what the triggers log would go
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), reports))
