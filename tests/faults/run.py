"""``make faults``: runs many seeds, some at a time, and says which of them showed something."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

from harness.postgres import find_binaries

from tests.faults import databases
from tests.faults.families import FAMILIES, name_of
from tests.faults.plants import PLANTS
from tests.faults.seeds import Verdict, run_seed
from tests.faults.zygote import Zygote


def main() -> int:
    """Run what the command line says; return 0 if no seed showed anything."""
    options, began = _arguments(), time.monotonic()
    seeds = range(options.seed_start, options.seed_start + options.seeds)
    slots = [slot for number in range(options.jobs) if (slot := seeds[number :: options.jobs])]
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        verdicts = [verdict for slot in pool.map(_slot, slots, repeat(options)) for verdict in slot]
    bad = [verdict for verdict in verdicts if verdict.violations]
    kinds = Counter(kind for verdict in bad for kind in verdict.kinds)
    seconds = sum(verdict.seconds for verdict in verdicts) / max(1, len(verdicts))
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
    parser.add_argument("--plant", choices=("", *PLANTS), default="")
    parser.add_argument("--family", choices=("", *map(name_of, FAMILIES)), default="")
    parser.add_argument("--keep", action="store_true", help="keep the files of seeds that showed something")
    return parser.parse_args()


def _slot(seeds: Sequence[int], options: argparse.Namespace) -> list[Verdict]:
    """Run some seeds, one after the other, on a database server of their own; tell of each at once."""
    server = None
    if options.database == databases.POSTGRESQL:
        binaries = find_binaries()
        if binaries is None:
            raise SystemExit("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
        server = databases.Postgres(binaries)
    home = Path(tempfile.mkdtemp(prefix="voiceinfra-faults-home-"))
    zygote = Zygote(home)
    chosen = {"plant": options.plant or None, "family": options.family or None, "keep": options.keep}
    verdicts = []
    try:
        for seed in seeds:
            try:
                verdicts.append(run_seed(seed, zygote, server, **chosen))
                _tell(verdicts[-1], options)
            except Exception:  # noqa: BLE001  the others are run all the same
                traceback.print_exc()
    finally:
        zygote.stop()
        shutil.rmtree(home, ignore_errors=True)
        if server is not None:
            server.stop()
    return verdicts


def _tell(verdict: Verdict, options: argparse.Namespace) -> None:
    word = "VIOLATION" if verdict.violations else "ok"
    lines = [f"seed {verdict.seed} ({verdict.family}): {word}, {verdict.seconds:.1f} s"]
    if verdict.violations:
        again = f"make faults SEEDS=1 SEED_START={verdict.seed} DATABASE={options.database}"
        again += f" PLANT={options.plant}" if options.plant else ""
        again += f" FAMILY={options.family}" if options.family else ""
        lines += [f"    {line}" for line in (*verdict.violations, f"again: {again}")]
        if options.keep:
            lines.append(f"    files: {verdict.folder}")
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    sys.exit(main())
