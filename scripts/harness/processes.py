"""Starting child processes so that they, and everything they start, can be found and ended again.

A process started here carries a marker in its environment, which its children inherit. Process groups are
not enough: Airflow puts some of its processes into groups and sessions of their own, and a parent that is
killed leaves its children to init.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import psutil

MARKER = "VOICEINFRA_HARNESS"
KEEP = b"keep"  # what a guard is told when the servers are to outlive the process that started them
POLL_SECONDS = 0.2


Value = TypeVar("Value")


class HarnessError(Exception):
    """A server did not start, or did not do in time what was waited for."""


def free_port() -> int:
    """Return a loopback port that nothing listens on.

    Drawn from below the range out of which the kernel serves outgoing connections: Airflow needs half a
    minute until it listens, and a port from that range could be taken meanwhile.
    """
    for _ in range(200):
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise HarnessError("No free port between 20000 and 32000 on 127.0.0.1.")


def base_environment(marker: str) -> dict[str, str]:
    """Return this process's environment without its Airflow settings, for a child process.

    :param marker: what the child and its own children are found by.
    """
    # Nor are these processes measured: coverage would slow all of Airflow for a few lines of ours.
    ours = ("AIRFLOW", "PYTEST", "COV_", "COVERAGE_")
    env = {name: value for name, value in os.environ.items() if not name.lstrip("_").startswith(ours)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # costs seconds per Airflow process
    # Airflow renames its processes; without this, the new name is written over the environment in /proc.
    env["SPT_NOENV"] = "1"
    env[MARKER] = marker
    env["PYTHONUNBUFFERED"] = "1"
    env["no_proxy"] = env["NO_PROXY"] = "127.0.0.1,localhost"
    # `airflow standalone` starts its parts by the name `airflow`.
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    return env


def spawn(
    argv: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that a Ctrl-C in the terminal reaches only its owner.

    :param log: file that its output is appended to.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def find(marker: str) -> list[psutil.Process]:
    """Return the living processes that carry the marker, apart from this one."""
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.pid != os.getpid() and process.environ().get(MARKER) == marker
            if marked and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue  # ended meanwhile, or somebody else's
    return found


def end(process: subprocess.Popen[bytes], grace: float = 10.0) -> None:
    """End one child process: ask it to, and after ``grace`` seconds kill it."""
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_all(marker: str, grace: float = 10.0) -> list[int]:
    """End every process that carries the marker; return the ids of those that had to be killed.

    :param grace: seconds between asking and killing.
    """
    _signal(find(marker), signal.SIGTERM)
    deadline = time.monotonic() + grace
    while find(marker) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    killed: set[int] = set()
    # More than once: a process may start another between the look and the signal.
    while remaining := find(marker):
        killed.update(process.pid for process in remaining)
        _signal(remaining, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    return sorted(killed)


def _signal(processes: Sequence[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


class Guard:
    """A process that ends everything with the marker once this process has ended, however it did."""

    def __init__(self, marker: str) -> None:
        """Start the guard.

        :param marker: what the processes to end are found by.
        """
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("guard.py")), marker],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def release(self, *, keep: bool = False) -> None:
        """End the guard.

        :param keep: leave the guarded processes running.
        """
        self._process.communicate(KEEP if keep else None)


def wait_for(
    what: str, condition: Callable[[], Value], timeout: float, alive: Callable[[], None] = lambda: None
) -> Value:
    """Wait until ``condition()`` is true and return its value.

    :param what: named in the error.
    :param timeout: in seconds.
    :param alive: called before each look; raises when waiting has become pointless.
    :raises HarnessError: when the time is over.
    """
    deadline = time.monotonic() + timeout
    while True:
        alive()
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise HarnessError(f"Waited {timeout:.0f} s for {what}, in vain.")
        time.sleep(POLL_SECONDS)


def tail(path: Path, lines: int = 40) -> str:
    """Return the last lines of a text file, or a note that there is none."""
    if not path.is_file():
        return f"(no file {path})"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
