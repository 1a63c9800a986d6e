"""When a request that surely placed nothing may be sent again; knows nothing of HTTP or the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_before_delay,
    wait_random_exponential,
)

from airflow_provider_voiceinfra.exceptions import RateLimitedError, TryAgainError

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class RetryBounds:
    """How long to go on with requests that placed nothing.

    :param patience: give up when the next try would come later than this, in seconds after the first.
    :param longest_wait: never wait longer than this between two tries, in seconds; the API may ask for more.
    :param sleep: waits for a number of seconds.
    """

    patience: float = 120.0
    longest_wait: float = 30.0
    sleep: Callable[[float], None] = time.sleep


def send_until_decided(
    send: Callable[[], Answer],
    bounds: RetryBounds,
    *,
    on_again: Callable[[TryAgainError, float], None] = lambda error, wait: None,
) -> Answer:
    """Call ``send``, again after a wait for as long as it says that nothing was placed.

    :param send: places a call; only after a ``TryAgainError`` that is not lasting it is called again.
    :param on_again: called with each error that is waited out, and the wait in seconds.
    :raises TryAgainError: the last one, when patience has run out; one that is lasting at once.
    """
    backoff = wait_random_exponential(multiplier=1.0, max=bounds.longest_wait)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, RateLimitedError) else None
        # What the API asks for is the least; the random part keeps several workers from coming back at once.
        return max(asked or 0.0, 0.1) + backoff(state) if asked is not None else max(0.1, backoff(state))

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TryAgainError):
            on_again(error, state.upcoming_sleep)

    return Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, TryAgainError) and not error.lasting),
        wait=wait,
        stop=stop_before_delay(bounds.patience),
        sleep=bounds.sleep,
        before_sleep=tell,
        reraise=True,
    )(send)
