"""The connection as those see it who never open a terminal: added, tested, edited and deleted by hand."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from harness.processes import wait_for
from harness.rest import ApiError
from playwright.sync_api import Locator, Page, Response, expect

from airflow_provider_voiceinfra.connection import RULES
from airflow_provider_voiceinfra.get_provider_info import get_provider_info
from tests.integration.browser.conftest import OpenPage
from tests.integration.browser.visits import Watch
from tests.integration.conftest import API_KEY, WEBHOOK_SECRET, Deployment
from tests.support.airflow_versions import (
    HAS_ITS_EDITOR,
    HIDES_TYPED_SECRETS,
    TESTS_ON_WORKERS,
    WANTS_A_PORT_TO_TEST,
)

pytestmark = pytest.mark.integration

FIELDS = get_provider_info()["connection-types"][0]["conn-fields"]
PORT = "Port (enter 443)"
GOOD = ("Test Connection Successful", "and a webhook secret is set.")


def changes(answer: Response) -> bool:
    """Whether an answer is that to a request by which the page has changed a connection."""
    return answer.request.method != "GET" and "/api/v2/connections" in answer.url


class ConnectionList:
    """Airflow's list of connections, and the dialogs that open from it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.goto("connections")

    def row(self, conn_id: str) -> Locator:
        cell = self.page.get_by_role("cell", name=conn_id, exact=True)
        return self.page.get_by_role("row").filter(has=cell)

    def add(self, conn_id: str) -> Form:
        self.page.get_by_role("button", name="Add Connection").click()
        form = Form(self.page.get_by_role("dialog"))
        form.dialog.get_by_label("Connection ID").fill(conn_id)
        form.choose_type("VoiceInfra")
        return form

    def edit(self, conn_id: str) -> Form:
        self.row(conn_id).get_by_role("button", name="Edit Connection").click()
        return Form(self.page.get_by_role("dialog"))

    def test(self, conn_id: str, title: str, sentence: str) -> None:
        """Press the Test icon of a row, and expect these words in what comes up."""
        # By keyboard: what has come up before may lie over the icon.
        self.row(conn_id).get_by_role("button", name="Test Connection").press("Enter")
        told = self.page.get_by_role("status").filter(has_text=title)
        expect(told.filter(has_text=sentence)).to_be_visible()

    def delete(self, conn_id: str) -> None:
        self.row(conn_id).get_by_role("button", name="Delete Connection").click()
        with self.page.expect_response(changes):
            self.page.get_by_role("dialog").get_by_role("button", name="Yes, Delete").click()
        # What lies behind a dialog has no roles, so only without one can a row be missed.
        expect(self.page.get_by_role("dialog")).to_have_count(0)
        expect(self.row(conn_id)).to_have_count(0)


class Form:
    """The dialog in which a connection is added or edited."""

    def __init__(self, dialog: Locator) -> None:
        self.dialog = dialog

    def choose_type(self, name: str) -> None:
        self.dialog.get_by_label("Connection Type").fill(name)
        self.dialog.page.get_by_role("option", name=name, exact=True).click()

    def fill(self, label: str, value: str) -> None:
        """Fill in a field of the first panel, which Airflow ties to its label."""
        self.dialog.get_by_label(label, exact=True).fill(value)

    def open_panel(self, name: str) -> None:
        """Open one of the panels; Airflow shows one at a time."""
        self.dialog.get_by_role("button", name=name, exact=True).click()

    def extra(self, label: str) -> Locator:
        """Return the field of an extra and all that is written around it, found by its label."""
        return self.dialog.get_by_role("group").filter(has=self.dialog.page.get_by_text(label, exact=True))

    def fill_extra(self, label: str, value: str) -> None:
        field = self.extra(label).locator("input")
        field.fill(value)
        field.blur()

    def save(self) -> None:
        with self.dialog.page.expect_response(changes):
            self.dialog.get_by_role("button", name="Save").click()
        expect(self.dialog).to_have_count(0)


