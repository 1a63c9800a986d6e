"""A campaign under a clock that a test moves: a ledger in memory, and a dialler that sends when it likes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from airflow_provider_voiceinfra.campaigns.engine.runner import CampaignRunner, End, Pause
from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan
from airflow_provider_voiceinfra.campaigns.progress import Progress
from airflow_provider_voiceinfra.dialling.clocks import Clocks
from airflow_provider_voiceinfra.dialling.jobs import Dialled
from airflow_provider_voiceinfra.exceptions import CallOutcomeUnknownError, RateLimitedError
from airflow_provider_voiceinfra.ledger.campaigns.records import Attempt, ContactEntry
from airflow_provider_voiceinfra.ledger.records import (
    CallEntry,
    CallOrigin,
    CallState,
    CompletionEntry,
    Job,
    hash_key,
)
from tests.support.records import build

MIN_PAUSE = timedelta(seconds=60)
ORIGIN = CallOrigin("dag", "run", "task", -1, 1)
MOST_TICKS = 200_000


class Killed(Exception):  # noqa: N818 # nothing that code could handle
    """The process is gone."""


class Clock:
    """Stands still unless it is moved; may be set to a wrong time."""

    def __init__(self, now: datetime) -> None:
        self.true = self._start = now
        self._wrong = timedelta(0)

    @property
    def now(self) -> datetime:
        """What the clock on the wall says."""
        return self.true + self._wrong

    @now.setter
    def now(self, moment: datetime) -> None:
        self.true = moment - self._wrong

    def set_forward(self, by: timedelta) -> None:
        """Set the clock on the wall, by a negative time to set it back; no time passes."""
        self._wrong += by

    def passed(self) -> float:
        """Return how many seconds have really passed."""
        return (self.true - self._start).total_seconds()

    @property
    def clocks(self) -> Clocks:
        return Clocks(lambda: self.now, self.passed)


@dataclass
class _Row:
    """A call and its end."""

    entry: CallEntry
    completion: CompletionEntry | None = None


@dataclass
class MemoryLedger:
    """What a campaign's runner asks of the ledger, without a database."""

    clock: Clock
    contacts: dict[int, ContactEntry] = field(default_factory=dict)
    rows: dict[str, _Row] = field(default_factory=dict)
    completed: list[CompletionEntry] = field(default_factory=list)
    cancelled_at: datetime | None = None
    told: Progress | None = None

    @property
    def campaigns(self) -> MemoryLedger:
        """What the ledger has as a part."""
        return self

    @classmethod
    def at(cls, now: datetime, people: int = 1) -> MemoryLedger:
        """Return a ledger with contacts in New York."""
        ledger = cls(Clock(now))
        for line in range(people):
            ledger.add(f"+121255501{line:02d}")
        return ledger

    def add(self, to_number: str, timezone: str | None = None) -> None:
        """Add a contact."""
        position = len(self.contacts) + 1
        request = {"to_number": to_number, "agent_id": "agent_demo", "from_number": "+14155550199"}
        self.contacts[position] = ContactEntry(position, position, f"key {position}", request, timezone)

    def count_contacts(self, campaign_id: str) -> dict[str, int]:
        return {"": len(self.contacts)}

    def untried_contacts(self, campaign_id: str, *, after: int, limit: int) -> list[ContactEntry]:
        tried = {row.entry.origin.position for row in self.rows.values()}
        wanted = [position for position in self.contacts if position > after and position not in tried]
        return [self.contacts[position] for position in wanted[:limit]]

    def contacts_at(self, campaign_id: str, positions: Sequence[int]) -> dict[int, ContactEntry]:
        return {position: self.contacts[position] for position in positions}

    def attempts(self, campaign_id: str) -> Iterator[Attempt]:
        found = [_attempt(row) for row in self.rows.values()]
        yield from sorted(found, key=lambda attempt: (attempt.position, attempt.number))

    def call_by_hash(self, key_hash: str) -> CallEntry:
        return self.rows[key_hash].entry

    def mark_unknown(self, entry: CallEntry, code: str, message: str) -> CallEntry:
        return self._change(entry, state=CallState.UNKNOWN, error_code=code)

    def adopt(self, entry: CallEntry, *, window: timedelta) -> CallEntry:
        return self.rows[entry.key_hash].entry

    def last_sequence(self) -> int:
        return len(self.completed)

    def completions_after(self, sequence: int, *, limit: int) -> list[CompletionEntry]:
        return self.completed[sequence : sequence + limit]

    def completions(self, call_ids: Collection[str], *, with_body: bool) -> dict[str, CompletionEntry]:
        return {entry.call_id: entry for entry in self.completed if entry.call_id in call_ids}

    def open_calls(self, campaign_id: str) -> list[str]:
        unended = [row.entry.call_id for row in self.rows.values() if row.completion is None]
        return [call_id for call_id in unended if call_id]

    def heartbeat(self, campaign_id: str, runner: str, progress: dict[str, object]) -> Any:
        self.told = Progress.from_json(json.loads(json.dumps(progress)))
        return SimpleNamespace(cancelled_at=self.cancelled_at)

    def claim(self, job: Job) -> CallEntry | None:
        """Claim a job's call; ``None`` if somebody has claimed it before and it may have rung."""
        key_hash = hash_key(job.key)
        row = self.rows.get(key_hash)
        if row is not None and row.entry.state is not CallState.REFUSED:
            return None
        entry = build(
            CallEntry,
            key_hash=key_hash,
            idempotency_key=job.key,
            state=CallState.CLAIMED,
            origin=job.origin,
            claimed_at=self.clock.now,
            renewed_at=self.clock.now,
        )
        self.rows[key_hash] = _Row(entry)
        return entry

    def refuse(self, entry: CallEntry, code: str) -> CallEntry:
        return self._change(entry, state=CallState.REFUSED, error_code=code, answered_at=self.clock.now)

    def accept(self, entry: CallEntry) -> CallEntry:
        call_id = f"call {entry.origin.position}/{entry.origin.attempt}"
        return self._change(entry, state=CallState.ACCEPTED, call_id=call_id, answered_at=self.clock.now)

    def complete(self, call_id: str, outcome: str) -> None:
        """Record that a call is over."""
        [row] = [row for row in self.rows.values() if row.entry.call_id == call_id]
        row.completion = build(
            CompletionEntry,
            call_id=call_id,
            sequence=len(self.completed) + 1,
            call_outcome=outcome,
            received_at=self.clock.now,
        )
        self.completed.append(row.completion)

    def _change(self, entry: CallEntry, **values: Any) -> CallEntry:
        row = self.rows[entry.key_hash]
        row.entry = replace(row.entry, **values)
        return row.entry


