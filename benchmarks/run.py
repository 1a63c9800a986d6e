"""Runs the benchmarks and prints, for each, ours beside a peer and a limit, and whether its aim is met.

Run from the checkout: ``python benchmarks/run.py --help``. Each row runs in a process of its own, at least
three rounds; a round in which others used more than a tenth of the processors is measured again, while the
row's time lasts. A row that fails prints its error, and the others run all the same. The output is also
written to ``benchmarks/RESULTS.md``; with ``--only``, or ``BENCH_LONG`` in the environment, which makes some
rows take hours, just if ``--write`` is given. With ``--only``, what is printed of a row takes the place of
what is there, and says when it was measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT), str(ROOT / "scripts")]

import machine  # noqa: E402
from framework import HEAD, Measured, Result, Round, Row, cells, counted, table, verdicts  # noqa: E402
from rows import all_rows  # noqa: E402

RESULTS = ROOT / "benchmarks" / "RESULTS.md"
LOG = ROOT / "benchmarks" / "results" / "run.log"
# Rounds beyond those wanted, at most, in place of those in which the machine was busy; and how many there
# have to be before the row's time ends it.
MORE_ROUNDS, FEWEST_ROUNDS = 3, 3
# How the last line begins.
TOTAL = re.compile(r"^\d+ of \d+ aims met", re.MULTILINE)
# For a row to stop what it has started once its time is over, in seconds.
GRACE = 90.0


# ---- in the process of one row


def measure_row(row: Row, tell: Any) -> None:
    """Measure a row's rounds, and report each as it ends."""
    us = psutil.Process()
    deadline = time.monotonic() + row.seconds
    with ExitStack() as stack:
        row.open(stack)
        quiet, longest = 0, 0.0
        for number in range(row.rounds + MORE_ROUNDS):
            is_late = time.monotonic() + 1.25 * longest > deadline
            if quiet >= row.rounds or (number >= min(FEWEST_ROUNDS, row.rounds) and is_late):
                break
            machine.await_quiet(us)
            began, usage = time.monotonic(), machine.Usage(us)
            found = row.measure(number)
            own, others = usage.shares()
            one = Round(found, time.monotonic() - began, own, others)
            longest = max(longest, one.seconds + machine.LOOK)
            quiet += not one.is_busy(machine.BUSY)
            tell({"round": dataclasses.asdict(one), "notes": row.notes})


def be_row(name: str) -> None:
    """Be the process of one row: standard output carries one JSON object a line."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints must not be taken for a report
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"{name} was ended, since its time was over"))

    def tell(report: dict[str, Any]) -> None:
        out.write(json.dumps(report) + "\n")
        out.flush()

    try:
        measure_row(all_rows()[name](), tell)
    except SystemExit as end:
        tell({"error": str(end)})
        raise
    except Exception:  # noqa: BLE001  the other rows run all the same
        tell({"error": traceback.format_exc()})
        raise SystemExit(1) from None


# ---- in the process that runs all of them


def run_row(row: type[Row], show: Any) -> Result:
    """Run a row in a process of its own, and end it, with all that it has started, when its time is over."""
    result, began = Result(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="voiceinfra-bench-") as home, child(row.name, home) as process:
        timers = [
            threading.Timer(row.seconds, process.terminate),
            threading.Timer(row.seconds + GRACE, process.kill),
        ]
        for timer in timers:
            timer.start()
        assert process.stdout is not None
        for line in process.stdout:
            take(json.loads(line), result)
            show(f"  {row.name}: {len(result.rounds)} rounds, {time.monotonic() - began:.0f} s")
        process.wait()
        for timer in timers:
            timer.cancel()
    result.seconds = time.monotonic() - began
    if process.returncode and result.error is None:
        result.error = f"its process ended with {process.returncode} after {result.seconds:.0f} s"
    if len(result.rounds) >= min(FEWEST_ROUNDS, row.rounds) and result.seconds >= row.seconds:
        result.error = None  # a round more, in place of one in which the machine was busy, took too long
    return result


@contextmanager
def child(name: str, home: str) -> Iterator[subprocess.Popen[str]]:
    """Start the process of a row."""
    # Without bytecode on disk, every process would compile what it imports.
    left_out = ("AIRFLOW", "PYTHONDONTWRITEBYTECODE")
    env = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
    env |= {"AIRFLOW_HOME": home, "no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost"}
    # What rows start is of this checkout, whatever is installed.
    paths = [str(ROOT), str(ROOT / "scripts"), *filter(None, [env.get("PYTHONPATH")])]
    env["PYTHONPATH"] = os.pathsep.join(paths)
    command = [sys.executable, __file__, "--row", name]
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("a") as log:
        log.write(f"== {name}\n")
        log.flush()
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def take(report: dict[str, Any], result: Result) -> None:
    """Add what a row's process reports to its result."""
    if one := report.get("round"):
        found = {name: Measured(**values) for name, values in one.pop("found").items()}
        result.rounds.append(Round(found=found, **one))
    result.notes = report.get("notes", result.notes)
    result.error = report.get("error", result.error)


def described(row: type[Row], result: Result) -> str:
    """Return what there is to say of a row."""
    parts = [f"## {row.name}", wrapped(row.what)]
    used = counted(result.rounds, row.rounds, machine.BUSY)
    if used:
        parts.append(table([HEAD, *(cells(line, used) for line in row.lines)]))
        parts.append(wrapped(rounds_said(row, result, used)))
    parts += map(wrapped, result.notes)
    if result.error:
        parts.append("FAILED:\n\n```\n" + result.error.strip() + "\n```")
    return "\n\n".join(parts) + "\n"


