"""How much of an unknown rate limit four ways to pace reach, over real HTTP against the sandbox.

Run from the checkout: ``python benchmarks/bench_pacing.py --help``. The adaptive rate uses the project's
client, one per thread; urllib3's exponential backoff, botocore's adaptive mode and a fixed rate that happens
to know the limit are the yardsticks. The last lines say of each bar that the adaptive rate has to reach
whether the worst run met it. Everything takes about two hours; ``--limits``, ``--forms``, ``--paces`` and
``--seconds`` make it shorter.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import multiprocessing
import platform
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
import urllib3
import uvicorn
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from airflow_provider_voiceinfra import __version__
from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.connection import VoiceInfraConnection
from airflow_provider_voiceinfra.dialling.rate import AdaptivePace
from airflow_provider_voiceinfra.exceptions import RateLimitedError, VoiceInfraError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.sandbox_process import SandboxProcess

CALL = OutboundCall(agent_id="agent_demo", from_number="+12025550100", to_number="+12025550101")
LIMITS = (5, 20, 100, 300)
FORMS = ("seconds", "date", "none")
START_UP = 15.0
# What the adaptive rate has to reach: which run and figure, at least or at most, how much, and in which form.
BARS = (
    ("steady", "share of the limit", "at least", 0.95, ".1%"),
    ("steady", "429s", "at most", 0.02, ".2%"),
    ("changing", "share of the new limit from 15 s after the change", "at least", 0.95, ".1%"),
    ("together", "share of the limit", "at least", 0.9, ".1%"),
    ("together", "smallest process, as a part of its third", "at least", 0.5, ".2f"),
)

Work = Callable[[str, float, threading.Event, int], None]


@contextlib.contextmanager
def serving(limit: float, form: str, latency_ms: float) -> Iterator[SandboxProcess]:
    """Run a sandbox with a limit in calls per second."""
    with SandboxProcess(
        rate_limit=limit, retry_after=form, latency_ms=latency_ms, call_seconds=0, fault_numbers=False
    ) as sandbox:
        yield sandbox


def threads_for(limit: float) -> int:
    """Return how many threads keep a limit busy: three times what an answer in 80 ms needs, at least 4."""
    return max(4, min(48, int(limit * 0.08 * 3)))


def connection(base_url: str) -> VoiceInfraConnection:
    """Return a connection to a sandbox."""
    return VoiceInfraConnection(conn_id="bench", api_key="vk_sandbox_key", base_url=base_url)


def adaptive(base_url: str, limit: float, stop: threading.Event, threads: int) -> None:
    """Send with the adaptive rate, which isn't told the limit."""
    pace = AdaptivePace()

    def work() -> None:
        with VoiceInfraClient(connection(base_url)) as client:
            while True:
                sent_at = pace.acquire(stop)
                if sent_at is None:
                    return
                try:
                    client.place(CALL)
                except RateLimitedError as error:
                    pace.rate_limited(error.retry_after, sent_at)
                    continue
                except VoiceInfraError:
                    pass
                pace.accepted(sent_at)

    _run(work, threads)


def fixed(base_url: str, limit: float, stop: threading.Event, threads: int) -> None:
    """Send at exactly the limit, which this loop happens to know; after a 429 it simply goes on."""
    lock = threading.Lock()
    due = time.monotonic()

    def work() -> None:
        nonlocal due
        with VoiceInfraClient(connection(base_url)) as client:
            while not stop.is_set():
                with lock:
                    due = max(due, time.monotonic() - 0.03) + 1.0 / limit
                    wait = due - time.monotonic()
                if stop.wait(max(0.0, wait)):
                    return
                with contextlib.suppress(VoiceInfraError):
                    client.place(CALL)

    _run(work, threads)


def backoff(base_url: str, limit: float, stop: threading.Event, threads: int) -> None:
    """Send as fast as urllib3's own exponential backoff lets the same number of threads."""
    body = {"agent_id": CALL.agent_id, "from_number": CALL.from_number, "to_number": CALL.to_number}

    def work() -> None:
        retry = Retry(
            total=20,
            status_forcelist=[429],
            allowed_methods=None,
            backoff_factor=0.5,
            backoff_max=30,
            backoff_jitter=0.5,
            respect_retry_after_header=True,
        )
        with requests.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=retry))
            session.headers["X-API-Key"] = "vk_sandbox_key"
            while not stop.is_set():
                with contextlib.suppress(requests.RequestException):
                    session.post(f"{base_url}/calls/outbound", json=body, timeout=10)

    _run(work, threads)