def _attempt(row: _Row) -> Attempt:
    entry, completion = row.entry, row.completion
    same = ("key_hash", "state", "call_id", "claimed_at", "renewed_at", "answered_at", "error_code")
    return build(
        Attempt,
        **{name: getattr(entry, name) for name in same},
        position=entry.origin.position,
        number=entry.origin.attempt,
        outcome=completion.call_outcome if completion else None,
        completed_at=completion.received_at if completion else None,
    )


@dataclass(frozen=True)
class Habits:
    """How the world goes.

    :param queued: how long a job waits before it is sent, at most.
    :param step: how far the clock moves between two looks of the runner, at most.
    :param length: how long a call takes, at most.
    :param webhook_lost: how many webhooks never come, 0 to 1; likewise the others.
    """

    queued: timedelta = timedelta(seconds=5)
    step: timedelta = timedelta(seconds=5)
    length: timedelta = timedelta(minutes=3)
    room: int = 5
    webhook_lost: float = 0.0
    rate_limited: float = 0.0
    answer_lost: float = 0.0
    killed: float = 0.0
    outcomes: tuple[str, ...] = ("answered", "voicemail")


class World:
    """Everything outside the runner: the dialler's queue, the API, people who talk, and time."""

    def __init__(self, ledger: MemoryLedger, habits: Habits, seed: int) -> None:
        self.ledger = ledger
        self.clock = ledger.clock
        self.habits = habits
        self.chance = random.Random(seed)
        self.sent: list[tuple[Job, datetime]] = []
        self.talking: dict[str, datetime] = {}
        self.ticks = 0
        self.on_wait: Callable[[float], object] = lambda timeout: None
        """Called each time the runner waits."""

    def move(self, to: datetime) -> None:
        """Let time go by; who has talked enough hangs up."""
        for call_id, end in sorted(self.talking.items(), key=lambda item: item[1]):
            if end <= to:
                del self.talking[call_id]
                self.clock.true = max(self.clock.true, end)
                self.ledger.complete(call_id, self.chance.choice(self.habits.outcomes))
        self.clock.true = max(self.clock.true, to)

    def sleep(self, pause: Pause) -> None:
        """Let time go by as the trigger does, until there may be something to do."""
        until = self.clock.true + (pause.until - self.clock.now)
        ends = sorted(end for end in self.talking.values() if end < until)
        for end in ends if pause.calls is not None else []:
            if len(self.ledger.campaigns.open_calls("")) < (pause.calls or 0):
                return
            self.move(end)
        if pause.calls is None or len(self.ledger.campaigns.open_calls("")) >= pause.calls:
            self.move(until)

    def send(self, job: Job) -> Dialled:
        """Send one request."""
        entry = self.ledger.claim(job)
        assert entry is not None, "somebody was about to be called again under one key"
        if self.chance.random() < self.habits.rate_limited:
            return Dialled(job, self.ledger.refuse(entry, "rate_limited"), True, RateLimitedError(""))
        self.sent.append((job, self.clock.now))
        if self.chance.random() < self.habits.killed:
            raise Killed
        if self.chance.random() < self.habits.answer_lost:
            error = CallOutcomeUnknownError("")
            return Dialled(job, self.ledger.mark_unknown(entry, "", ""), error=error)
        entry = self.ledger.accept(entry)
        if self.chance.random() >= self.habits.webhook_lost:
            self.talking[str(entry.call_id)] = self.clock.true + self.chance.random() * self.habits.length
        return Dialled(job, entry)


