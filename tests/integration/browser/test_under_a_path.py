"""An Airflow that is served under a path: everything works, and nothing leaves the path."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from harness.airflow import AirflowStack
from harness.processes import wait_for
from harness.sandbox import connection_json
from playwright.sync_api import Browser, Page, expect

from airflow_provider_voiceinfra.ledger import CallLedger
from tests.integration.browser.conftest import OpenPage
from tests.integration.browser.framed import (
    CALLS,
    CAMPAIGNS,
    SETUP,
    colours_drawn,
    figure,
    frame_of,
    open_from_menu,
    rows,
    same_document,
    settle,
)
from tests.integration.browser.nights import DAG_ID, NEVER, Night, begin
from tests.integration.browser.vendor import completion, post
from tests.integration.browser.visits import Logins
from tests.integration.conftest import API_KEY, DAGS, WEBHOOK_SECRET, Deployment
from tests.integration.gate import Gate
from tests.sandbox_process import SandboxProcess

pytestmark = pytest.mark.integration

PATH = "/af"
CONN = "voiceinfra_default"

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def below(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Start a second Airflow, a small one, and a sandbox of its own."""
    folder = tmp_path_factory.mktemp("below")
    ledger_url = f"sqlite:///{folder / 'ledger.db'}"
    sandbox = SandboxProcess(api_keys=[API_KEY], webhook_secret=WEBHOOK_SECRET).start()
    connection = connection_json(
        sandbox.base_url, WEBHOOK_SECRET, agent_id="agent_demo", from_number="+12025550100", api_key=API_KEY
    )
    airflow = AirflowStack(
        folder / "airflow",
        dags_folder=DAGS,
        users={"op": "op"},
        path=PATH,
        env={
            "AIRFLOW_CONN_VOICEINFRA_DEFAULT": connection,
            "AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN": ledger_url,
            "AIRFLOW__VOICEINFRA__POLL_INTERVAL": "0.5",
        },
    )
    sandbox.configure(webhook_url=airflow.webhook_url())
    gate = Gate(sandbox.base_url)
    try:
        with airflow:
            yield Deployment(airflow, sandbox, gate, CallLedger(ledger_url), ledger_url)
    finally:
        gate.close()
        sandbox.stop()


