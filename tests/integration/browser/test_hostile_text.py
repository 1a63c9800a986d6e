"""What anybody says arrives by webhook and API, full of markup and script, and is text on every page."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from airflow_provider_voiceinfra.ledger.records import CallOrigin
from tests.integration.browser.conftest import OpenPage
from tests.integration.browser.framed import CALLS, open_from_menu, rows
from tests.integration.browser.vendor import completion, post
from tests.integration.conftest import WEBHOOK_SECRET, Deployment
from tests.web.pages.conftest import Calls

pytestmark = pytest.mark.integration

OURS = uuid.uuid4().hex[:6]
DAG = f"hostile_{OURS}"
# What follows the first of these closes an attribute or an element, in case it is in one.
SCRIPT = "<script>document.isHacked = 1; alert(1)</script>"
HOSTILE = (
    f"""{SCRIPT}"'></p></td></pre></svg><img src=x onerror="document.isHacked = 1; alert(2)"> {{{{ 7*7 }}}}"""
)


@pytest.fixture(scope="module")
def call_id(deployment: Deployment) -> str:
    """Let everything arrive that others have a say in; return the id of a call."""
    calls = Calls(deployment.ledger, prefix=f"{OURS}-")
    whence: dict[str, Any] = {
        "dag_id": DAG,
        "run_id": HOSTILE,
        "campaign_id": f"{OURS} {HOSTILE}",
        "position": 1,
        "attempt": 1,
    }
    told = {"first_message": HOSTILE, "context": HOSTILE, "variables": {HOSTILE: HOSTILE}}
    entry = calls.place(outcome=None, call=told, **whence)
    calls.refused(HOSTILE, **whence)
    origin = CallOrigin(dag_id=DAG, run_id=HOSTILE, task_id="call", map_index=-1)
    deployment.ledger.campaigns.take(f"{OURS} {HOSTILE}", conn_id="voiceinfra_default", origin=origin)
    spoken = {
        name: HOSTILE for name in ("agent_id", "call_outcome", "transcript", "summary", "recording_url")
    }
    url = deployment.airflow.webhook_url()
    for one in (str(entry.call_id), f"{OURS}-unknown-to-us"):
        webhook = completion(one, **spoken, extracted_data={HOSTILE: [HOSTILE]}, **{HOSTILE: HOSTILE})
        assert post(url, WEBHOOK_SECRET, webhook).json() == {"status": "recorded"}
    hostile = completion(f"{OURS}-kept", **spoken, event=HOSTILE)
    assert post(url, WEBHOOK_SECRET, hostile).json() == {"status": "kept"}
    assert post(f"{url}{HOSTILE}", WEBHOOK_SECRET, hostile).status_code == 401
    return str(entry.call_id)


def assert_is_text(page: Page) -> None:
    """Make sure that it is there to be read, and was not taken for a part of the page."""
    expect(page.get_by_text(SCRIPT).first).to_be_attached()
    assert page.evaluate("document.isHacked") is None
    assert page.locator("img[src=x]").count() == 0


def test_list_with_its_charts_and_its_filter(open_page: OpenPage, call_id: str) -> None:
    frame = open_from_menu(open_page("op"), *CALLS)
    frame.get_by_label("DAG", exact=True).fill(DAG)
    frame.get_by_label("DAG", exact=True).press("Enter")
    expect(rows(frame, "Calls")).to_have_count(2)
    expect(frame.locator("#charts canvas").first).to_be_visible()
    expect(rows(frame, "Calls").get_by_text(SCRIPT).first).to_be_attached()
    frame.get_by_text("As a table").first.click()
    expect(frame.locator("#charts th").filter(has_text=SCRIPT).first).to_be_visible()
    frame.get_by_text("More filters").click()
    frame.get_by_label("Run", exact=True).fill(HOSTILE)
    frame.get_by_label("Run", exact=True).press("Enter")
    expect(frame.locator("#selection .chip").filter(has_text=SCRIPT)).to_be_visible()
    assert frame.evaluate("document.isHacked") is None
    assert frame.locator("img[src=x]").count() == 0


def test_every_other_page(open_page: OpenPage, call_id: str, deployment: Deployment) -> None:
    page = open_page("op")
    [kept] = [one for one in deployment.ledger.deliveries.kept() if f"{OURS}-kept".encode() in one.body]
    for address, query in (
        ("call", {"id": call_id}),
        ("call", {"id": f"{OURS}-unknown-to-us"}),
        ("campaigns", {"text": OURS}),
        ("campaign", {"id": f"{OURS} {HOSTILE}"}),
        ("run", {"dag_id": DAG, "run_id": HOSTILE}),
        ("setup", {}),
        ("setup", {"show": str(kept.id)}),
        ("calls", {"dag_id": DAG, "campaign_id": f"{OURS} {HOSTILE}"}),
    ):
        page.goto(address_of(address, query))
        assert_is_text(page)


def address_of(page: str, query: dict[str, str]) -> str:
    return f"voiceinfra/ui/{page}?{urlencode(query)}"


def test_recording_that_is_a_script_is_neither_played_nor_followed(
    open_page: OpenPage, deployment: Deployment
) -> None:
    call_id = f"{OURS}-script"
    webhook = completion(call_id, recording_url="javascript:alert(document.domain)")
    assert post(deployment.airflow.webhook_url(), WEBHOOK_SECRET, webhook).status_code == 200
    page = open_page("op")
    page.goto(address_of("call", {"id": call_id}))
    expect(page.get_by_text("javascript:alert")).to_be_visible()
    assert page.locator("audio").count() == 0
    assert page.locator("a[href^='javascript']").count() == 0