@dataclass
class Stored:
    """Connections by way of Airflow's API, as the page itself gets them."""

    deployment: Deployment
    conn_id: str

    def shown(self) -> dict[str, Any]:
        """Return what the API shows of the connection, its extras decoded."""
        found = self.deployment.airflow.api.request("GET", f"/api/v2/connections/{self.conn_id}")
        return {**found, "extra": json.loads(found["extra"] or "{}")}

    def add(self, **values: Any) -> None:
        self.deployment.airflow.api.request("POST", "/api/v2/connections", self.body(**values))

    @property
    def good(self) -> str:
        """What a test says of a good connection that names no agent and no caller ID."""
        return (
            f"The API key is accepted at {self.deployment.sandbox.base_url}, and a webhook secret is set. "
            "No agent_id and no from_number is set, so each task has to name its own."
        )

    def test(self, **values: Any) -> tuple[bool, str]:
        """Test a connection as the icon does: at once, in the API server."""
        answer = self.deployment.airflow.api.request("POST", "/api/v2/connections/test", self.body(**values))
        return answer["status"], answer["message"]

    def queued_test(self, **values: Any) -> tuple[str, str]:
        """Let a worker test a connection, as Airflow's API offers from 3.3 on; return state and sentence."""
        path = "/api/v2/connections/enqueue-test"
        api = self.deployment.airflow.api
        token = {"Airflow-Connection-Test-Token": api.request("POST", path, self.body(**values))["token"]}
        found: dict[str, Any] = {}

        def is_over() -> bool:
            found.update(api.request("GET", path, headers=token))
            return found["state"] in ("success", "failed")

        wait_for("the queued test", is_over, 60)
        return found["state"], found["result_message"]

    def body(self, **values: Any) -> dict[str, Any]:
        """Return a good connection to the sandbox, with some values changed."""
        extra = {"webhook_secret": WEBHOOK_SECRET, **values.pop("extra", {})}
        good = {"host": self.deployment.sandbox.base_url, "port": 443, "password": API_KEY}
        return {
            "connection_id": self.conn_id,
            "conn_type": "voiceinfra",
            "extra": json.dumps(extra),
            **good,
            **values,
        }

    def delete(self) -> None:
        try:
            self.deployment.airflow.api.request("DELETE", f"/api/v2/connections/{self.conn_id}")
        except ApiError as exc:
            if exc.status != 404:
                raise


@pytest.fixture
def stored(deployment: Deployment) -> Iterator[Stored]:
    """A name for a connection, under which none is left when the test is over."""
    stored = Stored(deployment, f"by_hand_{uuid.uuid4().hex[:8]}")
    yield stored
    stored.delete()


@pytest.mark.every_airflow
def test_connection_is_added_tested_edited_and_deleted_by_hand(
    page: Page, stored: Stored, deployment: Deployment
) -> None:
    connections = ConnectionList(page)
    form = connections.add(stored.conn_id)
    form.fill("Description", "Calls of the shop")
    form.fill("API base URL", deployment.sandbox.base_url)
    form.fill("API key", API_KEY)
    form.fill(PORT, "443")
    form.open_panel("Extra Fields")
    form.fill_extra("Webhook secret", WEBHOOK_SECRET)
    form.fill_extra("Agent ID", "agent_demo")
    form.fill_extra("From number", "+12025550100")
    form.fill_extra("Timeout (s)", "7")
    form.fill_extra("Max calls per second", "2.5")
    form.save()

    assert stored.shown() == {
        "connection_id": stored.conn_id,
        "conn_type": "voiceinfra",
        "description": "Calls of the shop",
        "host": deployment.sandbox.base_url,
        "port": 443,
        "login": None,
        "schema": None,
        "password": "***",
        "team_name": None,
        "extra": {
            "webhook_secret": "***",
            "agent_id": "agent_demo",
            "from_number": "+12025550100",
            "timeout": 7,
            "max_calls_per_second": 2.5,
            "account": None,
            **dict.fromkeys(RULES),
        },
    }
    connections.test(stored.conn_id, *GOOD)

    page.reload()
    form = connections.edit(stored.conn_id)
    form.fill("Description", "Calls of both shops")
    form.open_panel("Extra Fields")
    form.fill_extra("Agent ID", "agent_of_both")
    form.save()
    shown = stored.shown()
    assert (shown["description"], shown["extra"]["agent_id"]) == ("Calls of both shops", "agent_of_both")
    # The key and the secret are still there: the first is accepted, and the second is a long one.
    connections.test(stored.conn_id, *GOOD)

    connections.delete(stored.conn_id)
    with pytest.raises(ApiError, match="404"):
        stored.shown()


