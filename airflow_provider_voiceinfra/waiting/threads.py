"""The threads in which waiting triggers ask the ledger; never those that an event loop shares with everybody.

``asyncio.to_thread`` uses a few threads that all triggers of a triggerer share, and name lookups too: a
ledger that hangs would take them all, and stop triggers that have nothing to do with it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

# One each for who follows completions, who looks for cancelled campaigns and who opens the ledger, those that
# look for matches, and one to spare.
THREADS = 6

Args = ParamSpec("Args")
Result = TypeVar("Result")

_executor: ThreadPoolExecutor | None = None


async def in_own_thread(work: Callable[Args, Result], /, *args: Args.args, **kwargs: Args.kwargs) -> Result:
    """Run blocking work without holding up the event loop or anybody's threads but our own."""
    global _executor
    if _executor is None:
        _executor = ThreadPoolExecutor(THREADS, thread_name_prefix="voiceinfra-waiting")
    return await asyncio.get_running_loop().run_in_executor(_executor, partial(work, *args, **kwargs))


def _after_fork() -> None:
    global _executor
    _executor = None  # the parent's threads are not in the child


os.register_at_fork(after_in_child=_after_fork)
