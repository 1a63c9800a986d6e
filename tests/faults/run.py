"""``make faults``: runs many seeds, some at a time, and says which of them showed something."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from harness.postgres import find_binaries

from tests.faults import databases
from tests.faults.plants import NAMES
from tests.faults.seeds import run_seed
from tests.faults.zygote import Zygote

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run what the command line says; return 0 if no seed showed anything."""
    options = _arguments()
    if options.slot:
        _slot(options)
        return 0
    began, verdicts = time.monotonic(), _all_slots(options)
    bad = [verdict for verdict in verdicts if verdict["violations"]]
    kinds = Counter(kind for verdict in bad for kind in verdict["kinds"])
    seconds = sum(verdict["seconds"] for verdict in verdicts) / max(1, len(verdicts))
    for kind, number in sorted(kinds.items()):
        print(f"  {kind}: {number} seeds")
    missing = options.seeds - len(verdicts)
    print(
        f"{'FAILED' if bad or missing else 'passed'}: {len(bad)} of {options.seeds} seeds on "
        f"{options.database} showed a violation{f', {missing} did not end' if missing else ''} "
        f"({seconds:.1f} s a seed, {time.monotonic() - began:.0f} s in all)"
    )
    return 1 if bad or missing else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--seed-start", type=int, default=0)
    parser.add_argument(
        "--database", choices=(databases.SQLITE, databases.POSTGRESQL), default=databases.SQLITE
    )
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--plant", choices=("", *NAMES), default="")
    parser.add_argument("--family", default="")
    parser.add_argument("--keep", action="store_true", help="keep the files of seeds that showed something")
    parser.add_argument("--slot", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def _all_slots(options: argparse.Namespace) -> list[dict[str, object]]:
    """Share the seeds out to some processes, each with a database server of its own; tell of each at once."""
    seeds = list(range(options.seed_start, options.seed_start + options.seeds))
    slots = [seeds[number :: options.jobs] for number in range(options.jobs) if seeds[number :: options.jobs]]
    verdicts: list[dict[str, object]] = []
    lock = threading.Lock()

    def work(slot: list[int]) -> None:
        command = [sys.executable, "-m", "tests.faults.run", "--slot", ",".join(map(str, slot))]
        command += ["--database", options.database, "--plant", options.plant, "--family", options.family]
        command += ["--keep"] if options.keep else []
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout is not None
        for line in process.stdout:
            verdict = json.loads(line)
            with lock:
                verdicts.append(verdict)
                _tell(verdict, options)
        process.wait()

    threads = [threading.Thread(target=work, args=(slot,)) for slot in slots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return verdicts


def _slot(options: argparse.Namespace) -> None:
    server = None
    if options.database == databases.POSTGRESQL:
        binaries = find_binaries()
        if binaries is None:
            raise SystemExit("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
        server = databases.Postgres(binaries)
    home = Path(tempfile.mkdtemp(prefix="voiceinfra-faults-home-"))
    zygote = Zygote(home)
    try:
        for seed in map(int, options.slot.split(",")):
            verdict = run_seed(
                seed,
                zygote,
                server,
                plant=options.plant or None,
                family=options.family or None,
                keep=options.keep,
            )
            print(json.dumps({**verdict.__dict__, "kinds": verdict.kinds}), flush=True)
    finally:
        zygote.stop()
        shutil.rmtree(home, ignore_errors=True)
        if server is not None:
            server.stop()


def _tell(verdict: dict[str, object], options: argparse.Namespace) -> None:
    seed, violations = verdict["seed"], verdict["violations"]
    word = "VIOLATION" if violations else "ok"
    print(f"seed {seed} ({verdict['family']}): {word}, {verdict['seconds']:.1f} s", flush=True)
    if not violations:
        return
    for violation in violations:  # type: ignore[attr-defined]
        print(f"    {violation}")
    again = f"make faults SEEDS=1 SEED_START={seed} DATABASE={options.database}"
    again += f" PLANT={options.plant}" if options.plant else ""
    again += f" FAMILY={options.family}" if options.family else ""
    print(f"    again: {again}", flush=True)
    if options.keep:
        print(f"    files: {verdict['folder']}")


if __name__ == "__main__":
    sys.exit(main())
