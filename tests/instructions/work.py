"""The process whose instructions are counted: does each piece of work again and again, between two marks.

Nothing in it depends on the moment: a ledger of its own, one thread, no garbage collection. The marks are
calls of a function of the C library that nothing else here calls, which Callgrind is asked to look out for.
"""

from __future__ import annotations

import gc
import hashlib
import hmac
import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

from airflow_provider_voiceinfra.calls import CompletionRecord
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallState, Job, Settlement
from airflow_provider_voiceinfra.ledger.webhooks.records import Arrival
from airflow_provider_voiceinfra.webhooks import receiving, signing
from airflow_provider_voiceinfra.webhooks.receiving import Delivery
from tests.ledger.examples import CALL, CONN_ID, FIRST_TRY
from tests.support.completions import completion_body

MARK = "getppid"
REFERENCE = "reference"
# Python replaces instructions by faster ones while code runs for the first times.
WARM_UP, REPEATS = 8, 4
TOGETHER = 32
SECRET = "whsec_0123456789"
TRANSCRIPT = [
    {"role": role, "text": f"Sentence {number} of the conversation.", "start": number}
    for number in range(6)
    for role in ("agent", "user")
]

Action = Callable[[], object]
_numbers = count(1)


def body() -> bytes:
    """Return the body of a webhook of 1.3 kB, about a call of its own."""
    return completion_body(
        f"call_{next(_numbers):06}",
        agent_id="agent_demo",
        from_number="+14155550199",
        to_number="+14155550100",
        duration_seconds=42,
        started_at="2026-11-02T20:00:00Z",
        ended_at="2026-11-02T20:00:42Z",
        summary="The customer agreed to pay on Friday and asked for no further call until then.",
        transcript=TRANSCRIPT,
        extracted_data={"will_pay": True, "day": "Friday"},
    )


def jobs(number: int) -> list[Job]:
    """Return calls to place under keys of their own."""
    return [Job(f"key {next(_numbers):06}", CALL, FIRST_TRY) for _ in range(number)]


def arrivals(number: int) -> list[Arrival]:
    """Return webhooks that have been verified and parsed."""
    found = []
    for _ in range(number):
        raw = body()
        found.append(Arrival(raw, CONN_ID, record=CompletionRecord.from_body(raw)))
    return found


def claim(ledger: CallLedger) -> Action:
    """Ask for the right to place one call."""
    [job] = jobs(1)
    return lambda: ledger.claim(job.key, job.call, conn_id=CONN_ID, origin=job.origin)


def claim_together(ledger: CallLedger) -> Action:
    """Ask for the right to place several."""
    wanted = jobs(TOGETHER)
    return lambda: ledger.claim_many(wanted, conn_id=CONN_ID)


def settle(ledger: CallLedger) -> Action:
    """Store the API's answer to one call."""
    [(entry, _)] = ledger.claim_many(jobs(1), conn_id=CONN_ID)
    call_id = f"call_{next(_numbers):06}"
    return lambda: ledger.accept(entry, call_id)


def settle_together(ledger: CallLedger) -> Action:
    """Store the answers to several."""
    settlements = [
        Settlement(entry, CallState.ACCEPTED, f"call_{next(_numbers):06}")
        for entry, _ in ledger.claim_many(jobs(TOGETHER), conn_id=CONN_ID)
    ]
    return lambda: ledger.settle_many(settlements)


def verify(_: CallLedger) -> Action:
    """Verify the signature of a webhook."""
    raw = body()
    delivery = Delivery(CONN_ID, raw, (signing.sign(SECRET, raw),))
    return lambda: receiving.verify(delivery, (SECRET,), allow_unsigned=False)


def parse(_: CallLedger) -> Action:
    """Read the record of a webhook."""
    raw = body()
    return lambda: CompletionRecord.from_body(raw)


def store(ledger: CallLedger) -> Action:
    """Store one webhook."""
    found = arrivals(1)
    return lambda: ledger.take_in(found)


def store_together(ledger: CallLedger) -> Action:
    """Store several that came together."""
    found = arrivals(TOGETHER)
    return lambda: ledger.take_in(found)


def reference(_: CallLedger) -> Action:
    """Do what all of the others are made of, with nothing of ours.

    It is the unit of the others, since how many instructions the same Python code takes depends on how the
    interpreter and its libraries were compiled.
    """
    raw = body()
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT, body BLOB)")

    class Thing:
        def __init__(self, number: int, value: object) -> None:
            self.number, self.value = number, value

        def pair(self) -> tuple[int, object]:
            return self.number, self.value

    def work() -> None:
        for number in range(20):
            value = json.loads(raw)
            signature = hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
            things = [Thing(one, value) for one in range(100)]
            found = {str(thing.number): thing.pair() for thing in things if isinstance(thing, Thing)}
            text = f"{signature} {sorted(found)} {number}"
            with_body = "INSERT OR REPLACE INTO things VALUES (?, ?, ?)"
            database.execute(with_body, (number, text, json.dumps(value).encode()))
            database.execute("SELECT * FROM things WHERE id = ?", (number,)).fetchall()

    return work


WORK: dict[str, Callable[[CallLedger], Action]] = {
    REFERENCE: reference,
    "claim a call": claim,
    f"claim {TOGETHER} calls together": claim_together,
    "settle a call": settle,
    f"settle {TOGETHER} calls together": settle_together,
    "verify a webhook": verify,
    "parse a webhook": parse,
    "store a webhook": store,
    f"store {TOGETHER} webhooks together": store_together,
}


def main() -> None:
    """Do all of the work; each piece ends with its name on standard output."""
    mark = getattr(os, MARK)
    with tempfile.TemporaryDirectory() as folder:
        ledger = CallLedger(f"sqlite:///{Path(folder) / 'ledger.db'}")
        ledger.check()
        gc.disable()
        for prepare in WORK.values():
            actions = [prepare(ledger) for _ in range(WARM_UP + REPEATS)]
            for action in actions[:WARM_UP]:
                action()
            counted = actions[WARM_UP:]
            mark()
            for action in counted:
                action()
            mark()
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
