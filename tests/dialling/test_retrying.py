"""What surely placed nothing is sent again, not too soon, not for ever; and never anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from airflow_provider_voiceinfra.dialling.retrying import RetryBounds, send_until_decided
from airflow_provider_voiceinfra.exceptions import (
    ApiUnreachableError,
    CallNotPlacedError,
    CallOutcomeUnknownError,
    InvalidPhoneError,
    LedgerUnavailableError,
    RateLimitedError,
    TryAgainError,
)
from tests.support.clocks import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    # tenacity takes its clock from the standard library.
    monkeypatch.setattr("time.monotonic", clock)
    return clock


def failing(*errors: BaseException) -> tuple[Callable[[], str], list[int]]:
    """Return what fails with each of these errors in turn and then succeeds, and its tries."""
    left: Iterator[BaseException] = iter(errors)
    tries: list[int] = []

    def send() -> str:
        tries.append(1)
        error = next(left, None)
        if error is not None:
            raise error
        return "call_1"

    return send, tries


def rate_limited(retry_after: float | None = None) -> RateLimitedError:
    return RateLimitedError("HTTP 429", http_status=429, retry_after=retry_after)


def test_answer_is_returned_at_once(clock: Clock) -> None:
    send, tries = failing()
    assert send_until_decided(send, RetryBounds(sleep=clock.sleep)) == "call_1"
    assert (len(tries), clock.slept) == (1, [])


@pytest.mark.parametrize("error", [rate_limited(), ApiUnreachableError("refused")])
def test_what_placed_nothing_is_sent_again(clock: Clock, error: TryAgainError) -> None:
    send, tries = failing(error, error, error)
    told: list[tuple[TryAgainError, float]] = []
    bounds = RetryBounds(sleep=clock.sleep)
    answer = send_until_decided(send, bounds, on_again=lambda again, wait: told.append((again, wait)))
    assert (answer, len(tries)) == ("call_1", 4)
    assert told == [(error, wait) for wait in clock.slept]
    assert all(0.1 <= wait <= bounds.longest_wait for wait in clock.slept)


@pytest.mark.parametrize(
    "error",
    [
        ApiUnreachableError("no certificate", lasting=True),
        rate_limited(3600.0),  # for which patience does not last
        CallOutcomeUnknownError("cut"),
        CallNotPlacedError("no"),
        InvalidPhoneError("no"),
        LedgerUnavailableError("down"),
        KeyboardInterrupt(),
        RuntimeError(),
    ],
)
def test_nothing_else_is_ever_sent_again(clock: Clock, error: BaseException) -> None:
    send, tries = failing(error)
    with pytest.raises(type(error)) as caught:
        send_until_decided(send, RetryBounds(sleep=clock.sleep))
    assert caught.value is error
    assert (len(tries), clock.slept) == (1, [])


@pytest.mark.parametrize("asked", [0.0, 0.5, 20.0, 90.0])
def test_wait_is_at_least_what_the_api_asked_for(clock: Clock, asked: float) -> None:
    send, _ = failing(rate_limited(asked))
    send_until_decided(send, RetryBounds(sleep=clock.sleep))
    assert max(asked, 0.1) <= clock.slept[0] <= asked + 1.1


def test_last_error_is_raised_when_patience_has_run_out(clock: Clock) -> None:
    bounds = RetryBounds(patience=60.0, longest_wait=5.0, sleep=clock.sleep)
    errors = [rate_limited() for _ in range(1000)]
    send, tries = failing(*errors)
    with pytest.raises(RateLimitedError) as caught:
        send_until_decided(send, bounds)
    assert caught.value is errors[len(tries) - 1]
    assert len(tries) > 60 / 5
    assert sum(clock.slept) <= bounds.patience
    assert max(clock.slept) <= bounds.longest_wait
