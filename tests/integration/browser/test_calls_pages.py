"""The list of calls, and one call, as those see them who look for something in Airflow."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import pytest
from harness.processes import wait_for
from playwright.sync_api import Frame, Locator, Page, Route, expect

from tests.integration.browser.conftest import OpenPage
from tests.integration.browser.framed import (
    CALLS,
    colour_behind,
    colours_drawn,
    frame_of,
    go_back_in_frame,
    open_from_menu,
    rows,
    same_document,
)
from tests.integration.browser.nights import DAG_ID, Night, begin, calm
from tests.integration.browser.visits import Watch, log_in
from tests.integration.conftest import Deployment
from tests.support.airflow_versions import FOLLOWS_FRAMES
from tests.web.pages.conftest import Calls

pytestmark = pytest.mark.integration

OURS = uuid.uuid4().hex[:6]
DAG = f"shop_{OURS}"
CAMPAIGN = f"spring-{OURS}"
OUTCOMES = ("answered", "voicemail", "failed", None)
NUMBER = 120  # of calls: three pages, of which the last is not full


@pytest.fixture(scope="module", autouse=True)
def _calls(deployment: Deployment) -> None:
    """Put calls into the ledger, whose numbers, outcomes and durations all tell them apart."""
    calls = Calls(deployment.ledger, prefix=f"{OURS}-")
    for number in range(NUMBER):
        of_campaign: dict[str, Any] = (
            {"campaign_id": CAMPAIGN, "position": number, "attempt": 1} if number < 30 else {}
        )
        calls.place(
            f"+1415555{100 + number % 100:04d}",
            outcome=OUTCOMES[number % 4],
            record={"duration_seconds": 10 + (number * 7) % NUMBER},
            dag_id=DAG,
            run_id="night",
            **(of_campaign if number < 30 else {}),
        )


@pytest.fixture(scope="module")
def night(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """A small campaign that is over."""
    night = begin(deployment, tmp_path_factory.mktemp("night"), "played", 2, call_seconds=0.5)
    deployment.airflow.api.wait_for_run(DAG_ID, night.run_id)
    yield night
    calm(deployment)


def query(frame: Frame) -> dict[str, list[str]]:
    """Return what the address of a page asks for."""
    return parse_qs(urlsplit(frame.url).query)


def open_calls(page: Page) -> Frame:
    """Open the list from the menu, and filter it to the calls of these tests."""
    frame = open_from_menu(page, *CALLS)
    frame.get_by_label("DAG", exact=True).fill(DAG)
    frame.get_by_label("DAG", exact=True).press("Enter")
    frame.wait_for_url(lambda url: f"dag_id={DAG}" in url)  # the calls of all DAGs may look alike
    expect(frame.locator("#found")).to_have_text("50 calls on this page.")
    expect(rows(frame, "Calls").filter(has_text=DAG)).to_have_count(50)
    return frame


def outcome_field(frame: Page | Frame) -> Locator:
    return frame.get_by_role("combobox", name="Outcome")


def badges(frame: Frame) -> set[str]:
    return set(rows(frame, "Calls").locator(".badge").all_inner_texts())


def test_list_is_filtered_without_reloading_and_its_address_holds_the_filter(open_page: OpenPage) -> None:
    page = open_page("op")
    frame = open_calls(page)
    with same_document(frame):
        outcome_field(frame).select_option("voicemail")
        expect(rows(frame, "Calls")).to_have_count(30)
        assert badges(frame) == {"voicemail"}
        assert query(frame) == {"dag_id": [DAG], "outcome": ["voicemail"]}

        frame.get_by_label("Number ends in").fill("0105")
        frame.get_by_label("Number ends in").press("Enter")
        expect(rows(frame, "Calls")).to_have_count(2)  # of numbers that are called twice
        expect(rows(frame, "Calls").filter(has_text="+14155550105")).to_have_count(2)
        assert query(frame) == {"dag_id": [DAG], "outcome": ["voicemail"], "digits": ["0105"]}

        frame.get_by_text("More filters").click()
        frame.get_by_label("Campaign", exact=True).fill(CAMPAIGN)
        frame.get_by_role("button", name="Filter", exact=True).click()
        expect(rows(frame, "Calls")).to_have_count(1)
        expect(frame.locator("#found")).to_have_text("1 call on this page.")

        chips = frame.get_by_role("list", name="Only these calls are shown")
        expect(chips.locator(".chip")).to_have_count(4)
    chips.get_by_role("link", name="Remove the filter Number").click()
    expect(rows(frame, "Calls")).to_have_count(8)  # every fourth of thirty
    expect(frame.get_by_label("Number ends in")).to_have_value("")
    expect(outcome_field(frame)).to_have_value("voicemail")

    go_back_in_frame(page)
    expect(rows(frame, "Calls")).to_have_count(1)
    expect(frame.get_by_label("Number ends in")).to_have_value("0105")


def filter_outcome(frame: Frame, outcome: str) -> None:
    """Choose an outcome, and wait for the calls with it."""
    outcome_field(frame).select_option(outcome)
    expect(rows(frame, "Calls")).to_have_count(30)
    expect(rows(frame, "Calls").filter(has=frame.locator(f".badge.is-{outcome}"))).to_have_count(30)


@pytest.mark.every_airflow
def test_filter_is_in_airflows_own_address_and_outlives_back_and_a_reload(open_page: OpenPage) -> None:
    page = open_page("op")
    frame = open_calls(page)

    def is_told(outcome: str) -> None:
        if FOLLOWS_FRAMES:
            page.wait_for_url(
                lambda url: parse_qs(urlsplit(url).query) == {"dag_id": [DAG], "outcome": [outcome]}
            )

    for outcome in ("answered", "voicemail"):
        filter_outcome(frame, outcome)
        is_told(outcome)
    go_back_in_frame(page)
    expect(outcome_field(frame)).to_have_value("answered")
    is_told("answered")
    filter_outcome(frame, "failed")
    is_told("failed")
    page.reload()
    frame = frame_of(page, CALLS[1])
    if not FOLLOWS_FRAMES:
        expect(outcome_field(frame)).to_have_value("")  # the page that the menu leads to
        return
    expect(outcome_field(frame)).to_have_value("failed")
    expect(rows(frame, "Calls")).to_have_count(30)
    assert badges(frame) == {"failed"}


def test_notice_that_the_server_is_out_of_reach_goes_away_once_it_is_back(
    open_page: OpenPage, watch: Watch
) -> None:
    watch.allow(r"ERR_INTERNET_DISCONNECTED|htmx:(afterRequest|sendError)")
    page = open_page("op", fresh=True)
    frame = open_calls(page)
    notice = frame.locator("#notice")
    page.context.set_offline(True)
    outcome_field(frame).select_option("failed")
    expect(notice).to_have_text("Airflow's API server cannot be reached.")
    page.context.set_offline(False)
    expect(notice).to_be_hidden()  # although nobody does anything
    with same_document(frame):
        page.context.set_offline(True)
        outcome_field(frame).select_option("voicemail")
        expect(notice).to_be_visible()
        page.context.set_offline(False)
        filter_outcome(frame, "answered")
        expect(notice).to_be_hidden()


def test_login_that_has_expired_is_renewed_from_the_page_and_leads_back_to_it(
    open_page: OpenPage, deployment: Deployment, watch: Watch
) -> None:
    watch.allow(r"401 \(Unauthorized\)")
    watch.allow(r"Response Status Error Code 401")
    page = open_page("op", fresh=True)
    frame = open_calls(page)
    page.context.clear_cookies()
    outcome_field(frame).select_option("failed")
    notice = frame.locator("#notice")
    expect(notice).to_have_text("You are not logged in to Airflow any more. Log in")
    notice.get_by_role("link", name="Log in").click()
    log_in(page, "op", deployment.airflow.passwords["op"])
    frame = frame_of(page, CALLS[1])
    expect(frame.get_by_label("DAG", exact=True)).to_have_value(DAG if FOLLOWS_FRAMES else "")

    page.context.clear_cookies()
    frame.get_by_role("link", name="Campaigns", exact=True).first.click()
    expect(frame.get_by_text("You are not logged in to Airflow")).to_be_visible()
    frame.get_by_role("link", name="Log in to Airflow").click()
    frame.get_by_label("Username").fill("op")
    frame.get_by_label("Password").fill(deployment.airflow.passwords["op"])
    frame.get_by_role("button", name="Sign in").click()
    expect(frame.get_by_role("heading", level=1)).to_have_text("Campaigns")


def test_list_is_sorted_and_turned_over_without_reloading(open_page: OpenPage) -> None:
    frame = open_calls(open_page("op"))
    calls = rows(frame, "Calls")
    durations = calls.locator("td.number")
    with same_document(frame):
        frame.get_by_role("link", name="Duration").click()
        expect(frame.get_by_role("columnheader", name="Duration")).to_have_attribute(
            "aria-sort", "descending"
        )
        expect(durations.first).to_have_text("2 min 09 s")
        frame.get_by_role("link", name="Duration").click()
        expect(frame.get_by_role("columnheader", name="Duration")).to_have_attribute("aria-sort", "ascending")
        expect(durations.first).to_have_text("10 s")
        frame.get_by_role("link", name="Time").click()

        expect(frame.get_by_role("columnheader", name="Time")).to_have_attribute("aria-sort", "descending")
        first = calls.first.inner_text()
        seen = [one.get_attribute("href") for one in calls.get_by_role("rowheader").get_by_role("link").all()]
        for number in (50, 20):
            before = seen[-1]
            frame.get_by_role("link", name="Next").click()
            expect(frame.locator("#found")).to_have_text(f"{number} calls on this page.")
            expect(frame.locator(f'tbody a[href="{before}"]')).to_have_count(0)
            seen += [
                one.get_attribute("href") for one in calls.get_by_role("rowheader").get_by_role("link").all()
            ]
        assert len(seen) == len(set(seen)) == NUMBER
        expect(frame.get_by_role("link", name="Next")).to_have_count(0)
        frame.get_by_role("link", name="Previous").click()
        expect(frame.locator("#found")).to_have_text("50 calls on this page.")
        frame.get_by_role("link", name="Previous").click()
        expect(calls.first).to_have_text(first, use_inner_text=True)


def test_filter_is_sent_once_when_enter_is_pressed(open_page: OpenPage) -> None:
    page = open_page("op", fresh=True)
    page.clock.install()
    page.goto("voiceinfra/ui/calls")
    sent: list[SplitResult] = []
    page.on("request", lambda request: sent.append(urlsplit(request.url)))
    page.get_by_label("DAG", exact=True).fill(DAG)
    with page.expect_response(lambda answer: "/charts" in answer.url):
        page.get_by_label("DAG", exact=True).press("Enter")
    expect(page.locator("#found")).to_have_text("50 calls on this page.")
    page.clock.run_for(5000)
    outcome_field(page).select_option("failed")
    page.clock.run_for(5000)
    expect(page.locator("#found")).to_have_text("30 calls on this page.")
    filtered = [url.path.rpartition("/")[2] for url in sent if f"dag_id={DAG}" in url.query]
    assert sorted(filtered) == ["calls", "calls", "charts", "charts"]


def test_who_presses_next_as_soon_as_a_page_is_there_gets_the_one_after_it(open_page: OpenPage) -> None:
    frame = open_calls(open_page("op"))
    frame.evaluate(
        """() => document.querySelector("#calls").addEventListener("htmx:afterSwap", () => setTimeout(() =>
            [...document.querySelectorAll("a")].find((link) => link.textContent.includes("Next")).click()
        ), { once: true })"""
    )
    with same_document(frame):
        frame.get_by_role("link", name="Next").click()
        expect(frame.locator("#found")).to_have_text("20 calls on this page.")


def test_answer_that_comes_late_does_not_take_the_place_of_what_was_asked_for_after_it(
    open_page: OpenPage,
) -> None:
    page = open_page("op")
    frame = open_calls(page)
    held: list[Route] = []
    page.route("**/calls?*outcome=failed*", lambda route: held.append(route))
    with same_document(frame):
        with page.expect_request("**/calls?*outcome=failed*"):
            outcome_field(frame).select_option("failed")
        frame.get_by_role("link", name="Next").click()
        expect(frame.get_by_role("link", name="Previous")).to_be_visible()
        for route in held:
            route.continue_()
        assert held
        page.wait_for_load_state("networkidle")
        assert frame.get_by_role("link", name="Previous").is_visible()
        assert "outcome" not in query(frame)
    page.unroute_all()


def test_airflow_follows_addresses_however_fast_they_change(open_page: OpenPage) -> None:
    page = open_page("op")
    frame = open_calls(page)
    with same_document(frame):
        frame.evaluate(
            """async () => {
                for (let number = 1; number <= 60; number++) {
                    history.pushState(history.state, "", `calls?digits=${String(number).padStart(4, "0")}`);
                    document.dispatchEvent(new CustomEvent("htmx:pushedIntoHistory"));
                    await new Promise((go) => setTimeout(go, number % 12));
                }
            }"""
        )
        if FOLLOWS_FRAMES:
            page.wait_for_url(lambda url: url.endswith("digits=0060"))
        assert query(frame) == {"digits": ["0060"]}


def test_exported_file_holds_what_is_shown_and_no_more(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page("op")
    frame = open_calls(page)
    outcome_field(frame).select_option("failed")
    expect(rows(frame, "Calls")).to_have_count(30)
    with page.expect_download() as download:
        frame.get_by_role("link", name="Export as CSV").click()
    download.value.save_as(tmp_path / "calls.csv")
    with (tmp_path / "calls.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert download.value.suggested_filename.endswith(".csv")
    assert {(line["dag_id"], line["outcome"]) for line in lines} == {(DAG, "failed")}
    assert len({line["call_id"] for line in lines}) == len(lines) == 30
    assert lines[0]["to_number"].lstrip("'").startswith("+1415555")


def choose_theme(page: Page, name: str) -> None:
    """Choose Airflow's colours in its own menu."""
    page.get_by_role("button", name="User", exact=True).click()
    page.get_by_role("menuitem", name="Appearance").click()
    page.get_by_role("menuitemradio", name=name).click()
    page.keyboard.press("Escape")


