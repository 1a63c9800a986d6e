"""Ends the servers of a process that died without doing so; run as ``python guard.py MARKER``.

Standard input is a pipe whose other end the guarded process holds. When that process ends, for whatever
reason and SIGKILL included, the kernel closes the pipe, and reading from it returns.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from harness.processes import KEEP, end_all

    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    if sys.stdin.buffer.read() != KEEP:
        end_all(sys.argv[1])
