"""The fixtures themselves: what a page must not do is noticed, and each user is who they should be."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.integration.browser.conftest import OpenPage
from tests.integration.browser.visits import Watch, accessibility_violations

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("user", ["admin", "op", "user", "viewer"])
def test_each_user_is_logged_in_without_a_complaint(open_page: OpenPage, user: str) -> None:
    page = open_page(user)
    page.goto("")
    page.get_by_role("button", name="User").click()
    expect(page.get_by_role("menuitem", name="Logout")).to_be_visible()
    assert page.request.get("api/v2/connections").status == (200 if user in ("admin", "op") else 403)


def test_visitor_who_is_nobody_gets_the_login_page(open_page: OpenPage, watch: Watch) -> None:
    watch.allow(r"401 .*/ui/config\)$")  # that is how Airflow's own page finds out
    page = open_page(None)
    page.goto("connections")
    page.wait_for_url("**/auth/login*")


def test_console_errors_exceptions_dialogs_and_foreign_requests_are_noticed(
    open_page: OpenPage, watch: Watch
) -> None:
    page = open_page(None)
    page.goto("voiceinfra/health")
    with page.context.expect_event("weberror"):
        page.evaluate(
            """() => {
                console.error("one went wrong");
                alert("two popped up");
                document.body.innerHTML = '<iframe srcdoc="<script>nothingOfThisName()</script>"></iframe>';
                fetch("/four").catch(() => null);
                return fetch("http://203.0.113.7/three").catch(() => null);
            }"""
        )
    found = "\n".join(watch.unexpected())
    for expected in (
        "one went wrong",
        "two popped up",
        "nothingOfThisName",
        "another machine: GET http://203.",
        "beside Airflow's path: GET",
    ):
        assert expected in found
    watch.allow("")


def test_picture_of_a_page_is_taken(
    open_page: OpenPage, watch: Watch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    open_page(None).goto("voiceinfra/health")
    (picture,) = watch.screenshots(tmp_path_factory.mktemp("pictures"))
    assert picture.stat().st_size > 0


def test_barrier_on_a_page_is_noticed(open_page: OpenPage) -> None:
    page = open_page(None)
    page.goto("voiceinfra/health")
    page.evaluate("document.body.innerHTML = '<img src=\"data:image/gif;base64,R0lGODlhAQABAAAAACw=\">'")
    assert any("image-alt" in violation for violation in accessibility_violations(page))