def botocore(base_url: str, limit: float, stop: threading.Event, threads: int) -> None:
    """Send as botocore's adaptive mode does: its limiter of the client's rate, and its backoff."""
    from botocore.retries import adaptive as retries
    from botocore.retries import bucket, throttling

    class Detector:
        def is_throttling_error(self, *, status: int) -> bool:
            return status == 429

    clock = bucket.Clock()
    limiter = retries.ClientRateLimiter(
        rate_adjustor=throttling.CubicCalculator(starting_max_rate=0, start_time=clock.current_time()),
        rate_clocker=retries.RateClocker(clock),
        token_bucket=bucket.TokenBucket(max_rate=1, clock=clock),
        throttling_detector=Detector(),
        clock=clock,
    )
    body = {"agent_id": CALL.agent_id, "from_number": CALL.from_number, "to_number": CALL.to_number}

    def work() -> None:
        with requests.Session() as session:
            session.headers["X-API-Key"] = "vk_sandbox_key"
            refused = 0
            while not stop.is_set():
                limiter.on_sending_request(None)
                with contextlib.suppress(requests.RequestException):
                    answer = session.post(f"{base_url}/calls/outbound", json=body, timeout=10)
                    limiter.on_receiving_response(status=answer.status_code)
                    refused = refused + 1 if answer.status_code == 429 else 0
                if refused:  # as its ExponentialBackoff, which wants an attempt of its own kind
                    stop.wait(random.random() * min(2.0 ** (refused - 1), 20.0))

    _run(work, threads)


PACERS: dict[str, Work] = {
    "adaptive": adaptive,
    "urllib3 backoff": backoff,
    "botocore adaptive": botocore,
    "fixed at limit": fixed,
}


def _run(work: Callable[[], None], threads: int) -> None:
    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)


def _process(name: str, base_url: str, limit: float, threads: int, seconds: float, number: int) -> None:
    global CALL
    logging.disable(logging.WARNING)
    CALL = dataclasses.replace(CALL, to_number=f"+1202555010{number}")
    stop = threading.Event()
    threading.Timer(seconds, stop.set).start()
    PACERS[name](base_url, limit, stop, threads)