def rounds_said(row: type[Row], result: Result, used: Sequence[Round]) -> str:
    """Return how many rounds were measured, and what else the machine did meanwhile."""
    shares = [f"{one.others:.0%}" + (" busy" if one.is_busy(machine.BUSY) else "") for one in result.rounds]
    said = (
        f"{len(result.rounds)} rounds in {result.seconds:.0f} s, of which {len(used)} count. "
        f"Others' share of the processors in each: {', '.join(shares)}; ours: "
        f"{', '.join(f'{one.own:.0%}' for one in result.rounds)}."
    )
    if len(used) < row.rounds:
        said += f" **Fewer rounds than the {row.rounds} that were wanted.**"
    if any(one.is_busy(machine.BUSY) for one in used):
        said += " **The machine was busy with other work: do not rely on these figures.**"
    return said


def heading(folder: Path) -> str:
    """Return what is measured where."""
    load = ", ".join(f"{one:.2f}" for one in os.getloadavg())
    return "\n\n".join(
        [
            "# Results of `make bench`",
            wrapped(f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, commit {machine.commit()}."),
            wrapped(f"{machine.versions()}."),
            wrapped(f"{machine.hardware(folder)}; load average before: {load}."),
            wrapped(
                "Each figure is the median of the rounds, with the least and the greatest behind it. Ours "
                "and what it is compared with are measured in turn within each round; a ratio is the "
                "median of the rounds' ratios."
            ),
            "",
        ]
    )


def wrapped(text: str) -> str:
    """Return text in lines that a terminal shows whole."""
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)


def renewed(before: str, rows: Sequence[type[Row]], printed: str) -> str:
    """Return the results of before, with the sections of some rows as they were printed now."""
    stamp = f"Measured again {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, commit {machine.commit()}."
    for row in rows:
        found = f"{section(printed, row.name).rstrip()}\n\n{wrapped(stamp)}\n\n"
        if f"\n## {row.name}\n" in before:
            before = before.replace(section(before, row.name), found)
        else:  # in its place by the alphabet
            later = (
                one.start() for one in re.finditer(r"^## (.+)$", before, re.MULTILINE) if one[1] > row.name
            )
            total = TOTAL.search(before)
            place = next(later, total.start() if total else len(before))
            before = before[:place] + found + before[place:]
    cells = [line.rsplit("|", 2)[1] for line in before.splitlines() if line.startswith("|")]
    met, missed = (sum(len(re.findall(word, cell)) for cell in cells) for word in (r"\byes\b", r"\bNO\b"))
    return TOTAL.sub(f"{met} of {met + missed} aims met", before)


def section(text: str, name: str) -> str:
    """Return the part of the results that is about one row."""
    begin = text.index(f"\n## {name}\n") + 1
    end = re.compile(rf"^## |{TOTAL.pattern}", re.MULTILINE).search(text, begin + 1)
    return text[begin : end.start() if end else len(text)]


class Output:
    """Prints, and keeps what was printed."""

    def __init__(self) -> None:
        self.text = ""

    def __call__(self, text: str) -> None:
        """Print a part."""
        print(text, flush=True)
        self.text += text + "\n"


def progress(text: str) -> None:
    """Say how far a row is, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r{text}", end="\r", file=sys.stderr, flush=True)


def run(rows: Sequence[type[Row]], out: Output) -> bool:
    """Run rows and print their tables; return whether none has failed."""
    began, met, aims, failed = time.monotonic(), 0, 0, []
    out(heading(Path(tempfile.gettempdir())))
    for row in rows:
        result = run_row(row, progress)
        out(described(row, result))
        used = counted(result.rounds, row.rounds, machine.BUSY)
        met_here, aims_here = verdicts(row, used) if used else (0, sum(len(line.aims) for line in row.lines))
        met, aims = met + met_here, aims + aims_here
        if result.error:
            failed.append(row.name)
    minutes = (time.monotonic() - began) / 60
    out(f"{met} of {aims} aims met, in {minutes:.0f} minutes. Failed: {', '.join(failed) or 'none'}.")
    return not failed


def main() -> None:
    """Run what the options ask for."""
    rows = all_rows()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="a row, or what its name begins with")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}, even with --only")
    parser.add_argument("--list", action="store_true", help="list the rows and how long they may take")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        be_row(options.row)
        return
    if options.list:
        for row in rows.values():
            print(f"{row.name:<24}{row.seconds:>6.0f} s  {row.what.splitlines()[0]}")
        print(f"{'all':<24}{sum(row.seconds for row in rows.values()):>6.0f} s")
        return
    chosen = [row for name, row in rows.items() if not options.only or name.startswith(tuple(options.only))]
    if not chosen:
        parser.error(f"no such row; there are {', '.join(rows)}")
    LOG.unlink(missing_ok=True)
    out = Output()
    fine = run(chosen, out)
    if options.only and options.write and RESULTS.exists():
        RESULTS.write_text(renewed(RESULTS.read_text(), chosen, out.text))
    elif options.write or not (options.only or os.environ.get("BENCH_LONG")):
        RESULTS.write_text(out.text)
    raise SystemExit(0 if fine else 1)


if __name__ == "__main__":
    main()
