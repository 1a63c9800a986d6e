"""Writes to the ledger until it is back: what was claimed, and what the API said, must not be lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, wait_random_exponential

from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError

Answer = TypeVar("Answer")

# The longest wait before a ledger that is down is asked again, in seconds.
LONGEST_WAIT = 10.0


def until_stored(
    write: Callable[[], Answer],
    *,
    on_wait: Callable[[], None],
    give_up: Callable[[float], bool] = lambda seconds: False,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Do something with the ledger, again and again while it is down.

    :param on_wait: called before each wait.
    :param give_up: whether to try no more, after so many seconds.
    :param sleep: waits for a number of seconds.
    :raises LedgerUnavailableError: if it was given up.
    """
    return Retrying(
        retry=retry_if_exception_type(LedgerUnavailableError),
        stop=lambda state: give_up(state.seconds_since_start or 0.0),
        wait=wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT),
        sleep=sleep,
        before_sleep=lambda state: on_wait(),
        reraise=True,
    )(write)
