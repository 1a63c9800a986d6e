"""One watcher serves everybody who waits; the database is asked once a tick, whoever waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import pytest
from sqlalchemy import event

from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.connect import database
from airflow_provider_voiceinfra.ledger.database.schema import completions, counters
from airflow_provider_voiceinfra.ledger.records import CompletionEntry
from airflow_provider_voiceinfra.waiting.watcher import FINDERS, CompletionWatcher
from tests.campaigns.live import FlakyLedger
from tests.support.completions import complete
from tests.support.waiting import in_loop, until_async

TICK = 0.02


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    ledger = CallLedger(ledger_url)
    ledger.check()
    return ledger


@contextmanager
def statements(url: str) -> Iterator[list[str]]:
    """Collect the SQL statements that are sent to a ledger."""
    seen: list[str] = []
    engine = database(url).engine

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def soon(waiting: Awaitable[object]) -> object:
    return await asyncio.wait_for(waiting, 20)


@pytest.mark.parametrize("wanted", [["call_1"], []], ids=["over already", "none at all"])
def test_call_that_is_over_already_ends_the_wait(ledger: CallLedger, wanted: list[str]) -> None:
    complete(ledger, "call_1")
    asyncio.run(soon(CompletionWatcher(ledger, TICK).wait_for_calls(wanted)))


@in_loop
async def test_wait_for_several_calls_ends_with_the_last(ledger: CallLedger) -> None:
    watcher = CompletionWatcher(ledger, TICK)
    complete(ledger, "call_1")
    waiting = asyncio.create_task(watcher.wait_for_calls(["call_1", "call_2", "call_3"]))
    one_of_them = asyncio.create_task(watcher.wait_for_calls(["call_2"]))
    await soon(asyncio.to_thread(complete, ledger, "call_2"))
    await soon(one_of_them)
    assert not waiting.done()
    complete(ledger, "call_3")
    await soon(waiting)


@in_loop
async def test_completions_that_come_at_any_moment_are_seen(ledger: CallLedger) -> None:
    """Waiters join while completions stream in, so that every order of the two occurs."""

    watcher = CompletionWatcher(ledger, 0.001)
    ids = [f"call_{number}" for number in range(150)]

    def stream() -> None:
        for call_id in ids:
            complete(ledger, call_id)

    streaming = asyncio.create_task(asyncio.to_thread(stream))
    waits = []
    for call_id in ids:
        waits.append(asyncio.create_task(watcher.wait_for_calls([call_id])))
        await asyncio.sleep(0.002)
    await soon(asyncio.gather(streaming, *waits))


@in_loop
async def test_many_waiters_cost_one_query_a_tick(ledger: CallLedger, ledger_url: str) -> None:
    watcher = CompletionWatcher(ledger, TICK)
    ids = [f"call_{number}" for number in range(600)]
    with statements(ledger_url) as seen:
        waits = [asyncio.create_task(watcher.wait_for_calls([call_id])) for call_id in ids]
        await until_async(lambda: len(seen) >= 23)
    # The cursor, two lookups of at most 500 ids, and then one question a tick.
    following = [statement for statement in seen if "sequence > " in statement]
    assert len(seen) - len(following) <= 3
    assert len(following) >= 20
    for wait in waits:
        wait.cancel()


@in_loop
async def test_nobody_waiting_costs_nothing(ledger: CallLedger, ledger_url: str) -> None:
    watcher = CompletionWatcher(ledger, TICK)
    waiting = asyncio.create_task(watcher.wait_for_calls(["call_1"]))
    with statements(ledger_url) as seen:
        await until_async(lambda: bool(seen))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        count = len(seen)
        await asyncio.sleep(20 * TICK)
        assert len(seen) <= count + 1, "one that had begun may still have been sent"
    complete(ledger, "call_2")
    await soon(watcher.wait_for_calls(["call_2"]))  # and it wakes up again


@in_loop
async def test_match_takes_what_is_there_and_what_comes(ledger: CallLedger) -> None:
    since = datetime.now(timezone.utc)

    def find(to_number: str) -> Callable[[], str | None]:
        def look() -> str | None:
            found = ledger.find_completion({"to_number": to_number}, since=since)
            return found.call_id if found else None

        return look

    def wanted(to_number: str) -> Callable[[CompletionEntry], bool]:
        return lambda entry: entry.to_number == to_number

    watcher = CompletionWatcher(ledger, TICK)
    complete(ledger, "call_1", to_number="+14155550101")
    first, second = "+14155550101", "+14155550102"
    assert await soon(watcher.wait_for_match(wanted(first), find(first))) == "call_1"
    waiting = asyncio.create_task(watcher.wait_for_match(wanted(second), find(second)))
    await asyncio.to_thread(complete, ledger, "call_2", to_number="+14155550199")
    await asyncio.to_thread(complete, ledger, "call_3", to_number="+14155550102")
    assert await soon(waiting) == "call_3"


@pytest.mark.parametrize("failures", [1, 2, 3, 4])
def test_dead_database_is_outlasted_and_told(
    ledger_url: str, caplog: pytest.LogCaptureFixture, failures: int
) -> None:
    complete(CallLedger(ledger_url), "call_1")
    fails = iter(["before"] * failures)
    ledger: Any = FlakyLedger(CallLedger(ledger_url), lambda name: next(fails, None))
    asyncio.run(soon(CompletionWatcher(ledger, TICK).wait_for_calls(["call_1"])))
    assert "Cannot look for completions (1 times in a row)" in caplog.text


def test_dead_database_is_outlasted_by_a_match(ledger: CallLedger, caplog: pytest.LogCaptureFixture) -> None:
    answers: list[str | None] = [None, "call_1"]

    def find() -> str | None:
        if answers.pop(0) is None:
            raise LedgerUnavailableError("The ledger's database cannot be used: it is down.")
        return "call_1"

    found = asyncio.run(soon(CompletionWatcher(ledger, TICK).wait_for_match(lambda entry: False, find)))
    assert found == "call_1"
    assert "Cannot look for a completion, trying again" in caplog.text


def test_error_that_is_none_of_the_database_ends_the_wait(ledger_url: str) -> None:
    def fail(name: str) -> None:
        if name == "completions_after":
            raise ZeroDivisionError("a mistake in the code")

    broken: Any = FlakyLedger(CallLedger(ledger_url), fail)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(soon(CompletionWatcher(broken, TICK).wait_for_calls(["call_1"])))


def back_up(url: str) -> Callable[[], None]:
    """Take a backup of the completions, and return what restores it in place."""
    tables = (completions, counters)

    def read() -> list[list[dict[str, object]]]:
        with database(url).reading() as connection:
            return [[dict(row._mapping) for row in connection.execute(table.select())] for table in tables]

    backup = read()

    def restore() -> None:
        with database(url).writing() as connection:
            for table, rows in zip(tables, backup, strict=True):
                connection.execute(table.delete())
                if rows:
                    connection.execute(table.insert(), rows)

    return restore


@pytest.mark.parametrize("before", [0, 2], ids=["of an empty ledger", "of some completions"])
@pytest.mark.parametrize("since", [1, 3, 4], ids=["fewer", "as many", "more"])
@in_loop
async def test_backup_that_is_restored_in_place_does_not_leave_anybody_asleep(
    ledger: CallLedger, ledger_url: str, caplog: pytest.LogCaptureFixture, before: int, since: int
) -> None:
    """Sequence numbers begin anew where the backup ended: below, at, or beyond what the watcher has seen."""

    watcher = CompletionWatcher(ledger, TICK)
    for number in range(before):
        complete(ledger, f"old_{number}")
    restore = back_up(ledger_url)
    for number in range(3):
        complete(ledger, f"lost_{number}")
    wanted = f"new_{since - 1}"
    call = asyncio.create_task(watcher.wait_for_calls([wanted]))
    match = asyncio.create_task(
        watcher.wait_for_match(lambda entry: entry.call_id == wanted, lambda: ledger.completion(wanted))
    )
    with statements(ledger_url) as seen:
        await until_async(lambda: sum("sequence > " in statement for statement in seen) >= 2)

    def restored() -> None:
        restore()
        for number in range(since):
            complete(ledger, f"new_{number}")

    await asyncio.to_thread(restored)
    await soon(asyncio.gather(call, match))
    assert "The ledger was restored or purged" in caplog.text


@in_loop
async def test_purge_of_all_that_was_seen_does_not_leave_anybody_asleep(
    ledger: CallLedger, ledger_url: str
) -> None:
    watcher = CompletionWatcher(ledger, TICK)
    complete(ledger, "old")
    waiting = asyncio.create_task(watcher.wait_for_calls(["new"]))
    with statements(ledger_url) as seen:
        await until_async(lambda: sum("sequence > " in statement for statement in seen) >= 2)
        ledger.purge(datetime(2100, 1, 1, tzinfo=timezone.utc))
        count = len(seen)
        await until_async(lambda: len(seen) >= count + 5)
    assert all("sequence > " in statement for statement in seen[count + 5 :])
    complete(ledger, "new")
    await soon(waiting)


@in_loop
async def test_match_looks_again_when_a_new_watcher_has_begun(ledger_url: str) -> None:
    """What came between the end of one watcher and the beginning of the next is told by neither."""
    broken, looking, come = [True], threading.Event(), threading.Event()

    class BreakingLedger(CallLedger):
        def completions_after(self, *args: object, **kwargs: object) -> list[CompletionEntry]:  # type: ignore[override]
            looking.wait(10)
            if broken and broken.pop():
                raise ZeroDivisionError("a mistake in the code")
            return super().completions_after(*args, **kwargs)  # type: ignore[arg-type]

    ledger = BreakingLedger(ledger_url)
    ledger.check()
    looks: list[bool] = []

    def find() -> str | None:
        looks.append(come.is_set())
        looking.set()
        if len(looks) == 1:
            come.wait(10)  # it has seen the ledger as it was before the completion came
            return None
        return "call_1" if ledger.completion("call_1") else None

    watcher = CompletionWatcher(ledger, TICK)
    waiting = asyncio.create_task(watcher.wait_for_match(lambda entry: True, find))
    await until_async(lambda: watcher._task is not None and watcher._task.done())
    await asyncio.to_thread(complete, ledger, "call_1")
    come.set()
    assert await soon(waiting) == "call_1"


@in_loop
async def test_many_matches_take_few_threads_of_the_event_loop(ledger: CallLedger) -> None:
    busy, most, lock = 0, 0, threading.Lock()

    def find() -> str:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.005)
        with lock:
            busy -= 1
        return "call_1"

    watcher = CompletionWatcher(ledger, TICK)
    await asyncio.gather(*(watcher.wait_for_match(lambda entry: True, find) for _ in range(30)))
    assert most <= FINDERS