@pytest.mark.every_airflow
def test_charts_are_drawn_and_follow_airflows_colours_at_once(open_page: OpenPage) -> None:
    page = open_page("viewer", fresh=True)
    frame = open_calls(page)
    canvases = frame.locator("#charts canvas")
    expect(canvases).to_have_count(3)

    def are_drawn() -> bool:
        return all(colours_drawn(canvas) > 3 for canvas in canvases.all())

    seen = []
    for theme, name in (("light", "Light Mode"), ("dark", "Dark Mode"), ("light", "Light Mode")):
        with same_document(frame):
            choose_theme(page, name)
            page.wait_for_function("(name) => document.documentElement.classList.contains(name)", arg=theme)
            wait_for("the charts", are_drawn, 30)
            wait_for("the page's colour", lambda: colour_behind(frame) == colour_behind(page), 10)
            seen.append((colour_behind(frame), canvases.first.evaluate("(canvas) => canvas.toDataURL()")))
    light, dark, again = seen
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    assert again == light


def test_charts_follow_the_filter(open_page: OpenPage) -> None:
    frame = open_calls(open_page("viewer"))
    figures = frame.locator("#charts .figures")
    expect(figures).to_contain_text(str(NUMBER))
    with same_document(frame):
        outcome_field(frame).select_option("voicemail")
        expect(figures.locator("dd").first).to_have_text("30")
        drawn = frame.locator("#charts canvas").first.get_attribute("data-chart") or ""
        assert "voicemail" in drawn
        assert "failed" not in drawn