@pytest.fixture(scope="module")
def night(below: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A campaign that calls for as long as nobody ends its calls."""
    night = begin(
        below, tmp_path_factory.mktemp("night"), "below", 4, call_seconds=NEVER, max_active_calls="2"
    )
    night.await_placed(2)
    return night


@pytest.fixture(scope="module")
def logins_below(chromium: Browser, below: Deployment) -> Logins:
    """The users of that Airflow, each logged in when first needed."""
    return Logins(chromium, below.airflow)


@pytest.fixture
def visit(open_page: OpenPage, logins_below: Logins) -> Iterator[Visit]:
    """Return what opens a page for a user, and makes sure that none asks for anything outside of the path."""
    asked: list[str] = []

    def visit(user: str, **options: object) -> Page:
        page = open_page(user, logins=logins_below, **options)
        page.context.on("request", lambda request: asked.append(request.url))
        return page

    yield visit
    paths = [urlsplit(url).path for url in asked if url.startswith("http")]
    assert paths
    assert [path for path in paths if not path.startswith(f"{PATH}/")] == []


def test_menu_has_its_icons_and_leads_to_each_page(visit: Visit) -> None:
    page = visit("op")
    for menu, entry in (CALLS, CAMPAIGNS, SETUP):
        page.goto("")
        page.get_by_role("button", name=menu, exact=True).click()
        item = page.get_by_role("menuitem", name=entry, exact=True)
        icon = item.locator("img")
        wait_for("its icon", partial(icon.evaluate, "(img) => img.naturalWidth > 0"), 30)
        item.click()
        frame = frame_of(page, entry)
        expect(frame.get_by_role("heading", level=1)).to_have_text(entry.removeprefix("VoiceInfra "))
    for name in ("Calls", "Campaigns", "Setup"):
        frame.get_by_role("navigation", name="VoiceInfra").get_by_role("link", name=name).click()
        expect(frame.get_by_role("heading", level=1)).to_have_text(name)


def test_calls_are_filtered_charted_exported_and_opened(visit: Visit, night: Night, tmp_path: Path) -> None:
    page = visit("op")
    frame = open_from_menu(page, *CALLS)
    with same_document(frame):
        frame.get_by_label("Number ends in").fill(night.called[0][-4:])
        frame.get_by_label("Number ends in").press("Enter")
        expect(rows(frame, "Calls")).to_have_count(1)
        canvas = frame.locator("#charts canvas").first
        expect(canvas).to_be_visible()
        wait_for("the charts", lambda: colours_drawn(canvas) > 3, 30)
    with page.expect_download() as download:
        frame.get_by_role("link", name="Export as CSV").click()
    download.value.save_as(tmp_path / "calls.csv")
    with (tmp_path / "calls.csv").open(newline="", encoding="utf-8") as file:
        assert [line["dag_id"] for line in csv.DictReader(file)] == [DAG_ID]

    rows(frame, "Calls").get_by_role("rowheader").get_by_role("link").click()
    expect(frame.get_by_role("heading", level=1)).to_have_text(f"Call to {night.called[0]}")
    settle(page, frame)
    page.reload()  # Airflow's address is that of the call
    frame = frame_of(page, CALLS[1])
    expect(frame.get_by_role("heading", level=1)).to_have_text(f"Call to {night.called[0]}")
    frame.locator("#to-task").click()
    page.wait_for_url(
        lambda url: unquote(urlsplit(url).path) == f"{PATH}/dags/{DAG_ID}/runs/{night.run_id}/tasks/campaign"
    )


def test_tab_of_the_run_has_its_calls(visit: Visit, night: Night) -> None:
    page = visit("op")
    page.goto(f"dags/{DAG_ID}/runs/{night.run_id}")
    page.get_by_role("link", name="Calls", exact=True).click()
    frame = frame_of(page, "Calls")
    expect(rows(frame, "Calls of this run")).to_have_count(2)
    expect(frame.get_by_role("link", name=night.campaign_id).first).to_be_visible()


def test_address_on_setup_has_the_path_and_takes_a_webhook(visit: Visit) -> None:
    frame = open_from_menu(visit("op"), *SETUP)
    card = frame.get_by_role("region", name=CONN, exact=True)
    url = card.get_by_label("Webhook URL").input_value()
    assert urlsplit(url).path == f"{PATH}/voiceinfra/webhooks/{CONN}"
    assert post(url, WEBHOOK_SECRET, completion("call_below")).json() == {"status": "recorded"}
    with same_document(frame):
        card.get_by_role("button", name="Send test delivery").click()
        expect(card.locator(".result .badge.is-ok").first).to_be_visible()
        expect(card.locator(".result .badge.is-failed")).to_have_count(0)


def test_campaign_moves_and_is_cancelled(visit: Visit, night: Night, below: Deployment) -> None:
    frame = open_from_menu(visit("op"), *CAMPAIGNS)
    frame.get_by_role("link", name=night.campaign_id, exact=True).click()
    expect(frame.get_by_role("heading", level=1)).to_have_text(night.campaign_id)
    with same_document(frame):
        night.end(1)
        expect(figure(frame, "Done")).to_have_text("1")
        night.await_placed(3)  # no line is free for another
        frame.get_by_text("Cancel", exact=True).click()
        frame.get_by_role("button", name="Yes, cancel it").click()
        expect(frame.get_by_text("The campaign is cancelled.")).to_be_visible()
        expect(frame.get_by_text("Resume", exact=True)).to_be_visible()
    below.sandbox.configure(call_seconds=0.5)
    below.sandbox.end_calls()
    assert below.airflow.api.wait_for_run(DAG_ID, night.run_id) == "failed"
