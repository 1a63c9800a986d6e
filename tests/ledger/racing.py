"""Brings about, on purpose, what happens when another process does something at the worst moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from sqlalchemy import Connection, event

from airflow_provider_voiceinfra.ledger.database.connect import database


def in_a_thread(action: Callable[[], object]) -> None:
    """Do something on a connection of its own, and wait for its end."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(action).result()


def after_statement(url: str, begin: str, table: str, action: Callable[[], object], *, nth: int = 1) -> None:
    """Do something once, right after the next statement of a kind, before its transaction goes on.

    :param begin: how the statement begins, such as ``SELECT``.
    :param table: a table that it names, without the prefix.
    :param nth: which of those statements it is.
    """
    seen: list[str] = []

    def on_statement(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(begin) and f"voiceinfra_{table}" in statement:
            seen.append(statement)
            if len(seen) == nth:
                action()

    event.listen(database(url).engine, "after_cursor_execute", on_statement)


def after_commit(url: str, action: Callable[[], object]) -> None:
    """Do something once, right after the next commit, before its owner learns of it."""

    def on_commit(connection: Connection) -> None:
        connection.connection.commit()  # SQLAlchemy tells before it commits itself
        action()

    event.listen(database(url).engine, "commit", on_commit, once=True)


class Rival:
    """Somebody who does something in a thread, and may have to wait for a transaction that is under way."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action
        self._pool = ThreadPoolExecutor(1)

    def __call__(self) -> None:
        """Begin, and give it every chance to end before anybody else goes on."""
        self._future = self._pool.submit(self._action)
        wait([self._future], timeout=0.5)

    def result(self) -> object:
        """Return what became of it."""
        with self._pool:
            return self._future.result()
