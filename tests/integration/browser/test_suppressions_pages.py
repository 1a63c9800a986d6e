"""The page Suppressions: from a number that is added by hand to the call that is not placed, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Frame, Locator, expect

from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from tests.integration.browser.conftest import OpenPage
from tests.integration.browser.framed import SUPPRESSIONS, open_from_menu, same_document
from tests.integration.browser.visits import Watch
from tests.integration.conftest import Deployment

pytestmark = pytest.mark.integration

NUMBER, OTHER, THIRD = "+14155550161", "+14155550162", "+14155550163"
FOURTH, FIFTH = "+14155550164", "+14155550165"


@pytest.fixture(autouse=True)
def _nobody_stays_suppressed(deployment: Deployment) -> Iterator[None]:
    yield
    for number in (NUMBER, OTHER, THIRD, FOURTH, FIFTH):
        found = deployment.ledger.suppressions.of_number(number)
        deployment.ledger.suppressions.remove([one.id for one in found])


def listed(frame: Frame, number: str) -> Locator:
    """Return the rows of a number in the list."""
    return frame.locator("#suppressions tbody tr").filter(has_text=number)


def open_disclosure(frame: Frame, name: str) -> None:
    """Open one of the forms that are closed at first."""
    frame.locator("summary").filter(has_text=name).click()


def test_number_that_is_added_is_not_called_until_it_is_removed(
    open_page: OpenPage, deployment: Deployment
) -> None:
    page = open_page("op")
    frame = open_from_menu(page, *SUPPRESSIONS)
    with same_document(frame):
        open_disclosure(frame, "Add a number")
        form = frame.locator("#add-form")
        form.get_by_label("Number").fill("+1 (415) 555-0161")
        form.get_by_label("Reason").fill("asked by mail")
        form.get_by_role("button", name="Add").click()
        expect(frame.get_by_text("+1415***0161 is not called any more, for all connections.")).to_be_visible()
        expect(listed(frame, NUMBER)).to_contain_text("asked by mail")
        expect(form.get_by_label("Number")).to_have_value("")
        assert "0161" not in page.url

    run = deployment.run("it_bare", to_number=NUMBER)
    assert deployment.airflow.api.wait_for_run("it_bare", run) == "failed"
    assert deployment.accepted(NUMBER) == []
    [call] = deployment.ledger.calls(run_id=run)
    page.goto(f"voiceinfra/ui/calls?{urlencode({'run_id': run})}")
    page.locator("#calls tbody th a").first.click()
    expect(page.get_by_text("a rule did not allow it, and no phone rang.")).to_be_visible()
    expect(page.get_by_text("(asked by mail)").first).to_be_visible()
    assert call.error_code == "suppressed"

    frame = open_from_menu(page, *SUPPRESSIONS)
    with same_document(frame):
        listed(frame, NUMBER).locator("summary").click()
        listed(frame, NUMBER).get_by_role("button", name="Yes, remove it").click()
        expect(frame.get_by_text("+1415***0161 may be called again")).to_be_visible()
        expect(listed(frame, NUMBER)).to_have_count(0)
    run = deployment.run("it_bare", to_number=NUMBER)
    assert deployment.airflow.api.wait_for_run("it_bare", run) == "success"


def test_file_is_imported_or_refused_with_its_wrong_rows(
    open_page: OpenPage, watch: Watch, deployment: Deployment
) -> None:
    watch.allow("400")
    frame = open_from_menu(open_page("op"), *SUPPRESSIONS)
    with same_document(frame):
        open_disclosure(frame, "Import many")
        form = frame.locator("#import-form")

        def send(content: bytes) -> None:
            file: Any = {"name": "list.csv", "mimeType": "text/csv", "buffer": content}
            form.get_by_label("File").set_input_files(files=[file])
            form.get_by_role("button", name="Import").click()

        send(f"phone\n{OTHER}\n0123\n".encode())
        expect(frame.get_by_text("list.csv, row 3: 01*** has no country code")).to_be_visible()
        assert deployment.ledger.suppressions.of_number(OTHER) == []
        send(f"phone\n{OTHER}\n{THIRD}\n".encode())
        expect(frame.get_by_text("2 numbers are not called any more, for all connections")).to_be_visible()
        expect(listed(frame, THIRD)).to_contain_text("a file, by op")
    assert deployment.ledger.suppressions.of_number(OTHER)


def test_number_is_found_by_its_end_or_as_a_whole(open_page: OpenPage, deployment: Deployment) -> None:
    deployment.ledger.suppressions.add([Suppression(FOURTH), Suppression(FIFTH, "voiceinfra_default")])
    frame = open_from_menu(open_page("op"), *SUPPRESSIONS)
    frame.get_by_label("Number ends in").fill("0164")
    frame.locator("#digits-form").get_by_role("button", name="Find").click()
    expect(frame.get_by_role("heading", name="Numbers that end in 0164")).to_be_visible()
    expect(listed(frame, FOURTH)).to_have_count(1)
    expect(listed(frame, FIFTH)).to_have_count(0)
    frame.get_by_role("textbox", name="Whole number").fill(FIFTH)
    frame.locator("#number-form").get_by_role("button", name="Find").click()
    expect(frame.get_by_role("heading", name="Suppressions of +1415***0165")).to_be_visible()
    expect(listed(frame, FIFTH)).to_contain_text("voiceinfra_default")
    expect(listed(frame, FOURTH)).to_have_count(0)
    assert "0165" not in frame.url


def test_list_is_read_and_searched_without_a_script(open_page: OpenPage, deployment: Deployment) -> None:
    deployment.ledger.suppressions.add([Suppression(OTHER), Suppression(THIRD)])
    page = open_page("op", java_script_enabled=False)
    page.goto("voiceinfra/ui/suppressions")
    expect(page.locator("#suppressions")).to_contain_text(THIRD)
    page.get_by_label("Number ends in").fill("0162")
    page.locator("#digits-form").get_by_role("button", name="Find").click()
    expect(page.locator("#suppressions")).to_contain_text(OTHER)
    expect(page.locator("#suppressions")).not_to_contain_text(THIRD)


def test_viewer_is_shown_none_of_it(open_page: OpenPage, watch: Watch) -> None:
    watch.allow("403")
    page = open_page("viewer", fresh=True)
    page.goto("voiceinfra/ui/suppressions")
    expect(page.get_by_text("your Airflow account may read none of them")).to_be_visible()
