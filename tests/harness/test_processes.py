"""Servers started for tests and the demo are found and ended, however they try to get away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness.processes import (
    Guard,
    HarnessError,
    base_environment,
    end_all,
    find,
    spawn,
    tail,
    wait_for,
)

# Leaves its parent's session, outlives it, and ignores the polite signal.
ESCAPES = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
"""
OWNER = """
import sys, time
from pathlib import Path
from harness.processes import Guard, base_environment, spawn
marker = sys.argv[1]
guard = Guard(marker)
spawn(["sleep", "600"], env=base_environment(marker), log=Path(marker) / "log")
print("started", flush=True)
time.sleep(600)
"""


def test_process_that_escapes_its_parent_is_ended(tmp_path: Path) -> None:
    marker = str(tmp_path)
    parent = spawn([sys.executable, "-c", ESCAPES], env=base_environment(marker), log=tmp_path / "log")
    parent.wait()
    escaped = wait_for("the child", lambda: find(marker), 10)
    assert [process.pid for process in escaped] == end_all(marker, grace=0.5)
    assert find(marker) == []


def test_environment_of_a_child_holds_no_airflow_setting_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_VOICEINFRA_DEFAULT", "leaked")
    monkeypatch.setenv("_AIRFLOW__AS_LIBRARY", "1")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    env = base_environment("here")
    assert not [name for name in env if "AIRFLOW" in name or name == "PYTHONDONTWRITEBYTECODE"]


def test_servers_end_when_their_owner_is_killed(tmp_path: Path) -> None:
    marker = str(tmp_path)
    scripts = Path(__file__).parents[2] / "scripts"
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, marker],
        env={**os.environ, "PYTHONPATH": str(scripts)},
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"started\n"
    assert len(find(marker)) == 1
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    wait_for("the server's end", lambda: not find(marker), 20)


def test_released_guard_can_leave_the_servers_running(tmp_path: Path) -> None:
    marker = str(tmp_path)
    guard = Guard(marker)
    sleeper = spawn(["sleep", "600"], env=base_environment(marker), log=tmp_path / "log")
    guard.release(keep=True)
    assert sleeper.poll() is None
    end_all(marker)
    sleeper.wait()


def test_waiting_in_vain_says_for_what_and_tail_gives_the_last_lines(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="Waited 0 s for a miracle"):
        wait_for("a miracle", lambda: False, 0)
    log = tmp_path / "log"
    log.write_text("one\ntwo\nthree\n")
    assert tail(log, 2) == "two\nthree"
    assert "no file" in tail(tmp_path / "absent")