class Load:
    """One process that sends for a while, in a ``with`` statement.

    :param seconds: how long it sends.
    :param number: last digit of the number that it calls, which tells processes apart.
    """

    def __init__(
        self, name: str, base_url: str, limit: float, threads: int, seconds: float, number: int = 1
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(
            target=_process, args=(name, base_url, limit, threads, seconds, number)
        )

    def __enter__(self) -> Load:
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.join(timeout=5)
        if self.process.is_alive():  # a thread of urllib3's backoff may sleep for long
            self.process.kill()
            self.process.join()


def counts(sandbox: SandboxProcess) -> tuple[int, int, float]:
    """Return accepted requests, 429s, and the clock in seconds."""
    now = sandbox.counts()
    return now["accepted"], now["rate_limited"], time.monotonic()


def measured(sandbox: SandboxProcess, seconds: float, limit: float) -> tuple[float, float]:
    """Return the share of the limit that was reached in so many seconds from now, and the share of 429s."""
    accepted, refused, began = counts(sandbox)
    time.sleep(seconds)
    accepted_then, refused_then, ended = counts(sandbox)
    good, bad = accepted_then - accepted, refused_then - refused
    return good / (ended - began) / limit, bad / max(1, good + bad)


def await_traffic(sandbox: SandboxProcess) -> None:
    """Wait until the first request has come."""
    while not sum(sandbox.counts()[name] for name in ("accepted", "rate_limited")):
        time.sleep(0.05)


class Figures:
    """What the adaptive rate reached, by run and figure, each with where it was measured."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], list[tuple[float, str]]] = {}

    def add(self, run: str, figure: str, value: float, where: str) -> None:
        """Keep a figure of one run."""
        self._seen.setdefault((run, figure), []).append((value, where))

    def judge(self) -> None:
        """Print one line for each bar: met or not, and the worst figure."""
        print("\nBars of the adaptive rate, by the worst run")
        for run, figure, sense, bar, form in BARS:
            seen = self._seen.get((run, figure))
            if not seen:
                print(f"  not run  {run}: {figure} {sense} {bar:{form}}")
                continue
            value, where = min(seen) if sense == "at least" else max(seen)
            met = value >= bar if sense == "at least" else value <= bar
            verdict = "met    " if met else "not met"
            print(f"  {verdict}  {run}: {figure} {sense} {bar:{form}}; worst {value:{form}} at {where}")


def row(*cells: str) -> None:
    """Print one line of a table."""
    widths = (10, 14, 20, 20, 20, 10)
    print("".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)), flush=True)


def steady(options: argparse.Namespace, figures: Figures) -> None:
    """Measure each pace at each limit and form of Retry-After."""
    print(f"\nSteady: {options.seconds:g} s after {options.start_up:g} s of start-up")
    print("Each pace with its share of the limit and, in brackets, the share of its requests answered 429")
    row("limit/s", "Retry-After", *options.paces)
    for limit in options.limits:
        for form in options.forms:
            cells = []
            for name in options.paces:
                share, refused = _steady(options, limit, form, name)
                cells.append(f"{share:.1%} ({refused:.2%})")
                if name == "adaptive":
                    where = f"{limit:g}/s, {form}"
                    figures.add("steady", "share of the limit", share, where)
                    figures.add("steady", "429s", refused, where)
            row(f"{limit:g}", form, *cells)


def _steady(options: argparse.Namespace, limit: float, form: str, name: str) -> tuple[float, float]:
    total = options.start_up + options.seconds
    with (
        serving(limit, form, options.latency_ms) as sandbox,
        Load(name, sandbox.base_url, limit, threads_for(limit), total + 1.0),
    ):
        await_traffic(sandbox)
        time.sleep(options.start_up)
        return measured(sandbox, options.seconds, limit)


def changing(options: argparse.Namespace, figures: Figures) -> None:
    """Measure the adaptive rate before, and 15 s after, the limit was halved or doubled."""
    print("\nLimit changed half-way: share of the new limit in the 15 s after the change, and from then on")
    row("limit/s", "Retry-After", "new limit/s", "first 15 s", "after", "429s")
    for limit in options.limits:
        for form in options.forms:
            for factor in (0.5, 2.0):
                total = options.start_up + options.seconds / 2 + 15.0 + options.seconds / 2
                new = limit * factor
                with (
                    serving(limit, form, options.latency_ms) as sandbox,
                    Load("adaptive", sandbox.base_url, limit, threads_for(max(limit, new)), total + 1.0),
                ):
                    await_traffic(sandbox)
                    time.sleep(options.start_up + options.seconds / 2)
                    sandbox.configure(rate_limit=new)
                    first, _ = measured(sandbox, 15.0, new)
                    then, refused = measured(sandbox, options.seconds / 2, new)
                row(f"{limit:g}", form, f"{new:g}", f"{first:.1%}", f"{then:.1%}", f"{refused:.2%}")
                where = f"{limit:g} to {new:g}/s, {form}"
                figures.add("changing", "share of the new limit from 15 s after the change", then, where)


def together(options: argparse.Namespace, figures: Figures) -> None:
    """Measure three processes on one account."""
    print("\nThree processes: together, and the smallest of the three as a part of its third")
    row("limit/s", "Retry-After", "together", "smallest", "429s")
    for limit in options.limits:
        for form in options.forms:
            total = options.start_up + options.seconds
            with serving(limit, form, options.latency_ms) as sandbox, contextlib.ExitStack() as stack:
                for number in (1, 2, 3):
                    threads = threads_for(limit)
                    load = Load("adaptive", sandbox.base_url, limit, threads, total + 2.0, number)
                    stack.enter_context(load)
                await_traffic(sandbox)
                time.sleep(options.start_up)
                since = sandbox.audit()["last_seq"]
                share, refused = measured(sandbox, options.seconds, limit)
                calls = sandbox.control("GET", "audit", since=since, kinds="calls")["calls"]
            shares = [sum(call["to_number"].endswith(f"010{n}") for call in calls) for n in (1, 2, 3)]
            smallest = min(shares) * 3 / max(1, sum(shares))
            row(f"{limit:g}", form, f"{share:.1%}", f"{smallest:.2f}", f"{refused:.2%}")
            where = f"{limit:g}/s, {form}"
            figures.add("together", "share of the limit", share, where)
            figures.add("together", "smallest process, as a part of its third", smallest, where)


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="measured time of each run, in seconds")
    parser.add_argument("--start-up", type=float, default=START_UP, help="seconds before that")
    parser.add_argument("--limits", default=",".join(map(str, LIMITS)), help="calls per second")
    parser.add_argument("--forms", default=",".join(FORMS), help="forms of Retry-After")
    parser.add_argument("--paces", default=",".join(PACERS), help="what to compare")
    parser.add_argument("--latency-ms", type=float, default=50.0, help="of the API, in milliseconds")
    parser.add_argument("--runs", default="steady,changing,together", help="which runs, in this order")
    options = parser.parse_args()
    options.limits = [float(limit) for limit in options.limits.split(",")]
    options.forms = options.forms.split(",")
    options.paces = options.paces.split(",")
    print(
        f"airflow-provider-voiceinfra {__version__}, commit {_commit()}, Python {platform.python_version()}, "
        f"requests {requests.__version__}, urllib3 {urllib3.__version__}, uvicorn {uvicorn.__version__}, "
        f"{multiprocessing.cpu_count()} cores, API latency {options.latency_ms:g} ms"
    )
    runs = {"steady": steady, "changing": changing, "together": together}
    figures = Figures()
    for name in options.runs.split(","):
        runs[name](options, figures)
    figures.judge()


if __name__ == "__main__":
    main()
