"""Brings the schema up to date, once, also when many processes start together."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

from airflow_provider_voiceinfra.exceptions import LedgerError
from airflow_provider_voiceinfra.ledger.database.postgres import set_locally
from airflow_provider_voiceinfra.ledger.database.schema import HEAD_REVISION, VERSION_TABLE

# The execution option that tells SQLite whether a transaction takes the write lock from its first moment.
WRITING = "voiceinfra_writing"

_POSTGRES_LOCK = 0x766F696365  # "voice"; any number that no other program is likely to lock
_WAL_PATIENCE = 30.0
# Each statement may take, and wait for tables, as long as it needs; but a process that is paused meanwhile
# must not keep all others waiting.
_IDLE_TIMEOUT = 60.0

# Alembic keeps what it works at in a global, so the threads of a process take turns.
_alembic = threading.Lock()


def _after_fork() -> None:
    global _alembic
    _alembic = threading.Lock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)


def current_revision(connection: Connection) -> str | None:
    """Return the schema's revision; ``None`` for a database without the ledger's tables."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def upgrade(engine: Engine, *, patience: float | None = None) -> bool:
    """Bring the schema to the newest revision.

    :param patience: seconds to wait, on PostgreSQL, while another process does so; if not set, any time.
    :return: whether anything had to be done.
    :raises LedgerError: if the schema was made by a newer version of this package.
    """
    with engine.connect().execution_options(**{WRITING: False}) as connection:
        if current_revision(connection) == HEAD_REVISION:
            return False
    if engine.dialect.name == "sqlite":
        _switch_to_wal(engine)
    with engine.begin() as connection:  # on SQLite this holds the write lock from its first moment
        if connection.dialect.name == "postgresql":
            set_locally(connection, lock_timeout=patience or 0, statement_timeout=0)
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRES_LOCK})
            set_locally(connection, lock_timeout=0, idle_in_transaction_session_timeout=_IDLE_TIMEOUT)
        if current_revision(connection) == HEAD_REVISION:
            return False  # another process was faster
        _run_alembic(connection)
    return True


def _switch_to_wal(engine: Engine) -> None:
    # SQLite answers "locked" at once here, without minding its busy time-out, while another process does
    # the same; hence the patience.
    for attempt in Retrying(
        retry=retry_if_exception_type(sqlite3.OperationalError),
        stop=stop_after_delay(_WAL_PATIENCE),
        wait=wait_random(0.02, 0.2),
        reraise=True,
    ):
        with attempt:
            connection = engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()


def _run_alembic(connection: Connection) -> None:
    # Alembic is only needed on the day the schema changes.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    try:
        with _alembic:
            command.upgrade(config, "head")
    except CommandError as error:
        raise LedgerError(
            f"The ledger's schema is of a revision that this version does not know (it knows up to "
            f"{HEAD_REVISION}); install the newer airflow-provider-voiceinfra everywhere."
        ) from error