@pytest.mark.every_airflow
def test_form_explains_each_field_and_presets_the_timeout_only(page: Page, stored: Stored) -> None:
    form = ConnectionList(page).add(stored.conn_id)
    expect(form.dialog.get_by_label("API base URL")).to_have_attribute(
        "placeholder", "https://api.voiceinfra.ai/v1"
    )
    expect(form.dialog.get_by_label("API key", exact=True)).to_have_attribute("type", "password")
    # Airflow shows no description of this field, and its own answer without it helps nobody: see below.
    expect(form.dialog.get_by_label(PORT)).to_have_attribute(
        "placeholder", "or the Test button says: Bad Request"
    )
    for hidden in ("Login", "Schema", "Username"):
        expect(form.dialog.get_by_label(hidden)).to_have_count(0)
    form.open_panel("Extra Fields")
    for field in FIELDS.values():
        expect(form.extra(field["label"])).to_contain_text(field["description"])
        default = field["schema"].get("default")
        shown = form.extra(field["label"]).locator("input")
        if "boolean" in field["schema"]["type"]:
            expect(shown).not_to_be_checked()
        else:
            expect(shown).to_have_value("" if default is None else str(default))
    if HIDES_TYPED_SECRETS:
        expect(form.extra("Webhook secret").locator("input")).to_have_attribute("type", "password")


def test_untouched_form_stores_the_timeout_and_nulls(page: Page, stored: Stored) -> None:
    form = ConnectionList(page).add(stored.conn_id)
    form.fill("API key", API_KEY)
    form.save()
    shown = stored.shown()
    assert (shown["host"], shown["port"]) == (None, None)
    assert shown["extra"] == {
        "webhook_secret": None,
        "agent_id": None,
        "from_number": None,
        "timeout": 30,
        "max_calls_per_second": None,
        "account": None,
        **dict.fromkeys(RULES),
    }


def test_page_is_given_neither_key_nor_secret_of_a_stored_connection(page: Page, stored: Stored) -> None:
    stored.add()
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    form = ConnectionList(page).edit(stored.conn_id)
    expect(form.dialog.get_by_label("API key", exact=True)).to_have_value("***")
    form.open_panel("Extra Fields")
    expect(form.extra("Webhook secret").locator("input")).to_have_value("***")
    if HAS_ITS_EDITOR:
        form.open_panel("Extra Fields JSON")
        expect(form.dialog).to_contain_text('"webhook_secret": "***"')
    told = "".join(answer.text() for answer in answers if "/connections" in answer.url)
    for text in (told, page.content()):
        assert stored.conn_id in text
        assert API_KEY not in text
        assert WEBHOOK_SECRET not in text


