"""What a DAG file pays, each time it is parsed, for importing this package's operators."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import ClassVar

from framework import AT_MOST, Aim, Line, Measured, Row

OPERATORS = (
    "airflow_provider_voiceinfra.operators.voiceinfra",
    "airflow_provider_voiceinfra.operators.campaign",
)
# What any operator that can wait in the triggerer derives from.
BASE = ("airflow.sdk", "airflow.triggers.base")
PROBE = """
import importlib, sys, time
times = [time.process_time()]
for step in sys.argv[1:]:
    for name in step.split(","):
        importlib.import_module(name)
    times.append(time.process_time())
print(*((late - early) * 1000 for early, late in zip(times, times[1:])))
"""
PROCESSES = 5


def probe(*steps: str) -> list[float]:
    """Return the processor time, in ms, of importing one after the other in a fresh process."""
    run = subprocess.run([sys.executable, "-c", PROBE, *steps], capture_output=True, text=True, check=True)
    return [float(value) for value in run.stdout.splitlines()[-1].split()]


class Imports(Row):
    """The operators beside ``airflow.sdk``, in the same fresh process."""

    name = "imports"
    what = (
        "Processor time that importing all operators adds to a DAG file, beside what `import airflow.sdk` "
        f"takes in the same process (peer). Each round is the median of {PROCESSES} processes."
    )
    lines: ClassVar = (
        Line("operators, triggers' base class loaded before", "ms", (Aim(AT_MOST, 0.01, "peer"),)),
        Line("operators, with what they load of Airflow", "ms", (Aim(AT_MOST, 0.01, "peer"),)),
    )
    seconds = 90

    def open(self, stack: ExitStack) -> None:
        """Have Python and Airflow write what they keep."""
        probe(",".join(BASE), *OPERATORS)

    def measure(self, number: int) -> Mapping[str, Measured]:
        """Import in fresh processes, both ways in turn."""
        ours, whole = ",".join(OPERATORS), []
        runs = []
        for _ in range(PROCESSES):
            runs.append(probe("airflow.sdk", "airflow.triggers.base", ours))
            whole.append(probe("airflow.sdk", ours))
        columns = [statistics.median(column) for column in zip(*runs, strict=True)]
        alone = [statistics.median(column) for column in zip(*whole, strict=True)]
        first, second = self.lines
        return {
            first.name: Measured(ours=columns[2], peer=columns[0]),
            second.name: Measured(ours=alone[1], peer=alone[0]),
        }


ROWS = (Imports,)
