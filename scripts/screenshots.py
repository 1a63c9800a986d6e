"""Takes the pictures of the pages that are in ``docs/images``, from a real Airflow during a real campaign.

Starts a sandbox and an Airflow with a login, lets a campaign call 500 people, and photographs every page as a
user sees it: light and dark, on a desktop and on a phone. Nothing leaves this machine and no phone rings.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import requests
from harness.airflow import AirflowStack
from harness.browser import FLAGS, find_browser
from harness.postgres import PostgresServer, find_binaries
from harness.processes import HarnessError
from harness.sandbox import SandboxProcess, connection_json
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.keys import Encryption
from airflow_provider_voiceinfra.ledger.lists.values import CallFilter
from airflow_provider_voiceinfra.ledger.records import CallState
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from airflow_provider_voiceinfra.webhooks.signing import SIGNATURE_HEADER, sign

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
DAGS = Path(__file__).with_name("screenshot_dags")
SECRET = "screenshots-webhook-secret"
CONTACTS = 500
AREAS = ("202", "206", "312", "415", "617")
CAMPAIGN_DAG, CALL_DAG = "nightly_reminders", "confirm_one_appointment"
RUN = "tonight"
# By their numbers, the sandbox answers the first, never answers the second, and refuses the third.
SINGLE_CALLS = {"friday": "+14155550101", "lost": "+14155550194", "refused": "+14155550193"}
# At whatever hour the pictures are taken, somebody may be called.
RULES = {
    "calling_window": "00:00-24:00; off 2030-12-25",
    "call_cap": "3/24h, 10/30d",
    "opt_out": "extracted_data.opt_out = true",
}
SUPPRESSED = (
    Suppression("+14155550142", reason="asked by letter", source="cli", added_by="support"),
    Suppression(
        "+12065550117",
        "voiceinfra_default",
        "disputed invoice",
        ends_at=datetime(2031, 1, 1, tzinfo=timezone.utc),
    ),
    Suppression("+13125550108", reason="moved", source="page", added_by="admin"),
    Suppression("+16175550133", "voiceinfra_default", "said so in a call", "webhook", "call_0c2f91d7"),
)
WIDTHS = {"wide": (1400, 900), "narrow": (400, 800)}
COLOURS = 128
TIMEOUT = 600.0

Goto = Callable[[Page], None]


def write_contacts(path: Path) -> None:
    """Write the list: 500 people who can be called, and some rows that cannot."""
    rows = [
        (f"+1{AREAS[number % 5]}55501{number // 5:02}", f"C-{1000 + number}", "Tuesday at ten")
        for number in range(CONTACTS)
    ]
    rows += [("12", "C-2000", "Tuesday at ten"), rows[0], ("+14155550142", "C-2002", "")]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("to_number", "customer", "appointment"), *rows])


class Studio:
    """The servers, and what happens in them."""

    def __init__(self, folder: Path) -> None:
        contacts = folder / "reminders.csv"
        write_contacts(contacts)
        binaries = find_binaries()
        if binaries is None:
            raise HarnessError("The pictures are taken with a ledger in PostgreSQL; install it.")
        self.postgres = PostgresServer(binaries)
        self._ledger_url = self.postgres.create_database("voiceinfra")
        self.airflow = AirflowStack(folder / "airflow", dags_folder=DAGS, users={"viewer": "viewer"})
        (folder / "sandbox").mkdir()
        self.sandbox = SandboxProcess(
            folder / "sandbox",
            *("--webhook-url", self.airflow.webhook_url(), "--webhook-secret", SECRET),
            *("--call-seconds", "2", "--call-seconds-jitter", "12", "--rate-limit", "8"),
        )
        self.airflow.env |= {
            "AIRFLOW_CONN_VOICEINFRA_DEFAULT": connection_json(
                self.sandbox.base_url,
                SECRET,
                agent_id="agent_reminders",
                from_number="+14155550199",
                **RULES,
            ),
            "AIRFLOW_VAR_REMINDERS": str(contacts),
            "AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN": self._ledger_url,
        }

    @property
    def ledger(self) -> CallLedger:
        """What is photographed."""
        return CallLedger(self._ledger_url, encryption=Encryption((self.airflow.fernet_key,)))

    def begin(self, *, without_campaign: bool = False) -> None:
        """Start everything, place a call whose answer is lost, and begin the campaign."""
        self.airflow.start()
        for dag_id in (CALL_DAG, CAMPAIGN_DAG):
            self.airflow.wait_for_dag(dag_id)
        self.ledger.suppressions.add(SUPPRESSED)
        for name, number in SINGLE_CALLS.items():
            self.airflow.api.trigger(CALL_DAG, {"to_number": number}, name)
        self.send_useless_webhooks()
        if not without_campaign:
            self.airflow.api.trigger(CAMPAIGN_DAG, run_id=RUN)

    def send_useless_webhooks(self) -> None:
        """Let the receiver see what it cannot use, and what it must not believe."""
        body = b'{"event": "call.started", "call_id": "call_of_tomorrow", "to_number": "+14155550123"}'
        url = self.airflow.webhook_url()
        for secret in (SECRET, "a-secret-of-yesterday"):
            headers = {SIGNATURE_HEADER: sign(secret, body), "X-VoiceInfra-Event": "call.started"}
            requests.post(url, data=body, headers=headers, timeout=10)

    def wait_for_calls(self, number: int) -> None:
        """Wait until so many contacts of the campaign are done."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            self.airflow.check_alive()
            if self.airflow.api.run_state(CAMPAIGN_DAG, RUN) == "failed":
                raise RuntimeError(self.airflow.api.task_log(CAMPAIGN_DAG, RUN, "call_everybody"))
            entries = self.ledger.lists.campaigns(limit=1)
            done = (entries[0].progress or {}).get("done", 0) if entries else 0
            if done >= number:
                return
            time.sleep(1)
        raise TimeoutError(f"The campaign has not done {number} contacts after {TIMEOUT:.0f} s.")

    def wait_for_end(self) -> None:
        """Wait until the campaign is over."""
        self.airflow.api.wait_for_run(CAMPAIGN_DAG, RUN, TIMEOUT)

    def a_conversation(self) -> str:
        """Return the id of a call that was answered."""
        wanted = CallFilter(state=CallState.ACCEPTED, outcome="answered", dag_id=CALL_DAG, run_id="friday")
        return str(self.ledger.lists.page_of_calls(wanted).calls[0].call_id)

    @property
    def campaign_id(self) -> str:
        """The campaign that is photographed."""
        return self.ledger.lists.campaigns(limit=1)[0].campaign_id

    def stop(self) -> None:
        """Stop the servers."""
        self.airflow.stop()
        self.sandbox.stop()
        self.postgres.stop()


