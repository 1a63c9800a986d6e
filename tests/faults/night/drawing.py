"""What is drawn for one night: numbers with their fates, campaigns, calls by the hundred, kills, opt-outs.

Everybody is under one calling window. At one moment in the middle it closes in the Eastern zone and opens in
the Mountain zone; in the Central it is open all the time, and in the Pacific closed. The clocks of all
processes and of the database are set alike so that this moment is a whole minute.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from tests.faults.plan import FAIL, REDIAL, Campaign, Draw, Key, Plan, Point, Script, Step, Task

EASTERN, CENTRAL, MOUNTAIN, PACIFIC = (
    f"America/{city}" for city in ("New_York", "Chicago", "Denver", "Los_Angeles")
)
# The zones of each area code, from the numbering plan and not from the package; with a share of the numbers.
FATES: tuple[tuple[float, tuple[str, ...], tuple[int, ...]], ...] = (
    (0.28, (EASTERN,), (202, 212, 215, 216, 404, 617, 704, 718)),
    (0.40, (CENTRAL,), (214, 314, 414, 504, 512, 612, 615, 713, 816, 901)),
    (0.22, (MOUNTAIN,), (303, 307, 406, 505, 719, 720, 801, 970)),
    (0.05, (PACIFIC,), (206, 213, 415, 503)),
    (0.05, (EASTERN, CENTRAL), (812, 850)),
)
ZONES = {str(area): zones for _, zones, areas in FATES for area in areas}
CAP = 3
# When the window changes, as a share of the night.
TURN = 0.45
LEAD = 5.0
"""How long the receiver has for its start, in seconds."""
HOT, BROAD = 3, 16
"""How many numbers a process calls in one go: those that all others call at the same time, and others."""
CLOSING = 3
"""How many numbers two more processes call right before the window closes."""


@dataclass(frozen=True)
class Size:
    """How much happens.

    :param processes: how many run at a time.
    :param seconds: how long the campaigns go on.
    """

    contacts: int = 5000
    processes: int = 16
    opt_outs: int = 500
    seconds: float = 180.0

    @property
    def campaigns(self) -> int:
        return min(3, max(1, self.processes // 2))

    @property
    def rounds(self) -> int:
        """How often each of the other processes begins a task."""
        each = (self.processes - self.campaigns) * (HOT + BROAD)
        return max(4, round(1.5 * self.contacts / each))


@dataclass(frozen=True)
class Night:
    """What the judge has to know.

    :param opens: when the window opens, in local time; ``closes`` likewise.
    :param exempt: the numbers to which neither window nor cap applies.
    """

    plan: Plan
    opens: str
    closes: str
    exempt: frozenset[str]


def night_of(seed: int, size: Size, now: float) -> Night:
    """Return the night of a seed that begins at a moment.

    :param now: the host's wall clock, in seconds since the epoch.
    """
    draw, began = Draw(seed), now + LEAD
    turn = began + TURN * size.seconds
    all_clocks = round(-(turn % 60) if turn % 60 < 30 else 60 - turn % 60, 3)
    # A millisecond later, in case it was rounded down.
    changes = datetime.fromtimestamp(turn + all_clocks + 0.001, ZoneInfo(EASTERN))
    opens, closes = (f"{moment:%H:%M}" for moment in (changes - timedelta(hours=2), changes))
    numbers = _numbers(draw, size)
    exempt = frozenset(draw.random.sample(numbers, max(2, len(numbers) // 100)))
    opt_outs = _opt_outs(draw, size, numbers, exempt)
    fresh = _Fresh(draw, numbers, exempt, opt_outs)
    chains = _chains(draw, size, fresh, numbers, list(opt_outs))
    closing = _closing(draw, fresh)
    numbers = [one for one in numbers if one not in fresh.taken]
    deadline = datetime.fromtimestamp(began + all_clocks + size.seconds, timezone.utc).isoformat()
    campaigns = [_campaign(draw, size, index, numbers, deadline) for index in range(size.campaigns)]
    tasks = [Task(f"camp{index}", campaign=one) for index, one in enumerate(campaigns)]
    steps = [step for task in tasks for step in _kills(draw, size, task)]
    for chain in chains:
        tasks += chain
        steps += _tries(draw, size, chain, gates=chains[-1])
    tasks += closing
    steps += _in_the_middle(size, closing)
    script = _script(draw, dict(opt_outs), all_clocks)
    rules = {
        "call_cap": f"{CAP}/24h",
        "calling_window": _window(opens, closes),
        "exempt_numbers": " ".join(sorted(exempt)),
        "opt_out": "extracted_data.opt_out = true",
    }
    plan = Plan(seed, "night", draw.accounts, tasks, script, steps, rules=rules, all_clocks=all_clocks)
    return Night(plan, opens, closes, exempt)


def _in_the_middle(size: Size, closing: list[Task]) -> list[Step]:
    """Return what happens to all: what is sent again after a 429 must not be once the window has closed."""
    turn, waits = TURN * size.seconds, Point("before_claim", 1, 9.0, "did:storm")
    return [
        Step("storm", not_before=turn - 1.0, seconds=3.0),
        *(Step("start", who=task.name, not_before=turn - 5.0, points=[waits]) for task in closing),
        *(Step("kill", share * size.seconds, who="receiver") for share in (0.3, 0.7)),
    ]


def _window(opens: str, closes: str) -> str:
    if opens < closes:
        return f"{opens}-{closes}"
    return ", ".join([f"{opens}-24:00", *([f"00:00-{closes}"] if closes != "00:00" else [])])


def _numbers(draw: Draw, size: Size) -> list[str]:
    """Return the numbers; each is called by several campaigns and tasks."""
    wanted = max(75, int(size.contacts * 0.25))
    found = []
    for share, _, areas in FATES:
        all_ = [f"+1{area}55501{line:02d}" for area in areas for line in range(99)]
        found += draw.random.sample(all_, min(len(all_), max(2, int(share * wanted))))
    draw.random.shuffle(found)
    return found


def _opt_outs(draw: Draw, size: Size, numbers: list[str], exempt: frozenset[str]) -> dict[str, int]:
    """Return who opts out, and in which call: people who can be called, some of them exempt."""
    callable_ = [one for one in numbers if ZONES[one[2:5]] != (PACIFIC,) and one not in exempt]
    some = draw.random.sample(callable_, min(len(callable_), int(1.15 * size.opt_outs)))
    some[: len(exempt) // 2] = draw.random.sample(sorted(exempt), len(exempt) // 2)
    return {number: draw.one(1, 1, 2) for number in some}


def _campaign(draw: Draw, size: Size, index: int, numbers: list[str], deadline: str) -> Campaign:
    count = size.contacts // size.campaigns
    called = draw.random.sample(numbers, min(count, len(numbers)))
    called += draw.random.choices(numbers, k=count - len(called))
    marks = [draw.mark("c") for _ in called]
    rows = [
        {"id": mark, "mark": mark, "to_number": number} for mark, number in zip(marks, called, strict=True)
    ]
    return Campaign(
        f"night-{draw.seed}-{index}",
        draw.accounts[index % 2].conn_id,
        [rows],
        [[]],
        max_active_calls=max(4, min(60, count // 20)),
        waits=[0.2, 0.5],
        completion_timeout=4.0,
        deadline=deadline,
    )


def _kills(draw: Draw, size: Size, task: Task) -> list[Step]:
    """Return how a campaign is killed again and again; the last process goes on to the end."""
    steps = [Step("start", who=task.name)]
    for number in range(1, 1 + max(2, int(size.seconds / 45))):
        name = f"{task.name}.{number}"
        share = size.seconds / max(2, int(size.seconds / 45))
        steps.append(Step("kill", draw.between(0.3, 0.9) * share, f"{name}:started", name))
        steps.append(Step("start", 0.1, f"{name}:ended", task.name, try_number=number + 1))
    return steps


class _Fresh:
    """Numbers that are kept for one purpose, so that no campaign has called them before."""

    def __init__(
        self, draw: Draw, numbers: list[str], exempt: frozenset[str], opt_outs: dict[str, int]
    ) -> None:
        self.taken: set[str] = set()
        self._opt_outs = opt_outs
        left = [one for one in numbers if one not in exempt]
        self._of = {
            kind: [one for one in left if (ZONES[one[2:5]], one in opt_outs) == kind]
            for kind in [((CENTRAL,), True), ((CENTRAL,), False), ((EASTERN,), False)]
        }

    def some(self, zone: str, count: int, *, opting_out: bool = False) -> list[str]:
        """Return numbers of a zone; of those whose people opt out, they do so in the first call."""
        pool = self._of[((zone,), opting_out)]
        found = [pool.pop() for _ in range(min(count, len(pool)))]
        self.taken.update(found)
        if opting_out:
            self._opt_outs |= dict.fromkeys(found, 1)
        return found


def _chains(
    draw: Draw, size: Size, fresh: _Fresh, numbers: list[str], opt_outs: list[str]
) -> list[list[Task]]:
    """Return what each of the other processes does: one task after the other."""
    chains: list[list[Task]] = [[] for _ in range(size.processes - size.campaigns)]
    for turn in range(size.rounds):
        # All call the same people at the same time: more often than the cap allows, or while they opt out.
        hot = fresh.some(CENTRAL, HOT, opting_out=turn % 2 == 1)
        for slot, chain in enumerate(chains):
            called = draw.random.choices(opt_outs, k=BROAD // 6)
            called += draw.random.choices(numbers, k=BROAD - len(called))
            draw.random.shuffle(called)
            first = 2 * hot
            if (
                turn % 2 == 0 and chain is not chains[-1]
            ):  # while one reaches all but the last call of the cap
                first = [called.pop() for _ in first]
            chain.append(_task(draw, f"s{slot}r{turn}", first + hot + called))
    return chains


def _closing(draw: Draw, fresh: _Fresh) -> list[Task]:
    tasks = []
    for index in range(2):
        task = _task(draw, f"closing{index}", fresh.some(EASTERN, CLOSING))
        tasks.append(replace(task, by_hook=False, keyless=False))
    return tasks


def _task(draw: Draw, name: str, called: list[str]) -> Task:
    by_hook = draw.chance(0.6)
    conn_id = draw.one(*draw.accounts).conn_id
    keys = []
    for number in called:
        mark, on_unknown = draw.mark("k"), draw.one(FAIL, FAIL, REDIAL)
        key = f"night-{draw.seed}-{mark}"
        keys.append(Key(mark, key, number, conn_id, on_unknown=on_unknown, unknown_timeout=0.5))
    return Task(name, keys, keyless=by_hook and draw.chance(0.5), by_hook=by_hook)


def _tries(draw: Draw, size: Size, chain: list[Task], *, gates: list[Task]) -> list[Step]:
    """Return when a process begins each of its tasks: killed, paused before it sends, cleared.

    :param gates: the tasks of the process that the others wait for, so that all call together.
    """
    steps: list[Step] = []
    label = None
    for turn, (task, gate) in enumerate(zip(chain, gates, strict=True)):
        begin = turn / len(chain) * 0.9 * size.seconds
        together = f"{gate.name}.1:stopped:before_claim"
        points = [Point("before_claim", 1 if turn % 2 else 2 * HOT + 1, 4.0, together)]
        if turn % 2 and draw.chance(0.6):  # while others call the same people, who opt out
            points.append(Point("before_send", draw.one(1, 1, 2), draw.between(0.6, 1.8)))
        tries = 1 + draw.chance(0.3) + draw.chance(0.2)
        for number in range(1, tries + 1):
            steps.append(
                Step("start", on=label, who=task.name, try_number=number, points=points, not_before=begin)
            )
            points = []
            name = f"{task.name}.{number}"
            if number < tries and draw.chance(0.7):
                steps.append(Step("kill", draw.between(0.05, 1.5), f"{name}:started", name))
            label = f"{name}:ended"
    return steps


def _script(draw: Draw, opt_outs: dict[str, int], all_clocks: float) -> Script:
    return Script(
        answers={"ok": 100.0, "429": 3.0, "429_seconds": 1.0, "lost": 1.5, "lost_before": 1.5, "500": 1.0,
                 "slow": 2.0, "late_answer": 0.7, "html": 0.5},
        webhooks={"plain": 40.0, "doubled": 3.0, "late": 2.0, "variant": 2.0, "lost": 1.0},
        outcomes={"answered": 5.0, "voicemail": 3.0, "failed": 2.0},
        opt_outs=opt_outs,
        skew=all_clocks,
    )  # fmt: skip
