"""What keeps a whole campaign from dialling, and what does not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.campaigns.engine.obstacles import (
    FIRST_REST,
    LONGEST_REST,
    MOST_REFUSALS,
    MOST_UNKNOWN,
    PATIENCE,
    Obstacles,
)
from airflow_provider_voiceinfra.campaigns.progress import Obstacle
from airflow_provider_voiceinfra.dialling.jobs import Dialled
from airflow_provider_voiceinfra.exceptions import (
    ApiUnreachableError,
    CallNotPlacedError,
    CallOutcomeUnknownError,
    CallRefusedError,
    InvalidPhoneError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    UnauthorizedError,
    VoiceInfraError,
)
from airflow_provider_voiceinfra.ledger.records import CallOrigin, CallState, Job
from tests.campaigns.simulated import Clock, MemoryLedger
from tests.rules.calling_window.test_window import utc

JOB = Job("key", OutboundCall("+14155550100"), CallOrigin(position=1, attempt=1))
SECOND = timedelta(seconds=1)


@pytest.fixture
def clock() -> Clock:
    return Clock(utc(2026, 6, 1))


@pytest.fixture
def obstacles(clock: Clock) -> Obstacles:
    return Obstacles(clock.passed)


def answered(state: CallState, error: Exception | None = None, *, again: bool = False) -> Dialled:
    ledger = MemoryLedger(Clock(utc(2026, 6, 1)))
    entry = ledger.claim(JOB)
    assert entry is not None
    entry = ledger.accept(entry) if state is CallState.ACCEPTED else ledger.refuse(entry, "")
    return Dialled(JOB, entry, again=again, error=error)


ACCEPTED = answered(CallState.ACCEPTED)
INTERRUPTED = answered(CallState.REFUSED, again=True)
NOT_CLAIMED = Dialled(JOB, None, again=True)


def refused(error: CallNotPlacedError) -> Dialled:
    return answered(CallState.REFUSED, error)


LOST = Dialled(JOB, INTERRUPTED.entry, error=CallOutcomeUnknownError("The answer was lost."))
UNREACHABLE = answered(CallState.REFUSED, ApiUnreachableError("It is away."), again=True)


def test_each_rest_is_twice_as_long_up_to_a_limit(obstacles: Obstacles, clock: Clock) -> None:
    rests = []
    for _ in range(8):
        assert not obstacles.in_the_way
        before = clock.now
        obstacles.note(UNREACHABLE)
        obstacles.note(UNREACHABLE)  # one of several that were under way together
        assert obstacles.current is Obstacle.UNREACHABLE
        while obstacles.in_the_way:
            clock.now += SECOND
        rests.append(clock.now - before)
    assert rests[:3] == [FIRST_REST, 2 * FIRST_REST, 4 * FIRST_REST]
    assert rests[-1] == LONGEST_REST


def test_a_clock_that_is_set_back_makes_no_rest_longer(obstacles: Obstacles, clock: Clock) -> None:
    obstacles.note(UNREACHABLE)
    clock.set_forward(-timedelta(hours=1))
    clock.now += FIRST_REST
    assert not obstacles.in_the_way


@pytest.mark.parametrize("meanwhile", [INTERRUPTED, NOT_CLAIMED], ids=["interrupted", "not claimed"])
def test_it_fails_after_a_long_time(obstacles: Obstacles, clock: Clock, meanwhile: Dialled) -> None:
    obstacles.note(UNREACHABLE)
    clock.now += PATIENCE
    obstacles.note(meanwhile)
    assert obstacles.current is Obstacle.UNREACHABLE
    obstacles.note(UNREACHABLE)
    clock.now += SECOND
    with pytest.raises(VoiceInfraError, match="cannot be reached"):
        obstacles.note(UNREACHABLE)


@pytest.mark.parametrize(
    "answer",
    [ACCEPTED, refused(InvalidPhoneError("")), refused(RateLimitedError(""))],
    ids=["accepted", "refused", "429"],
)
def test_any_answer_shows_that_it_is_back(obstacles: Obstacles, clock: Clock, answer: Dialled) -> None:
    obstacles.note(UNREACHABLE)
    clock.now += PATIENCE
    obstacles.note(answer)
    clock.now += SECOND
    obstacles.note(UNREACHABLE)
    assert obstacles.in_the_way
    clock.now += FIRST_REST
    assert not obstacles.in_the_way


def test_lost_answers_in_a_row_let_one_call_at_a_time_be_tried(obstacles: Obstacles, clock: Clock) -> None:
    for _ in range(MOST_UNKNOWN - 1):
        obstacles.note(LOST)
    assert not obstacles.is_failing
    obstacles.note(ACCEPTED)  # so they were not in a row
    for _ in range(MOST_UNKNOWN):
        assert not obstacles.is_failing
        obstacles.note(LOST)
    assert obstacles.is_failing
    assert obstacles.in_the_way
    assert obstacles.current is Obstacle.FAILING
    clock.now += PATIENCE + SECOND
    with pytest.raises(VoiceInfraError, match="the API fails"):
        obstacles.note(LOST)
    obstacles.note(ACCEPTED)
    assert (obstacles.is_failing, obstacles.current) == (False, None)


@pytest.mark.parametrize(
    "final",
    [
        refused(UnauthorizedError("The key is wrong.")),
        answered(CallState.REFUSED, ApiUnreachableError("Not trusted.", lasting=True), again=True),
    ],
    ids=["bad key", "until somebody fixes it"],
)
def test_what_only_a_person_can_fix_ends_the_campaign_at_once(obstacles: Obstacles, final: Dialled) -> None:
    obstacles.note(ACCEPTED)
    assert final.error is not None
    with pytest.raises(type(final.error), match=str(final.error)):
        obstacles.note(final)


@pytest.mark.parametrize(
    ("first", "error", "stops"),
    [
        (INTERRUPTED, NotFoundError("No agent."), True),
        (INTERRUPTED, InvalidRequestError("No caller."), True),
        (INTERRUPTED, InvalidPhoneError("No number."), False),
        (ACCEPTED, NotFoundError("No agent."), False),
        (ACCEPTED, InvalidRequestError("No caller."), False),
        (ACCEPTED, InvalidPhoneError("No number."), False),
    ],
)
def test_many_refusals_stop_it_unless_they_concern_single_contacts(
    obstacles: Obstacles, first: Dialled, error: CallRefusedError, stops: bool
) -> None:
    obstacles.note(first)
    for _ in range(MOST_REFUSALS - 1):
        obstacles.note(refused(error))
    if stops:
        with pytest.raises(CallRefusedError, match=r"No .*\. None of them was placed.* clear this task"):
            obstacles.note(refused(error))
    else:
        for _ in range(2 * MOST_REFUSALS):
            obstacles.note(refused(error))


def test_refusals_that_are_not_documented_stop_even_a_campaign_that_worked(obstacles: Obstacles) -> None:
    no_credit = refused(CallRefusedError("HTTP 402: the call was refused.", http_status=402))
    for _ in range(MOST_REFUSALS - 1):
        obstacles.note(no_credit)
    obstacles.note(ACCEPTED)  # so they were not in a row
    for _ in range(MOST_REFUSALS - 1):
        obstacles.note(no_credit)
    with pytest.raises(CallRefusedError, match="402"):
        obstacles.note(no_credit)


def test_a_rate_limit_is_told_until_a_call_is_taken(obstacles: Obstacles) -> None:
    obstacles.note(refused(RateLimitedError("")))
    assert (obstacles.current, obstacles.in_the_way) == (Obstacle.RATE_LIMIT, False)
    obstacles.note(ACCEPTED)
    assert obstacles.current is None
