"""Whether what is done again and again takes as long in a large ledger as in a small one."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from typing import Any, ClassVar

import grown_ledger
from framework import AT_MOST, Aim, Line, Measured, Row
from grown_ledger import BASE
from servers import DATABASES, databases

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.ledger import CallLedger, CallOrigin, CallState
from airflow_provider_voiceinfra.ledger.database.keys import NO_ENCRYPTION, Encryption
from airflow_provider_voiceinfra.ledger.records import Job, Settlement

IS_LONG = bool(os.environ.get("BENCH_LONG"))
SIZES = (100_000, 1_000_000, *((10_000_000,) if IS_LONG else ()))
CONN_ID, SECRET = "voiceinfra_default", "secret-of-the-benchmark"
# Of each round and ledger: how often everything is done, claims of a batch, webhooks at a time, how often
# each page is asked for.
TURNS, BATCH, AT_ONCE, ASKED = 12, 50, 8, 5
CLAIM, ANSWER, WEBHOOK, TICK = "claim", "answer stored", "webhook stored", "tick of the watcher"
PAGES = (
    "calls",
    "calls, DAG",
    "calls, outcome that never was",
    "calls, 4 digits",
    "calls, longest",
    "calls, deep page",
    "charts",
    "one call",
    "campaigns",
    "tab of a DAG run",
)
WHAT = (CLAIM, ANSWER, WEBHOOK, TICK, f"{len(PAGES)} pages")
CALL = OutboundCall(
    to_number="+14155550101",
    agent_id="agent_demo",
    from_number="+14155550199",
    first_message="Hello, this is an automated call. Is this a good moment?",
    variables={"city": "Springfield", "appointment": "10:10"},
)
PAYLOAD = {
    "event": "call.completed",
    "agent_id": CALL.agent_id,
    "from_number": CALL.from_number,
    "to_number": CALL.to_number,
    "call_outcome": "answered",
    "duration_seconds": 63,
    "start_time": "2026-01-02T10:00:00Z",
    "end_time": "2026-01-02T10:01:03Z",
    "transcript": "Agent: Hello, is this a good moment?\nCaller: Yes, go ahead.\n" * 12,
    "summary": "The caller was reached, confirmed the details and had no further questions.",
}


def line_of(what: str, database: str, size: int) -> str:
    """Return the name of a line; a size is said as a power of ten."""
    return f"{what}, {database}, 10^{len(str(size)) - 1}"


class LedgerAtWork:
    """A filled ledger with its receiver and its pages, all in this process.

    :param now: the present when it was filled.
    :param also: names of pages that are shown besides ``PAGES``.
    """

    def __init__(
        self,
        url: str,
        now: datetime,
        encryption: Encryption = NO_ENCRYPTION,
        also: Collection[str] = (),
    ) -> None:
        # These import Airflow, or may one day.
        import httpx
        from page_routes import Routes

        from airflow_provider_voiceinfra.settings import Settings
        from airflow_provider_voiceinfra.waiting.following import Follower
        from airflow_provider_voiceinfra.web.app import create_app

        self._ledger = CallLedger(url, encryption=encryption)
        settings = Settings(sql_alchemy_conn=url)
        app = create_app(ledger=self._ledger, settings=settings, secrets_for=lambda _: (SECRET,))
        self._loop = asyncio.new_event_loop()
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
        self._follower = Follower(self._ledger, 1000)
        asked = Routes(url, now, encryption).all()
        self._pages = {name: asked[name] for name in (*PAGES, *also)}
        self._keys = (f"{uuid.uuid4().hex}/{number}" for number in itertools.count())
        self.times: dict[str, list[float]] = {}

    def work(self) -> None:
        """Claim calls, store their answers and some of their webhooks, and see these."""
        jobs = [Job(next(self._keys), CALL, CallOrigin()) for _ in range(BATCH)]
        with self._timed(CLAIM, BATCH):
            claimed = self._ledger.claim_many(jobs, conn_id=CONN_ID)
        answers = [
            Settlement(entry, CallState.ACCEPTED, call_id=f"call_{uuid.uuid4().hex}") for entry, _ in claimed
        ]
        with self._timed(ANSWER, BATCH):
            self._ledger.settle_many(answers)
        deliveries = [_delivery(str(answer.call_id)) for answer in answers[:AT_ONCE]]
        with self._timed(WEBHOOK, AT_ONCE):
            self._loop.run_until_complete(self._deliver(deliveries))
        self._follower.look()
        with self._timed(TICK):
            self._follower.look()

    async def _deliver(self, deliveries: list[dict[str, Any]]) -> None:
        answers = await asyncio.gather(
            *(self._client.post(f"/webhooks/{CONN_ID}", **delivery) for delivery in deliveries)
        )
        if wrong := [answer for answer in answers if answer.status_code != 200]:
            raise RuntimeError(f"a webhook was answered {wrong[0].status_code}: {wrong[0].text[:300]}")

    def show(self) -> None:
        """Show every page once."""
        for name, ask in self._pages.items():
            with self._timed(name):
                ask()

    @contextmanager
    def _timed(self, name: str, number: int = 1) -> Iterator[None]:
        began = time.perf_counter()
        yield
        taken = (time.perf_counter() - began) * 1000 / number
        self.times.setdefault(name, []).append(taken)

    def found(self) -> dict[str, float]:
        """Return the medians in ms, of each page and of all of them as well, and forget them."""
        medians = {name: statistics.median(times) for name, times in self.times.items()}
        self.times = {}
        return medians | {WHAT[-1]: sum(medians[name] for name in PAGES)}


def _delivery(call_id: str) -> dict[str, Any]:
    from airflow_provider_voiceinfra.webhooks.signing import SIGNATURE_HEADER, sign

    body = json.dumps({**PAYLOAD, "call_id": call_id}).encode()
    return {"content": body, "headers": {SIGNATURE_HEADER: sign(SECRET, body)}}


class Growth(Row):
    """The same work in ledgers of several sizes, in turns."""

    name = "growth"
    what = (
        "Milliseconds in a ledger of so many calls (ours) beside the same in one of 10^4 (peer): a claim and "
        f"an answer in batches of {BATCH}, a signed webhook, {AT_ONCE} at a time, to the receiver in this "
        f"process, a look at what is new, and {len(PAGES)} kinds of pages, one after the other."
    )
    lines: ClassVar = tuple(
        Line(line_of(what, database, size), "ms", (Aim(AT_MOST, 1.2, "peer"),))
        for database in DATABASES
        for what in WHAT
        for size in SIZES
    )
    seconds = 4 * 3600 if IS_LONG else 140

    def __init__(self) -> None:
        super().__init__()
        self._ledgers: dict[tuple[str, int], LedgerAtWork] = {}
        self._pages: dict[tuple[str, str], list[float]] = {}

    def open(self, stack: ExitStack) -> None:
        """Fill the ledgers, those of both databases at the same time."""
        from page_routes import empty_airflow

        stack.enter_context(empty_airflow())
        make, now = databases(stack), datetime.now(timezone.utc)
        urls = {(name, size): make[name]() for name in DATABASES for size in (BASE, *SIZES)}

        fillers = [
            subprocess.Popen([sys.executable, grown_ledger.__file__, now.isoformat(), *wanted])
            for wanted in (
                [str(part) for key, url in urls.items() if key[0] == name for part in (url, key[1])]
                for name in DATABASES
            )
        ]
        for filler in fillers:
            stack.callback(filler.kill)
        if any([filler.wait() for filler in fillers]):
            raise RuntimeError("a ledger could not be filled")
        self._ledgers = {key: LedgerAtWork(url, now) for key, url in urls.items()}
        for ledger in self._ledgers.values():
            for _ in range(3):
                ledger.work()
                ledger.show()
            ledger.found()

    def measure(self, number: int) -> Mapping[str, Measured]:
        """Have all ledgers do the same in turn, the last one first every other time."""
        for turn in range(TURNS):
            order = list(self._ledgers.values())
            for ledger in order if turn % 2 == 0 else reversed(order):
                ledger.work()
                if turn < ASKED:
                    ledger.show()
        medians = {key: ledger.found() for key, ledger in self._ledgers.items()}
        self._note(medians)
        return {
            line_of(what, database, size): Measured(
                medians[database, size][what], peer=medians[database, BASE][what]
            )
            for database in DATABASES
            for what in WHAT
            for size in SIZES
        }

    def _note(self, medians: Mapping[tuple[str, int], Mapping[str, float]]) -> None:
        """Name the pages that grow most."""
        for database in DATABASES:
            for page in PAGES:
                growth = medians[database, SIZES[-1]][page] / medians[database, BASE][page]
                self._pages.setdefault((database, page), []).append(growth)
        typical = {key: statistics.median(growths) for key, growths in self._pages.items()}
        worst = sorted(typical, key=lambda key: -typical[key])[:4]
        self.notes = [
            "The pages that grow most: "
            + "; ".join(
                f"{page}, {database}: {typical[database, page]:.2f} times" for database, page in worst
            )
            + ". All numbers are of the range reserved for fiction, whose last four digits are 100 instead "
            "of 10,000: what asks for them, or for one number, finds 100 times as many calls as elsewhere."
        ]


ROWS = (Growth,)
