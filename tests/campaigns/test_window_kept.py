"""Nobody is called at an indecent hour, and nobody is forgotten, whatever the clocks and the dialler do."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_voiceinfra.campaigns.engine.openings import MOST_MISSED
from airflow_provider_voiceinfra.campaigns.engine.runner import End
from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan, RedialPolicy
from airflow_provider_voiceinfra.dialling.jobs import Dialled
from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.ledger.records import Job
from airflow_provider_voiceinfra.rules.calling_window.place import place_of
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow
from airflow_provider_voiceinfra.rules.recipient import Recipient
from tests.campaigns.simulated import Clock, Habits, MemoryLedger, World, run
from tests.rules.calling_window.test_window import (
    ZONES,
    moments,
    slow_is_open,
    utc,
    window_specs,
)

# Numbers of one zone, of two with the same hour or not the same, without summer time, and of all of America.
AREA_CODES = (202, 415, 208, 605, 701, 709, 907, 808, 928, 787, 800)
MINUTES = st.integers(0, 600).map(lambda minutes: timedelta(minutes=minutes))
SECONDS = st.integers(0, 60).map(lambda seconds: timedelta(seconds=seconds))

contacts = st.lists(
    st.tuples(st.sampled_from(AREA_CODES), st.one_of(st.none(), st.sampled_from(ZONES))),
    min_size=1,
    max_size=8,
)
habits = st.builds(
    Habits,
    queued=st.one_of(SECONDS, MINUTES),
    step=st.sampled_from([timedelta(seconds=3), timedelta(seconds=40), timedelta(minutes=20)]),
    length=st.one_of(SECONDS, st.just(timedelta(minutes=40))),
    room=st.integers(1, 10),
    webhook_lost=st.sampled_from([0.0, 0.0, 0.3]),
    rate_limited=st.sampled_from([0.0, 0.0, 0.3]),
    answer_lost=st.sampled_from([0.0, 0.0, 0.2]),
    killed=st.sampled_from([0.0, 0.0, 0.2]),
)
redials = st.one_of(
    st.none(),
    st.builds(
        lambda waits, attempts: RedialPolicy(
            frozenset({"voicemail"}), tuple(timedelta(minutes=wait) for wait in waits), attempts
        ),
        st.lists(st.sampled_from([0, 1, 45, 600, 2000]), min_size=1, max_size=3),
        st.integers(2, 4),
    ),
)


PROMPT = Habits(queued=timedelta(0), step=timedelta(seconds=20), length=timedelta(0))


def openings(window: CallingWindow, ledger: MemoryLedger, since: datetime) -> int:
    """Return how often the window has opened for somebody since some moment."""
    found = set()
    for contact in ledger.contacts.values():
        place = place_of(contact.call.to_number, contact.recipient)
        at = window.next_opening(since, place)
        while at is not None and at <= ledger.clock.now:
            found.add(at)
            closes = window.closes_at(at, place)
            at = window.next_opening(closes, place) if closes else None
    return len(found)


@settings(max_examples=150, deadline=None)
@given(
    specs=window_specs(),
    zone=st.one_of(st.none(), st.none(), st.sampled_from(ZONES)),
    start=moments(),
    people=contacts,
    habits=habits,
    redial=redials,
    lines=st.integers(1, 6),
    lasts=st.one_of(st.none(), MINUTES, st.integers(10, 96).map(lambda hours: timedelta(hours=hours))),
    seed=st.integers(0, 2**32),
)
def test_no_call_is_sent_outside_the_window_and_nobody_is_forgotten(
    specs: list[dict[str, object]],
    zone: str | None,
    start: datetime,
    people: list[tuple[int, str | None]],
    habits: Habits,
    redial: RedialPolicy | None,
    lines: int,
    lasts: timedelta | None,
    seed: int,
) -> None:
    window = CallingWindow.parse([{**spec, **({"timezone": zone} if zone else {})} for spec in specs])
    ledger = MemoryLedger(Clock(start))
    for line, (area_code, own_zone) in enumerate(people):
        number = f"+1{area_code}55501{line:02d}"
        if window.next_opening(start, place_of(number, Recipient(own_zone))) is not None:
            ledger.add(number, own_zone)
    deadline = start + lasts if lasts is not None else None
    world = World(ledger, habits, seed)
    plan = CampaignPlan("c", lines, window, redial, deadline, timedelta(hours=1))

    try:
        assert run(world, plan) is End.FINISHED
    except InvalidCallError as error:
        assert deadline is None
        assert error.field == "calling_window"  # noqa: PT017 # whether it ends so is chance
        since = world.sent[-1][1] if world.sent else start
        assert openings(window, ledger, since) >= MOST_MISSED
        # Nobody is forgotten: a task that is in time calls all of them.
        world.habits, world.ticks = PROMPT, 0
        assert run(world, plan) is End.FINISHED

    for job, at in world.sent:
        contact = ledger.contacts[job.origin.position or 0]
        zones = place_of(job.call.to_number, contact.recipient).zones or ()
        assert slow_is_open(specs, at, (zone,) if zone else zones), (at, zones)
        assert deadline is None or at < deadline
    attempts = [(job.origin.position, job.origin.attempt) for job, _ in world.sent]
    assert len(set(attempts)) == len(attempts)
    if deadline is None:
        assert {position for position, _ in attempts} == set(ledger.contacts)


def test_a_job_that_waited_in_the_queue_till_the_window_closed_is_called_the_next_day() -> None:
    ledger = MemoryLedger.at(utc(2026, 6, 1, 20), 50)  # a Monday, 16:00 in New York
    world = World(ledger, Habits(queued=timedelta(hours=3), room=20), seed=1)

    run(world, CampaignPlan("c", 50, CallingWindow.parse("mon-fri 09:00-17:00")))

    local = [at.astimezone(ZoneInfo("America/New_York")) for _, at in world.sent]
    assert len(local) == 50
    assert {at.day for at in local} == {1, 2}
    assert all(9 <= at.hour < 17 for at in local)


def test_nobody_is_called_at_or_after_the_deadline_however_long_jobs_have_waited() -> None:
    start = utc(2026, 6, 1, 12)
    for window in (None, CallingWindow.parse("00:00-24:00 UTC")):
        ledger = MemoryLedger.at(start, 100)
        habits = Habits(queued=timedelta(hours=2), step=timedelta(minutes=20), room=20)
        world = World(ledger, habits, seed=3)
        deadline = start + timedelta(hours=1)

        assert run(world, CampaignPlan("c", 50, window, deadline=deadline)) is End.FINISHED

        assert 0 < len(world.sent) < 100
        assert max(at for _, at in world.sent) < deadline


def test_redials_wait_for_the_window_too() -> None:
    ledger = MemoryLedger.at(utc(2026, 3, 7, 21))  # in New York a Saturday, 16:00, before clocks change
    world = World(ledger, Habits(outcomes=("voicemail",)), seed=2)
    redial = RedialPolicy.parse({"waits": [90], "attempts": 3})

    run(world, CampaignPlan("c", window=CallingWindow.parse("10:00-17:00"), redial=redial))

    local = [at.astimezone(ZoneInfo("America/New_York")) for _, at in world.sent]
    assert [(at.day, at.hour) for at in local] == [(7, 16), (8, 10), (8, 11)]


@pytest.mark.parametrize("hours", [-25, -3, 3])
def test_a_clock_that_is_set_holds_nothing_up(hours: int) -> None:
    start = utc(2026, 6, 1, 12)
    ledger = MemoryLedger.at(start, 60)
    world = World(ledger, Habits(webhook_lost=0.3, rate_limited=0.3, answer_lost=0.1, killed=0.05), seed=5)
    send = world.send

    def send_and_set_the_clock(job: Job) -> Dialled:
        found = send(job)
        if len(world.sent) == 30:
            ledger.clock.set_forward(timedelta(hours=hours))
        return found

    world.send = send_and_set_the_clock  # type: ignore[method-assign]
    plan = CampaignPlan("c", 4, completion_timeout=timedelta(minutes=10))
    assert run(world, plan) is End.FINISHED
    # Some wait for a webhook that never comes, on four lines; none waits for the clock.
    assert ledger.clock.true - start < timedelta(hours=3)
    assert {job.origin.position for job, _ in world.sent} == set(ledger.contacts)
