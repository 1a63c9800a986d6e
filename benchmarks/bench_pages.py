"""How long the pages in Airflow's UI take to answer when the ledger holds a million calls.

Run from the checkout: ``python benchmarks/bench_pages.py --help``. It fills a ledger on SQLite and one on
PostgreSQL, then asks for each page many times: first and deep pages, every filter, filters that match
nothing, every order. Questions take turns, so that a busy minute of the machine falls on all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import random
import sqlite3
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from typing import Any

from filled_ledger import (
    LOST,
    NIGHT,
    NIGHTS,
    RENAMED,
    RETIRED,
    campaign_of,
    fill,
    night_of,
    run_of,
    size_of,
)
from harness import postgres
from page_routes import Routes, empty_airflow

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.lists.search import SCAN, Cursor
from airflow_provider_voiceinfra.ledger.lists.values import OPEN, CallFilter, Order
from airflow_provider_voiceinfra.ledger.records import CallState

Question = Callable[[], object]
GOAL_MS = 200


@contextlib.contextmanager
def ledgers(names: list[str]) -> Iterator[dict[str, str]]:
    """Return the URL of an empty database of each kind."""
    with contextlib.ExitStack() as stack:
        urls = {}
        for name in names:
            if name == "sqlite":
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                urls[name] = f"sqlite:///{folder}/ledger.db"
                continue
            binaries = postgres.find_binaries()
            if binaries is None:
                raise SystemExit("PostgreSQL's server programs are not installed; use --databases sqlite.")
            server = postgres.PostgresServer(binaries)
            stack.callback(server.stop)
            urls[name] = server.create_database("bench")
        yield urls


class Questions:
    """What the pages ask a ledger.

    :param now: the present when the ledger was filled.
    :param size: how many calls it holds.
    """

    def __init__(self, url: str, now: datetime, size: int) -> None:
        self.ledger = CallLedger(url)
        self.now = now
        self.size = size
        self._random = random.Random(2)

    def all(self) -> dict[str, Question]:
        """Return them by name."""
        return {**self.pages(), **self.filters(), **self.combinations(), **self.orders(), **self.others()}

    def pages(self) -> dict[str, Question]:
        """Return those about pages of the whole list."""
        return {
            "first page": self._page(CallFilter()),
            "a page anywhere": self._page(CallFilter(), anywhere=True),
            "a page anywhere, going back": self._page(CallFilter(), anywhere=True, back=True),
            "last page": self._page(CallFilter(), last=True),
        }

    def filters(self) -> dict[str, Question]:
        """Return those with one filter, each on its first page, any other and its last."""
        found = {}
        for name, wanted in self._single().items():
            found[name] = self._page(wanted)
            found[f"{name}, anywhere"] = self._page(wanted, anywhere=True)
            found[f"{name}, last"] = self._page(wanted, last=True)
        return found

    def _single(self) -> dict[str, CallFilter]:
        return {
            "connection": CallFilter(conn_id="voiceinfra_default"),
            "connection of long ago": CallFilter(conn_id=RETIRED[1]),
            "DAG": CallFilter(dag_id="reminders"),
            "DAG of long ago": CallFilter(dag_id=RETIRED[0]),
            "DAG under its old name": CallFilter(dag_id=RENAMED),
            "run": CallFilter(dag_id="reminders", run_id=run_of(NIGHTS // 2)),
            "campaign": CallFilter(campaign_id=campaign_of("surveys", NIGHTS // 2)),
            "accepted": CallFilter(state=CallState.ACCEPTED),
            "unknown": CallFilter(state=CallState.UNKNOWN),
            "answered": CallFilter(outcome="answered"),
            "open": CallFilter(outcome=OPEN),
            "outcome that never was": CallFilter(outcome="busy"),
            "4 digits": CallFilter(digits="0123"),
            "10 digits": CallFilter(digits="4155550123"),
            "10 digits of nobody": CallFilter(digits="1005550123"),
            "a night": self._night(),
        }

    def _night(self, **wanted: Any) -> CallFilter:
        began = night_of(NIGHTS // 3, self.now)
        return CallFilter(since=began, until=began + NIGHT, **wanted)

    def combinations(self) -> dict[str, Question]:
        """Return those with several filters, most of which match nothing or little."""
        everything = CallFilter(
            conn_id="voiceinfra_default",
            dag_id="reminders",
            run_id=run_of(NIGHTS // 2),
            campaign_id=campaign_of("reminders", NIGHTS // 2),
            state=CallState.ACCEPTED,
            outcome="failed",
            digits="0123",
        )
        combined = {
            "everything at once": everything,
            "DAG and a connection not its own": CallFilter(dag_id="reminders", conn_id="voiceinfra_surveys"),
            "DAG without such an outcome": CallFilter(dag_id="reminders", outcome="busy"),
            "connection and a state": CallFilter(conn_id="voiceinfra_default", state=CallState.UNKNOWN),
            "digits and a DAG": CallFilter(dag_id="invoices", digits="0123"),
            "digits, outcome, half a year": replace(
                CallFilter(digits="0123", outcome="failed"), since=self.now - timedelta(days=180)
            ),
            "a night and nobody": self._night(outcome="busy"),
            "a night of unknown": self._night(state=CallState.UNKNOWN),
            "a night of one DAG": self._night(dag_id="invoices", outcome="voicemail"),
            "most DAGs hidden": CallFilter(hidden_dags=frozenset({"reminders", "surveys", "invoices"})),
            "all hidden": CallFilter(
                hidden_dags=frozenset({"reminders", "surveys", "invoices", "follow_up", "retired"}),
                dagless_conns=frozenset(),
            ),
            "all hidden, one connection readable, digits": CallFilter(
                digits="0123",
                hidden_dags=frozenset({"reminders", "surveys", "invoices", "follow_up", "retired"}),
                dagless_conns=frozenset({"other"}),
            ),
        }
        return {name: self._page(wanted) for name, wanted in combined.items()}

    def orders(self) -> dict[str, Question]:
        """Return those in each order."""
        lists = {
            "": CallFilter(),
            ", connection": CallFilter(conn_id="voiceinfra_backup"),
            ", DAG": CallFilter(dag_id="reminders"),
            ", run": CallFilter(dag_id="reminders", run_id=run_of(NIGHTS // 2)),
            ", campaign": CallFilter(campaign_id=campaign_of("surveys", NIGHTS // 2)),
            ", a night": self._night(),
            ", failed": CallFilter(outcome="failed"),
            ", 10 digits": CallFilter(digits="4155550123"),
            ", connection of long ago": CallFilter(conn_id=RETIRED[1]),
        }
        found = {}
        for order in (Order.OLDEST, Order.LONGEST, Order.SHORTEST):
            for name, wanted in lists.items():
                found[f"{order.value}{name}"] = self._page(wanted, order=order)
            found[f"{order.value}, anywhere"] = self._page(CallFilter(), order=order, anywhere=True)
            found[f"{order.value}, last"] = self._page(CallFilter(), order=order, last=True)
        return found

    def others(self) -> dict[str, Question]:
        """Return those of the other pages."""
        ledger, entry = self.ledger, self.ledger.call_by_id(LOST)
        assert entry is not None
        lists = {
            "charts": CallFilter(),
            "charts, DAG": CallFilter(dag_id="reminders"),
            "charts, run": CallFilter(dag_id="reminders", run_id=run_of(NIGHTS // 2)),
            "charts, failed": CallFilter(outcome="failed"),
            "charts, nobody": CallFilter(outcome="busy"),
            "charts, a night": self._night(),
            "charts, 10 digits": CallFilter(digits="4155550123"),
        }
        charts = {
            name: (lambda wanted=wanted: ledger.lists.call_statistics(wanted))
            for name, wanted in lists.items()
        }
        last = campaign_of("reminders", NIGHTS - 1)
        return {
            **charts,
            "CSV, 1000 calls": self._csv(),
            "one call": lambda: ledger.call_by_id(f"call_{self._random.randrange(self.size)}"),
            "all calls to a number": lambda: ledger.lists.calls_to_contact(entry),
            "known connections": ledger.lists.known_connections,
            "known DAGs": ledger.lists.known_dags,
            "campaigns": lambda: ledger.lists.campaigns(limit=100),
            "contacts of a campaign": lambda: ledger.campaigns.count_contacts(last),
            "last completion": lambda: ledger.lists.last_completion("voiceinfra_default"),
            "last completion, never one": lambda: ledger.lists.last_completion("nowhere"),
            "rejections": ledger.deliveries.rejections,
            "kept deliveries": lambda: ledger.deliveries.kept(limit=100),
        }

    def _page(
        self,
        wanted: CallFilter,
        *,
        order: Order = Order.NEWEST,
        anywhere: bool = False,
        back: bool = False,
        last: bool = False,
    ) -> Question:
        def ask() -> object:
            place = self._place(order) if anywhere else None
            side = {"before" if back else "after": place} if place else {}
            return self.ledger.lists.page_of_calls(wanted, order=order, last=last, **side)

        return ask

    def _place(self, order: Order) -> str:
        if order in (Order.LONGEST, Order.SHORTEST):
            return Cursor(self._random.randrange(200), f"call_{self._random.randrange(self.size)}").written()
        moment = night_of(self._random.randrange(NIGHTS), self.now) + NIGHT * self._random.random()
        return Cursor(moment, "").written()

    def _csv(self) -> Question:
        def ask() -> object:
            chunks = self.ledger.lists.stream_calls(CallFilter())
            return [next(chunks) for _ in range(min(self.size, 1000))]

        return ask


def measure(questions: dict[str, Question], options: argparse.Namespace) -> dict[str, list[list[float]]]:
    """Ask everything many times; return the milliseconds of each answer, round by round."""
    times: dict[str, list[list[float]]] = {name: [] for name in questions}
    for ask in questions.values():
        deque((ask() for _ in range(2)), maxlen=0)
    for _ in range(options.rounds):
        for name, ask in questions.items():
            taken = []
            for _ in range(options.requests):
                began = time.perf_counter()
                ask()
                taken.append((time.perf_counter() - began) * 1000)
            times[name].append(taken)
    return times


def table(title: str, times: dict[str, list[list[float]]]) -> None:
    """Print what was measured."""
    print(f"\n{title}, load average {os.getloadavg()[0]:.1f}")
    print(f"{'ms':<36}" + "".join(f"{head:>10}" for head in ("p50", "p95", "max", "best p50", "best p95")))
    missed = 0
    for name, rounds in times.items():
        everything = sorted(one for taken in rounds for one in taken)
        best = min(statistics.median(taken) for taken in rounds)
        p95 = _percentile(everything, 0.95)
        best95 = min(_percentile(sorted(taken), 0.95) for taken in rounds)
        missed += p95 >= GOAL_MS
        figures = (statistics.median(everything), p95, everything[-1], best, best95)
        mark = " *" if p95 >= GOAL_MS else ""
        print(f"{name:<36}" + "".join(f"{figure:>10.1f}" for figure in figures) + mark, flush=True)
    print(f"{missed} of {len(times)} above {GOAL_MS} ms at the 95th percentile (*)")


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--databases", default="sqlite,postgresql", type=lambda text: text.split(","))
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=20, help="of each kind in a round")
    parser.add_argument("--url", help="a ledger to use instead, and to keep; filled if it is empty")
    parser.add_argument("--only", default="", help="only questions whose names hold this")
    parser.add_argument(
        "--what", default="ledger,routes", type=lambda text: text.split(","), help="default: %(default)s"
    )
    options = parser.parse_args()
    print(
        f"Python {platform.python_version()}, SQLAlchemy {version('sqlalchemy')}, "
        f"SQLite {sqlite3.sqlite_version}, at most {SCAN:,} calls looked at"
    )
    with contextlib.ExitStack() as stack:
        if "routes" in options.what:
            stack.enter_context(empty_airflow())
        urls = stack.enter_context(ledgers([] if options.url else options.databases))
        for name, url in (urls or {"the given ledger": options.url}).items():
            now = datetime.now(timezone.utc)
            size = size_of(url)
            if not size:
                print(f"\n{name}: filled in {fill(url, options.calls, now):.0f} s", flush=True)
                size = size_of(url)
            newest = CallLedger(url).page_of_calls(CallFilter(), limit=1).calls[0]
            makers = {
                "ledger": lambda url=url, size=size, now=newest.claimed_at: Questions(url, now, size).all(),
                "routes": lambda url=url, now=newest.claimed_at: Routes(url, now).all(),
            }
            for what in options.what:
                chosen = {key: ask for key, ask in makers[what]().items() if options.only in key}
                table(f"{name}, {size:,} calls, {what}", measure(chosen, options))


if __name__ == "__main__":
    main()
