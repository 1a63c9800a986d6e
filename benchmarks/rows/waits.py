"""What 10,000 calls cost while they are waited for, beside triggers that each ask for their own call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

from framework import AT_MOST, Aim, Line, Measured, Row
from servers import DATABASES, databases

CALLS = 10_000
# So many pollers are run, and their figures multiplied: all of them would ask more than the ledger answers.
POLLERS = 200
SECONDS = 14.0


class Waits(Row):
    """Triggers of one process that wait for calls without a completion."""

    name = "waits"
    what = (
        f"What {CALLS:,} waiting triggers of one triggerer process cost (ours), beside triggers that each "
        "ask the ledger for their own call at the same interval, as dbt Cloud's and HTTP's do (peer; "
        f"{POLLERS} are run, and their figures multiplied by {CALLS // POLLERS}, since all of them would not "
        "keep the interval). Both run at the same time, in processes of their own."
    )
    lines: ClassVar = tuple(
        line
        for database in DATABASES
        for line in (
            Line(f"{database}, statements", "/s", (Aim(AT_MOST, 0.001, "peer"),)),
            Line(f"{database}, of one processor", "%"),
        )
    )
    seconds = 90

    def open(self, stack: ExitStack) -> None:
        """Start the triggers."""
        self.processes = {
            (database, kind): self._start(stack, kind, number, url)
            for database, url in ((name, new()) for name, new in databases(stack).items())
            for kind, number in (("ours", CALLS), ("peer", POLLERS))
        }
        for process in self.processes.values():
            answer(process)

    def _start(self, stack: ExitStack, kind: str, number: int, url: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parents[1] / "waits_process.py"), kind, str(number)],
            env={**os.environ, "AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        return process

    def measure(self, number: int) -> Mapping[str, Measured]:
        """Measure all of them at the same time."""
        for process in self.processes.values():
            assert process.stdin is not None
            process.stdin.write(f"{SECONDS}\n")
            process.stdin.flush()
        said = {key: json.loads(answer(process)) for key, process in self.processes.items()}
        times = CALLS / POLLERS
        found = {}
        for database in DATABASES:
            ours, peer = said[database, "ours"], said[database, "peer"]
            found[f"{database}, statements"] = Measured(ours["statements"], peer=peer["statements"] * times)
            found[f"{database}, of one processor"] = Measured(
                ours["cpu"] * 100, peer=peer["cpu"] * times * 100
            )
        return found


def answer(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the triggers' process ended with {process.wait()}")
    return line


ROWS = (Waits,)
