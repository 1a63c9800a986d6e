"""What lists of calls are asked by, and what they hand out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from airflow_provider_voiceinfra.ledger.records import CallOrigin, CallState

OPEN = "open"
"""The outcome of a call that was accepted and is not over, as far as is known."""
OVER = "over"
"""The outcome of a call that is over, if its record does not say how it ended."""
NO_CONNECTION = ""
"""The connection that rejections are stored under whose own does not exist."""


class Direction(str, Enum):
    """Where a call comes from, as far as is known."""

    OUTBOUND = "outbound"
    """It was placed from here."""
    INBOUND = "inbound"
    """It was not, and went to a number that calls are placed from."""
    ELSEWHERE = "elsewhere"
    """It was not: another system placed it through the same account, or it came in to some other number."""


class Order(str, Enum):
    """In which order calls are listed; by duration, only those are that have one."""

    NEWEST = "newest"
    OLDEST = "oldest"
    LONGEST = "longest"
    SHORTEST = "shortest"


@dataclass(frozen=True)
class CallFilter:
    """Which calls are wanted; what is not set does not matter.

    :param outcome: an outcome, or ``OPEN``.
    :param digits: the number's last digits, 4 to 15.
    :param since: claimed at or after this moment, aware.
    :param until: claimed before this moment, aware.
    :param hidden_dags: calls of these DAGs are left out.
    :param dagless_conns: if set, of calls without a DAG only those of these connections.
    :param direction: calls of another direction are left out; what is not ``OUTBOUND`` has no DAG, no
        campaign and no state, was claimed when its record was received, and its number is that of the other
        party.
    :param own_numbers: the numbers that calls are placed from, by which inbound calls are known.
    """

    conn_id: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    campaign_id: str | None = None
    state: CallState | None = None
    outcome: str | None = None
    digits: str | None = field(default=None, repr=False)
    since: datetime | None = None
    until: datetime | None = None
    hidden_dags: frozenset[str] = frozenset()
    dagless_conns: frozenset[str] | None = None
    direction: Direction = Direction.OUTBOUND
    own_numbers: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True)
class ListedCall:
    """One call with what is known of its end, without its request and its record.

    :param key_hash: empty for a call that was not placed from here, like all that is only known of those that
        were.
    :param state: ``None`` for such a call.
    :param claimed_at: when the record of such a call was received.
    """

    key_hash: str
    state: CallState | None
    conn_id: str
    agent_id: str | None
    from_number: str | None = field(repr=False)
    to_number: str | None = field(repr=False)
    call_id: str | None
    adopted: bool
    error_code: str | None
    error_message: str | None
    origin: CallOrigin
    dials: int
    redials: int
    claimed_at: datetime
    answered_at: datetime | None
    purged_at: datetime | None
    outcome: str | None
    duration_seconds: int | None
    started_at: datetime | None
    ended_at: datetime | None
    received_at: datetime | None
    direction: Direction = Direction.OUTBOUND

    @property
    def party(self) -> str | None:
        """The number of whoever talked with the agent."""
        return self.from_number if self.direction is Direction.INBOUND else self.to_number


@dataclass(frozen=True)
class CallsPage:
    """Some calls of a list.

    :param before: what ``page_of_calls`` wants for the page before this one; ``None`` if this is the first.
    :param after: the same for the next page; ``None`` if this is the last.
    :param searched_to: set if the search stopped before the page was full: when the last call was claimed
        that it looked at; ``after``, or ``before`` on the way back, goes on.
    """

    calls: list[ListedCall]
    before: str | None
    after: str | None
    searched_to: datetime | None


@dataclass(frozen=True)
class CallStatistics:
    """Figures about the newest calls of a list.

    :param calls: how many are in them.
    :param is_complete: whether those are all; otherwise there may be others, claimed before ``since``.
    :param looked_at: if those are not all: among how many calls they were found.
    :param since: when the oldest call was claimed that was looked at; ``None`` if there is none.
    :param hours: for each hour, its start in UTC, and its calls by outcome (by state where there is none;
        accepted calls that are not over count as ``OPEN``).
    :param outcomes: all calls by the same.
    :param durations: for each span of seconds, its start, its end, and its calls; failed ones, on which
        nobody talked, are left out.
    :param mean_duration: of the answered calls, in seconds; likewise the median.
    """

    calls: int
    is_complete: bool
    since: datetime | None
    hours: list[tuple[datetime, dict[str, int]]]
    outcomes: dict[str, int]
    durations: list[tuple[int, int, int]]
    mean_duration: float | None
    median_duration: float | None
    looked_at: int = 0


@dataclass(frozen=True)
class LastRejection:
    """The last webhook for a connection that was rejected.

    :param conn_id: the connection; ``NO_CONNECTION`` for webhooks to connections that do not exist.
    :param reason: see ``webhooks.reasons``.
    :param number: how many were rejected since the first.
    """

    conn_id: str
    reason: str
    rejected_at: datetime
    number: int


@dataclass(frozen=True)
class ListedDelivery:
    """A signed webhook that could not be used as a completion, without its body.

    :param reason: see ``webhooks.reasons``.
    :param size: of the body, in bytes.
    """

    id: int
    conn_id: str
    reason: str
    event: str | None
    size: int
    received_at: datetime
    replayed_at: datetime | None
