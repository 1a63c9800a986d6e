"""Our pages as people see them: opened from Airflow's menu, in its frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Frame, Locator, Page, expect

from tests.support.airflow_versions import FOLLOWS_FRAMES

CALLS = ("Browse", "VoiceInfra Calls")
CAMPAIGNS = ("Browse", "VoiceInfra Campaigns")
SUPPRESSIONS = ("Browse", "VoiceInfra Suppressions")
SETUP = ("Admin", "VoiceInfra Setup")
# Before 3.3, Airflow takes the frame that is there for the next page of ours: first it shows the one before.
SHOWS_ITS_START = """(title) => {
    const frame = document.querySelector(`iframe[title="${title}"]`);
    const shown = frame?.contentDocument;
    return shown?.readyState === "complete" && shown.location.pathname === new URL(frame.src).pathname;
}"""


def open_from_menu(page: Page, menu: str, entry: str) -> Frame:
    """Open one of our pages by Airflow's menu, and return its frame.

    Where Airflow is not open yet, that is from its start page. A page that is shown already is left for
    another one first, so that it is opened anew.
    """
    if not page.get_by_role("button", name=menu, exact=True).is_visible():
        page.goto("")
    elif page.locator(f'iframe[title="{entry}"]').is_visible():
        open_from_menu(page, *(CAMPAIGNS if entry != CAMPAIGNS[1] else CALLS))
    page.get_by_role("button", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=entry, exact=True).click()
    page.wait_for_function(SHOWS_ITS_START, arg=entry)
    frame = frame_of(page, entry)
    settle(page, frame)
    return frame


def settle(page: Page, frame: Frame) -> None:
    """Wait until Airflow has written a frame's address into its own, if this Airflow does.

    A page that changes its address just before that, as by a filter, is loaded anew by Airflow as it was.
    """
    if not FOLLOWS_FRAMES:
        return
    address = urlsplit(frame.url)
    page.wait_for_url(lambda url: urlsplit(url).path.endswith(address.path))


def go_back_in_frame(page: Page) -> None:
    """Go back as by the browser's button; Playwright itself waits for Airflow's address, which may stay."""
    page.evaluate("history.back()")


def frame_of(page: Page, title: str) -> Frame:
    """Return the frame in which Airflow shows one of our pages, once that is there."""
    frame = page.locator(f'iframe[title="{title}"]').element_handle().content_frame()
    assert frame is not None
    expect(frame.get_by_role("heading", level=1)).to_be_visible()
    # Nobody is as quick as a test: what is pressed before the scripts have run works without them.
    frame.wait_for_load_state()
    return frame


def figure(frame: Page | Frame, name: str) -> Locator:
    """Return one of the figures that a page begins with, by its name."""
    holder = frame.locator(".figures > div").filter(has=frame.locator("dt", has_text=name))
    return holder.locator("dd")


def rows(frame: Page | Frame, table: str) -> Locator:
    """Return the rows of a table, without its head.

    :param table: how the area is called in which it scrolls.
    """
    return frame.get_by_role("region", name=table, exact=True).locator("tbody tr")


@contextmanager
def same_document(frame: Page | Frame) -> Iterator[None]:
    """Let something happen on a page, and make sure that the page was not loaded anew by it."""
    frame.evaluate("document.isTheOneBefore = true")
    yield
    assert frame.evaluate("document.isTheOneBefore === true"), "the page was loaded anew"


def colour_behind(frame: Page | Frame) -> str:
    """Return the colour that a page lies on."""
    found: str = frame.evaluate(
        """() => [document.body, document.documentElement]
            .map((element) => getComputedStyle(element).backgroundColor)
            .find((colour) => colour !== "rgba(0, 0, 0, 0)")"""
    )
    return found


def colours_drawn(canvas: Locator) -> int:
    """Return how many colours a canvas shows; 1 or less for one that is blank."""
    found: int = canvas.evaluate(
        """(canvas) => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return new Set(new Uint32Array(data.buffer)).size;
        }"""
    )
    return found
