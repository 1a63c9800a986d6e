"""The Chromium that tests drive: found, never downloaded, and kept from the network."""

from __future__ import annotations

import shutil

from harness.processes import HarnessError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--no-sandbox",  # a container's root has no other way
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever a page asks for, no other machine is looked up.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


def find_browser() -> str:
    """Return the path of an installed Chromium or Chrome.

    :raises HarnessError: if there is none on PATH.
    """
    for name in NAMES:
        if path := shutil.which(name):
            return path
    raise HarnessError(f"No browser found on PATH (looked for {', '.join(NAMES)}); install Chromium.")