class SimulatedDialler:
    """Has the runner's view of a ``Dialler``, and sends after random waits."""

    def __init__(self, world: World) -> None:
        self.pace = SimpleNamespace(rate=1.0, limit=None)
        self._world = world
        self._queue: list[tuple[datetime, Job]] = []
        self._held = False

    @property
    def outstanding(self) -> int:
        return len(self._queue)

    @property
    def room(self) -> int:
        return max(0, self._world.habits.room - self.outstanding)

    def hold(self, held: bool) -> None:
        self._held = held

    def prolong(self, until: float) -> None:
        """The simulated process is never paused."""

    def submit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            wait = self._world.chance.random() * self._world.habits.queued
            self._queue.append((self._world.clock.true + wait, job))
        self._queue.sort(key=lambda item: item[0])

    def wait(self, timeout: float) -> list[Dialled]:
        world = self._world
        world.on_wait(timeout)
        world.ticks += 1
        assert world.ticks < MOST_TICKS, "the campaign does not end"
        longest = max(world.habits.step, world.habits.queued / 100)
        step = timedelta(seconds=timeout) + world.chance.random() * longest
        until, found = world.clock.true + step, []
        while self._queue and (self._held or self._queue[0][0] <= until):
            at, job = self._queue.pop(0)
            if self._held:
                found.append(Dialled(job, None, again=True))
                continue
            world.move(at)
            late = job.not_after is not None and world.clock.now >= job.not_after
            found.append(Dialled(job, None, again=True) if late else world.send(job))
        world.move(until)
        return found


def campaign(
    world: World,
    plan: CampaignPlan,
    before: Progress | None = None,
    min_pause: timedelta | None = MIN_PAUSE,
) -> CampaignRunner:
    """Return what a process runs."""
    anything: Any = world.ledger, SimulatedDialler(world)
    clocks = world.clock.clocks
    return CampaignRunner(
        plan, *anything, runner="", origin=ORIGIN, min_pause=min_pause, clocks=clocks, before=before
    )


def run(world: World, plan: CampaignPlan, *, processes: int = 1000) -> End:
    """Run a campaign to its end, whoever sleeps or is killed on the way."""
    told = None
    for _ in range(processes):
        try:
            end = campaign(world, plan, told).run()
        except Killed:
            told = None
            continue
        if isinstance(end, End):
            return end
        assert end.until >= world.clock.now + MIN_PAUSE
        told = world.ledger.told
        world.sleep(end)
    raise AssertionError(f"the campaign did not end in {processes} processes")
