"""``make night``: one night on one database; says what it did, and whether anything was against the rules."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from harness.postgres import find_binaries

from tests.faults import databases
from tests.faults.night.drawing import Size
from tests.faults.night.running import run_night
from tests.faults.plants import OF_THE_NIGHT
from tests.faults.zygote import Zygote

SHOWN = 20


def main() -> int:
    """Run what the command line says; return 0 if nothing was against the rules."""
    options = _arguments()
    server = None
    if options.database == databases.POSTGRESQL:
        binaries = find_binaries()
        if binaries is None:
            raise SystemExit("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
        server = databases.Postgres(binaries)
    home = Path(tempfile.mkdtemp(prefix="voiceinfra-night-home-"))
    zygote = Zygote(home)
    seconds = options.seconds or 15 + 0.04 * options.contacts
    size = Size(options.contacts, options.processes, options.opt_outs, seconds)
    try:
        outcome = run_night(
            options.seed, size, zygote, server, plant=options.plant or None, keep=options.keep
        )
    finally:
        zygote.stop()
        shutil.rmtree(home, ignore_errors=True)
        if server is not None:
            server.stop()
    for name, value in outcome.figures.items():
        print(f"  {name}: {value}")
    for violation in outcome.violations[:SHOWN]:
        print(f"  VIOLATION {violation}")
    if options.keep:
        print(f"  files: {outcome.folder}")
    count, word = len(outcome.violations), "FAILED" if outcome.violations else "passed"
    print(f"{word}: {count} violations in the night of seed {options.seed} on {options.database}")
    return 1 if outcome.violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make night", description=__doc__)
    parser.add_argument("--contacts", type=int, default=5000)
    parser.add_argument("--processes", type=int, default=16, help="how many run at a time")
    parser.add_argument("--opt-outs", type=int, default=500)
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="how long; by default what fits the contacts"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--database", choices=(databases.SQLITE, databases.POSTGRESQL), default=databases.SQLITE
    )
    parser.add_argument("--plant", choices=("", *OF_THE_NIGHT), default="")
    parser.add_argument("--keep", action="store_true", help="keep its files")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
