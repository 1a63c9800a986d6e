"""Threads of one part's own: bounded, and nobody waits for them without end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import pytest

from airflow_provider_voiceinfra.web.workers import BusyError, TooSlowError, Workers

pytestmark = pytest.mark.anyio


def workers(threads: int = 1, seconds: float = 60.0, most_waiting: int = 8) -> Workers:
    return Workers("test", threads=threads, seconds=seconds, most_waiting=most_waiting)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def block() -> Iterator[Callable[[], None]]:
    """Return work that lasts until the test ends."""
    go_on = threading.Event()
    yield lambda: go_on.wait(60) and None  # type: ignore[misc]
    go_on.set()


async def test_what_the_work_returns_is_returned_and_what_it_raises_is_raised() -> None:
    own = workers()
    assert await own.run(lambda *args: args, 1, 2) == (1, 2)
    with pytest.raises(ZeroDivisionError):
        await own.run(lambda: 1 / 0)


async def test_work_runs_in_threads_of_its_own_and_in_the_context_of_who_asks() -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("asked")
    name, value = await workers().run(lambda: (threading.current_thread().name, variable.get()))
    assert name.startswith("voiceinfra-test")
    assert value == "asked"


async def test_work_that_takes_too_long_is_given_up_and_holds_its_thread(block: Callable[[], None]) -> None:
    begun: list[str] = []
    own = workers(seconds=0.2)
    with pytest.raises(TooSlowError):
        await own.run(block)
    with pytest.raises(BusyError):
        await own.run(begun.append, "no thread was free")
    assert begun == []


async def test_no_more_is_taken_than_may_wait(block: Callable[[], None]) -> None:
    own = workers(threads=1, most_waiting=1)
    waiting = [asyncio.create_task(own.run(block)) for _ in range(2)]
    await asyncio.sleep(0)
    assert own.is_full
    with pytest.raises(BusyError):
        await own.run(lambda: None)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not own.is_full  # who does not wait any more holds no place either


async def test_lack_of_threads_refuses_the_work_and_is_over_once_there_are_some_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[str] = []

    def no_thread(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    own = workers(threads=1, most_waiting=1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        for _ in range(3):
            with pytest.raises(BusyError):
                await own.run(begun.append, "refused")
            assert not own.is_full
    assert await own.run(begun.append, "done") is None
    assert begun == ["done"]  # what was refused is not done later: whoever asked has given it up


def test_no_thread_is_started_before_there_is_work() -> None:
    before = threading.active_count()
    workers(threads=16)
    assert threading.active_count() == before
