"""Airflow's menu, through which people come to our pages."""

from __future__ import annotations

from functools import partial

import pytest
from harness.processes import wait_for
from playwright.sync_api import expect

from tests.integration.browser.conftest import OpenPage
from tests.integration.browser.framed import CALLS, CAMPAIGNS, SETUP, SUPPRESSIONS, frame_of

pytestmark = [pytest.mark.integration, pytest.mark.every_airflow]


def test_menu_has_its_icons_and_leads_to_each_page(open_page: OpenPage) -> None:
    page = open_page("op")
    page.goto("")
    for menu, entry in (CALLS, CAMPAIGNS, SUPPRESSIONS, SETUP):
        page.get_by_role("button", name=menu, exact=True).click()
        item = page.get_by_role("menuitem", name=entry, exact=True)
        icon = item.locator("img")
        wait_for("its icon", partial(icon.evaluate, "(img) => img.naturalWidth > 0"), 30)
        item.click()
        frame = frame_of(page, entry)
        expect(frame.get_by_role("heading", level=1)).to_have_text(entry.removeprefix("VoiceInfra "))
    for name in ("Calls", "Campaigns", "Suppressions", "Setup"):
        frame.get_by_role("navigation", name="VoiceInfra").get_by_role("link", name=name).click()
        expect(frame.get_by_role("heading", level=1)).to_have_text(name)
