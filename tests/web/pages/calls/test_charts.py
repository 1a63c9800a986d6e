"""The figures and charts above a list of calls are of the same calls, and can be read without seeing them."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from fastapi.testclient import TestClient

from airflow_provider_voiceinfra.ledger.lists.statistics import CallFigures
from airflow_provider_voiceinfra.ledger.lists.values import CallStatistics
from airflow_provider_voiceinfra.web.pages.calls import charts as pages
from tests.web.pages.conftest import PARTIAL, Calls, Client, FakeVisitor
from tests.web.pages.reading import elements_of, text_of

NUMBER = "+14155550123"
START = datetime(2026, 3, 1, 22, tzinfo=timezone.utc)


def drawn(page: str) -> list[dict[str, Any]]:
    """Return what the charts of a page are drawn from."""
    return [json.loads(one["data-chart"] or "") for one in elements_of(page, "canvas")]


def figures(page: str) -> dict[str, str]:
    """Return the figures of a page by name."""
    return dict(re.findall(r"<dt[^>]*>([^<]+)</dt><dd>([^<]+)</dd>", page))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what lets the ledger have counted these hours."""

    def count(*hours: tuple[int, dict[str, int]], **also: Any) -> None:
        spans = [(START + timedelta(hours=hour), calls) for hour, calls in hours]
        total: Counter[str] = sum((Counter(calls) for _, calls in spans), Counter())
        found = {
            **{"calls": total.total(), "is_complete": True, "since": spans[0][0], "hours": spans},
            **{"outcomes": total, "durations": [], "mean_duration": None, "median_duration": None},
        }
        statistics = CallStatistics(**{**found, **also})
        monkeypatch.setattr(CallFigures, "call_statistics", lambda *_, **__: statistics)

    return count


def test_the_figures_are_of_the_calls_that_fit_the_filter(client: TestClient, calls: Calls) -> None:
    for outcome, seconds in (("answered", 10), ("answered", 20), ("voicemail", 90)):
        calls.place(NUMBER, outcome=outcome, record={"duration_seconds": seconds})
    calls.place(NUMBER, outcome=None)
    calls.unknown(NUMBER)
    calls.place(NUMBER, dag_id="other")
    page = client.get("charts?dag_id=outreach&order=oldest", headers=PARTIAL).text
    assert figures(page) == {
        "Calls": "5",
        "Over": "3",
        "Answered": "66.7%",
        "Talk time, mean": "15 s",
        "Talk time, median": "15 s",
    }
    volume, answers, durations = drawn(page)
    (hour,) = volume["moments"]
    assert datetime.fromisoformat(hour).minute == 0
    assert {one["label"]: one["values"] for one in volume["series"]} == {
        "answered": [2],
        "voicemail": [1],
        "not over yet": [1],
        "unknown": [1],
    }
    assert (answers["series"][0]["values"], answers["series"][0]["behind"]) == ([66.7], [3])
    lasted = dict(zip(durations["labels"], durations["series"][0]["values"], strict=True))
    assert lasted["10\N{EN DASH}20 s"] == 1


