"""A flood of forged requests beside genuine ones, which all have to be stored and answered in time.

``python -m tests.attack.flood --seconds 600 --database postgresql`` prints what it has seen, and ends with 1
if a genuine webhook was not served, was served late, or memory grew.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from airflow_provider_voiceinfra.ledger import CallLedger
from tests.attack.client import Client
from tests.attack.messages import (
    FORGED,
    SECRET,
    Message,
    genuine,
    genuine_but_odd,
    replayed,
    slow,
)
from tests.receiver_process import ReceiverProcess

CONNECTIONS, SLOW_CLIENTS = 32, 32
FORGED_SHARE = 0.9
# Of those that the vendor signed, so many are sent again, and so many are of no use.
REPLAYED, ODD = 0.1, 0.05
MOST_REPLAYED = 1000
LATE_SECONDS = 1.0
# Memory of the last third of the time beside that of the second third.
GROWTH = 1.05
SPARE_BYTES = 16 * 2**20


@dataclass
class Flood:
    """What was sent, and how it was answered."""

    sent: Counter[str] = field(default_factory=Counter)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    genuine: set[str] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    """How long genuine ones waited for their answer."""
    memory: list[int] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    transactions: int | None = None

    def note(self, message: Message, status: int, taken: float) -> None:
        """Count an answer."""
        self.sent[message.kind] += 1
        self.statuses[message.kind, status] += 1
        if status not in message.allowed:
            self.wrong.append(f"a request {message.kind} was answered {status or 'by hanging up'}")
        if message.call_id is not None:
            self.genuine.add(message.call_id)
            self.seconds.append(taken)

    @property
    def p99(self) -> float:
        """Of 100 genuine webhooks, 99 were answered within so many seconds."""
        return sorted(self.seconds)[max(0, math.ceil(len(self.seconds) * 0.99) - 1)]

    @property
    def growth(self) -> float:
        """The memory of the last third of the time as a multiple of that of the second."""
        third = max(1, len(self.memory) // 3)
        second, last = self.memory[third : 2 * third], self.memory[2 * third :]
        return (max(last) - SPARE_BYTES) / statistics.median(second) if second and last else 1.0

    @property
    def signed(self) -> int:
        """How many webhooks the vendor has signed."""
        return sum(self.sent[kind] for kind in ("genuine", "genuine and of no use", "replayed"))

    def violations(self) -> list[str]:
        """Return what must not be."""
        found = [f"{number} times {words}" for words, number in Counter(self.wrong).most_common(20)]
        if self.missing:
            found.append(f"{len(self.missing)} webhooks were answered 200 and are not in the ledger")
        if self.p99 > LATE_SECONDS:
            found.append(f"99 of 100 genuine webhooks took up to {self.p99:.2f} s")
        if self.growth > GROWTH:
            found.append(f"memory grew to {self.growth:.2f} times what it was")
        if (
            self.transactions is not None
            and self.transactions > self.signed * 1.1 + 10 * len(self.memory) + 100
        ):
            found.append(f"{self.transactions} transactions for {self.signed} signed webhooks")
        return found

    def report(self) -> str:
        """Return what was seen, for people."""
        total, p50 = sum(self.sent.values()), statistics.median(self.seconds)
        forged = 1 - self.signed / total
        lines = [
            f"{total:,} requests, of which {forged:.0%} were forged; {len(self.genuine):,} records",
            f"genuine ones were answered within {p50 * 1000:.0f} ms (p50), {self.p99 * 1000:.0f} ms (p99), "
            f"{max(self.seconds) * 1000:.0f} ms (longest)",
            f"memory: {self.memory[0] / 2**20:.0f} MB at first, {max(self.memory) / 2**20:.0f} MB at most, "
            f"{self.memory[-1] / 2**20:.0f} MB at last",
        ]
        if self.transactions is not None:
            lines.append(
                f"transactions of the ledger: {self.transactions:,} for {self.signed:,} signed webhooks"
            )
        lines += [
            f"  {kind}, answered {status}: {number:,}"
            for (kind, status), number in sorted(self.statuses.items())
        ]
        return "\n".join(lines)


class Attack:
    """Sends genuine and forged requests at the same time, each as soon as the one before was answered.

    :param port: of the receiver on this machine.
    :param memory: returns how much it takes, in bytes.
    """

    def __init__(self, port: int, seconds: float, rng: random.Random, memory: Callable[[], int]) -> None:
        self.flood = Flood()
        self._port, self._rng, self._memory = port, rng, memory
        self._until, self._look_each = time.monotonic() + seconds, min(1.0, seconds / 12)
        self._signed: list[Message] = []

    async def run(self) -> Flood:
        """Attack until the time is over."""
        senders = [self._send(self._next) for _ in range(CONNECTIONS)]
        dawdlers = [self._send(lambda: slow(self._rng)) for _ in range(SLOW_CLIENTS)]
        await asyncio.gather(*senders, *dawdlers, self._weigh())
        return self.flood

    def _next(self) -> Message:
        rng = self._rng
        if rng.random() < FORGED_SHARE:
            return rng.choice(FORGED)(rng)
        chance = rng.random()
        if chance < REPLAYED and self._signed:
            return replayed(rng.choice(self._signed))
        return genuine_but_odd(rng) if chance < REPLAYED + ODD else genuine(f"call_{rng.randrange(10**15)}")

    async def _send(self, make: Callable[[], Message]) -> None:
        client = Client(self._port)
        while time.monotonic() < self._until:
            message, began = make(), time.monotonic()
            self.flood.note(message, await client.send(message), time.monotonic() - began)
            if message.call_id is not None and len(self._signed) < MOST_REPLAYED:
                self._signed.append(message)
        await client.close()

    async def _weigh(self) -> None:
        while time.monotonic() < self._until:
            self.flood.memory.append(self._memory())
            await asyncio.sleep(self._look_each)


def flood_receiver(ledger_url: str, seconds: float, seed: int) -> Flood:
    """Flood a receiver on its own, and look what of it is in its ledger."""
    ledger = CallLedger(ledger_url)
    ledger.upgrade()
    with ReceiverProcess(ledger_url, SECRET) as receiver:
        process = psutil.Process(receiver.pid)
        before = transactions(ledger)
        attack = Attack(receiver.port, seconds, random.Random(seed), lambda: process.memory_info().rss)
        flood = asyncio.run(attack.run())
        after = transactions(ledger)
    if before is not None and after is not None:
        flood.transactions = after - before
    flood.missing = flood.genuine - set(stored(ledger, sorted(flood.genuine)))
    return flood


def stored(ledger: CallLedger, call_ids: Sequence[str]) -> Iterator[str]:
    """Yield those of some calls that the ledger has completion records of."""
    for start in range(0, len(call_ids), 1000):
        yield from ledger.completions(call_ids[start : start + 1000], with_body=False)


def transactions(ledger: CallLedger) -> int | None:
    """Return how many transactions the ledger's database has ended; ``None`` if it does not count them."""
    engine = ledger._database.engine
    if engine.dialect.name != "postgresql":
        return None
    with engine.connect() as connection:
        counted = (
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        )
        return int(connection.exec_driver_sql(counted).scalar_one())


@contextmanager
def new_ledger(database: str) -> Iterator[str]:
    """Yield the URL of a database for one ledger."""
    from harness.postgres import PostgresServer, find_binaries

    if database == "sqlite":
        with TemporaryDirectory(prefix="voiceinfra-attack-") as folder:
            yield f"sqlite:///{Path(folder) / 'ledger.db'}"
        return
    binaries = find_binaries()
    if binaries is None:
        raise SystemExit("PostgreSQL is not installed.")
    server = PostgresServer(binaries)
    try:
        yield server.create_database("ledger")
    finally:
        server.stop()


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    arguments = parser.parse_args()
    with new_ledger(arguments.database) as url:
        flood = flood_receiver(url, arguments.seconds, arguments.seed)
    print(flood.report())
    for violation in flood.violations():
        print(f"VIOLATION {violation}")
    return 1 if flood.violations() else 0


if __name__ == "__main__":
    sys.exit(main())
