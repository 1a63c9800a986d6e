"""Visits to an Airflow by a browser: who is logged in, what the pages complain of, what they look like."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from harness.airflow import AirflowStack
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Frame,
    Page,
    Request,
    WebError,
)

DESKTOP = {"width": 1400, "height": 1000}
LOCAL_SCHEMES = frozenset({"blob", "data", "about"})
SERIOUS = frozenset({"serious", "critical"})


def log_in(page: Page, user: str, password: str) -> None:
    """Fill in the login page that is open, and wait until Airflow has let the user in."""
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/auth/login" not in url)


class Logins:
    """Browser contexts of one Airflow, in which a user is logged in; each user logs in by hand only once.

    :param browser: where the contexts are made.
    :param airflow: the Airflow, at whatever path it is served.
    """

    def __init__(self, browser: Browser, airflow: AirflowStack) -> None:
        self._browser = browser
        self.airflow = airflow
        self._states: dict[str, Any] = {}

    def new_context(self, user: str | None, **options: Any) -> BrowserContext:
        """Return a fresh context, in which ``page.goto("connections")`` is relative to Airflow's base URL.

        :param user: who is logged in; ``None`` for nobody.
        :param options: as for Playwright's ``new_context``, such as ``viewport`` or ``color_scheme``.
        """
        state = None if user is None else self._state(user)
        return self._context(storage_state=state, **{"viewport": DESKTOP, **options})

    def _state(self, user: str) -> Any:
        if user not in self._states:
            context = self._context()
            page = context.new_page()
            page.goto("auth/login")
            log_in(page, user, self.airflow.passwords[user])
            self._states[user] = context.storage_state()
            context.close()
        return self._states[user]

    def _context(self, **options: Any) -> BrowserContext:
        return self._browser.new_context(base_url=f"{self.airflow.base_url}/", **options)


@dataclass
class Watch:
    """What the pages of one test complain of: errors, dialogs, and requests to where none should go.

    That is any other machine, and on Airflow's own address whatever is not below its path.
    """

    complaints: list[str] = field(default_factory=list)
    _allowed: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)
    _airflows: set[str] = field(default_factory=set)

    def allow(self, pattern: str) -> None:
        """Let complaints pass in which a regular expression is found; say in a comment why they may."""
        self._allowed.append(pattern)

    def follow(self, context: BrowserContext, base_url: str) -> None:
        """Collect what every page of a context complains of, frames included.

        :param base_url: of the Airflow that it visits.
        """
        self._airflows.add(base_url)
        if context not in self._contexts:
            self._contexts.append(context)
            for event, listener in self._listeners.items():
                context.on(event, listener)  # type: ignore[call-overload]

    def unexpected(self) -> list[str]:
        """Return the complaints that were not allowed."""
        for context in self._contexts:
            context.cookies()  # a question and its answer, before which the last events have come in
        return [text for text in self.complaints if not any(re.search(one, text) for one in self._allowed)]

    def screenshots(self, folder: Path) -> list[Path]:
        """Save what every open page looks like now, and return the files."""
        pages = [page for context in self._contexts for page in context.pages if not page.is_closed()]
        files = [folder / f"page-{number}.png" for number, _ in enumerate(pages, 1)]
        for page, file in zip(pages, files, strict=True):
            page.screenshot(path=file, full_page=True)
        return files

    def close(self, keep: Sequence[BrowserContext] = ()) -> None:
        """Close the contexts, and with them their pages.

        :param keep: those that are left open for the next test, with one page.
        """
        while self._contexts:
            context = self._contexts.pop()
            if context not in keep:
                context.close()
                continue
            for event, listener in self._listeners.items():
                context.remove_listener(event, listener)
            for page in context.pages[1:]:
                page.close()

    @property
    def _listeners(self) -> dict[str, Callable[[Any], None]]:
        return {
            "console": self._console,
            "weberror": self._error,
            "request": self._request,
            # A page of ours opens none, so a script that somebody else has written into it does.
            "dialog": self._dialog,
        }

    def _add(self, complaint: str) -> None:
        self.complaints.append(complaint)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._add(f"console: {message.text} ({message.location.get('url')})")

    def _error(self, error: WebError) -> None:
        self._add(f"uncaught error: {error.error}")

    def _request(self, request: Request) -> None:
        if not is_loopback(request.url):
            self._add(f"request to another machine: {request.method} {request.url}")
        if any(is_beside(request.url, base_url) for base_url in self._airflows):
            self._add(f"request beside Airflow's path: {request.method} {request.url}")

    def _dialog(self, dialog: Dialog) -> None:
        self._add(f"dialog: {dialog.type} {dialog.message!r}")
        dialog.dismiss()


def is_loopback(url: str) -> bool:
    """Whether loading a URL leaves this machine alone."""
    parts = urlsplit(url)
    if parts.scheme in LOCAL_SCHEMES or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def is_beside(url: str, base_url: str) -> bool:
    """Whether a URL leads to the host and port of an Airflow, but not below its path."""
    asked, base = urlsplit(url), urlsplit(base_url)
    return asked.netloc == base.netloc and not f"{asked.path}/".startswith(f"{base.path}/")


def accessibility_violations(page: Page | Frame, **options: Any) -> list[str]:
    """Return what axe-core finds of serious or critical impact, one line for each element.

    :param page: a page, or a frame of one; frames inside it are not looked into.
    :param options: of ``axe.run``, such as ``rules``.
    """
    found = Axe().run(page, options=options or None).response["violations"]
    return [
        f"{violation['impact']}: {violation['id']}: {violation['help']}: {node['html']}"
        for violation in found
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]
