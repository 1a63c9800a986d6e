"""What the pages show of a campaign: its bar, what it waits for, and when to look again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from airflow_provider_voiceinfra.campaigns import outcomes
from airflow_provider_voiceinfra.campaigns.progress import Obstacle, WaitingFor
from airflow_provider_voiceinfra.campaigns.reporting.status import (
    OUTCOME_WORDS,
    WAITING_WORDS,
    CampaignStatus,
    overview,
)
from airflow_provider_voiceinfra.ledger.campaigns.records import SkipReason
from airflow_provider_voiceinfra.ledger.campaigns.states import CampaignState

BAR_WIDTH = 1000
RESUME = '"Resume"'
"""What takes a cancellation back, on a page."""

# How often a page asks for news, in seconds.
_WHILE_RUNNING = 2
_WHILE_ASLEEP = 10
_OF_A_LIST = 5
_UNDER_WAY = "under way"
_LEFT_OUT = {
    SkipReason.INVALID: "not valid, such as a number that is none",
    SkipReason.DUPLICATE: "the same contact as an earlier row",
    SkipReason.DO_NOT_CALL: "on the do-not-call list",
    SkipReason.WITHDRAWN: "not on the newest list any more",
}
_OBSTACLES = {
    Obstacle.RATE_LIMIT: "The API's rate limit was met; it is called more slowly until it takes more again.",
    Obstacle.UNREACHABLE: (
        "The API cannot be reached. It is tried again by itself, at longer and longer intervals; if that "
        "lasts, the task fails, and a retry goes on."
    ),
    Obstacle.FAILING: (
        "The API fails: answers to calls get lost. One call at a time shows whether it works again; if that "
        "lasts, the task fails, and a retry goes on."
    ),
}


@dataclass(frozen=True)
class Part:
    """One colour of a bar, and its place in it.

    :param name: for people.
    :param fill: its style class.
    """

    name: str
    number: int
    fill: str
    start: float
    width: float


@dataclass(frozen=True)
class CampaignView(CampaignStatus):
    """One campaign, as the list and its own page show it.

    :param counts: its contacts by why they are skipped; used while it has said nothing of itself.
    """

    bar_width: ClassVar[int] = BAR_WIDTH

    counts: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def shown(self) -> Mapping[str, Any]:
        """All there is to say of it."""
        return overview(self, self.counts, resume=RESUME)

    @cached_property
    def parts(self) -> list[Part]:
        """The bar's colours, from the left; none if it is not known how many contacts there are."""
        return list(_parts(self.shown))

    @property
    def state_told(self) -> str:
        """What it is up to, in the words of its badges."""
        return f"{self.state.value}, task failed" if self.has_failed else self.state.value

    @property
    def may_be_cancelled(self) -> bool:
        """Whether there is anything to cancel."""
        return self.entry.cancelled_at is None and not self.is_over

    @property
    def poll_seconds(self) -> int | None:
        """After how many seconds there may be news; ``None`` if there will be none."""
        if self.is_over:
            return None
        return _WHILE_RUNNING if self.is_alive else _WHILE_ASLEEP

    @property
    def percent(self) -> int | None:
        """How much of it is done."""
        contacts = self.shown["contacts"]
        return 100 * self.shown["done"] // contacts if contacts else None

    @property
    def in_words(self) -> str:
        """What the bar shows, for those who do not see it."""
        if not self.parts:
            return "Nobody was called so far."
        return ", ".join(f"{part.number:,} {part.name}" for part in self.parts)

    @property
    def under_way(self) -> int:
        """How many contacts are being called."""
        return self.shown["active"] or 0

    @property
    def left(self) -> int | None:
        """How many contacts are neither done nor being called."""
        contacts = self.shown["contacts"]
        return None if contacts is None else max(0, contacts - self.shown["done"] - self.under_way)

    @property
    def waits(self) -> list[str]:
        """What those who are left wait for, in words."""
        return list(_waits(self))

    @property
    def left_out(self) -> list[tuple[int, str]]:
        """How many rows were left out, and why."""
        skipped = self.shown["skipped"].items()
        return [(number, _LEFT_OUT.get(reason, reason)) for reason, number in skipped if number]

    @property
    def obstacle(self) -> str | None:
        """What keeps it from dialling as it would."""
        obstacle = self.shown["obstacle"]
        return None if obstacle is None else _OBSTACLES[Obstacle(obstacle)]


def poll_seconds_of(views: Iterable[CampaignView]) -> int | None:
    """Return after how many seconds there may be news of a list; ``None`` if nobody dials, or may again."""
    changing = (CampaignState.RUNNING, CampaignState.WAITING, CampaignState.NO_HEARTBEAT)
    return _OF_A_LIST if any(view.state in changing for view in views) else None


def _parts(shown: Mapping[str, Any]) -> Iterator[Part]:
    """Yield the outcomes in the order in which they are always named, and what is under way after them."""
    contacts, ended = shown["contacts"], shown["outcomes"]
    if not contacts:
        return
    names = [*outcomes.ALL, *sorted(ended.keys() - set(outcomes.ALL))]
    numbers = [(name, ended.get(name, 0), name if name in outcomes.ALL else outcomes.OTHER) for name in names]
    start = 0.0
    for name, number, fill in [*numbers, (_UNDER_WAY, shown["active"] or 0, "open")]:
        if number > 0:
            width = min(BAR_WIDTH * number / contacts, BAR_WIDTH - start)
            word = OUTCOME_WORDS.get(name, name)
            yield Part(word, number, f"fill-{fill}", round(start, 2), round(width, 2))
            start += width


def _waits(view: CampaignView) -> Iterator[str]:
    shown, waiting = view.shown, view.shown["waiting"]
    if view.is_over or view.has_failed:
        return
    for why, number in waiting.items():
        yield f"{_people(number)} {WAITING_WORDS[WaitingFor(why)]}."
    untouched = (view.left or 0) - sum(number for why, number in waiting.items() if why != WaitingFor.ANSWER)
    if untouched <= 0 or view.entry.cancelled_at is not None:
        return
    lines = shown["max_active_calls"]
    if lines is None:
        yield f"{_people(untouched)} until all contacts are loaded."
    elif view.is_alive and view.under_way >= lines:
        yield f"{_people(untouched)} for a free line: all {lines:,} are in use."
    else:
        yield f"{_people(untouched)} for their turn."


def _people(number: int) -> str:
    return f"{number:,} contact waits" if number == 1 else f"{number:,} contacts wait"
