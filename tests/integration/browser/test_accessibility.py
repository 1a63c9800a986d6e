"""Pages for everybody: reached and used by keyboard alone, without a barrier that axe-core finds."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from tests.integration.browser.conftest import OpenPage
from tests.integration.browser.framed import CALLS, open_from_menu, rows
from tests.integration.browser.visits import accessibility_violations
from tests.integration.conftest import Deployment
from tests.support.completions import keep_delivery
from tests.web.pages.conftest import Calls

pytestmark = pytest.mark.integration

OURS = uuid.uuid4().hex[:6]
DAG = f"access_{OURS}"
CONN = "voiceinfra_default"
WIDE = ViewportSize(width=1400, height=1000)
NARROW = ViewportSize(width=400, height=800)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
# Every element that can have the focus, in the order of the page; what is in a closed disclosure cannot.
FOCUSABLE = """() => {
    const all = `a[href], button, input, select, textarea, summary, audio[controls], [tabindex="0"]`;
    window.reachable = [...document.querySelectorAll(all)].filter((element) =>
        !element.disabled && element.type !== "hidden" && element.tabIndex >= 0 &&
        element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length);
    return reachable.map((element) => element.outerHTML.slice(0, 100));
}"""
# Where the focus is among them, and whether that can be seen; null outside of the page.
FOCUSED = """() => {
    const element = document.activeElement;
    if (!element || element === document.body) return null;
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    return {
        index: reachable.indexOf(element),
        html: element.outerHTML.slice(0, 100),
        outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1,
        inside: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
    };
}"""


@dataclass(frozen=True)
class Places:
    """Addresses of one page of each kind, with everything on it that such a page can have."""

    pages: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.pages[name]


@pytest.fixture(scope="module")
def places(deployment: Deployment) -> Places:
    """Put into the ledger what fills each kind of page."""
    ledger = deployment.ledger
    calls = Calls(ledger, prefix=f"{OURS}-")
    campaign = f"campaign-{OURS}"
    whence: dict[str, Any] = {"dag_id": DAG, "run_id": "night", "campaign_id": campaign, "position": 1}
    record = {
        "recording_url": f"{deployment.sandbox.url}/recordings/none.wav",
        "extracted_data": {"wants": ["a", "b"], "score": 7, "deep": {"er": {"still": [{"a": 1}]}}},
        "something_new": "yes",
    }
    told = {"variables": {"name": "Sam"}, "first_message": "Hello", "context": "A shop"}
    calls.place(outcome="voicemail", attempt=1, **whence)
    call = calls.place(attempt=2, call=told, record=record, **whence)
    calls.unknown(dag_id=DAG, run_id="night")
    calls.refused("The number is none.", dag_id=DAG, run_id="night")
    for _ in range(52):
        calls.place(dag_id=DAG, run_id="night")
    origin = CallOrigin(dag_id=DAG, run_id="night", task_id="call", map_index=-1)
    ledger.campaigns.take(campaign, conn_id=CONN, origin=origin)
    # Of a connection that nobody calls through.
    numbers = [f"+1415555{number:04}" for number in range(100, 160)]
    ledger.suppressions.add(Suppression(number, "elsewhere", "Asked by mail.") for number in numbers)
    ledger.suppressions.add([Suppression("+14155550199", "elsewhere", source="webhook", added_by="call_1")])
    body = json.dumps({"event": "call.started", "call_id": f"call-{OURS}"}).encode()
    keep_delivery(ledger, body, conn_id=CONN, reason="another event", event="call.started")
    [kept] = [one for one in ledger.deliveries.kept() if one.body == body]
    pages = {
        "calls": f"calls?dag_id={DAG}",
        "call": f"call?id={call.call_id}",
        "unknown call": f"calls?dag_id={DAG}&state=unknown",
        "campaigns": f"campaigns?text={campaign}",
        "campaign": f"campaign?id={campaign}",
        "suppressions": "suppressions?over=true",
        "setup": "setup",
        "kept delivery": f"setup?show={kept.id}",
        "run": f"run?dag_id={DAG}&run_id=night",
    }
    return Places({name: f"voiceinfra/ui/{page}" for name, page in pages.items()})


NAMES = (
    "calls",
    "call",
    "unknown call",
    "campaigns",
    "campaign",
    "suppressions",
    "setup",
    "kept delivery",
    "run",
)


def show(page: Page, places: Places, name: str) -> None:
    """Open a page alone, and all that is closed on it."""
    page.goto(places[name])
    if name == "unknown call":  # which has no id
        rows(page, "Calls").get_by_role("rowheader").get_by_role("link").click()
        expect(page.get_by_text("It is not known whether this call was placed.")).to_be_visible()
    if name == "calls":
        expect(page.locator("#charts canvas").first).to_be_visible()
    # What is closed is neither looked at nor reached.
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")


@pytest.mark.parametrize("name", NAMES)
def test_page_is_for_everybody(open_page: OpenPage, places: Places, name: str) -> None:
    # Colours that are still changing have the contrast of neither.
    page = open_page("op", color_scheme="light", reduced_motion="reduce")
    show(page, places, name)
    tab_key_reaches_everything_in_order_and_shows_where_it_is(page)
    axe_finds_no_barrier_at_any_width_in_light_and_dark(page)


def axe_finds_no_barrier_at_any_width_in_light_and_dark(page: Page) -> None:
    found = []
    for scheme, size in product(SCHEMES, (WIDE, NARROW)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        # In the dark, only colours are others.
        options = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
        found += [f"{scheme}, {size['width']}: {one}" for one in accessibility_violations(page, **options)]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page itself scrolls"
    assert found == []


def test_axe_finds_no_barrier_in_airflows_frame(open_page: OpenPage) -> None:
    frame = open_from_menu(open_page("op", color_scheme="dark"), *CALLS)
    expect(frame.locator("#charts canvas").first).to_be_visible()
    assert accessibility_violations(frame) == []


def tab_key_reaches_everything_in_order_and_shows_where_it_is(page: Page) -> None:
    expected = page.evaluate(FOCUSABLE)
    reached, unseen = [], []
    # Fields of time, and players, have stops of their own within.
    for _ in range(4 * len(expected) + 40):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused is None:
            break
        if focused["index"] >= 0 and focused["index"] not in reached:
            reached.append(focused["index"])
            if not focused["outlined"] or not focused["inside"]:
                unseen.append(focused)
    assert [expected[index] for index in reached] == expected
    assert unseen == []
