"""How a part of a process uses the ledger's database: how many connections, and how long it waits."""

from __future__ import annotations

from typing import NamedTuple


# No dataclass: each costs every DAG file that is parsed half a millisecond.
class Pool(NamedTuple):
    """The connections of one part of a process, which no other part can use up.

    Pools that are equal are one; those of two names never are.

    :param name: names the pool within its process.
    :param connections: how many are open at a time, at most.
    :param wait: seconds to wait for one of them while all are in use.
    :param lock_timeout: seconds to wait for what another process has locked; if not set, 20 on PostgreSQL and
        30 on SQLite, where all who write wait for each other.
    :param read_timeout: seconds that one question may take, on PostgreSQL; if not set, as long as it needs.
    """

    name: str = "shared"
    connections: int = 15
    wait: float = 30.0
    lock_timeout: float | None = None
    read_timeout: float | None = None


SHARED = Pool()
"""What tasks, commands and waiting triggers use."""
