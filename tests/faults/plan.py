"""What one seed draws: who is called, by which processes, and what goes wrong when; plain values only.

A plan is drawn before anything runs, from ``random.Random(seed)`` alone, so that a seed always gives the same
one. Seconds are those of the run, in which everything is ``SCALE`` times as fast as in production.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

# Every duration of the package is divided by this in a worker, so that their proportions stay.
SCALE = 5.0

# How long a request waits for its answer, and how long it is sent again after answers that placed nothing.
TIMEOUT = 1.0
PATIENCE = 2.5
LEASE = 2 * TIMEOUT + PATIENCE + 1.0

FAIL, REDIAL = "fail", "redial"
AREA_CODES = (202, 212, 213, 214, 215, 216, 217, 218, 224, 415)
FROM_NUMBER = "+13125550199"
AGENT = "agent_reminder"


@dataclass(frozen=True)
class Account:
    """A connection, and the vendor's account behind it."""

    conn_id: str
    api_key: str
    secret: str


@dataclass(frozen=True)
class Key:
    """A single call under an idempotency key; the mark tells it in the vendor's log."""

    mark: str
    key: str
    to: str
    conn_id: str
    agent: str = AGENT
    on_unknown: str = FAIL
    unknown_timeout: float = 2.0


@dataclass(frozen=True)
class Campaign:
    """One campaign; each of its lists replaces the one before.

    :param lists: contacts as rows with ``id``, ``mark`` and ``to_number``, for each load.
    :param do_not_call: the numbers of each list that must not be called.
    :param deadline: when nobody is called any more, in ISO form; ``None`` for never.
    """

    campaign_id: str
    conn_id: str
    lists: list[list[dict[str, str]]]
    do_not_call: list[list[str]]
    as_file: bool = False
    results: str = "results.jsonl"
    max_active_calls: int = 6
    waits: list[float] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=lambda: ["voicemail", "failed"])
    unknown_timeout: float = 1.5
    completion_timeout: float = 4.0
    deadline: str | None = None

    @property
    def attempts(self) -> int:
        return len(self.waits) + 1


@dataclass(frozen=True)
class Task:
    """What a task instance does; a retry does the same under a higher try number.

    :param keyless: whether the calls have no idempotency keys; a retry is then another call.
    :param by_hook: whether the hook places them, and not what the operator uses.
    :param forked: whether the process forks once it has used the ledger, and both place the calls.
    """

    name: str
    keys: list[Key] = field(default_factory=list)
    campaign: Campaign | None = None
    list_of_try: dict[int, int] = field(default_factory=dict)
    wait: float = 0.0
    keyless: bool = False
    by_hook: bool = False
    forked: bool = False


@dataclass(frozen=True)
class Script:
    """How the vendor behaves.

    :param answers: how likely each answer is, see ``vendor``; ``forced`` gives the first ones of a mark.
    :param webhooks: the same for deliveries, see ``webhooks``.
    :param crossed: how likely another account's webhook tells of a call before its own does, 0 to 1.
    :param skew: by how much the vendor's clock differs from the host's.
    :param opt_outs: the numbers whose people opt out, each with the call in which they do, from 1.
    """

    answers: dict[str, float]
    webhooks: dict[str, float]
    outcomes: dict[str, float]
    forced: dict[str, list[str]] = field(default_factory=dict)
    forced_webhooks: dict[str, list[str]] = field(default_factory=dict)
    crossed: float = 0.0
    skew: float = 0.0
    opt_outs: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Point:
    """A place in a worker at which it is killed, or stopped for a while.

    :param name: see ``points``.
    :param nth: which time it is reached there.
    :param seconds: how long it stays stopped at most; 0 kills it.
    :param until: a label on which it goes on earlier.
    """

    name: str
    nth: int = 1
    seconds: float = 0.0
    until: str | None = None


