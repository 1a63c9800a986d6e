"""A sandbox for the whole folder, and a receiver that remembers every webhook and answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from tests.sandbox_process import SandboxProcess
from tests.support.receivers import receiving


@dataclass
class Received:
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came in; ``answers`` are the next statuses, 200 once they are used up."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, webhook: Received) -> int:
        with self._changed:
            self.received.append(webhook)
            self._changed.notify_all()
            return self.answers.pop(0) if self.answers else 200

    def wait_for(self, count: int, timeout: float = 10) -> list[Received]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= count, timeout), (
                f"{len(self.received)} of {count} webhooks came within {timeout:g} s"
            )
            return list(self.received)


@pytest.fixture(scope="session")
def _receiving() -> Iterator[Callable[[Receiver], None]]:
    receivers: dict[str, Receiver] = {}

    def take(path: str, headers: Mapping[str, str], body: bytes) -> int:
        return receivers[path].take(Received(dict(headers), body))

    with receiving(take) as url:

        def use(receiver: Receiver) -> None:
            # A path for each, so that a straggler of one test is not counted in the next.
            path = f"/{len(receivers)}"
            receiver.url = url.removesuffix("/") + path
            receivers[path] = receiver

        yield use


@pytest.fixture
def receiver(_receiving: Callable[[Receiver], None]) -> Receiver:
    receiver = Receiver()
    _receiving(receiver)
    return receiver


@pytest.fixture(scope="session")
def _running() -> Iterator[SandboxProcess]:
    with SandboxProcess(call_seconds=0, webhook_retry_first=0.01) as process:
        yield process


@pytest.fixture
def sandbox(_running: SandboxProcess) -> SandboxProcess:
    """The folder's sandbox as if it had just been started: calls take no time, retries begin after 10 ms."""
    _running.reset(settings=True)
    return _running


@pytest.fixture
def signed(sandbox: SandboxProcess, receiver: Receiver) -> SandboxProcess:
    """The folder's sandbox with its webhooks going to the receiver."""
    sandbox.configure(webhook_url=receiver.url)
    return sandbox
