"""How soon, how fast and in how much memory a campaign calls, ledger and webhooks included, over real HTTP.

Run from the checkout: ``python benchmarks/bench_campaign.py --help``. ``sizes`` runs whole campaigns of 10k,
30k and 100k contacts against a sandbox without a rate limit; ``throughput`` looks at how much of a rate limit
a campaign uses. Each campaign runs in a process of its own, beside the sandbox, the receiver of the webhooks
and the database, which need processor time, too: the figures are of all of them on one machine.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import psutil
from campaign_process import ROOT, Campaign
from harness import postgres

SIZES = "10000,30000,100000"
LIMITS = "5,20,100,300"
# As a server that has something to lose, which the harness's own is not.
DURABLE = ("max_connections=100",)


@contextlib.contextmanager
def ledgers(names: list[str]) -> Iterator[dict[str, Callable[[], contextlib.AbstractContextManager[str]]]]:
    """Return, for each kind of database, what makes an empty one for a ``with`` statement."""
    with contextlib.ExitStack() as stack:
        server = None
        if "postgresql" in names:
            binaries = postgres.find_binaries()
            if binaries is None:
                raise SystemExit("PostgreSQL's server programs are not installed; use --databases sqlite.")
            postgres.FAST = DURABLE
            server = postgres.PostgresServer(binaries)
            stack.callback(server.stop)
        numbers = itertools.count()

        @contextlib.contextmanager
        def sqlite() -> Iterator[str]:
            with tempfile.TemporaryDirectory() as folder:
                yield f"sqlite:///{folder}/ledger.db"

        @contextlib.contextmanager
        def postgresql() -> Iterator[str]:
            assert server is not None
            name = f"bench_{next(numbers)}"
            yield server.create_database(name)
            server.drop_database(name)

        yield {name: {"sqlite": sqlite, "postgresql": postgresql}[name] for name in names}


def row(*cells: str) -> None:
    """Print one line of a table."""
    print(f"{cells[0]:<11}" + "".join(f"{cell:>10}" for cell in cells[1:]), flush=True)


def sizes(options: argparse.Namespace, databases: dict[str, Any]) -> None:
    """Run whole campaigns."""
    limit = None if options.full else options.most_seconds
    print(f"\nWhole campaigns: no rate limit, calls of 0 s, {options.lines} lines; times from run() on, in s")
    head = ("contacts", "1st call", "loaded", "load CPU", "us/load", "dialled", "results", "ms/call")
    row("database", *head, "late ms", "own ms", "load+MB", "peak+MB", "base MB", "load avg")
    for name, new_ledger in databases.items():
        for size in options.sizes:
            before = os.getloadavg()[0]
            with new_ledger() as url, Campaign(url, size, lines=options.lines) as campaign:
                found = campaign.result(limit)
            row(name, *_cells(found, size), f"{before:.2f}")
            if found["end"] == "stopped":
                calls = found["api_accepted"]
                whole = found["load_seconds"] + found["dial_seconds"] / calls * size
                print(f"  * stopped after {calls:,} calls; all would take {whole:.0f} s at this rate.")
            elif found["api_accepted"] != size or found["contacts"] != size:
                raise RuntimeError(f"{size} contacts, but {found['api_accepted']} calls")
    print(
        "loaded: of that, reading and storing the contacts; load CPU: processor time of it.\n"
        "ms/call: dialled by calls; late ms: after the first 20 s, in which the rate rises.\n"
        "own ms: processor time of the campaign's process. base MB: with Airflow and the operator imported;\n"
        "load+MB, peak+MB: above that, after loading and at the most."
    )


def _cells(found: dict[str, Any], size: int) -> list[str]:
    calls, progress = found["api_accepted"], found["progress"]
    late = [point for point in progress if point[0] >= progress[0][0] + 20]
    return [
        f"{size:,}",
        f"{found['first']:.2f}",
        f"{found['load_seconds']:.2f}",
        f"{found['load_cpu']:.2f}",
        f"{found['load_seconds'] / size * 1e6:.1f}",
        f"{found['dial_seconds']:.1f}" + ("*" if found["end"] == "stopped" else ""),
        f"{found['results_seconds']:.2f}",
        f"{found['dial_seconds'] / calls * 1000:.3f}",
        f"{(late[-1][0] - late[0][0]) / max(1, late[-1][1] - late[0][1]) * 1000:.3f}" if late else "-",
        f"{found['cpu'] / calls * 1000:.3f}",
        f"{found['loaded_mb']:.1f}",
        f"{found['peak_mb']:.1f}",
        f"{found['airflow_mb']:.1f}",
    ]


def throughput(options: argparse.Namespace, databases: dict[str, Any]) -> None:
    """Measure how much of a rate limit campaigns use."""
    print(
        f"\nShare of a rate limit: {options.seconds:g} s after {options.start_up:g} s of start-up, API "
        f"latency {options.latency_ms:g} ms, lines for all"
    )
    row("database", "limit/s", "of limit", "429s", "heard/s", "own CPU", "all CPUs", "load avg")
    for name, new_ledger in databases.items():
        for limit in options.limits:
            rows = int(limit * (options.start_up + options.seconds) * 1.2) + 500
            settings = {"rate_limit": limit, "latency_ms": options.latency_ms}
            before = os.getloadavg()[0]
            with new_ledger() as url, Campaign(url, rows, lines=rows, **settings) as campaign:
                while not campaign.sandbox.counts()["requests"]:
                    time.sleep(0.05)
                time.sleep(options.start_up)
                cells = _watched(campaign, options.seconds, limit)
                campaign.result(0)
            row(name, f"{limit:g}", *cells, f"{before:.2f}")
    print("heard: webhooks stored. own CPU: of the campaign's process, of one processor.")


def _watched(campaign: Campaign, duration: float, limit: float) -> list[str]:
    own = psutil.Process(campaign.process.pid)
    psutil.cpu_percent()
    counts, busy, began = campaign.sandbox.counts(), own.cpu_times(), time.monotonic()
    time.sleep(duration)
    counts_then, busy_then, ended = campaign.sandbox.counts(), own.cpu_times(), time.monotonic()
    machine = psutil.cpu_percent()
    good, bad, heard = (counts_then[k] - counts[k] for k in ("accepted", "rate_limited", "delivered"))
    seconds = ended - began
    cpu = busy_then.user + busy_then.system - busy.user - busy.system
    return [
        f"{good / seconds / limit:.1%}",
        f"{bad / max(1, good + bad):.2%}",
        f"{heard / seconds:.1f}",
        f"{cpu / seconds:.0%}",
        f"{machine:.0f}%",
    ]


def header(options: argparse.Namespace) -> str:
    """Return what ran where."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    packages = ("airflow-provider-voiceinfra", "apache-airflow", "sqlalchemy", "requests", "uvicorn")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{versions}, commit {commit or 'unknown'}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores"
    )


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", default="sizes,throughput", help="which runs (default: %(default)s)")
    parser.add_argument("--databases", default="sqlite,postgresql", help="default: %(default)s")
    parser.add_argument("--sizes", default=SIZES, help="contacts of whole campaigns (default: %(default)s)")
    parser.add_argument("--lines", type=int, default=1000, help="active calls at most (default: %(default)s)")
    parser.add_argument(
        "--most-seconds",
        type=float,
        default=360.0,
        help="stop a whole campaign after this time, in seconds (default: %(default)g)",
    )
    parser.add_argument("--full", action="store_true", help="let whole campaigns take as long as they take")
    parser.add_argument("--limits", default=LIMITS, help="calls per second (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="measured time of throughput (default: %(default)g)"
    )
    parser.add_argument("--start-up", type=float, default=15.0, help="before that (default: %(default)g)")
    parser.add_argument("--latency-ms", type=float, default=50.0, help="of throughput's API")
    options = parser.parse_args()
    options.sizes = [int(size) for size in options.sizes.split(",")]
    options.limits = [float(limit) for limit in options.limits.split(",")]
    print(header(options))
    runs = {"sizes": sizes, "throughput": throughput}
    with ledgers(options.databases.split(",")) as databases:
        for name in options.runs.split(","):
            runs[name](options, databases)


if __name__ == "__main__":
    main()
