"""The sandbox of the session with short retries, and a receiver that remembers what came in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from tests.sandbox_process import SandboxProcess
from tests.support.receivers import receiving
from tests.support.waiting import until


class Received(NamedTuple):
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came in; ``answers`` are the next statuses, 200 once they are used up."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    def take(self, webhook: Received) -> int:
        self.received.append(webhook)
        return self.answers.pop(0) if self.answers else 200

    def wait_for(self, count: int) -> list[Received]:
        until(lambda: len(self.received) >= count)
        return list(self.received)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    with receiving(lambda _, headers, body: receiver.take(Received(dict(headers), body))) as receiver.url:
        yield receiver


@pytest.fixture
def sandbox(fresh_sandbox: SandboxProcess) -> SandboxProcess:
    """The session's sandbox as if it had just been started; calls take no time, retries begin after 10 ms."""
    fresh_sandbox.configure(webhook_retry_first=0.01)
    return fresh_sandbox


@pytest.fixture
def signed(sandbox: SandboxProcess, receiver: Receiver) -> SandboxProcess:
    """The sandbox with its webhooks going to the receiver."""
    sandbox.configure(webhook_url=receiver.url)
    return sandbox
