"""What a row of the benchmarks is, and what its rounds come to; starts nothing and measures nothing itself.

A row is one benchmark. It has one or several lines; in each round it measures all of them, ours and what
ours is compared with side by side. A line's figures are medians of the rounds, its ratios medians of the
ratios of each round, and behind each is its least and its greatest.
"""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import ClassVar

MORE_THAN, AT_LEAST, AT_MOST, LESS_THAN = ">", "≥", "≤", "<"
_SENSES: dict[str, Callable[[float, float], bool]] = {
    MORE_THAN: lambda found, aim: found > aim,
    AT_LEAST: lambda found, aim: found >= aim,
    AT_MOST: lambda found, aim: found <= aim,
    LESS_THAN: lambda found, aim: found < aim,
}
HEAD = ("", "ours", "peer", "limit", "ratio", "aim", "met?")


@dataclass(frozen=True)
class Aim:
    """What a line has to reach.

    :param sense: ``AT_LEAST`` and so on.
    :param value: the bar.
    :param of: what it is a multiple of: ``limit`` or ``peer``; empty if the bar is for ours alone.
    """

    sense: str
    value: float
    of: str = ""

    def is_met(self, found: float) -> bool:
        """Whether a figure, or a ratio, reaches the bar."""
        return _SENSES[self.sense](found, self.value)


@dataclass(frozen=True)
class Line:
    """One line of a row's table.

    :param name: what it says at its beginning.
    :param unit: of its figures, such as ``calls/s``.
    :param aims: what has to be reached; a line without any is shown all the same.
    """

    name: str
    unit: str
    aims: tuple[Aim, ...] = ()


@dataclass(frozen=True)
class Measured:
    """What one round has found for one line."""

    ours: float
    peer: float | None = None
    limit: float | None = None


class Row(ABC):
    """One benchmark; derive from it, and add the class to the tuple ``ROWS`` of a module in ``rows``.

    It runs in a process of its own, whose ``AIRFLOW_HOME`` is an empty folder.
    """

    name: ClassVar[str]
    """What ``--only`` chooses it by."""
    what: ClassVar[str]
    """For people: what is compared with what, and what is the limit."""
    lines: ClassVar[Sequence[Line]]
    seconds: ClassVar[float]
    """How long all of it may take, set-up and repeated rounds included; it is ended after that."""
    rounds: ClassVar[int] = 3

    def __init__(self) -> None:
        self.notes: list[str] = []
        """Sentences to be printed below the table."""

    def open(self, stack: ExitStack) -> None:  # noqa: B027  a row may need nothing
        """Start what is needed, and have the stack stop it."""

    @abstractmethod
    def measure(self, number: int) -> Mapping[str, Measured]:
        """Measure one round, interleaved: what is compared takes turns, or runs in the same moment.

        :param number: of the round, from 0 on; who comes first may depend on it.
        :return: what was found, by the names of the lines.
        """


@dataclass(frozen=True)
class Round:
    """One round, and what else the machine did meanwhile.

    :param others: the share of all processors that processes other than ours used, 0 to 1.
    """

    found: Mapping[str, Measured]
    seconds: float
    own: float
    others: float

    def is_busy(self, bar: float) -> bool:
        """Whether others used so much that the figures cannot be relied on."""
        return self.others > bar


@dataclass
class Result:
    """What became of a row: its rounds, or an error."""

    rounds: list[Round] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0


def counted(rounds: Sequence[Round], wanted: int, bar: float) -> list[Round]:
    """Return the rounds that count: those in which the machine was ours, if there are enough of them."""
    quiet = [one for one in rounds if not one.is_busy(bar)]
    return quiet if len(quiet) >= wanted else list(rounds)


def cells(line: Line, rounds: Sequence[Round]) -> list[str]:
    """Return a line of the table."""
    found = [one.found[line.name] for one in rounds]
    sides = [[getattr(one, side) for one in found] for side in ("ours", "peer", "limit")]
    ratios, verdicts = [], []
    for aim in line.aims:
        values = [_ratio(one, aim.of) for one in found] if aim.of else sides[0]
        verdicts.append("yes" if aim.is_met(statistics.median(values)) else "NO")
    for side in ("limit", "peer"):
        if any(getattr(one, side) for one in found):
            ratios.append(f"{_spread([_ratio(one, side) for one in found])} x {side}")
    return [
        line.name,
        *(f"{_spread(side)} {line.unit}" if None not in side else "" for side in sides),
        "; ".join(ratios),
        "; ".join(
            f"{aim.sense} {_short(aim.value)} {f'x {aim.of}' if aim.of else line.unit}" for aim in line.aims
        ),
        "; ".join(verdicts),
    ]


def verdicts(row: type[Row], rounds: Sequence[Round]) -> tuple[int, int]:
    """Return how many of a row's aims are met, and how many it has."""
    said = [one for line in row.lines if line.aims for one in cells(line, rounds)[-1].split("; ")]
    return said.count("yes"), len(said)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown that can be read as it stands."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _ratio(one: Measured, side: str) -> float:
    other = getattr(one, side)
    return one.ours / other if other else float("nan")


def _spread(values: Sequence[float]) -> str:
    return f"{_short(statistics.median(values))} ({_short(min(values))}..{_short(max(values))})"


def _short(value: float) -> str:
    """Return three digits of a number, and all of them before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
