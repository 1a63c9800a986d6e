"""Waiting for what another thread or process brings about; as long as a busy machine needs, and no longer."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

PATIENCE = 60.0  # seconds
POLL_SECONDS = 0.01

Args = ParamSpec("Args")


def in_loop(test: Callable[Args, Coroutine[Any, Any, None]]) -> Callable[Args, None]:
    """Run a test in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Args.args, **kwargs: Args.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until a condition holds.

    :param seconds: how long, at most; then an ``AssertionError`` is raised.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(POLL_SECONDS)


async def until_async(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until a condition holds, and let the event loop do other things meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():  # what is awaited happens in another thread
        assert time.monotonic() < deadline, "the condition was not met in time"
        await asyncio.sleep(POLL_SECONDS)
