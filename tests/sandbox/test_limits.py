from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import pytest

from airflow_provider_voiceinfra.sandbox.limits import TokenBucket, retry_after
from tests.support.clocks import Clock


def test_burst_then_steady_rate_and_idle_time_saves_up_no_more_than_the_burst() -> None:
    clock = Clock()
    bucket = TokenBucket(clock)
    assert [bucket.wait(2, 3) for _ in range(3)] == [0, 0, 0]
    assert bucket.wait(2, 3) == pytest.approx(0.5)
    clock.now += 0.5
    assert bucket.wait(2, 3) == 0
    clock.now += 3600
    assert [bucket.wait(2, 3) == 0 for _ in range(4)] == [True, True, True, False]


def test_burst_defaults_to_one_second_of_the_rate_and_no_rate_is_no_limit() -> None:
    bucket = TokenBucket(Clock())
    assert sum(bucket.wait(4, 0) == 0 for _ in range(10)) == 4
    assert not any(bucket.wait(0, 0) for _ in range(1000))


def test_three_forms_of_retry_after() -> None:
    assert retry_after("none", 3) == {}
    assert retry_after("seconds", 0.2) == {"Retry-After": "1"}
    assert retry_after("seconds", 2.1) == {"Retry-After": "3"}
    date = parsedate_to_datetime(retry_after("date", 10)["Retry-After"])
    assert 8 <= date.timestamp() - time.time() <= 10
