"""Brings about, on purpose, what happens when another process does something at the worst moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from sqlalchemy import Connection, event

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.pools import Pool

Result = TypeVar("Result")


def at_once(action: Callable[[int], Result], number: int = 8) -> list[Result]:
    """Do something in so many threads, which are numbered and begin together; return what each returns."""
    ready = threading.Barrier(number)

    def begin(which: int) -> Result:
        ready.wait()
        return action(which)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(begin, range(number)))


def in_a_thread(action: Callable[[], object]) -> None:
    """Do something on a connection of its own, and wait for its end."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(action).result()


def elsewhere(ledger: CallLedger) -> CallLedger:
    """Return a ledger as another process has it, which shares no transaction with this one's threads."""
    return ledger.with_pool(Pool("elsewhere"))


def after_statement(
    ledger: CallLedger, begin: str, table: str, action: Callable[[], object], *, nth: int = 1
) -> None:
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
                in_a_thread(action)

    ledger.check()
    event.listen(ledger._database.engine, "after_cursor_execute", on_statement)


def after_commit(ledger: CallLedger, action: Callable[[], object]) -> None:
    """Do something once, right after the next commit, before its owner learns of it."""

    def on_commit(connection: Connection) -> None:
        connection.connection.commit()  # SQLAlchemy tells before it commits itself
        in_a_thread(action)

    ledger.check()
    event.listen(ledger._database.engine, "commit", on_commit, once=True)


class Rival:
    """Somebody who does something in a thread, and may have to wait for a transaction that is under way.

    It begins right after the next statement of a kind, see ``after_statement``.
    """

    def __init__(self, ledger: CallLedger, begin: str, table: str, action: Callable[[], object]) -> None:
        after_statement(ledger, begin, table, self)
        self._action = action
        self._pool = ThreadPoolExecutor(1)

    def __call__(self) -> None:
        """Begin, and give it every chance to end before anybody else goes on."""
        self._future = self._pool.submit(self._action)
        wait([self._future], timeout=0.2)

    def result(self) -> object:
        """Return what became of it."""
        with self._pool:
            return self._future.result()