@dataclass(frozen=True)
class Step:
    """Something that is done at a moment, or some seconds after a label.

    :param do: see ``stage``.
    :param not_before: so long after the beginning at the earliest, whenever the label comes.
    """

    do: str
    after: float = 0.0
    on: str | None = None
    who: str = ""
    seconds: float = 0.0
    try_number: int = 1
    points: list[Point] = field(default_factory=list)
    clock: float = 0.0
    not_before: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Everything that happens in a run, but for what the machine's own timing decides.

    :param rules: the deployment's, by the names of their settings.
    :param all_clocks: by how much the clocks of all processes and of the database differ from the host's.
    :param jumps: when the clock of all workers and receivers jumps, and by how much; not the database's.
    :param receivers: how many there are, each of which takes some of the deliveries.
    :param pooled: whether a pooler stands before the ledger's server, if it has one.
    """

    seed: int
    family: str
    accounts: list[Account]
    tasks: list[Task]
    script: Script
    steps: list[Step]
    receiver_clock: float = 0.0
    rules: dict[str, str] = field(default_factory=dict)
    all_clocks: float = 0.0
    jumps: list[tuple[float, float]] = field(default_factory=list)
    receivers: int = 1
    pooled: bool = False

    def task(self, name: str) -> Task:
        return next(task for task in self.tasks if task.name == name)

    @property
    def keys(self) -> list[Key]:
        return [key for task in self.tasks for key in task.keys]

    @property
    def campaigns(self) -> list[Campaign]:
        return [task.campaign for task in self.tasks if task.campaign is not None]


class Draw:
    """Draws the parts that the families have in common."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self._numbers = [f"+1{area}55501{line:02d}" for area in AREA_CODES for line in range(99)]
        self.random.shuffle(self._numbers)
        self._marks = 0
        self.accounts = [
            Account(name, f"vk_live_{self._hex(24)}", f"whsec_{self._hex(24)}")
            for name in ("conn_a", "conn_b")
        ]

    def _hex(self, digits: int) -> str:
        return f"{self.random.getrandbits(4 * digits):0{digits}x}"

    def number(self) -> str:
        """Return a number that nobody else has."""
        return self._numbers.pop()

    def between(self, least: float, most: float) -> float:
        return round(self.random.uniform(least, most), 3)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def one(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def pause(self) -> float:
        """Return how long a process is paused: 1 to 20 s of production."""
        return round(self.between(1.0, 20.0) / SCALE, 3)

    def clock(self) -> float:
        """Return by how much a process's clock differs: 15 s to 2 min of production, either way."""
        return round(self.one(-1, 1) * self.between(15.0, 120.0) / SCALE, 3)

    def mark(self, kind: str) -> str:
        self._marks += 1
        return f"{kind}{self._marks}"

    def key(self, **values: Any) -> Key:
        mark = self.mark("k")
        values = {"to": self.number(), "conn_id": "conn_a", **values}
        return Key(mark=mark, key=f"order-{self.seed}-{mark}", **values)

    def contacts(self, count: int) -> list[dict[str, str]]:
        marks = [self.mark("c") for _ in range(count)]
        return [{"id": mark, "mark": mark, "to_number": self.number()} for mark in marks]

    def script(self, trouble: float = 1.0, **values: Any) -> Script:
        """Return a vendor that answers well mostly.

        :param trouble: how much it fails, 1 for about half of all answers.
        """
        answers = {"ok": 40.0} | {
            name: trouble * self.between(0.0, 8.0)
            for name in (
                "slow", "late_answer", "lost", "lost_before", "500", "500_before", "html", "html_before",
                "html_200", "hang", "hang_before", "429", "429_seconds", "429_date", "cut_before",
            )
        }  # fmt: skip
        webhooks = {"plain": 40.0} | {
            name: trouble * self.between(0.0, 8.0)
            for name in ("lost", "late", "early", "doubled", "altered", "variant", "reordered")
        }
        outcomes = {"answered": 5.0, "voicemail": 3.0, "failed": 2.0}
        skew = self.between(-1.5, 1.5)
        drawn = {"answers": answers, "webhooks": webhooks, "outcomes": outcomes, "skew": skew}
        return Script(**{**drawn, **values})
