"""What rows start: ledgers on both databases, as durable as in production."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from harness.postgres import PostgresServer, find_binaries

DATABASES = ("SQLite", "PostgreSQL")


class DurablePostgres(PostgresServer):
    """A server with its own defaults, as one that has something to lose; the harness's own is not."""

    settings = ("max_connections=200",)


def databases(stack: ExitStack) -> dict[str, Callable[[], str]]:
    """Return, for each of ``DATABASES``, what makes an empty one and returns its URL.

    :param stack: stops the server, and removes the files.
    """
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voiceinfra-bench-db-")))
    binaries = find_binaries()
    if binaries is None:
        raise RuntimeError("PostgreSQL's server programs are not installed.")
    server = DurablePostgres(binaries)
    stack.callback(server.stop)
    numbers = itertools.count()
    return {
        "SQLite": lambda: f"sqlite:///{folder}/ledger{next(numbers)}.db",
        "PostgreSQL": lambda: server.create_database(f"ledger{next(numbers)}"),
    }
