"""Counts what the ledger asks of its database; ``python -m tests.ledger.costs URL`` prints it, with bytes.

The statements of PostgreSQL include the one that limits each transaction, those of SQLite the one that begins
it. The bytes are those of the write-ahead log; name an empty database that nobody else uses.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sqlalchemy import event, make_url

from airflow_provider_voiceinfra.calls import CompletionRecord
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership
from airflow_provider_voiceinfra.ledger.records import CallState, Job, Settlement
from airflow_provider_voiceinfra.ledger.webhooks.records import Arrival
from tests.ledger.examples import CALL, CONN_ID, FIRST_TRY
from tests.support.completions import completion_body

TOGETHER = 32
_numbers = count(1)


@dataclass
class Cost:
    """What something took."""

    statements: int = 0
    commits: int = 0


@contextmanager
def counted(ledger: CallLedger) -> Iterator[Cost]:
    """Count what the ledger does meanwhile; a statement for many rows is one."""
    cost, engine = Cost(), ledger._database.engine

    def on_statement(*_: object) -> None:
        cost.statements += 1

    def on_commit(*_: object) -> None:
        cost.commits += 1

    event.listen(engine, "before_cursor_execute", on_statement)
    event.listen(engine, "commit", on_commit)
    try:
        yield cost
    finally:
        event.remove(engine, "before_cursor_execute", on_statement)
        event.remove(engine, "commit", on_commit)


def arrivals(number: int) -> list[Arrival]:
    """Return completions of calls of their own."""
    call_ids = [f"call_{next(_numbers)}" for _ in range(number)]
    return [
        Arrival(body, CONN_ID, None, CompletionRecord.from_body(body))
        for body in map(completion_body, call_ids)
    ]


def jobs(number: int) -> list[Job]:
    """Return calls to place under keys of their own."""
    return [Job(f"key {next(_numbers)}", CALL, FIRST_TRY) for _ in range(number)]


def place(ledger: CallLedger, number: int, owner: Ownership | None = None) -> None:
    """Claim calls together, and store the API's answers."""
    found = ledger.claim_many(jobs(number), conn_id=CONN_ID, owner=owner)
    ledger.settle_many(
        [Settlement(entry, CallState.ACCEPTED, f"call_{next(_numbers)}") for entry, _ in found]
    )


def _repeated(ledger: CallLedger) -> Callable[[], object]:
    once = arrivals(1)
    ledger.take_in(once)
    return lambda: ledger.take_in(once)


def _of_campaign(ledger: CallLedger) -> Callable[[], object]:
    campaign_id = f"campaign {next(_numbers)}"
    taken = ledger.campaigns.take(campaign_id, conn_id=CONN_ID, origin=FIRST_TRY)
    owner = Ownership(campaign_id, str(taken.runner))
    return lambda: place(ledger, TOGETHER, owner)


# What is prepared for each is not counted.
OPERATIONS: dict[str, Callable[[CallLedger], Callable[[], object]]] = {
    "a webhook": lambda ledger: lambda: ledger.take_in(arrivals(1)),
    "32 webhooks that came together": lambda ledger: lambda: ledger.take_in(arrivals(TOGETHER)),
    "a webhook that is sent again": _repeated,
    "a webhook that cannot be used": lambda ledger: (
        lambda: ledger.take_in([Arrival(b"%d" % next(_numbers), CONN_ID, reason="not_json")])
    ),
    "a call: claim and answer": lambda ledger: lambda: place(ledger, 1),
    "32 calls that came together": lambda ledger: lambda: place(ledger, TOGETHER),
    "32 calls of a campaign": _of_campaign,
}


def costs(ledger: CallLedger) -> dict[str, Cost]:
    """Return what each operation takes."""
    found = {}
    ledger.check()
    for name, prepare in OPERATIONS.items():
        action = prepare(ledger)
        with counted(ledger) as found[name]:
            action()
    return found


def _written(ledger: CallLedger) -> int:
    """Return how long the write-ahead log is, in bytes; it grows."""
    engine = ledger._database.engine
    if engine.dialect.name == "sqlite":
        return Path(f"{make_url(ledger._database.url).database}-wal").stat().st_size
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT pg_current_wal_insert_lsn() - '0/0'").scalar_one())


def main() -> None:
    """Print the costs, and the bytes of the second time: the first one writes whole pages."""
    ledger = CallLedger(sys.argv[1])
    first = costs(ledger)
    print("| | statements | commits | bytes |\n|---|--:|--:|--:|")
    for name, prepare in OPERATIONS.items():
        action = prepare(ledger)
        action()
        before = _written(ledger)
        action()
        written = _written(ledger) - before
        print(f"| {name} | {first[name].statements} | {first[name].commits} | {written:,} |")


if __name__ == "__main__":
    main()