def nothing_listens() -> str:
    """Return a base URL on loopback to which no connection can be made."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


@pytest.mark.every_airflow
def test_icon_tells_what_is_wrong_and_what_to_do(open_page: OpenPage, deployment: Deployment) -> None:
    airflow, elsewhere = deployment.airflow.base_url, f"{deployment.sandbox.url}/elsewhere"
    good, bad = "Test Connection Successful", "Test Connection Failed"
    cases: dict[str, tuple[dict[str, Any], str, str]] = {
        "short": ({"extra": {"webhook_secret": "short"}}, good, "shorter than 16 characters"),
        "unset": ({"extra": {"webhook_secret": None}}, good, "the webhook secret is missing: completions"),
        "revoked": ({"password": "vk_revoked"}, bad, "The API key is not accepted (401)"),
        "no_key": ({"password": None}, bad, "The API key is missing; put it into the field 'API key'."),
        "dead": ({"host": nothing_listens()}, bad, "could not be reached: nothing listens there"),
        "no_host": ({"host": "https://nothing.invalid/v1"}, bad, "its host name cannot be resolved"),
        "plain": ({"host": "http://203.0.113.7/v1"}, bad, "would send the API key in clear; use https"),
        "page": ({"host": airflow}, bad, f"{airflow} answered HTTP 405, but not in the words of"),
        "path": ({"host": elsewhere}, bad, f"There is no VoiceInfra API at {elsewhere} (404)"),
    }
    names = {case: Stored(deployment, f"told_{case}") for case in cases}
    try:
        for case, (values, _, _) in cases.items():
            names[case].add(**values)
        connections = ConnectionList(open_page("op"))
        for case, (_, title, sentence) in cases.items():
            connections.test(names[case].conn_id, title, sentence)
    finally:
        for stored in names.values():
            stored.delete()


def test_connection_without_a_port_is_refused_by_airflow_itself_until_it_has_one(
    page: Page, stored: Stored, watch: Watch
) -> None:
    # From 3.3 on Airflow posts port 0, and then finds that nothing is stored; nothing of ours is asked.
    watch.allow(r"400 \(Bad Request\) .*/api/v2/connections/test\)$")
    stored.add(port=None)
    connections = ConnectionList(page)
    refused = ("Test Connection Failed", "Bad Request") if WANTS_A_PORT_TO_TEST else GOOD
    connections.test(stored.conn_id, *refused)
    form = connections.edit(stored.conn_id)
    form.fill(PORT, "443")
    form.save()
    connections.test(stored.conn_id, *GOOD)


def test_sentence_of_a_test_holds_no_secret_and_no_made_up_id(stored: Stored) -> None:
    for values in (
        {},
        {"password": "vk_wrong_key"},
        {"host": nothing_listens()},
        {"extra": {"timeout": "x"}},
    ):
        _, sentence = stored.test(**values)
        for secret in (API_KEY, WEBHOOK_SECRET, "vk_wrong_key"):
            assert secret not in sentence
        # Airflow tests under a random id, which would tell nobody anything.
        assert "Connection '" not in sentence


def test_masks_that_are_sent_back_stand_for_what_is_stored(stored: Stored) -> None:
    stored.add()
    masked = {"password": "***", "extra": {"webhook_secret": "***"}}
    assert stored.test(**masked) == (True, stored.good)


def test_masks_with_nothing_stored_are_told_as_such(stored: Stored) -> None:
    good, sentence = stored.test(password="***")
    assert not good
    assert "The API key is '***', which Airflow shows in place of a key" in sentence
    good, sentence = stored.test(extra={"webhook_secret": "***"})
    assert good
    assert "the webhook secret is '***', which Airflow shows in place of a secret" in sentence


def test_queued_test_of_airflow_is_told_that_a_mask_is_no_key(stored: Stored) -> None:
    stored.add()
    if not TESTS_ON_WORKERS:
        with pytest.raises(ApiError, match="405"):
            stored.queued_test()
        return
    assert stored.queued_test() == ("success", stored.good)
    # Not even for a connection that is stored does Airflow put the key in the place of its mask here.
    state, sentence = stored.queued_test(password="***")
    assert state == "failed"
    assert "The API key is '***', which Airflow shows in place of a key, so nothing was sent." in sentence
