"""What machine this is, what runs on it, and how much of it others use while something is measured."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "apache-airflow",
    "sqlalchemy",
    "psycopg",
    "fastapi",
    "uvicorn",
    "uvloop",
    "requests",
    "urllib3",
    "botocore",
    "apache-airflow-providers-http",
)
# A look before a round, in seconds, how often in vain, and the share of the processors that others may use.
LOOK, MOST_LOOKS, BUSY = 1.0, 5, 0.1


def versions() -> str:
    """Return the versions of what is measured and of what it is measured with."""
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join([*found, *databases()])


def databases() -> list[str]:
    """Return the versions of SQLite, and of PostgreSQL if its server programs are installed."""
    import sqlite3

    from harness.postgres import find_binaries

    found = [f"SQLite {sqlite3.sqlite_version}"]
    if binaries := find_binaries():
        said = subprocess.run(
            [binaries / "postgres", "--version"], capture_output=True, text=True, check=True
        )
        found.append(f"PostgreSQL {said.stdout.split()[2]}")
    return found


def commit() -> str:
    """Return the commit of the checkout; it ends in ``-dirty`` if there are changes on top."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def hardware(folder: Path) -> str:
    """Return the processors, the memory, and the filesystem of the folder that databases are put into."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor() or "unknown",
    )
    mounts = [part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)]
    disk = max(mounts, key=lambda part: len(part.mountpoint), default=None)
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{platform.system()} {platform.release()}, {os.cpu_count()} x {model}, {memory:.0f} GiB of memory, "
        f"databases on {disk.fstype if disk else 'an unknown filesystem'}"
    )


class Usage:
    """How much processor time our processes and all others use, from a moment on.

    :param root: the process that, with all that it has started, is ours.
    """

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._began = self._now()

    def _now(self) -> tuple[float, float, float]:
        machine = psutil.cpu_times()
        # Interrupts are left out: those of our own packets on loopback are nobody's.
        busy = machine.user + machine.nice + machine.system + getattr(machine, "steal", 0.0)
        return time.monotonic(), busy, _of_tree(self._root)

    def shares(self) -> tuple[float, float]:
        """Return the shares of all processors, 0 to 1, that were ours and that were others'."""
        (since, busy, ours), (now, busy_now, ours_now) = self._began, self._now()
        whole = (now - since) * (os.cpu_count() or 1)
        own = max(0.0, ours_now - ours) / whole
        return own, max(0.0, (busy_now - busy) / whole - own)


def _of_tree(root: psutil.Process) -> float:
    """Return the processor time, in seconds, of a process, of all below it, and of those that have ended."""
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])
    return total


def await_quiet(root: psutil.Process) -> float:
    """Wait, but not for long, until others leave the machine alone; return the share that they last used."""
    others = 1.0
    for _ in range(MOST_LOOKS):
        usage = Usage(root)
        time.sleep(LOOK)
        others = usage.shares()[1]
        if others <= BUSY:
            break
    return others
