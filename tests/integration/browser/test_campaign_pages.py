"""Campaigns as those see them who watch one tonight: they come to their end by themselves, or by a button."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import Frame, expect

from tests.integration.browser.conftest import OpenPage
from tests.integration.browser.framed import CAMPAIGNS, figure, frame_of, open_from_menu, same_document
from tests.integration.browser.nights import DAG_ID, NEVER, begin, calm
from tests.integration.conftest import Deployment
from tests.support.airflow_versions import FOLLOWS_FRAMES

pytestmark = pytest.mark.integration

ASKED = "Cancel this campaign?"
# Notes what the page shows from now on, so that nothing that it shows for a moment is missed.
NOTE = """() => {
    const note = () => {
        const width = [...document.querySelectorAll("#campaign .bar rect:not(.fill-open)")]
            .reduce((sum, rect) => sum + rect.width.baseVal.value, 0);
        const done = document.querySelector(".progress-text").textContent;
        const [last] = noted.slice(-1);
        if (!last || last.done !== done || last.width !== width) noted.push({ done, width });
    };
    const noted = window.noted = [];
    note();
    new MutationObserver(note).observe(document.body, { childList: true, subtree: true });
}"""


@pytest.fixture(autouse=True)
def _sandbox(deployment: Deployment) -> Iterator[None]:
    yield
    deployment.sandbox.end_calls()
    calm(deployment)


def open_campaign(frame: Frame, campaign_id: str) -> None:
    """Open a campaign from the list."""
    frame.get_by_role("link", name=campaign_id, exact=True).click()
    expect(frame.get_by_role("heading", level=1)).to_have_text(campaign_id)


def is_focused(frame: Frame, element_id: str) -> bool:
    return bool(frame.evaluate("(id) => document.activeElement.id === id", element_id))


@pytest.mark.every_airflow
def test_campaign_is_watched_from_the_menu_to_its_end_without_reloading(
    open_page: OpenPage, deployment: Deployment, tmp_path: Path
) -> None:
    night = begin(deployment, tmp_path, "watched", 40, call_seconds=NEVER)
    frame = open_from_menu(open_page("viewer"), *CAMPAIGNS)
    open_campaign(frame, night.campaign_id)
    with same_document(frame):
        expect(figure(frame, "Under way")).to_have_text("10 of 10 lines")
        expect(frame.locator(".progress-text")).to_have_text("0 of 40 contacts done (0 %)")
        expect(frame.get_by_text("30 contacts wait for a free line: all 10 are in use.")).to_be_visible()
        frame.evaluate(NOTE)
        frame.locator("#to-calls").focus()
        night.end(5)
        expect(frame.locator(".progress-text")).to_have_text("5 of 40 contacts done (12 %)")
        assert is_focused(frame, "to-calls")
        deployment.sandbox.configure(call_seconds=1)
        night.end()
        expect(frame.locator(".badge.is-finished")).to_be_visible()
        assert is_focused(frame, "to-calls")
    noted = frame.evaluate("noted")
    assert [one["width"] for one in noted] == sorted(one["width"] for one in noted)
    assert noted[0]["width"] == 0
    assert noted[-1] == {"done": "40 of 40 contacts done (100 %)", "width": pytest.approx(1000, abs=0.1)}
    assert len(night.placed()) == 40
    expect(frame.locator("#campaign[hx-get]")).to_have_count(0)  # and asks no more


def test_list_of_campaigns_keeps_itself_up_to_date(
    open_page: OpenPage, deployment: Deployment, tmp_path: Path
) -> None:
    night = begin(deployment, tmp_path, "listed", 3, call_seconds=NEVER)
    frame = open_from_menu(open_page("viewer"), *CAMPAIGNS)
    row = frame.get_by_role("row").filter(has=frame.get_by_role("link", name=night.campaign_id, exact=True))
    with same_document(frame):
        expect(row.get_by_text("running", exact=True)).to_be_visible()
        night.await_placed(3)
        night.end()
        expect(row.get_by_text("finished", exact=True)).to_be_visible()
        expect(row.get_by_text("3 (100 %)")).to_be_visible()


def test_cancelling_asks_back_and_then_nobody_else_is_called(
    open_page: OpenPage, deployment: Deployment, tmp_path: Path
) -> None:
    # Far more contacts than can be called while this lasts.
    night = begin(deployment, tmp_path, "cancelled", 300, call_seconds=1, max_calls_per_second="5")
    night.await_placed(1)
    viewer = open_from_menu(open_page("viewer"), *CAMPAIGNS)
    open_campaign(viewer, night.campaign_id)
    expect(viewer.get_by_text("Cancel", exact=True)).to_have_count(0)

    frame = open_from_menu(open_page("op"), *CAMPAIGNS)
    open_campaign(frame, night.campaign_id)
    with same_document(frame):
        frame.get_by_text("Cancel", exact=True).click()
        expect(frame.get_by_text(ASKED)).to_be_visible()
        # What is asked stays, and the focus in it, while the page keeps itself up to date.
        frame.locator("#ask-cancel-no").focus()
        placed = figure(frame, "Calls placed").inner_text()
        expect(figure(frame, "Calls placed")).not_to_have_text(placed)
        expect(frame.get_by_text(ASKED)).to_be_visible()
        assert is_focused(frame, "ask-cancel-no")
        frame.get_by_role("button", name="No", exact=True).click()
        expect(frame.get_by_text(ASKED)).to_be_hidden()
        before = len(night.placed())
        night.await_placed(before + 5)  # No left it as it was

        frame.get_by_text("Cancel", exact=True).click()
        frame.get_by_role("button", name="Yes, cancel it").click()
        expect(frame.get_by_text("The campaign is cancelled.")).to_be_visible()
        cancelled = datetime.now(timezone.utc)
        expect(frame.locator(".badge.is-cancelled")).to_be_visible()
        expect(frame.get_by_text("Resume", exact=True)).to_be_visible()
    expect(viewer.locator(".badge.is-cancelled")).to_be_visible()  # who looks on sees it, too
    expect(viewer.get_by_text("Resume", exact=True)).to_have_count(0)

    assert deployment.airflow.api.wait_for_run(DAG_ID, night.run_id) == "failed"
    placed = night.placed()  # type: ignore[assignment]
    assert len(placed) < 300
    assert max(datetime.fromisoformat(call["time"]) for call in placed) < cancelled + timedelta(seconds=3)  # type: ignore[index]
    log = (deployment.airflow.logs / "api-server.log").read_text(errors="replace")
    assert f"Campaign {night.campaign_id!r} was cancelled by 'op'." in log


def test_keyboard_alone_cancels_a_campaign_and_takes_it_back(
    open_page: OpenPage, deployment: Deployment, tmp_path: Path
) -> None:
    night = begin(deployment, tmp_path, "by-keyboard", 2, call_seconds=NEVER, max_active_calls="1")
    night.await_placed(1)
    page = open_page("user")
    frame = open_from_menu(page, *CAMPAIGNS)
    open_campaign(frame, night.campaign_id)
    frame.locator("main").focus()

    def tab_to(element_id: str) -> None:
        for _ in range(30):
            if is_focused(frame, element_id):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{element_id} is not reached")

    tab_to("ask-cancel-open")
    page.keyboard.press("Enter")
    expect(frame.get_by_text(ASKED)).to_be_visible()
    page.keyboard.press("Escape")
    expect(frame.get_by_text(ASKED)).to_be_hidden()
    assert is_focused(frame, "ask-cancel-open")
    page.keyboard.press("Space")
    tab_to("ask-cancel-yes")
    page.keyboard.press("Enter")
    expect(frame.get_by_text("The campaign is cancelled.")).to_be_visible()
    # Whoever pressed the button is where it says what came of it, not at the top of the page.
    expect(frame.locator("#campaign-notice .alert")).to_be_focused()
    tab_to("ask-resume-open")
    page.keyboard.press("Enter")
    tab_to("ask-resume-yes")
    page.keyboard.press("Space")
    expect(frame.get_by_text("The cancellation is taken back.")).to_be_visible()
    expect(frame.get_by_text("Cancel", exact=True)).to_be_visible()
    calm(deployment)
    night.end()
    assert deployment.airflow.api.wait_for_run(DAG_ID, night.run_id) == "success"
    assert len(night.placed()) == 2


@pytest.mark.every_airflow
def test_links_to_the_run_and_the_task_lead_out_of_the_frame_and_back_leads_in(
    open_page: OpenPage, deployment: Deployment, tmp_path: Path
) -> None:
    night = begin(deployment, tmp_path, "linked", 1, call_seconds=0.5)
    page = open_page("viewer")
    frame = open_from_menu(page, *CAMPAIGNS)
    open_campaign(frame, night.campaign_id)
    for link, place in (("#to-run", night.run_id), ("#to-task", f"{night.run_id}/tasks/campaign")):
        frame.locator(link).click()
        page.wait_for_url(lambda url, place=place: unquote(url).endswith(f"/dags/{DAG_ID}/runs/{place}"))  # type: ignore[misc]
        expect(page.get_by_role("heading", name=DAG_ID).or_(page.get_by_text(DAG_ID).first)).to_be_visible()
        page.go_back()
        frame = frame_of(page, CAMPAIGNS[1])
        if not FOLLOWS_FRAMES:
            expect(frame.get_by_role("heading", level=1)).to_have_text("Campaigns")
            open_campaign(frame, night.campaign_id)
        expect(frame.get_by_role("heading", level=1)).to_have_text(night.campaign_id)