def test_time_zone_that_is_chosen_in_airflow_holds_at_once(open_page: OpenPage) -> None:
    page = open_page("viewer", fresh=True)
    frame = open_calls(page)
    time = rows(frame, "Calls").locator("time").first
    moment = time.get_attribute("datetime")
    with same_document(frame):
        choose_zone(page, "Asia/Tokyo")
        expect(time).to_have_attribute("title", f"{moment} (shown in Asia/Tokyo)")
        expect(frame.get_by_label("From (Asia/Tokyo)")).to_be_visible()
        expected = time.evaluate(
            """(time) => new Date(Date.parse(time.dateTime) + 9 * 3600 * 1000)
                .toISOString().slice(0, 19).replace("T", " ")"""
        )
        expect(time).to_have_text(expected)
        # What is entered is of that zone as well.
        until = frame.get_by_label("Until (Asia/Tokyo)")
        until.fill(expected[:10] + "T00:00")
        until.blur()
        expect(frame.locator("#selection .chip").filter(has_text="Until").locator("time")).to_have_text(
            f"{expected[:10]} 00:00:00"
        )
        assert query(frame)["until"][0].endswith("T15:00:00Z")


def choose_zone(page: Page, name: str) -> None:
    """Choose the time zone in Airflow's own dialog."""
    page.locator("nav button, aside button, button").filter(has_text="+00:00").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox").fill(name)
    page.get_by_role("option", name=name).first.click()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_recording_of_a_call_plays_and_what_was_said_is_a_conversation(
    open_page: OpenPage, night: Night
) -> None:
    page = open_page("op")
    frame = open_from_menu(page, *CALLS)
    [call] = [one for one in night.placed() if one["to_number"] == night.called[0]]
    frame.get_by_text("More filters").click()
    frame.get_by_label("Campaign", exact=True).fill(night.campaign_id)
    frame.get_by_label("Campaign", exact=True).press("Enter")
    listed = rows(frame, "Calls").filter(has_text=night.called[0])
    expect(rows(frame, "Calls")).to_have_count(2)
    listed.get_by_role("rowheader").get_by_role("link").click()

    expect(frame.get_by_role("heading", level=1)).to_have_text(f"Call to {night.called[0]}")
    expect(frame.locator("#call-id")).to_have_text(call["call_id"])
    turns = frame.locator(".talk li")
    expect(turns.first.locator(".who")).to_have_text("Agent")
    expect(turns.nth(1)).to_have_class("caller")
    expect(turns.nth(1)).to_contain_text("Yes, go ahead.")

    player = frame.get_by_label("Recording of this call")
    assert player.evaluate("(audio) => audio.readyState") == 0  # nothing is loaded before it is asked for
    box = player.bounding_box()
    assert box is not None
    player.click(position={"x": 25, "y": box["height"] / 2})
    wait_for("it to play", lambda: player.evaluate("(audio) => audio.currentTime > 0"), 30)
    assert player.evaluate("(audio) => audio.error") is None