def test_figures_say_among_how_many_calls_those_that_fit_were_found(
    client: TestClient, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_CALLS", 6)
    for number in range(8):
        calls.place(NUMBER, outcome=("answered", "failed")[number % 2])
    told = text_of(client.get("charts?outcome=failed").text)
    assert "Counted over the 3 calls that fit the filter among the newest 6 that were looked at" in told
    told = text_of(client.get("charts").text)
    assert "Counted over the newest 6 calls that fit the filter" in told


def test_calls_that_a_visitor_may_not_see_are_not_counted(client_of: Client, calls: Calls) -> None:
    calls.place(NUMBER, dag_id="open")
    calls.place(NUMBER, dag_id="closed", outcome="secret_outcome")
    page = client_of(FakeVisitor(connections=(), dags=("open",))).get("charts").text
    assert figures(page)["Calls"] == "1"
    assert "secret_outcome" not in page


def test_hours_without_a_call_are_shown_as_such(client: TestClient, counted: Any) -> None:
    counted((0, {"answered": 3, "failed": 1}), (3, {"open": 2}))
    volume, answers = drawn(client.get("charts").text)
    assert [moment[11:16] for moment in volume["moments"]] == ["22:00", "23:00", "00:00", "01:00"]
    assert volume["series"][0]["values"] == [3, 0, 0, 0]
    assert answers["series"][0]["values"] == [75.0, None, None, None]


def test_hours_over_more_than_a_week_are_put_together_to_days(client: TestClient, counted: Any) -> None:
    counted((0, {"answered": 3}), (1, {"answered": 2}), (24 * 8, {"failed": 1}))
    page = client.get("charts").text
    volume, _ = drawn(page)
    assert volume["unit"] == "day"
    assert (volume["moments"][0], len(volume["moments"])) == ("2026-03-01T00:00:00+00:00", 9)
    assert {one["label"]: sum(one["values"]) for one in volume["series"]} == {"answered": 5, "failed": 1}
    assert "Calls per day" in text_of(page)


def test_years_between_two_calls_make_no_chart_of_all_days_between(client: TestClient, counted: Any) -> None:
    counted((0, {"answered": 1}), (24 * 365 * 100, {"answered": 1}))
    volume, _ = drawn(client.get("charts").text)
    assert len(volume["moments"]) == 2


def test_outcomes_beyond_measure_are_put_together(client: TestClient, counted: Any) -> None:
    counted((0, {"answered": 5, **{f"strange_{number}": 1 for number in range(200)}}))
    volume, _ = drawn(client.get("charts").text)
    assert len(volume["series"]) == 11
    assert volume["series"][-1]["label"] == "other"
    assert sum(one["values"][0] for one in volume["series"]) == 205


def test_what_is_drawn_can_be_read_as_a_table_and_has_a_name(client: TestClient, counted: Any) -> None:
    counted(
        (0, {"answered": 1234, "voicemail": 66}),
        durations=[(0, 5, 7), (5, 10, 0), (120, 180, 1)],
        mean_duration=9.5,
        median_duration=4,
    )
    page = client.get("charts", headers=PARTIAL).text
    names = [one["aria-label"] for one in elements_of(page, "canvas") if one["role"] == "img"]
    assert names == [
        "Calls per hour, by outcome. 1,300 calls over 1 hour; 1,300 in the busiest hour.",
        "Answer rate per hour. The share of calls that were answered, of those that are over: between 94.9% "
        "and 94.9%.",
        "Duration of calls. How many calls lasted how long; most lasted 0\N{EN DASH}5 s.",
    ]
    assert len(elements_of(page, "table")) == 3
    said = text_of(page)
    assert "2026-03-01 22:00:00 UTC 1234 66" in said
    assert "94.9% 1300" in said
    assert "0\N{EN DASH}5 s 7 5\N{EN DASH}10 s 0 2\N{EN DASH}3 min 1" in said


def test_it_is_said_which_calls_are_left_out(client: TestClient, counted: Any) -> None:
    counted((0, {"answered": 10_000}), is_complete=False)
    assert "the newest 10,000 calls that fit the filter" in text_of(client.get("charts").text)
    counted((0, {"answered": 1}))
    assert "all calls that fit the filter" in text_of(client.get("charts").text)


def test_nothing_to_count_is_said(client: TestClient, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    calls.place(NUMBER)
    calls.place(NUMBER)
    page = client.get("charts?outcome=failed").text
    assert "no call fits the filter" in text_of(page)
    assert elements_of(page, "canvas") == []
    monkeypatch.setattr(pages, "MOST_CALLS", 1)
    assert "None of the newest 1 calls fits" in text_of(client.get("charts?outcome=failed").text)
