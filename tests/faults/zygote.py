"""Forks the processes of a run from one that has imported everything: a try then starts within milliseconds.

``python -m tests.faults.zygote`` reads requests from its standard input, a line of JSON each, and writes to
its standard output when a child has started or ended. It has no thread and no connection that a child could
inherit. When its input ends, so do its children.
"""

from __future__ import annotations

import importlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from queue import Queue
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]


class Child:
    """A process that the zygote has forked; to be used like ``subprocess.Popen``."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = threading.Event()

    def ended(self, code: int) -> None:
        self.returncode = code
        self._ended.set()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self) -> None:
        self._ended.wait()

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def is_stopped(self) -> bool:
        """Return whether it has been stopped, or is no more."""
        try:
            return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return True

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Zygote:
    """Starts processes.

    :param home: folder for what Airflow writes.
    """

    def __init__(self, home: Path) -> None:
        from harness.processes import base_environment

        env = base_environment(str(home)) | {
            "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}",
            "AIRFLOW_HOME": str(home),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=ROOT, text=True,
        )  # fmt: skip
        self._started: Queue[Child] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, kind: str, log: Path, env: dict[str, str], **values: Any) -> Child:
        """Fork a ``worker`` or a ``receiver``; it runs when this returns."""
        assert self._process.stdin is not None
        request = {"kind": kind, "log": str(log), "env": env, **values}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._started.get(timeout=180)

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        children: dict[int, Child] = {}
        for line in self._process.stdout:
            pid, code = json.loads(line)
            if code is None:
                children[pid] = Child(pid)
                self._started.put(children[pid])
            else:
                children.pop(pid).ended(code)


def serve() -> None:
    """Fork what is asked for, and tell of children that have ended."""
    _prepare()
    out = os.dup(1)
    os.dup2(2, 1)  # whatever else prints
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *args: None)
    waiting = selectors.DefaultSelector()
    waiting.register(0, selectors.EVENT_READ)
    waiting.register(wake_read, selectors.EVENT_READ)
    children: set[int] = set()
    rest = b""

    def reap() -> None:
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                children.discard(found[0])
                os.write(out, json.dumps([found[0], os.waitstatus_to_exitcode(found[1])]).encode() + b"\n")

    while True:
        for key, _ in waiting.select():
            data = os.read(int(key.fileobj), 1_000_000)  # type: ignore[arg-type]
            if key.fileobj == wake_read:
                reap()
                continue
            if not data:
                for pid in children:
                    os.kill(pid, signal.SIGKILL)
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    os.close(out)
                    _become(json.loads(line))
                children.add(pid)
                os.write(out, json.dumps([pid, None]).encode() + b"\n")


def _prepare() -> None:
    from tests.faults import clocks
    from tests.faults.plan import SCALE

    clocks.import_all()
    clocks.shorten(SCALE)
    for name in ("receiver", "worker"):
        importlib.import_module(f"tests.faults.{name}")


def _become(request: dict[str, Any]) -> None:
    """Be the process that was asked for, and end."""
    code = 1
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        null = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, null), (1, log), (2, log)):
            os.dup2(source, target)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ.update(request["env"])
        sys.modules[f"tests.faults.{request['kind']}"].main(request)
        code = 0
    except BaseException:  # noqa: BLE001  nobody is left who could handle it
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
