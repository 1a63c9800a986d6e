"""An Airflow that is served at the root of its address; that of the other tests here is under a path."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from harness.processes import wait_for
from playwright.sync_api import Browser, Page, expect

from tests.integration.browser.conftest import OpenPage
from tests.integration.browser.framed import (
    CALLS,
    CAMPAIGNS,
    SETUP,
    colours_drawn,
    frame_of,
    open_from_menu,
    rows,
    same_document,
    settle,
)
from tests.integration.browser.visits import Logins
from tests.integration.conftest import Deployment
from tests.support.airflow_versions import FOLLOWS_FRAMES
from tests.web.pages.conftest import Calls

pytestmark = pytest.mark.integration

CONN = "voiceinfra_default"
DAG, RUN, NUMBER = "at_the_root", "night", "+14155550188"


@pytest.fixture(scope="module")
def logins_at_the_root(chromium: Browser, deployment_at_the_root: Deployment) -> Logins:
    """The users of that Airflow, each logged in when first needed."""
    return Logins(chromium, deployment_at_the_root.airflow)


@pytest.fixture
def page_at_the_root(open_page: OpenPage, logins_at_the_root: Logins) -> Page:
    """A page in which op is logged in."""
    return open_page("op", logins=logins_at_the_root)


def test_menu_leads_to_each_page_and_a_call_to_its_task(
    page_at_the_root: Page, deployment_at_the_root: Deployment
) -> None:
    page = page_at_the_root
    Calls(deployment_at_the_root.ledger, prefix=f"{DAG}-").place(NUMBER, dag_id=DAG, run_id=RUN)

    frame = open_from_menu(page, *CAMPAIGNS)
    frame.get_by_role("navigation", name="VoiceInfra").get_by_role("link", name="Calls").click()
    expect(frame.get_by_role("heading", level=1)).to_have_text("Calls")

    frame = open_from_menu(page, *CALLS)
    with same_document(frame):
        frame.get_by_label("DAG", exact=True).fill(DAG)
        frame.get_by_label("DAG", exact=True).press("Enter")
        expect(rows(frame, "Calls")).to_have_count(1)
        canvas = frame.locator("#charts canvas").first
        expect(canvas).to_be_visible()
        wait_for("the charts", lambda: colours_drawn(canvas) > 3, 30)
    rows(frame, "Calls").get_by_role("rowheader").get_by_role("link").click()
    expect(frame.get_by_role("heading", level=1)).to_have_text(f"Call to {NUMBER}")
    settle(page, frame)
    if FOLLOWS_FRAMES:
        page.reload()  # Airflow's address is that of the call
        frame = frame_of(page, CALLS[1])
    expect(frame.get_by_role("heading", level=1)).to_have_text(f"Call to {NUMBER}")
    frame.locator("#to-task").click()
    page.wait_for_url(lambda url: urlsplit(url).path.startswith(f"/dags/{DAG}/runs/{RUN}/tasks/"))


def test_setup_has_the_address_for_webhooks(
    page_at_the_root: Page, deployment_at_the_root: Deployment
) -> None:
    frame = open_from_menu(page_at_the_root, *SETUP)
    card = frame.get_by_role("region", name=CONN, exact=True)
    assert card.get_by_label("Webhook URL").input_value() == deployment_at_the_root.airflow.webhook_url(CONN)
