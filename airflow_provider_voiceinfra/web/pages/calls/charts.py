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
from airflow_provider_voiceinfra.web.pages.calls.rows import STANDINGS
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
_HOURS = 7 * 24  # as many bars as can be told apart
_SECONDS = 120  # spans up to here are told in seconds, longer ones in minutes
_DAY = timedelta(days=1)

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


@dataclass(frozen=True)
class _Span:
    """An hour or a day, with its calls by standing."""

    start: datetime
    calls: Counter[str]


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


def _spans(hours: list[tuple[datetime, dict[str, int]]]) -> tuple[list[_Span], str]:
    """Return the hours without a gap between them, or the days if there were too many hours."""
    first, last = hours[0][0], hours[-1][0]
    step = timedelta(hours=1)
    if (last - first) / step < _HOURS:
        known = {hour: Counter(calls) for hour, calls in hours}
        number = round((last - first) / step) + 1
        starts = [first + step * index for index in range(number)]
        return [_Span(start, known.get(start, Counter())) for start in starts], "hour"
    days: dict[datetime, Counter[str]] = defaultdict(Counter)
    for hour, calls in hours:
        days[hour.replace(hour=0)].update(calls)
    if (last - first) / _DAY < _HOURS:
        start = min(days)
        number = round((max(days) - start) / _DAY) + 1
        return [_Span(day, days[day]) for day in (start + _DAY * index for index in range(number))], "day"
    return [_Span(day, days[day]) for day in sorted(days)], "day"


def _volume(spans: list[_Span], unit: str) -> Chart:
    own = _own(spans)
    spans = [_Span(span.start, _gathered(span.calls, own)) for span in spans]
    names = [name for name in dict.fromkeys((*own, _OTHER)) if any(span.calls[name] for span in spans)]
    series = [
        {
            "label": _word(name),
            "colour": _COLOURS.get(name, "other"),
            "values": [span.calls[name] for span in spans],
        }
        for name in names
    ]
    total = sum(sum(span.calls.values()) for span in spans)
    busiest = max(sum(span.calls.values()) for span in spans)
    return Chart(
        name="volume",
        title=f"Calls per {unit}, by outcome",
        about=f"{total:,} calls over {_number(len(spans), unit)}; {busiest:,} in the busiest {unit}.",
        drawn={"kind": "stack", "unit": unit, "moments": _moments(spans), "series": series},
        heads=[unit.capitalize(), *(_word(name) for name in names)],
        rows=[(span.start, *(span.calls[name] for name in names)) for span in spans],
    )


def _answers(spans: list[_Span], unit: str) -> Chart:
    values = [_answered_percent(span.calls) for span in spans]
    known = [value for value in values if value is not None]
    between = f"between {min(known):g}% and {max(known):g}%" if known else "not known, for no call is over"
    drawn = {
        "kind": "share",
        "unit": unit,
        "moments": _moments(spans),
        "series": [
            {
                "label": "answered",
                "colour": "answered",
                "values": values,
                "behind": [_over(span.calls) for span in spans],
            }
        ],
    }
    return Chart(
        name="answers",
        title=f"Answer rate per {unit}",
        about=f"The share of calls that were answered, of those that are over: {between}.",
        drawn=drawn,
        heads=[unit.capitalize(), "Answered", "Of so many calls"],
        rows=[
            (span.start, NONE if value is None else f"{value:g}%", _over(span.calls))
            for span, value in zip(spans, values, strict=True)
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


def _own(spans: list[_Span]) -> list[str]:
    """Return the standings that are shown one by one, those that are known first."""
    total: Counter[str] = sum((span.calls for span in spans), Counter())
    unforeseen = [name for name, _ in total.most_common() if name not in _COLOURS]
    return [*(name for name in _COLOURS if total[name]), *unforeseen][:_MOST_OWN]


def _gathered(calls: Counter[str], own: list[str]) -> Counter[str]:
    gathered: Counter[str] = Counter()
    for name, number in calls.items():
        gathered[name if name in own else _OTHER] += number
    return gathered


def _moments(spans: list[_Span]) -> list[str]:
    return [span.start.isoformat(timespec="seconds") for span in spans]


def _word(name: str) -> str:
    return STANDINGS[name][0] if name in STANDINGS else name


def _number(number: int, unit: str) -> str:
    return f"1 {unit}" if number == 1 else f"{number:,} {unit}s"


def _between(start: int, end: int) -> str:
    if end <= _SECONDS:
        return f"{start}\N{EN DASH}{end} s"
    return f"{start / 60:.3g}\N{EN DASH}{end / 60:.3g} min"
