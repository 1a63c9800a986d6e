"""Threads that belong to one part of the web alone, and the error it gets when they have no time for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

from airflow_provider_voiceinfra.exceptions import VoiceInfraError


class BusyError(VoiceInfraError):
    """Nothing was begun: every thread was taken for too long, or none can be started."""


class TooSlowError(VoiceInfraError):
    """It was begun and took too long; it goes on, but nobody waits for it any more."""


class Workers:
    """A bounded number of threads, for work that blocks; nobody waits for them longer than some seconds.

    Neither the event loop's own threads are used, nor those of the API server's other routes: a ledger that
    is locked or far away must not stop them. No thread is started before there is work.

    :param name: what the threads are called.
    :param threads: how many there are at most.
    :param seconds: how long to wait for a piece of work, from when it is handed in.
    :param most_waiting: how many pieces of work may wait for a thread.
    """

    def __init__(self, name: str, *, threads: int, seconds: float, most_waiting: int) -> None:
        self._name = name
        self._seconds = seconds
        self._most = threads + most_waiting
        self._lock = threading.Lock()
        self._taken = 0
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"voiceinfra-{name}")

    @property
    def is_full(self) -> bool:
        """Whether so much waits for a thread that nothing more is taken."""
        return self._taken >= self._most

    async def run(self, work: Callable[..., Any], *args: Any) -> Any:
        """Return what the work returns, or raise what it raises.

        :raises BusyError: if it was not begun in time; it never will be.
        :raises TooSlowError: if it was begun, and has not ended in time.
        """
        if self.is_full:
            raise BusyError(f"too much waits for the threads of {self._name!r}")
        job: Future[Any] = Future()
        call: list[Callable[[], Any]] = [partial(copy_context().run, work, *args)]
        with self._lock:
            self._taken += 1
        job.add_done_callback(self._give_back)
        try:
            self._hand_in(job, call)
            return await self._result_of(job)
        finally:
            if job.cancelled():
                call.clear()  # a thread may come to it late, and what it holds may be large

    def _hand_in(self, job: Future[Any], call: list[Callable[[], Any]]) -> None:
        try:
            self._executor.submit(_carry_out, job, call)
        except RuntimeError as exc:
            # It was queued all the same: a thread that runs already may have begun it, and then goes on.
            if job.cancel():
                raise BusyError(f"no thread of {self._name!r} can be started") from exc

    async def _result_of(self, job: Future[Any]) -> Any:
        """Return what a job returns, or raise what it raises; waits for some seconds."""
        result = asyncio.wrap_future(job)
        try:
            await asyncio.wait([result], timeout=self._seconds)
            if result.done():
                return result.result()
        finally:
            never_begun = job.cancel()
            result.cancel()  # or its error would be logged as one that nobody has looked at
        waited = f"after {self._seconds:g} seconds"
        if never_begun:
            raise BusyError(f"all threads of {self._name!r} are still taken {waited}")
        raise TooSlowError(f"no answer {waited}")

    def _give_back(self, _: Future[Any]) -> None:
        with self._lock:
            self._taken -= 1


def _carry_out(job: Future[Any], call: list[Callable[[], Any]]) -> None:
    if not job.set_running_or_notify_cancel():
        return
    try:
        result = call.pop()()
    except BaseException as exc:  # noqa: BLE001  whatever it is, it is for whoever waits for the job
        job.set_exception(exc)
        del job  # which the error's own traceback would hold, and so itself
    else:
        job.set_result(result)
