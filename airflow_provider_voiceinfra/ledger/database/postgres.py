"""What PostgreSQL is set to for each connection and transaction, so that one process never stops all others.

Nothing is set for a session: behind a pooler in transaction mode, the next transaction runs in another one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection

from airflow_provider_voiceinfra.ledger.database.pools import Pool

DRIVERS = ("psycopg", "psycopg2")  # the first one that is installed is taken
"""psycopg binds values on the server; psycopg2 writes them into statements, which PostgreSQL may log."""

CONNECT_TIMEOUT = 10
# A process that is paused, or whose host is gone, holds its locks until the server ends its transaction. That
# is sooner than others cease to wait for them, so that these go on as if nothing had been.
IDLE_TIMEOUT = 5.0
LOCK_TIMEOUT = 20.0
STATEMENT_TIMEOUT = 60.0
# A list may be read slowly: it locks nothing that calls need, but it keeps a connection of the server.
READER_IDLE_TIMEOUT = 1800.0

# Seconds of silence after which a server is asked whether it is there; how often, and how far apart.
_KEEPALIVES = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
_UNSENT_MILLISECONDS = 20_000


def options(url: URL) -> dict[str, Any]:
    """Return how an engine connects; the driver's arguments that the URL has itself are left to it."""
    wanted: dict[str, object] = {
        "connect_timeout": CONNECT_TIMEOUT,
        **_KEEPALIVES,
        "tcp_user_timeout": _UNSENT_MILLISECONDS,
    }
    args = {name: value for name, value in wanted.items() if name not in url.query}
    if url.get_driver_name() == "psycopg":
        args["prepare_threshold"] = None  # a prepared statement stays behind in a session of the pooler's
    # Whatever the server's default is: who has waited for a lock must see what others stored meanwhile, and
    # a claim the suppressions. The driver says it as it begins a transaction, which costs nothing.
    return {"connect_args": args, "isolation_level": "READ COMMITTED"}


def limit(
    connection: Connection, pool: Pool, *, writing: bool, unhurried: bool = False, first: str = ""
) -> None:
    """Limit the transaction that has just begun; one round trip.

    :param unhurried: whether its statements may take, and wait for locks, as long as they need.
    :param first: a statement that is executed then, in the same round trip.
    """
    lock_timeout = LOCK_TIMEOUT if pool.lock_timeout is None else pool.lock_timeout
    statement_timeout = STATEMENT_TIMEOUT if writing else pool.read_timeout
    set_locally(
        connection,
        first,
        idle_in_transaction_session_timeout=IDLE_TIMEOUT if writing else READER_IDLE_TIMEOUT,
        lock_timeout=0 if unhurried else lock_timeout,
        statement_timeout=0 if unhurried else statement_timeout,
    )


def set_locally(connection: Connection, first: str = "", **limits: float | None) -> None:
    """Set limits, in seconds, until the transaction ends; 0 is none, ``None`` leaves it as it is."""
    # One round trip. Not set_config(): after a query, a transaction's isolation can no longer be chosen.
    wanted = {name: int(seconds * 1000) for name, seconds in limits.items() if seconds is not None}
    settings = [f"SET LOCAL {name} = {limit}" for name, limit in wanted.items()]
    connection.exec_driver_sql("; ".join(filter(None, [*settings, first])))
