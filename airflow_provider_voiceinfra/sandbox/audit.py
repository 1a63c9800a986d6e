"""The audit log: what the sandbox was asked, accepted and delivered; nothing is masked in it."""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_right
from collections import Counter
from datetime import datetime, timezone
from operator import itemgetter
from pathlib import Path
from typing import Any

KINDS = ("requests", "calls", "deliveries")


def utc_now() -> datetime:
    """Return the time as an aware UTC datetime."""
    return datetime.now(timezone.utc)


class AuditLog:
    """Keeps every entry in memory and, if wanted, in a file of JSON lines.

    :param path: the file, which is appended to; each line is flushed before the sandbox goes on.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1) if path else None
        self._waiters: set[asyncio.Event] = set()
        self._seq = 0
        self.clear()

    def clear(self) -> None:
        """Forget all entries; sequence numbers go on, and the file keeps what it has."""
        self._entries: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, **fields: Any) -> None:
        """Append an entry and wake whoever waits for one."""
        self._seq += 1
        entry = {"seq": self._seq, "time": utc_now().isoformat(), **fields}
        self._entries[kind].append(entry)
        self._counts.update(_counted(kind, entry))
        if self._file is not None:
            self._file.write(json.dumps({"kind": kind, **entry}) + "\n")
        self.wake()

    def wake(self) -> None:
        """Let go of whoever waits for an entry."""
        for waiter in self._waiters:
            waiter.set()

    def read(self, since: int = 0, kinds: tuple[str, ...] = KINDS) -> dict[str, Any]:
        """Return entries with a higher sequence number than ``since``, and the last one."""
        found: dict[str, Any] = {"last_seq": self._seq}
        for kind in kinds:
            entries = self._entries[kind]
            found[kind] = entries[bisect_right(entries, since, key=itemgetter("seq")) :]
        return found

    def counts(self) -> dict[str, int]:
        """Return the totals since the start or the last reset."""
        names = (*KINDS, "accepted", "refused", "rate_limited", "unanswered", "delivered", "undelivered")
        return {name: self._counts[name] for name in names}

    async def wait(self, since: int, seconds: float) -> None:
        """Return as soon as there is an entry with a higher sequence number, or when the time is over."""
        waiter = asyncio.Event()
        self._waiters.add(waiter)
        try:
            if self._seq <= since:
                await asyncio.wait_for(waiter.wait(), seconds)
        except asyncio.TimeoutError:
            pass
        finally:
            self._waiters.discard(waiter)

    def close(self) -> None:
        """Close the file and let go of whoever waits."""
        self.wake()
        if self._file is not None:
            self._file.close()


def _counted(kind: str, entry: dict[str, Any]) -> list[str]:
    names = [kind]
    if kind == "requests":
        names.append("accepted" if entry["accepted"] else "refused")
        names += ["rate_limited"] * (entry["status"] == 429)
        names += ["unanswered"] * (entry["status"] is None)
    if kind == "deliveries":
        names.append("delivered" if entry["delivered"] else "undelivered")
    return names
