"""What has happened in a run so far, by labels such as ``call.1:stopped``; steps wait for them."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Board:
    """Remembers when each label came first."""

    def __init__(self) -> None:
        self._first: dict[str, float] = {}
        self._lock = threading.Lock()
        self.began = time.monotonic()

    def tell(self, label: str) -> None:
        with self._lock:
            self._first.setdefault(label, time.monotonic())

    def at(self, label: str | None) -> float | None:
        """Return when a label came first, on the monotonic clock; the beginning for none."""
        with self._lock:
            return self.began if label is None else self._first.get(label)


@dataclass
class Diary:
    """What one worker has told so far."""

    worker: str
    path: Path
    events: list[dict[str, Any]] = field(default_factory=list)
    _read: int = 0

    def read(self) -> list[dict[str, Any]]:
        """Return what is new."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        new = [{**json.loads(line), "worker": self.worker} for line in whole.splitlines()]
        self.events += new
        return new
