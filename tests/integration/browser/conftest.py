"""A real headless Chromium that visits the real Airflow of the integration tests.

What is here for a test:

- ``page``: a page in which admin is logged in. ``page.goto("connections")`` is relative to Airflow's
  base URL, so write no slash in front: then it holds for an Airflow that is served under a path as well.
- ``open_page(user)``: the same for ``"admin"``, ``"op"``, ``"user"`` or ``"viewer"``. Loading Airflow's own
  scripts takes seconds, so the page is the one that the test before has left, wherever that was.
- ``open_page(user, **options)``: a fresh page instead, also for ``None``: nobody. Options are those of
  Playwright's ``new_context``: ``color_scheme="dark"``, ``viewport={"width": 400, "height": 800}``. A test
  that changes what a browser remembers takes one with ``fresh=True``. With ``logins=`` it visits another
  Airflow.
- ``logins``: the contexts behind it; for an Airflow of your own, ``Logins(chromium, airflow)``.
- ``watch``: fails the test afterwards if any of its pages wrote an error to the console, raised one, opened a
  dialog, or asked another machine for something. ``watch.allow(regex)`` lets one kind of complaint pass;
  ``watch.complaints`` lists them all.
- ``accessibility_violations(page)`` in ``visits``: what axe-core finds that is serious.
- ``deployment``: Airflow, the sandbox, the ledger. This Airflow is served under a path, and ``watch`` fails a
  test that leaves it.

When a test fails, its pages are saved as pictures in its ``tmp_path``, which the report names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.browser import FLAGS, find_browser
from harness.postgres import PostgresServer
from harness.processes import HarnessError
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from tests.integration.browser.visits import Logins, Watch
from tests.integration.conftest import Deployment, running
from tests.support.airflow_versions import OWN_COMPLAINTS

OpenPage = Callable[..., Page]
WATCH = pytest.StashKey[tuple[Watch, Path]]()
FAILED = pytest.StashKey[bool]()
PATH = "/af"
# The machine may be busy with other tests; what is there sooner is seen sooner.
PATIENCE = 30_000  # milliseconds
# Set where every test of a run shares one Airflow, which then is at the root of its address.
ONE_AIRFLOW = os.environ.get("VOICEINFRA_TEST_ONE_AIRFLOW") == "1"


@pytest.fixture(scope="session")
def deployment(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Start everything once for all tests in this directory, with an Airflow that is served under a path."""
    if ONE_AIRFLOW:
        yield request.getfixturevalue("deployment_at_the_root")
        return
    with running(postgres_server, tmp_path_factory.mktemp("below"), PATH) as deployment:
        yield deployment


# Not for the whole session: while Playwright runs, its thread counts as running an event loop, in which no
# test that comes after these could call asyncio.run().
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Start a browser once for all tests in this directory; skip where none is installed."""
    try:
        path = find_browser()
    except HarnessError as exc:
        pytest.skip(str(exc))
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def logins(chromium: Browser, deployment: Deployment) -> Logins:
    """The users of the shared Airflow, each logged in when first needed."""
    return Logins(chromium, deployment.airflow)


@pytest.fixture(scope="package")
def kept_pages() -> dict[str, Page]:
    """The page of each user that goes from test to test."""
    return {}


@pytest.fixture
def watch(request: pytest.FixtureRequest, tmp_path: Path, kept_pages: dict[str, Page]) -> Iterator[Watch]:
    """Watch the pages of a test, and fail it for what they complained of."""
    watch = Watch()
    for complaint in OWN_COMPLAINTS:
        watch.allow(complaint)
    request.node.stash[WATCH] = watch, tmp_path
    yield watch
    unexpected = watch.unexpected()
    pictures = watch.screenshots(tmp_path) if unexpected else []
    if unexpected or request.node.stash.get(FAILED, False):
        kept_pages.clear()  # nobody knows what they show
    watch.close(keep=[page.context for page in kept_pages.values()])
    assert not unexpected, f"see {', '.join(map(str, pictures))}"


@pytest.fixture
def open_page(request: pytest.FixtureRequest, watch: Watch, kept_pages: dict[str, Page]) -> OpenPage:
    """Return the function that opens a page for a user."""

    def open_page(
        user: str | None = "admin", *, logins: Logins | None = None, fresh: bool = False, **options: Any
    ) -> Page:
        # The shared Airflow is not started for those who visit another one.
        visited: Logins = logins or request.getfixturevalue("logins")
        is_kept = user is not None and logins is None and not fresh and not options
        if is_kept and user in kept_pages:
            page = kept_pages[user]
        else:
            context = visited.new_context(user, **options)
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
        if is_kept:
            kept_pages[str(user)] = page
        watch.follow(page.context, visited.airflow.base_url)
        return page

    return open_page


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """A page in which admin is logged in."""
    return open_page("admin")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Take pictures of the pages of a test that has failed, while they are still open."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    if report.when == "call" and report.failed and WATCH in item.stash:
        watch, folder = item.stash[WATCH]
        try:
            taken = "\n".join(map(str, watch.screenshots(folder)))
        except Error as exc:  # the browser itself may be what has failed
            taken = f"none could be taken: {exc}"
        report.sections.append(("Pictures of the pages", taken))
    return report
