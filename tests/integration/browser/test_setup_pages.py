"""The page Setup: from a connection that was added by hand to the vendor's first webhook."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest
from harness.processes import wait_for
from playwright.sync_api import Frame, Locator, Page, expect

from tests.integration.browser.conftest import OpenPage
from tests.integration.browser.framed import SETUP, frame_of, open_from_menu, rows, same_document
from tests.integration.browser.test_connection_form import GOOD, PORT, ConnectionList, Stored
from tests.integration.browser.vendor import completion, post
from tests.integration.conftest import API_KEY, WEBHOOK_SECRET, Deployment
from tests.support.completions import keep_delivery

pytestmark = pytest.mark.integration

WRONG_SECRET = "not-the-secret-of-this-connection"


@pytest.fixture
def stored(deployment: Deployment) -> Iterator[Stored]:
    """A name for a connection, under which none is left when the test is over."""
    stored = Stored(deployment, f"set_up_{uuid.uuid4().hex[:8]}")
    yield stored
    stored.delete()


def card(frame: Frame, conn_id: str) -> Locator:
    """Return what the page shows of a connection."""
    return frame.get_by_role("region", name=conn_id, exact=True)


def fact(card: Locator, name: str) -> Locator:
    return card.locator(f"dt:text-is('{name}') + dd")


def copied_url(page: Page, card: Locator) -> str:
    """Press the button Copy, and return what can be pasted then."""
    card.get_by_role("button", name="Copy").click()
    expect(frame_of(page, SETUP[1]).get_by_text("The webhook URL is copied.")).to_be_visible()
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_connection_is_added_by_hand_and_its_copied_address_takes_the_vendors_webhook(
    open_page: OpenPage, stored: Stored, deployment: Deployment
) -> None:
    page = open_page("op", permissions=["clipboard-read", "clipboard-write"])
    connections = ConnectionList(page)
    form = connections.add(stored.conn_id)
    form.fill("API base URL", deployment.sandbox.base_url)
    form.fill("API key", API_KEY)
    form.fill(PORT, "443")
    form.open_panel("Extra Fields")
    form.fill_extra("Webhook secret", WEBHOOK_SECRET)
    form.save()
    connections.test(stored.conn_id, *GOOD)

    frame = open_from_menu(page, *SETUP)
    shown = card(frame, stored.conn_id)
    expect(fact(shown, "Last webhook")).to_have_text("none has come so far")
    url = copied_url(page, shown)
    assert url == deployment.airflow.webhook_url(stored.conn_id)
    expect(shown.get_by_label("Webhook URL")).to_have_value(url)

    call_id = f"call_{stored.conn_id}"
    assert post(url, WEBHOOK_SECRET, completion(call_id)).status_code == 200

    def is_turned_away() -> bool:
        # Of many in a row not each is written down, so it is sent until one is.
        assert post(url, WRONG_SECRET, completion(call_id)).status_code == 401
        frame.goto(frame.url)
        return "none" not in fact(shown, "Last rejected").inner_text()

    wait_for("the page to tell of the rejection", is_turned_away, 30)
    expect(fact(shown, "Last rejected")).to_contain_text("signature")
    expect(fact(shown, "Last rejected")).to_contain_text("The secret in the vendor's dashboard and the one")
    expect(fact(shown, "Last webhook")).to_contain_text(f"about {call_id}")
    fact(shown, "Last webhook").get_by_role("link").click()
    expect(frame.get_by_text("They said hello.")).to_be_visible()


@pytest.mark.every_airflow
def test_checks_and_the_test_delivery_give_their_verdicts_without_reloading(open_page: OpenPage) -> None:
    frame = open_from_menu(open_page("op"), *SETUP)
    shown = card(frame, "voiceinfra_default")
    result = shown.locator(".result")
    with same_document(frame):
        shown.get_by_role("button", name="Send test delivery").click()
        expect(result.locator(".badge.is-ok").first).to_be_visible()
        expect(result.locator(".badge.is-failed")).to_have_count(0)
        delivered = result.inner_text()
        shown.get_by_role("button", name="Check everything").click()
        expect(result.get_by_text("API key", exact=False).first).to_be_visible()
        assert result.inner_text() != delivered
        expect(result.locator(".badge.is-failed")).to_have_count(0)


def test_check_of_a_connection_with_a_wrong_key_says_what_to_do(open_page: OpenPage, stored: Stored) -> None:
    stored.add(password="vk_revoked")
    frame = open_from_menu(open_page("op"), *SETUP)
    shown = card(frame, stored.conn_id)
    shown.get_by_role("button", name="Check everything").click()
    expect(shown.locator(".result").get_by_text("Something has to be fixed.")).to_be_visible()
    expect(shown.locator(".result .badge.is-failed").first).to_be_visible()


def test_kept_deliveries_are_read_and_replayed(
    open_page: OpenPage, stored: Stored, deployment: Deployment
) -> None:
    stored.add()
    url, call_id = deployment.airflow.webhook_url(stored.conn_id), f"call_{stored.conn_id}"
    started = completion(call_id, event="call.started")
    assert post(url, WEBHOOK_SECRET, started).json() == {"status": "kept"}
    # One that an older version of this package could not use.
    body = json.dumps(completion(call_id)).encode()
    keep_delivery(deployment.ledger, body, conn_id=stored.conn_id, reason="too new", event="call.completed")

    frame = open_from_menu(open_page("op"), *SETUP)
    kept = rows(frame, "Kept deliveries").filter(has_text=stored.conn_id)
    started_one, new_one = kept.filter(has_text="call.started"), kept.filter(has_text="too new")
    started_one.get_by_role("link").click()
    expect(frame.get_by_role("region", name="What it says")).to_contain_text(f'"call_id": "{call_id}"')
    frame.get_by_role("link", name="Back to Setup").click()
    expect(frame.get_by_role("heading", level=1)).to_have_text("Setup")
    with same_document(frame):
        started_one.get_by_role("button", name="Replay").click()
        expect(frame.get_by_text("still cannot be used, and stays")).to_be_visible()
        expect(kept).to_have_count(2)
        new_one.get_by_role("button", name="Replay").click()
        expect(frame.get_by_text("is recorded as the completion of its call")).to_be_visible()
        expect(kept).to_have_count(1)
    assert deployment.ledger.completion(call_id) is not None
