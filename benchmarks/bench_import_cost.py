"""How many milliseconds this package adds to ``import airflow.sdk``, as every DAG file that uses it pays.

Each figure is the median of fresh processes. In each, ``airflow.sdk`` is imported first, then the classes of
Airflow that ours derive from, then one of our modules; so the three shares are of the same process.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version

NAME = "airflow_provider_voiceinfra"
# Our modules, and what they need of Airflow beside airflow.sdk.
MODULES = {
    "get_provider_info": "",
    "hooks.voiceinfra": "",
    "operators.voiceinfra": "airflow.triggers.base",
    "sensors.voiceinfra": "airflow.triggers.base",
    "triggers.voiceinfra": "airflow.triggers.base",
    "plugin": "airflow.plugins_manager",
}
PROBE = """
import importlib, sys, time
times = [time.perf_counter()]
for name in ("airflow.sdk", *filter(None, [sys.argv[1]]), sys.argv[2]):
    loaded = len(sys.modules)
    importlib.import_module(name)
    times.append(time.perf_counter())
shares = [(late - early) * 1000 for early, late in zip(times, times[1:])]
if len(shares) == 2:
    shares.insert(1, 0.0)
print(*shares, len(sys.modules) - loaded)
"""


def measure(module: str, needed: str, home: str) -> list[float]:
    """Return milliseconds for airflow.sdk, for what is needed of Airflow, and for ours; and modules added."""
    command = [sys.executable, "-c", PROBE, needed, f"{NAME}.{module}"]
    environment = {**os.environ, "AIRFLOW_HOME": home}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return [float(value) for value in run.stdout.splitlines()[-1].split()]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9, help="processes per module (default: %(default)s)")
    runs = parser.parse_args().runs
    print(
        f"Python {platform.python_version()}, apache-airflow {version('apache-airflow')}, "
        f"airflow-provider-voiceinfra {version('airflow-provider-voiceinfra')}, "
        f"{os.cpu_count()} cores, median of {runs} processes"
    )
    results: dict[str, list[list[float]]] = {module: [] for module in MODULES}
    with tempfile.TemporaryDirectory() as home:
        for module, needed in MODULES.items():  # the first run writes what Python and Airflow keep
            measure(module, needed, home)
        for _ in range(runs):  # in turn, so that what else this machine does hits all of them alike
            for module, needed in MODULES.items():
                results[module].append(measure(module, needed, home))
    print(f"{'module':<22}{'airflow.sdk':>14}{'Airflow base':>14}{'added by us':>14}{'modules added':>15}")
    for module, measured in results.items():
        sdk, base, ours, added = (statistics.median(column) for column in zip(*measured, strict=True))
        print(f"{module:<22}{sdk:>11.1f} ms{base:>11.1f} ms{ours:>11.1f} ms{added:>15.0f}")


if __name__ == "__main__":
    main()
