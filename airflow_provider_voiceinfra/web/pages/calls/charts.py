"""The part /ui/charts of the page of calls: figures and charts of the newest calls that are asked for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response

from airflow_provider_voiceinfra.ledger.lists.values import CallStatistics
from airflow_provider_voiceinfra.web.pages.calls.filters import Wanted
from airflow_provider_voiceinfra.web.pages.calls.rows import STANDINGS, standing_word
from airflow_provider_voiceinfra.web.pages.rendering import NONE, page
from airflow_provider_voiceinfra.web.pages.routes import PageRoute
from airflow_provider_voiceinfra.web.pages.scope import Scope

MOST_CALLS = 10_000
"""How many calls are counted, at most."""

_ANSWERED = "answered"
_OTHER = "other"
# From the bottom of a bar to its top, with the colours of pages.css.
_COLOURS = {
    _ANSWERED: "answered",
    "voicemail": "voicemail",
    "failed": "failed",
    "refused": "other",
    "open": "open",
    "unknown": "unknown",
    "claimed": "other",
}
_MOST_OWN = 10  # outcomes that are shown one by one; an API that invents more has them put together
_MOST_SPANS = 7 * 24  # as many bars as can be told apart
_SECONDS = 120  # spans up to here are told in seconds, longer ones in minutes
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)

_Spans = dict[datetime, Counter[str]]
"""Calls by standing, for the start of each hour or day."""

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class Chart:
    """One chart, and the table of what is in it.

    :param about: what it shows, for those who do not see it.
    :param drawn: what ``charts.js`` draws.
    :param moments: whether a row of the table is a span of time, and not of durations.
    :param heads: the heads of the table.
    :param rows: its rows, each with its name first.
    """

    name: str
    title: str
    about: str
    drawn: dict[str, Any]
    heads: list[str]
    rows: list[tuple[Any, ...]]
    moments: bool = True


@router.get("/charts")
def charts(request: Request) -> Response:
    """Show figures and charts of the calls that are asked for."""
    wanted, scope = Wanted.read(request.query_params), Scope.of(request)
    found = scope.ledger.lists.call_statistics(scope.filter(**wanted.filter), limit=MOST_CALLS)
    return page(
        request,
        "charts.html",
        title="Figures of calls",
        current="calls",
        wanted=wanted,
        found=found,
        answered=_answered_percent(found.outcomes),
        over=_over(found.outcomes),
        charts=_charts(found) if found.calls else [],
    )


def _over(calls: Mapping[str, int]) -> int:
    """Return how many calls are over."""
    return sum(number for name, number in calls.items() if name not in STANDINGS)


def _answered_percent(calls: Mapping[str, int]) -> float | None:
    """Return how many of the calls that are over were answered."""
    over = _over(calls)
    return round(100 * calls.get(_ANSWERED, 0) / over, 1) if over else None


def _charts(found: CallStatistics) -> list[Chart]:
    spans, unit = _spans(found.hours)
    charts = [_volume(spans, unit), _answers(spans, unit)]
    return [*charts, _durations(found)] if found.durations else charts


def _spans(hours: list[tuple[datetime, dict[str, int]]]) -> tuple[_Spans, str]:
    """Return the hours without a gap between them, or the days if there were too many hours."""
    unit, step = "hour", _HOUR
    if (hours[-1][0] - hours[0][0]) / _HOUR >= _MOST_SPANS:
        unit, step = "day", _DAY
    found: _Spans = defaultdict(Counter)
    for hour, calls in hours:
        found[hour if unit == "hour" else hour.replace(hour=0)].update(calls)
    first, number = min(found), round((max(found) - min(found)) / step) + 1
    if number <= _MOST_SPANS:
        return {start: found[start] for start in (first + step * index for index in range(number))}, unit
    return dict(sorted(found.items())), unit


def _volume(spans: _Spans, unit: str) -> Chart:
    own = _own(spans)
    spans = {start: _gathered(calls, own) for start, calls in spans.items()}
    names = [name for name in dict.fromkeys((*own, _OTHER)) if any(calls[name] for calls in spans.values())]
    series = [
        {
            "label": standing_word(name),
            "colour": _COLOURS.get(name, "other"),
            "values": [calls[name] for calls in spans.values()],
        }
        for name in names
    ]
    totals, hours = [calls.total() for calls in spans.values()], _number(len(spans), unit)
    return Chart(
        name="volume",
        title=f"Calls per {unit}, by outcome",
        about=f"{sum(totals):,} calls over {hours}; {max(totals):,} in the busiest {unit}.",
        drawn={"kind": "stack", "unit": unit, "moments": _moments(spans), "series": series},
        heads=[unit.capitalize(), *map(standing_word, names)],
        rows=[(start, *(calls[name] for name in names)) for start, calls in spans.items()],
    )


def _answers(spans: _Spans, unit: str) -> Chart:
    over = [_over(calls) for calls in spans.values()]
    values = [_answered_percent(calls) for calls in spans.values()]
    known = [value for value in values if value is not None]
    between = f"between {min(known):g}% and {max(known):g}%" if known else "not known, for no call is over"
    series = [{"label": "answered", "colour": "answered", "values": values, "behind": over}]
    return Chart(
        name="answers",
        title=f"Answer rate per {unit}",
        about=f"The share of calls that were answered, of those that are over: {between}.",
        drawn={"kind": "share", "unit": unit, "moments": _moments(spans), "series": series},
        heads=[unit.capitalize(), "Answered", "Of so many calls"],
        rows=[
            (start, NONE if value is None else f"{value:g}%", number)
            for start, value, number in zip(spans, values, over, strict=True)
        ],
    )


def _durations(found: CallStatistics) -> Chart:
    labels = [_between(start, end) for start, end, _ in found.durations]
    numbers = [number for _, _, number in found.durations]
    most = labels[numbers.index(max(numbers))]
    series = [{"label": "calls", "colour": "open", "values": numbers}]
    return Chart(
        name="durations",
        title="Duration of calls",
        about=f"How many calls lasted how long; most lasted {most}.",
        drawn={"kind": "bars", "labels": labels, "series": series},
        heads=["Duration", "Calls"],
        rows=list(zip(labels, numbers, strict=True)),
        moments=False,
    )


def _own(spans: _Spans) -> list[str]:
    """Return the standings that are shown one by one, those that are known first."""
    total: Counter[str] = sum(spans.values(), Counter())
    unforeseen = [name for name, _ in total.most_common() if name not in _COLOURS]
    return [*(name for name in _COLOURS if total[name]), *unforeseen][:_MOST_OWN]


def _gathered(calls: Counter[str], own: list[str]) -> Counter[str]:
    gathered: Counter[str] = Counter()
    for name, number in calls.items():
        gathered[name if name in own else _OTHER] += number
    return gathered


def _moments(spans: _Spans) -> list[str]:
    return [start.isoformat(timespec="seconds") for start in spans]


def _number(number: int, unit: str) -> str:
    return f"1 {unit}" if number == 1 else f"{number:,} {unit}s"


def _between(start: int, end: int) -> str:
    if end <= _SECONDS:
        return f"{start}\N{EN DASH}{end} s"
    return f"{start / 60:.3g}\N{EN DASH}{end / 60:.3g} min"
