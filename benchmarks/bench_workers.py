"""Webhooks a second, and the time of an answer, by the number of the API server's worker processes.

Run from the checkout: ``python benchmarks/bench_workers.py``; it takes two minutes. The receiver in Airflow's
API server and a plugin's route that does nothing but read the body take turns.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT), str(ROOT / "scripts")]

import machine  # noqa: E402
from load import Target, post  # noqa: E402
from servers import DATABASES, ApiServer, databases, temporary  # noqa: E402

CONNECTIONS = 32
HEAD = (
    "| database | workers | webhooks/s | 50th, 99th percentile | of an empty route |\n|---|--:|--:|--:|--:|"
)


def measure(workers: int, ledger_url: str, metadata_url: str, seconds: float) -> str:
    """Return the cells of one server."""
    with ExitStack() as stack:
        server = ApiServer(temporary(stack, "airflow"), metadata_url=metadata_url, ledger_url=ledger_url)
        server.env["AIRFLOW__API__WORKERS"] = str(workers)
        server.run_cli("db", "migrate")
        server.serve(stack)
        server.wait()
        targets = {
            "nothing": Target(server.port, "/nothing/webhooks"),
            "ours": Target(server.port, "/voiceinfra/webhooks"),
        }
        post(targets, connections=CONNECTIONS, seconds=1.0)  # each worker opens the ledger first
        found = post(targets, connections=CONNECTIONS, seconds=seconds)
        ours, nothing = found["ours"], found["nothing"]
        return f"{ours.rate:,.0f} | {ours.p50:.0f}, {ours.p99:.0f} ms | {ours.rate / nothing.rate:.2f}"


def main() -> None:
    """Measure each number of workers on each database."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn, of which there are two")
    options = parser.parse_args()
    print(
        f"{machine.versions()}; {machine.hardware(Path(tempfile.gettempdir()))}; {CONNECTIONS} connections."
    )
    print(HEAD)
    with ExitStack() as stack:
        new = databases(stack)
        metadata_url = new["PostgreSQL"]().replace("postgresql:", "postgresql+psycopg2:", 1)
        for database in DATABASES:
            for workers in options.workers:
                cells = measure(workers, new[database](), metadata_url, options.seconds)
                print(f"| {database} | {workers} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
