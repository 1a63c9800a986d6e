"""The adaptive rate against imitated limiters, with a simulated clock."""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from airflow_provider_voiceinfra.dialling.rate import AdaptivePace
from tests.support.clocks import Clock

Limit = Callable[[float], float]
FORMS = ("seconds", "date", "none")


class Bucket:
    """A token bucket.

    :param burst: its size in calls; ``None`` is one second's worth.
    """

    def __init__(self, burst: int | None = None) -> None:
        self.burst = burst
        self.tokens = math.inf
        self.at = 0.0

    def wait(self, now: float, limit: float) -> float:
        size = float(self.burst or max(1, math.ceil(limit)))
        self.tokens = min(size, self.tokens + (now - self.at) * limit)
        self.at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / limit


class FixedWindow:
    """So many calls in each second of the server's clock."""

    def __init__(self) -> None:
        self.second = -1
        self.count = 0

    def wait(self, now: float, limit: float) -> float:
        if math.floor(now) != self.second:
            self.second, self.count = math.floor(now), 0
        if self.count + 1 <= limit:
            self.count += 1
            return 0.0
        return self.second + 1 - now


class SlidingWindow:
    """So many calls in any one second."""

    def __init__(self) -> None:
        self.accepted: deque[float] = deque()

    def wait(self, now: float, limit: float) -> float:
        while self.accepted and self.accepted[0] <= now - 1:
            self.accepted.popleft()
        if len(self.accepted) + 1 <= limit:
            self.accepted.append(now)
            return 0.0
        return self.accepted[0] + 1 - now


Limiter = Bucket | FixedWindow | SlidingWindow


@dataclass
class Traffic:
    """What an imitated API saw: time in seconds, process, whether it was accepted."""

    seen: list[tuple[float, int, bool]] = field(default_factory=list)
    paces: list[AdaptivePace] = field(default_factory=list)

    def between(self, begin: float, end: float, process: int | None = None) -> list[bool]:
        return [ok for at, who, ok in self.seen if begin <= at < end and (process is None or who == process)]

    def per_second(self, begin: float, end: float, process: int | None = None) -> float:
        return sum(self.between(begin, end, process)) / (end - begin)

    def refused(self, begin: float, end: float) -> float:
        answers = self.between(begin, end)
        return answers.count(False) / len(answers)


def _always(limit: float) -> Limit:
    return lambda at: limit


def retry_after(form: str, wait: float, wall: float) -> float | None:
    """Return what a client makes of the header of an answer that left the server 25 ms ago, in seconds."""
    whole = max(1, math.ceil(wait))
    told = {"seconds": float(whole), "date": max(0.0, math.floor(wall - 0.025 + whole) - wall)}
    return told.get(form)


def _report(pace: AdaptivePace, sent_at: float, wait: float, told: float | None) -> None:
    if wait <= 0:
        pace.accepted(sent_at)
    else:
        pace.rate_limited(told, sent_at)


def drive(
    limiter: Limiter,
    limit: Limit | float,
    seconds: float,
    *,
    form: str = "none",
    processes: int = 1,
    seed: int = 0,
    threads: int = 64,
    most: float | None = None,
    idle: tuple[float, float] = (0.0, 0.0),
) -> Traffic:
    """Send as fast as the paces allow, over a network that takes about 50 ms for an answer.

    :param limit: calls per second, or what tells them for a time in seconds.
    :param idle: between these times nobody has anything to send.
    """
    allowed = limit if callable(limit) else _always(limit)
    chance = random.Random(seed)
    now = 0.0
    wall = 1e9 + chance.random()
    traffic = Traffic()
    for number in range(processes):
        pace = AdaptivePace(most=most, monotonic=lambda: now, rng=random.Random(100 * seed + number))
        traffic.paces.append(pace)
    free = [threads] * processes
    order = itertools.count()
    events: list[tuple[float, int, str, int, tuple[float, ...]]] = []

    def later(at: float, what: str, who: int, *details: float) -> None:
        heapq.heappush(events, (at, next(order), what, who, details))

    def send(who: int) -> None:
        if idle[0] <= now < idle[1] or not free[who]:
            later(now + 0.001, "send", who)
            return
        wait = traffic.paces[who].reserve()
        if wait <= 0:
            free[who] -= 1
            later(now + chance.uniform(0.02, 0.03), "arrive", who, now)
        later(now + wait + 1e-9, "send", who)

    def arrive(who: int, sent_at: float) -> None:
        wait = limiter.wait(now, allowed(now))
        traffic.seen.append((now, who, wait <= 0))
        later(now + 0.025, "answer", who, sent_at, wait)

    def answer(who: int, sent_at: float, wait: float) -> None:
        free[who] += 1
        _report(traffic.paces[who], sent_at, wait, retry_after(form, wait, wall + now))

    handlers = {"send": send, "arrive": arrive, "answer": answer}
    for number in range(processes):
        later(0.3 * number, "send", number)
    while events and events[0][0] <= seconds:
        now, _, what, who, details = heapq.heappop(events)
        handlers[what](who, *details)  # type: ignore[operator]
    return traffic


