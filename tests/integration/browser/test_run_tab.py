"""The tab Calls of a DAG run: what this run has called, and nothing of any other."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.integration.browser.conftest import OpenPage
from tests.integration.browser.framed import figure, frame_of, rows
from tests.integration.conftest import Deployment

pytestmark = [pytest.mark.integration, pytest.mark.every_airflow]

DAG = "it_mapped"
NUMBERS = ("+14155550110", "+14155550111")  # which each of its runs calls


@pytest.fixture(scope="module")
def runs(deployment: Deployment) -> list[str]:
    """Two runs, each of which has called the same two numbers."""
    runs = [deployment.run(DAG) for _ in range(2)]
    for run_id in runs:
        assert deployment.airflow.api.wait_for_run(DAG, run_id) == "success"
    return runs


def test_tab_shows_the_calls_of_this_run_and_no_others(open_page: OpenPage, runs: list[str]) -> None:
    run_id, other = runs
    page = open_page("op")
    page.goto(f"dags/{DAG}/runs/{run_id}")
    page.get_by_role("link", name="Calls", exact=True).click()
    frame = frame_of(page, "Calls")
    expect(frame.get_by_text(f"{DAG}, run {run_id}")).to_be_visible()
    calls = rows(frame, "Calls of this run")
    expect(calls).to_have_count(2)
    for number in NUMBERS:
        expect(calls.filter(has_text=number)).to_have_count(1)
    expect(figure(frame, "Calls")).to_have_text("2")
    expect(frame.get_by_text(other)).to_have_count(0)

    # The page is Airflow's tab still, but what is in it goes on to the list and to a call.
    frame.get_by_role("link", name="Filter, charts and CSV").click()
    expect(frame.get_by_role("heading", level=1)).to_have_text("Calls")
    expect(rows(frame, "Calls")).to_have_count(2)
    rows(frame, "Calls").filter(has_text=NUMBERS[1]).get_by_role("rowheader").get_by_role("link").click()
    expect(frame.get_by_role("heading", level=1)).to_have_text(f"Call to {NUMBERS[1]}")
    frame.locator("#to-task").click()
    page.wait_for_url(lambda url: url.endswith("/tasks/call/mapped/1"))


def test_tab_of_a_run_without_calls_says_so(open_page: OpenPage, deployment: Deployment) -> None:
    run_id = deployment.run("it_sensor_timeout")
    page = open_page("viewer")
    page.goto(f"dags/it_sensor_timeout/runs/{run_id}")
    page.get_by_role("link", name="Calls", exact=True).click()
    expect(frame_of(page, "Calls").get_by_text("This run has placed no calls.")).to_be_visible()