def open_call(frame: Frame, night: Night) -> Locator:
    """Open a call of a campaign from the list, and return the heading of its page."""
    frame.goto(f"{frame.url.partition('?')[0]}?campaign_id={night.campaign_id}")
    rows(frame, "Calls").first.get_by_role("rowheader").get_by_role("link").click()
    heading = frame.get_by_role("heading", level=1)
    expect(heading).to_contain_text("Call to +1202***01")
    return heading


def test_links_of_a_call_lead_out_of_the_frame_and_back_leads_in(open_page: OpenPage, night: Night) -> None:
    page = open_page("viewer")
    frame = open_from_menu(page, *CALLS)
    heading = open_call(frame, night)
    shown = heading.inner_text() if FOLLOWS_FRAMES else "Calls"
    for link, place in (("#to-run", night.run_id), ("#to-task", f"{night.run_id}/tasks/campaign")):
        frame.locator(link).click()
        page.wait_for_url(lambda url, place=place: unquote(url).endswith(f"/dags/{DAG_ID}/runs/{place}"))  # type: ignore[misc]
        expect(page.get_by_text(DAG_ID).first).to_be_visible()
        page.go_back()
        frame = frame_of(page, CALLS[1])
        expect(frame.get_by_role("heading", level=1)).to_have_text(shown)
        if not FOLLOWS_FRAMES:
            open_call(frame, night)
    page.reload()  # from Airflow 3.3 on its address is that of the call
    expect(frame_of(page, CALLS[1]).get_by_role("heading", level=1)).to_have_text(shown)


