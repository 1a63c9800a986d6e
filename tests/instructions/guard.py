"""Counts instructions with Callgrind, and fails if a piece of work takes a tenth more than it did.

``python -m tests.instructions.guard`` compares; with ``--write`` it writes down what it counts. A count does
not depend on what else the machine does. It is given in units of a fixed piece of work that is counted in the
same run, so that it depends little on how Python was compiled.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from tests.instructions.work import MARK, REFERENCE, REPEATS, WORK

COUNTS = Path(__file__).with_name("counts.json")
TOLERANCE = 0.10
VALGRIND = "valgrind is missing; install it, such as by: apt-get install valgrind"


def count() -> dict[str, float]:
    """Run the work under Callgrind, and return how many times the instructions of the reference each takes.

    :raises SystemExit: if Callgrind is missing or fails.
    """
    if shutil.which("valgrind") is None:
        raise SystemExit(VALGRIND)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "valgrind",
            "--tool=callgrind",
            f"--callgrind-out-file={folder}/out",
            f"--dump-before={MARK}",
            sys.executable,
            "-m",
            "tests.instructions.work",
        ]
        # Hashes decide the order of sets, and so what is done.
        env = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"Callgrind failed with {done.returncode}:\n{done.stderr[-4000:]}")
        return in_units(parts(Path(folder)))


def parts(folder: Path) -> dict[str, int]:
    """Return the instructions of each piece of work: Callgrind writes a file at each mark."""
    # The first is what comes before the first mark; from there on work and preparation take turns.
    files = [folder / f"out.{number}" for number in range(2, 2 * len(WORK) + 1, 2)]
    found = {}
    for name, file in zip(WORK, files, strict=True):
        total = re.search(r"^(?:summary|totals): (\d+)", file.read_text(), re.MULTILINE)
        if total is None:
            raise SystemExit(f"Callgrind wrote no total for {name!r}")
        found[name] = int(total[1]) // REPEATS
    return found


def in_units(instructions: Mapping[str, int]) -> dict[str, float]:
    """Return instructions as multiples of those of the reference."""
    unit = instructions[REFERENCE]
    return {name: round(number / unit, 5) for name, number in instructions.items() if name != REFERENCE}


def verdicts(found: Mapping[str, float], known: Mapping[str, float]) -> tuple[list[str], bool]:
    """Compare counts with those written down; return a line for each, and whether all are within bounds."""
    lines, fine = [], set(found) == set(known)
    for name in {**known, **found}:
        if name not in found or name not in known:
            lines.append(f"{name:<30} only {'counted' if name in found else 'written down'}")
            continue
        change = found[name] / known[name] - 1
        fine = fine and change <= TOLERANCE
        said = "MORE THAN ALLOWED" if change > TOLERANCE else ""
        lines.append(f"{name:<30} {known[name]:>9.4f} {found[name]:>9.4f} {change:>+8.1%} {said}".rstrip())
    return lines, fine


def versions() -> dict[str, str]:
    """Return what the counts depend on."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "SQLAlchemy": version("sqlalchemy"),
        "SQLite": sqlite3.sqlite_version,
    }


def main() -> None:
    """Count, and compare or write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help=f"write {COUNTS.name} instead")
    write = parser.parse_args().write
    found, those = count(), versions()
    if write:
        COUNTS.write_text(json.dumps({"versions": those, "counts": found}, indent=2) + "\n")
        print(f"{COUNTS.name} is written: {found}")
        return
    known = json.loads(COUNTS.read_text())
    lines, fine = verdicts(found, known["counts"])
    print(f"{'instructions, in units':<30} {'known':>9} {'now':>9}")
    print("\n".join(lines))
    if those != known["versions"]:
        print(f"Counted with {those}, while {COUNTS.name} was with {known['versions']}.")
    if not fine:
        raise SystemExit(
            f"Some work takes over {TOLERANCE:.0%} more instructions than {COUNTS.name} says. Make it "
            "cheaper, or write what it takes by `make instructions WRITE=1` and say in the commit why."
        )


if __name__ == "__main__":
    main()