LIMITS = (5, 20, 100, 300)


def _seeds(limit: int) -> range:
    """Return fewer seeds for a high limit: a run takes as long as it has calls, and chance matters less."""
    return range(max(1, min(6, 200 // limit)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("limit", LIMITS)
def test_reaches_95_percent_of_the_limit_with_at_most_2_percent_429s(limit: int, form: str) -> None:
    for seed in _seeds(limit):
        run = drive(Bucket(), limit, 75, form=form, seed=seed)
        assert run.per_second(15, 75) >= 0.95 * limit
        assert run.refused(15, 75) <= 0.02
        estimate = run.paces[0].limit
        assert estimate is not None
        assert 0.85 * limit < estimate < 1.3 * limit


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("limit", [4, *LIMITS])
def test_start_is_paid_with_few_429s(limit: int, form: str) -> None:
    for seed in _seeds(limit)[:3]:
        run = drive(Bucket(), limit, 180, form=form, seed=seed)
        assert run.refused(0, 180) <= 0.02
        # It may be as fast as the limit from the beginning on, and has found it long before these 15 s.
        assert run.per_second(0, 15) >= 0.7 * limit


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_429s_remain_few_where_hardly_any_calls_are_allowed(limit: int, form: str) -> None:
    for seed in range(6):
        run = drive(Bucket(), limit, 300, form=form, seed=seed)
        assert run.between(0, 15).count(False) <= 12 / limit
        assert run.refused(15, 300) <= 0.04
        assert run.per_second(15, 300) >= 0.85 * limit


def test_rate_doubles_every_second_until_the_first_429() -> None:
    run = drive(Bucket(), 1000, 6, threads=1000)
    for second in range(6):
        # Between 10 * 2**n and twice that, on average 14.4 times 2**n.
        assert run.per_second(second, second + 1) == pytest.approx(14.4 * 2**second, rel=0.15)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("limit", LIMITS)
def test_finds_a_changed_limit_again_within_15_seconds(limit: int, factor: float, form: str) -> None:
    for seed in _seeds(limit)[:3]:
        changed = 35 + 3 * seed
        run = drive(
            Bucket(),
            lambda at, c=changed: limit if at < c else limit * factor,  # type: ignore[misc]
            changed + 45,
            form=form,
            seed=seed,
        )
        # One call more or less than 95 % is chance: at 2.5 per second there are 75 of them.
        assert len([ok for ok in run.between(changed + 15, changed + 45) if ok]) > 28.5 * limit * factor - 1


@pytest.mark.parametrize("limit", LIMITS)
def test_three_processes_share_a_limit(limit: int) -> None:
    parts = []
    for form, seed in itertools.product(FORMS, _seeds(limit)):
        run = drive(Bucket(), limit, 75, form=form, processes=3, seed=seed)
        together = run.per_second(15, 75)
        assert together >= 0.9 * limit
        parts.append(min(run.per_second(15, 75, process) for process in range(3)) * 3 / together)
    # In one minute at 5 per second each process meets four or five 429s: one run of many may be unlucky.
    unlucky = [part for part in parts if part < 0.5]
    assert len(unlucky) <= (1 if limit == 5 else 0)
    assert min(parts) >= 0.25
    assert statistics.mean(parts) >= 0.78


@pytest.mark.parametrize(
    ("limiter", "least"),
    [
        pytest.param(FixedWindow, 0.8, id="fixed windows"),
        pytest.param(SlidingWindow, 0.73, id="sliding windows"),
        pytest.param(lambda: Bucket(4), 0.85, id="small bucket"),
        pytest.param(lambda: Bucket(60), 0.95, id="large bucket"),
    ],
)
def test_other_limiters_are_used_in_good_part_too(limiter: Callable[[], Limiter], least: float) -> None:
    run = drive(limiter(), 20, 75)
    assert run.per_second(15, 75) >= least * 20
    assert run.refused(15, 75) <= 0.02


@pytest.mark.parametrize("form", FORMS)
def test_is_never_faster_than_most(form: str) -> None:
    run = drive(Bucket(), 100, 30, form=form, most=7.5)
    assert run.refused(0, 30) == 0
    assert 7.2 < run.per_second(5, 30) <= 7.5 + 1 / 25
    assert run.paces[0].rate == 7.5
    assert run.paces[0].limit is None


def test_most_may_be_slower_than_one_call_in_ten_seconds() -> None:
    assert len(drive(Bucket(), 100, 100, most=0.05).seen) == 5


def refused(start: float = 100) -> tuple[AdaptivePace, Clock]:
    """Return a pace that has sent one request, and its clock."""
    clock = Clock(100.0)
    pace = AdaptivePace(start=start, monotonic=clock, rng=random.Random(1))
    assert pace.reserve() == 0
    return pace, clock


@pytest.mark.parametrize(
    ("told", "least", "most"),
    [(7.0, 7.0, 7.1), (-5.0, 0.0, 3.0), (math.inf, 0.0, 3.0), (math.nan, 0.0, 3.0)],
)
def test_retry_after_is_the_least_wait_unless_it_is_useless(told: float, least: float, most: float) -> None:
    pace, clock = refused(start=5)
    pace.rate_limited(told, clock.now)
    assert least <= pace.reserve() <= most
    clock.now += max(0.0, least - 0.1)
    assert pace.reserve() > 0


def sent_until(pace: AdaptivePace, clock: Clock, end: float) -> list[float]:
    """Take every slot until a moment."""
    sent = []
    while clock.now < end:
        if pace.reserve() == 0:
            sent.append(clock.now)
        clock.now += 0.001
    return sent


def test_no_burst_follows_a_429() -> None:
    pace, clock = refused()
    pace.rate_limited(None, clock.now)
    sent = sent_until(pace, clock, 102.0)
    assert sent[0] >= 100.05
    assert min(b - a for a, b in itertools.pairwise(sent)) >= 1 / pace.rate - 0.0011


def test_429s_of_requests_that_were_under_way_count_once() -> None:
    pace, clock = refused()
    sent = sent_until(pace, clock, 100.1)
    assert len(sent) > 5
    pace.rate_limited(None, sent[0])
    rate = pace.rate
    for sent_at in sent[1:]:
        pace.rate_limited(None, sent_at)
    assert pace.rate == rate


def test_a_429_right_after_the_wait_only_makes_the_wait_longer() -> None:
    pace, clock = refused()
    pace.rate_limited(None, clock.now)
    first, estimate = pace.reserve(), pace.limit
    clock.now += first
    assert pace.reserve() == 0
    pace.rate_limited(None, clock.now)
    assert pace.reserve() > first
    assert pace.limit == estimate


def test_waits_grow_while_everything_is_refused_and_end_when_something_is_accepted() -> None:
    run = drive(Bucket(), lambda at: 20 if at < 20 or at > 140 else 1e-9, 200)
    assert len(run.between(21, 50)) <= 12
    assert len(run.between(80, 140)) <= 4
    assert run.per_second(185, 200) >= 0.9 * 20


def test_429s_in_a_row_are_few_when_the_limit_falls_to_a_tenth() -> None:
    run = drive(Bucket(), lambda at: 100 if at < 30 else 10, 60)
    rows = [len(list(row)) for ok, row in itertools.groupby(run.between(30, 60)) if not ok]
    assert max(rows) <= 12


def test_slots_that_nobody_used_are_lost() -> None:
    run = drive(Bucket(), 50, 60, idle=(30, 40))
    before = max(len(run.between(20 + n / 10, 20.1 + n / 10)) for n in range(100))
    assert len(run.between(40, 40.1)) <= before + 2


def test_rate_does_not_rise_while_it_is_not_used() -> None:
    run = drive(Bucket(), 1000, 60, threads=1)  # one thread sends 20 calls per second at most
    assert run.paces[0].rate < 40


def test_rate_does_not_rise_far_above_what_few_lines_let_through() -> None:
    # Many senders, held back by something else, ask for 95 calls per second altogether.
    clock = 0.0
    pace = AdaptivePace(monotonic=lambda: clock)
    for _ in range(60 * 95):
        clock += 1 / 95
        while pace.reserve() > 0:
            clock += 0.001
        pace.accepted(clock)
    assert pace.rate < 2 * 95


def test_processes_do_not_move_in_step() -> None:
    run = drive(Bucket(), 60, 90, form="date", processes=3)
    counts = [[len(run.between(s, s + 1, p)) for s in range(30, 90)] for p in range(3)]
    assert statistics.correlation(counts[0], counts[1]) < 0.5


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["most", "start"])
def test_useless_rates_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        AdaptivePace(**{name: value})  # type: ignore[arg-type]


class ThreadClock:
    """A clock that all threads move on whenever one of them waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lock = threading.Lock()

    def __call__(self) -> float:
        with self.lock:
            self.now += 1e-4
            return self.now


def test_threads_get_no_more_slots_than_the_rate_allows() -> None:
    clock = ThreadClock()
    pace = AdaptivePace(start=50, most=50, monotonic=clock)
    slots: list[float] = []

    def work(_: int) -> None:
        while clock.now < 4:
            if pace.reserve() <= 0:
                slots.append(clock.now)
                pace.accepted(slots[-1])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert 150 <= len(slots) <= 4.1 * 50 + 3


def test_a_set_event_ends_all_waits_without_taking_a_slot() -> None:
    pace = AdaptivePace(most=0.001)
    stop = threading.Event()
    assert pace.acquire(stop) is not None
    with ThreadPoolExecutor(5) as pool:
        waits = [pool.submit(pace.acquire, stop) for _ in range(5)]
        stop.set()
        assert [wait.result(5) for wait in waits] == [None] * 5