@pytest.mark.every_airflow
def test_viewer_sees_numbers_masked_no_word_of_what_was_said_and_no_setup(
    open_page: OpenPage, night: Night, watch: Watch, tmp_path: Path
) -> None:
    watch.allow(r"403 \(Forbidden\) .*/ui/setup\)$")  # which says so in words as well
    page = open_page("viewer")
    frame = open_from_menu(page, *CALLS)
    frame.goto(f"{frame.url.partition('?')[0]}?campaign_id={night.campaign_id}")
    calls = rows(frame, "Calls")
    expect(calls.filter(has_text="+1202***01")).to_have_count(2)
    with page.expect_download() as download:
        frame.get_by_role("link", name="Export as CSV").click()
    download.value.save_as(tmp_path / "calls.csv")
    told = [(tmp_path / "calls.csv").read_text(), frame.content()]
    calls.first.get_by_role("rowheader").get_by_role("link").click()
    expect(frame.get_by_text("you need permission to read the connection")).to_be_visible()
    expect(frame.locator("audio")).to_have_count(0)
    told.append(frame.content())
    for text in told:
        assert "+1202***01" in text
        assert not [number for number in night.called if number in text]
        assert "Yes, go ahead." not in text
    frame.get_by_role("link", name="Setup", exact=True).first.click()
    expect(frame.get_by_role("alert")).to_contain_text("permission to read connections")