class Photographer:
    """Takes pictures of Airflow's pages.

    :param browser: the browser.
    :param airflow: the Airflow.
    """

    def __init__(self, browser: Browser, airflow: AirflowStack) -> None:
        self._browser, self._airflow = browser, airflow
        context = browser.new_context(base_url=f"{airflow.base_url}/")
        page = context.new_page()
        page.goto("auth/login")
        page.get_by_label("Username").fill(airflow.username)
        page.get_by_label("Password").fill(airflow.password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(lambda url: "/auth/login" not in url)
        self._state = context.storage_state()
        context.close()

    def take(self, name: str, goto: Goto, *, full: bool = False) -> None:
        """Save a page in light and dark, wide and narrow.

        :param goto: opens it.
        :param full: whether the picture is as long as the page, where it is narrow.
        """
        for width, (pixels, height) in WIDTHS.items():
            for theme in ("light", "dark"):
                size = {"width": pixels, "height": 1600 if full and width == "narrow" else height}
                context = self._browser.new_context(
                    base_url=f"{self._airflow.base_url}/", storage_state=self._state, viewport=size
                )
                context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
                page = context.new_page()
                goto(page)
                page.wait_for_load_state("networkidle", timeout=15_000)
                page.wait_for_timeout(1500)  # charts grow
                self._save(page.screenshot(), IMAGES / f"{name}-{width}-{theme}.png")
                context.close()

    @staticmethod
    def _save(picture: bytes, path: Path) -> None:
        # Pages have few colours, and a palette makes the files a third of their size.
        image = Image.open(io.BytesIO(picture)).convert("RGB")
        image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} kB", flush=True)


def plugin(route: str) -> Goto:
    """Return what opens a page from Airflow's menu."""
    return lambda page: page.goto(f"plugin/{route}")


def inside(route: str, address: str) -> Goto:
    """Return what opens a page that is reached from one in the menu."""

    def goto(page: Page) -> None:
        page.goto(f"plugin/{route}")
        frame = page.frame_locator("iframe")
        frame.locator("main").wait_for()
        page.frames[-1].goto(address)

    return goto


def photograph(studio: Studio, photographer: Photographer) -> None:
    """Take all pictures, in the order in which things happen."""
    pages = f"{studio.airflow.base_url}/voiceinfra/ui"
    studio.wait_for_calls(CONTACTS * 2 // 5)
    one = f"{pages}/campaign?id={requests.utils.quote(studio.campaign_id, safe='')}"
    photographer.take("campaign", inside("voiceinfra-campaigns", one), full=True)
    photographer.take("campaigns", plugin("voiceinfra-campaigns"))
    studio.wait_for_end()
    photographer.take("calls", plugin("voiceinfra-calls"), full=True)
    call = f"{pages}/call?id={studio.a_conversation()}"
    photographer.take("call", inside("voiceinfra-calls", call), full=True)
    photographer.take("suppressions", plugin("voiceinfra-suppressions"))
    photographer.take("setup", plugin("voiceinfra-setup"), full=True)
    photographer.take("run", lambda page: page.goto(f"dags/{CAMPAIGN_DAG}/runs/{RUN}/plugin/voiceinfra-run"))
    photographer.take("connection", open_connection_form)


def open_connection_form(page: Page) -> None:
    """Open the form of a new connection, and choose our type."""
    page.goto("connections")
    page.get_by_role("button", name="Add Connection").click()
    page.get_by_role("combobox").first.click()
    page.get_by_role("option", name="VoiceInfra").click()


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--setup-only", action="store_true", help="only the page Setup, without a campaign")
    arguments = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="voiceinfra-screenshots-"))
    studio = Studio(folder)
    try:
        studio.begin(without_campaign=arguments.setup_only)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
            photographer = Photographer(browser, studio.airflow)
            if arguments.setup_only:
                photographer.take("setup", plugin("voiceinfra-setup"), full=True)
            else:
                photograph(studio, photographer)
            browser.close()
    finally:
        studio.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
