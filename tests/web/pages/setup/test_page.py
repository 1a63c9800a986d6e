"""The page /ui/setup: what is set up, what was rejected and what was kept, and who may act on it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from fastapi import FastAPI
from fastapi.testclient import TestClient

from airflow_provider_voiceinfra.api.transport import Deadline
from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.webhooks.deliveries import DeliveriesLedger
from airflow_provider_voiceinfra.web.pages.setup import page as setup
from airflow_provider_voiceinfra.web.pages.setup.view import _REMEDIES
from airflow_provider_voiceinfra.webhooks.reasons import RejectionReason, in_words
from tests.support.completions import completion_body, keep_delivery
from tests.test_diagnosis import api, http_server, serving
from tests.web.pages.conftest import OP, OWN, PARTIAL, USER, VIEWER, Calls, Client, FakeVisitor
from tests.web.pages.reading import elements_of, links_of, shown, text_of

SECRET = "secret-of-the-tests"  # which the receiver of these tests knows
API_KEY = "vk_good_key_of_no_meaning"
BASE_URL = "https://airflow.example.com/af"
READER = FakeVisitor("reader", editable_connections=())
"""Somebody who may read every connection, and change none."""
STARTED = b'{"event": "call.started", "call_id": "call_9", "to_number": "+14155550123"}'


@pytest.fixture(autouse=True)
def _deployment(ledger: CallLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", BASE_URL)
    ledger.upgrade()


Connect = Callable[..., None]


@pytest.fixture(autouse=True)
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Return what defines a connection; one of the default id is there already."""

    def connect(conn_id: str = "voiceinfra_default", *, secret: str | None = SECRET, **rest: Any) -> None:
        extra = {"webhook_secret": secret, "timeout": 5}
        fields = {"conn_type": "voiceinfra", "password": API_KEY, "extra": extra, **rest}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    connect()
    return connect


@pytest.fixture
def metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what stores connections, by their types, in a metadata database of Airflow's."""
    from sqlalchemy import create_engine
    from sqlalchemy.orm import sessionmaker

    def store(**types: str) -> None:
        engine = create_engine(f"sqlite:///{tmp_path / 'airflow.db'}")
        with engine.begin() as connection:
            # Only what is asked for: the whole schema takes Airflow many seconds to build.
            connection.exec_driver_sql("CREATE TABLE connection (conn_id TEXT, conn_type TEXT)")
            for row in types.items():
                connection.exec_driver_sql("INSERT INTO connection VALUES (?, ?)", row)
        monkeypatch.setattr("airflow.settings.SQL_ALCHEMY_CONN", str(engine.url))
        monkeypatch.setattr("airflow.settings.Session", sessionmaker(engine))

    return store


def card(client: TestClient, conn_id: str, address: str = "setup") -> str:
    """Return what the page says of one connection."""
    html = client.get(address).text
    [found] = [part for part in html.split("<section") if f">{conn_id}</h2>" in part]
    return text_of("<section" + found.partition("</section>")[0])


def urls(client: TestClient, address: str = "setup") -> list[str | None]:
    return [one["value"] for one in elements_of(client.get(address).text, "input") if "readonly" in one]


def buttons(html: str) -> list[str | None]:
    """Return where the forms of a page lead that change something."""
    return [one.get("hx-post") for one in elements_of(html, "form") if one.get("method") == "post"]


def keep(ledger: CallLedger, body: bytes = STARTED, conn_id: str = "voiceinfra_default", **rest: str) -> int:
    fields = {"reason": "other_event_header", "event": "call.started", **rest}
    keep_delivery(ledger, body, conn_id=conn_id, **fields)
    return ledger.deliveries.kept()[0].id


# --- Connections ------------------------------------------------------------------------------------------


def test_webhook_url_can_be_copied_and_is_under_the_path_of_airflow(client: TestClient) -> None:
    html = client.get("setup").text
    [field] = [one for one in elements_of(html, "input") if "readonly" in one]
    assert field["value"] == f"{BASE_URL}/voiceinfra/webhooks/voiceinfra_default"
    [button] = [one for one in elements_of(html, "button") if "data-copy" in one]
    assert button["data-copy"] == field["id"]


def test_connections_are_found_wherever_they_are(
    client: TestClient,
    connect: Connect,
    calls: Calls,
    metadata: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect("in_a_variable")
    connect("of_another_type", conn_type="http")
    monkeypatch.setenv("AIRFLOW_CONN_AS_URI", "voiceinfra://:key@/")
    monkeypatch.setenv("AIRFLOW_CONN_MISSPELT", '{"conn_type": "voiceinfra", ')
    metadata(stored="voiceinfra", elsewhere="postgres")
    connect("Sales")  # shown under the id that was used, not that of its variable
    for conn_id in ("that_called", "Sales"):
        calls.place(conn_id=conn_id)
    calls.ledger.deliveries.note_rejection("that_was_turned_away", RejectionReason.WRONG_SIGNATURE.value)
    found = [url.rpartition("/")[2] for url in urls(client) if url]
    assert found == [
        *("voiceinfra_default", "Sales", "as_uri", "in_a_variable", "misspelt", "stored"),
        *("that_called", "that_was_turned_away"),
    ]
    assert "AIRFLOW_CONN_MISSPELT is set and cannot be read" in card(client, "misspelt")


def test_page_says_if_airflows_database_cannot_be_asked(
    client: TestClient, metadata: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "metadata database could not be asked"
    metadata()
    assert words not in shown(client, "setup")
    monkeypatch.setattr("airflow.settings.SQL_ALCHEMY_CONN", "sqlite:////no/such/folder/airflow.db")
    assert words in shown(client, "setup")


def test_missing_default_connection_is_shown_and_is_no_fault_beside_another(
    client: TestClient, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_VOICEINFRA_DEFAULT")
    told = card(client, "voiceinfra_default")
    assert "failed connection : there is no connection 'voiceinfra_default'" in told
    assert "Admin > Connections" in told
    connect("sales")
    told = card(client, "voiceinfra_default")
    assert "skipped connection : there is none of this id, and none is needed" in told
    assert "failed" not in told


def test_connection_of_a_secrets_backend_is_shown_if_asked_for(client: TestClient) -> None:
    assert f"{BASE_URL}/voiceinfra/webhooks/in%20vault%2F1" in urls(client, "setup?conn_id=+in+vault/1+")
    assert "A connection is not here" in shown(client, "setup")


def test_what_can_be_seen_without_sending_anything_is_found_at_once_and_no_secret_is_shown(
    client: TestClient, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was sent")

    monkeypatch.setattr("requests.sessions.Session.request", refuse)
    connect("rotating", secret=f"{SECRET} another-long-secret")
    told = shown(client, "setup")
    assert "ok settings : section [voiceinfra] is well formed" in told
    assert re.search(r"ok ledger : sqlite \S+ can be written", told)
    assert f"ok receiver address : {BASE_URL}/voiceinfra" in told
    assert "webhook secret : one is set" in card(client, "voiceinfra_default")
    page = client.get("setup").text
    assert not [word for word in (SECRET, "another-long-secret", API_KEY) if word in page]


# --- Webhooks ---------------------------------------------------------------------------------------------


def test_last_webhook_leads_to_its_call(client: TestClient, calls: Calls) -> None:
    assert "none has come so far" in card(client, "voiceinfra_default")
    calls.place()
    last = calls.place()
    assert f"about {last.call_id}" in card(client, "voiceinfra_default")
    assert f"call?id={last.call_id}" in links_of(client.get("setup").text)


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (RejectionReason.WRONG_SIGNATURE.value, "differ"),
        (RejectionReason.MISSING_SIGNATURE.value, "The vendor signs each webhook once a secret is set"),
        (RejectionReason.MALFORMED_SIGNATURE.value, "a proxy changed its header"),
        (RejectionReason.NO_SECRET.value, "Type a long random secret"),
        (RejectionReason.TOO_LARGE.value, "raise [voiceinfra] max_webhook_bytes"),
        ("a reason of another version", "a reason of another version"),
    ],
)
def test_last_rejection_says_why_and_what_to_do(
    client: TestClient, ledger: CallLedger, reason: str, remedy: str
) -> None:
    for _ in range(3):
        ledger.deliveries.note_rejection("voiceinfra_default", reason)
    told = card(client, "voiceinfra_default")
    assert f"{in_words(reason)} (at least 3 so far)" in told
    assert remedy in told


def test_every_reason_for_a_rejection_of_a_connection_has_a_remedy() -> None:
    assert {*RejectionReason} - {RejectionReason.UNKNOWN_CONNECTION} == _REMEDIES.keys()


def test_rejection_before_a_webhook_that_was_verified_is_history(client: TestClient, calls: Calls) -> None:
    calls.ledger.deliveries.note_rejection("voiceinfra_default", RejectionReason.WRONG_SIGNATURE.value)
    assert "verified again" not in card(client, "voiceinfra_default")
    calls.place()
    assert "verified again" in card(client, "voiceinfra_default")


def test_misspelt_webhook_url_is_told(client_of: Client) -> None:
    client = client_of(secrets_for={"voiceinfra_default": (SECRET,)}.get)
    assert client.post("http://testserver/webhooks/voiceinfra_defualt", content=STARTED).status_code == 401
    told = shown(client, "setup")
    assert "there is no such connection of type voiceinfra: 'voiceinfra_defualt' (at least 1 so far)" in told
    assert "correct the webhook URL in the vendor's dashboard" in told


# --- Checks -----------------------------------------------------------------------------------------------


@pytest.fixture
def served(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the application that the client asks, at the address that its own settings name."""
    outer = FastAPI()
    outer.mount("/voiceinfra", client.app)
    with serving(outer) as address:
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", address)
        yield address


def press(client: TestClient, what: str, conn_id: str = "voiceinfra_default", status: int = 200) -> str:
    answer = client.post(f"setup/{what}", data={"conn_id": conn_id}, headers=OWN | PARTIAL)
    assert answer.status_code == status, text_of(answer.text)
    assert "<html" not in answer.text
    return text_of(answer.text)


CHECKED = ("connection", "API key", "settings", "ledger", "webhook secret", "receiver", "test delivery")


def test_everything_is_checked_without_a_call(client: TestClient, connect: Connect, served: str) -> None:
    with http_server(api(400)) as address:
        connect(host=address)
        told = press(client, "check")
    assert [name for name in CHECKED if f"ok {name} :" not in told] == []
    assert "It works, with a remark." in told  # since the vendor cannot reach this machine
    assert not [word for word in (SECRET, API_KEY) if word in told]


def test_check_says_what_is_wrong_and_what_to_do(client: TestClient, connect: Connect, served: str) -> None:
    with http_server(api(401)) as address:
        connect(host=address, secret="a-secret-that-the-receiver-lacks")
        told = press(client, "check")
    assert "Something has to be fixed." in told
    assert "failed API key : The API key is not accepted" in told
    assert "failed test delivery : the receiver answers 401" in told


def test_test_delivery_arrives_and_leaves_nothing_open(
    client: TestClient, served: str, ledger: CallLedger
) -> None:
    told = press(client, "test")
    assert "Everything is in order." in told
    assert "ok test delivery : a signed webhook arrived" in told
    assert ledger.deliveries.kept() == []
    assert len(ledger.deliveries.kept(include_replayed=True)) == 1


def test_only_worker_of_a_server_can_ask_itself(served: str) -> None:
    address, data = f"{served}/voiceinfra/ui/setup/test", {"conn_id": "voiceinfra_default"}
    answer = requests.post(address, data=data, headers=OWN | PARTIAL, timeout=30)
    assert "a signed webhook arrived in this ledger" in answer.text


def test_address_that_cannot_be_reached_from_here_is_explained(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://127.0.0.1:1")
    told = press(client, "test")
    assert "cannot be reached from this machine" in told
    assert "may merely not be let out to its own public address" in told


def test_checks_wait_for_less_long_than_a_call_would(
    client: TestClient, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def send(*_: object, timeout: float | Deadline, **__: object) -> None:
        waited.append(timeout.read_timeout if isinstance(timeout, Deadline) else timeout)
        raise OSError

    connect(extra={"webhook_secret": SECRET, "timeout": 300})
    monkeypatch.setattr("requests.sessions.Session.request", send)
    monkeypatch.setattr("requests.sessions.Session.send", send)
    press(client, "check")
    assert waited
    assert max(waited) <= setup.PATIENCE


@pytest.mark.parametrize("what", ["check", "test"])
def test_connection_that_does_not_exist_can_be_tested(client: TestClient, what: str) -> None:
    assert "there is no connection 'nowhere'" in press(client, what, "nowhere")


@pytest.mark.parametrize("what", ["check", "test"])
@pytest.mark.parametrize("conn_id", ["x" * 251, ""], ids=["long", "empty"])
def test_conn_id_that_cannot_be_one_is_refused_with_the_field(
    client: TestClient, what: str, conn_id: str
) -> None:
    assert "conn_id" in press(client, what, conn_id, 400)


# --- Kept deliveries --------------------------------------------------------------------------------------


def test_kept_deliveries_are_listed_newest_first(client: TestClient, ledger: CallLedger) -> None:
    ids = [keep(ledger, STARTED + b" " * number) for number in range(3)]
    links = [one for one in links_of(client.get("setup").text) if "show=" in one]
    assert links == [f"setup?show={one}" for one in reversed(ids)]
    told = shown(client, "setup")
    for words in ("call.started", "the event header says something else", f" {len(STARTED)} "):
        assert words in told


def test_long_list_of_deliveries_goes_on_page_by_page(
    client: TestClient, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "KEPT_ON_A_PAGE", 2)
    ids = [keep(ledger, STARTED + b" " * number) for number in range(5)]
    address = "setup"
    found: list[int] = []
    while address and len(found) <= len(ids):
        links = links_of(client.get(address).text)
        found += [int(one.rpartition("=")[2]) for one in links if "show=" in one]
        address = next((one.partition("#")[0] for one in links if "older_than=" in one), "")
    assert found == ids[::-1]


def test_content_of_a_delivery_is_shown_on_demand_only(client: TestClient, ledger: CallLedger) -> None:
    number = keep(ledger)
    assert "+14155550123" not in client.get("setup").text
    assert '"to_number": "+14155550123"' in shown(client, f"setup?show={number}")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\xff\xfe no text", "no text"),
        (b'{"said": "\\ud800"}', '"said": "\\ud800"'),
        (b"[" * 100_000, "[[[["),
        (b'{"a": NaN}', '"NaN"'),
        (json.dumps(["word"] * 50_000).encode(), "(this is not all;"),
        (b'{"said": "<script>"}', '"<script>"'),
    ],
    ids=["no UTF-8", "half a pair", "deep", "NaN", "long", "markup"],
)
def test_any_content_can_be_shown(client: TestClient, ledger: CallLedger, body: bytes, words: str) -> None:
    number = keep(ledger, body)
    answer = client.get(f"setup?show={number}")
    assert answer.status_code == 200
    assert words in text_of(answer.text)
    assert len(answer.text) < 500_000
    assert "<script>" not in answer.text


def replay(client: TestClient, id: str | int, status: int = 200) -> str:
    answer = client.post("setup/replay", data={"id": str(id)}, headers=OWN | PARTIAL)
    assert answer.status_code == status, text_of(answer.text)
    return text_of(answer.text)


def test_replay_says_what_became_of_it(client: TestClient, ledger: CallLedger) -> None:
    recorded = keep(ledger, completion_body("call_1"), event="call.completed")
    assert f"Delivery {recorded} is recorded as the completion of its call." in replay(client, recorded)
    assert ledger.completion("call_1") is not None
    assert f"Delivery {recorded} says what the ledger knows already" in replay(client, recorded)
    assert f"setup?show={recorded}" not in client.get("setup").text
    assert f"setup?show={recorded}" in client.get("setup?replayed=true").text
    useless = keep(ledger)
    assert f"Delivery {useless} still cannot be used, and stays: " in replay(client, useless)
    assert f"setup?show={useless}" in client.get("setup").text


def test_all_are_replayed_in_the_order_in_which_they_came_and_the_result_is_announced(
    client: TestClient, ledger: CallLedger
) -> None:
    for outcome in ("answered", "failed"):
        keep(ledger, completion_body("call_1", outcome), event="call.completed")
    places = {one.get("id"): one for one in elements_of(client.get("setup").text, "div")}
    answer = client.post("setup/replay", data={"id": "all"}, headers=OWN | PARTIAL)
    [told] = [one for one in elements_of(answer.text, "div") if "hx-swap-oob" in one]
    assert (told["id"], places[told["id"]]["role"]) == ("deliveries-notice", "status")
    assert "2 tried again: 1 could be used, 1 stay as they are." in text_of(answer.text)
    entry = ledger.completion("call_1")
    assert entry is not None
    assert entry.call_outcome == "answered"


def test_replay_of_very_many_says_that_there_are_more(
    client: TestClient, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "MOST_REPLAYED", 2)
    for number in range(3):
        keep(ledger, STARTED + b" " * number)
    assert "airflow voiceinfra deliveries --replay all" in replay(client, "all")


def test_number_of_a_delivery_that_is_none_is_refused_with_the_field(client: TestClient) -> None:
    for id in ("", "x", "-1", "1.0", "²", "9" * 30, "<script>", "ALL"):
        assert "id" in replay(client, id, 400), id


def test_unknown_delivery_is_not_found(client: TestClient) -> None:
    assert "There is no such delivery" in replay(client, 77, 404)
    assert "There is no such delivery" in shown(client, "setup?show=77", 404)


@pytest.mark.parametrize(
    "query",
    [
        *("show=x", "show=0", "show=99999999999999999999", "older_than=-1", "replayed=perhaps"),
        f"conn_id={'x' * 300}",
    ],
)
def test_bad_parameter_is_refused_with_the_field(client: TestClient, query: str) -> None:
    assert query.partition("=")[0] in shown(client, f"setup?{query}", 400)


# --- Who may what -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("visitor", [VIEWER, USER], ids=["viewer", "user"])
def test_visitor_who_may_read_no_connection_learns_which_permission_is_missing(
    client_of: Client, visitor: FakeVisitor, ledger: CallLedger
) -> None:
    number = keep(ledger)
    client = client_of(visitor)
    for address in ("setup", f"setup?show={number}", "setup?conn_id=voiceinfra_default"):
        told = shown(client, address, 403)
        assert "permission to read connections" in told
        assert "voiceinfra_default" not in told


def test_visitor_sees_only_what_they_may_read(client_of: Client, connect: Connect, calls: Calls) -> None:
    connect("sales")
    calls.ledger.deliveries.note_rejection("sales", RejectionReason.WRONG_SIGNATURE.value)
    calls.place(conn_id="sales")
    hidden = keep(calls.ledger, conn_id="sales")
    client = client_of(FakeVisitor(connections=("voiceinfra_default",), editable_connections=()))
    assert urls(client, "setup?conn_id=sales") == [f"{BASE_URL}/voiceinfra/webhooks/voiceinfra_default"]
    assert "sales" not in shown(client, "setup")
    assert "There is no such delivery" in shown(client, f"setup?show={hidden}", 404)


def test_buttons_are_there_only_for_those_who_may_edit(
    client_of: Client, connect: Connect, ledger: CallLedger
) -> None:
    connect("sales")
    keep(ledger)
    keep(ledger, conn_id="sales")
    everything = buttons(client_of(OP).get("setup").text)
    assert sorted(map(str, everything)) == sorted(["setup/check", "setup/test"] * 2 + ["setup/replay"] * 3)
    assert buttons(client_of(READER).get("setup").text) == []
    half = buttons(client_of(FakeVisitor(editable_connections=("sales",))).get("setup").text)
    assert sorted(map(str, half)) == ["setup/check", "setup/replay", "setup/replay", "setup/test"]


def test_visitor_who_may_not_edit_changes_nothing(client_of: Client, ledger: CallLedger) -> None:
    number = keep(ledger, completion_body("call_1"), event="call.completed")
    client = client_of(READER)
    for what in ("check", "test"):
        assert "permission to edit the connection" in press(client, what, status=403)
    for id in (number, "all"):
        assert "permission to edit the connection" in replay(client, id, 403)
    assert ledger.completion("call_1") is None


def test_replay_of_all_takes_only_those_that_may_be_edited(
    client_of: Client, connect: Connect, ledger: CallLedger
) -> None:
    connect("sales")
    keep(ledger, completion_body("call_1"), event="call.completed")
    keep(ledger, completion_body("call_2"), conn_id="sales", event="call.completed")
    assert "1 tried again" in replay(client_of(FakeVisitor(editable_connections=("sales",))), "all")
    assert ledger.completion("call_1") is None
    assert ledger.completion("call_2") is not None


# --- What else can go wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["setup", "setup?show=1"])
def test_page_helps_while_the_ledger_is_down(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    url = "sqlite:////no/such/folder/ledger.db"
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", url)
    monkeypatch.setattr(client.app.routes[-1].app.state, "ledger", lambda: CallLedger(url))  # type: ignore[attr-defined]
    told = shown(client, address, 503)
    assert "failed ledger : The ledger's database cannot be used" in told
    assert "Nothing is lost by it" in told
    assert urls(client) == [f"{BASE_URL}/voiceinfra/webhooks/voiceinfra_default"]
    assert "Kept deliveries" not in told


def test_page_without_ledger_is_for_those_who_may_read_connections_only(
    client_of: Client, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: object) -> None:
        raise LedgerUnavailableError("the database is away")

    monkeypatch.setattr(DeliveriesLedger, "rejections", gone)
    assert "permission to read connections" in shown(client_of(VIEWER), "setup", 403)


@pytest.mark.parametrize("what", ["test", "replay"])
def test_change_while_the_ledger_is_down_is_answered_503(
    client: TestClient, served: str, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    data = {"conn_id": "voiceinfra_default", "id": str(keep(ledger))}

    def gone(*_: object, **__: object) -> None:
        raise LedgerUnavailableError("the database is away")

    for name in ("get", "listed", "rejections"):
        monkeypatch.setattr(DeliveriesLedger, name, gone)
    answer = client.post(f"setup/{what}", data=data, headers=OWN | PARTIAL)
    assert answer.status_code == 503
    assert "ledger" in text_of(answer.text)


def test_setting_that_cannot_be_used_is_named(client_of: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    told = shown(client_of(ledger=None, settings=None), "setup", 503)
    assert "failed settings : The ledger is a SQLite file, but CeleryExecutor" in told


def test_rules_are_shown_in_words_and_as_they_were_written(
    client: TestClient, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown(client, "setup")
    assert "None is set in [voiceinfra]" in text
    assert "None is set on this connection" in text

    monkeypatch.setenv("AIRFLOW__VOICEINFRA__CALLING_WINDOW", "mon-fri 09:00-20:00")
    rules = {
        "call_cap": "3/24h",
        "exempt_numbers": "+14155550100",
        "opt_out": "a = 1",
        "require_consent": True,
    }
    connect(extra={"webhook_secret": SECRET, **rules})
    text = shown(client, "setup")
    assert "Monday to Friday 09:00 to 20:00; by the clock where the person is mon-fri 09:00-20:00" in text
    assert "Call cap at most 3 calls to one number in any 24 hours 3/24h" in text
    assert "1 number is exempt" in text
    assert "who says so in a call is called no more: a = 1" in text
    assert "nobody is called without a reference to their consent" in text
    assert "5550100" not in text


def test_rules_that_cannot_be_read_are_named_with_the_remedy(
    client: TestClient, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__CALL_CAP", "often")
    connect(extra={"webhook_secret": SECRET, "calling_window": "9 to 5"})
    text = shown(client, "setup")
    assert "failed rules : [voiceinfra] call_cap 'often' is none; write calls and a span" in text
    assert "Nobody can be called until this works." in text
    assert "Connection 'voiceinfra_default': extra 'calling_window'" in text
    assert "Rules for every connection" not in text


def test_calendars_that_are_not_there_are_named_where_they_are_set(
    client: TestClient, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__CALLING_WINDOW", "09:00-20:00; holidays US-YY")
    connect(extra={"webhook_secret": SECRET, "calling_window": "09:00-20:00; holidays US-ZZ"})
    assert "for every connection: calling_window names the holidays of US-YY" in shown(client, "setup")
    its = card(client, "voiceinfra_default")
    assert "for 'voiceinfra_default': calling_window names the holidays of US-ZZ" in its


def test_replayed_opt_out_suppresses(client: TestClient, connect: Connect, ledger: CallLedger) -> None:
    connect(extra={"webhook_secret": SECRET, "opt_out": "extracted_data.opt_out = true"})
    body = completion_body("call_1", to_number="+14155550123", extracted_data={"opt_out": True})
    keep_delivery(ledger, body, conn_id="voiceinfra_default", reason="another event")
    [kept] = ledger.deliveries.kept()

    answer = client.post("setup/replay", data={"id": str(kept.id)}, headers=OWN)

    assert "Who opted out in it is not called any more." in text_of(answer.text)
    assert [one.number for one in ledger.suppressions.page()] == ["+14155550123"]


def test_nothing_is_replayed_while_nobody_knows_how_people_opt_out(
    client: TestClient, connect: Connect, ledger: CallLedger
) -> None:
    connect(extra={"webhook_secret": SECRET, "opt_out": "extracted_data.opt_out"})
    keep_delivery(ledger, completion_body("call_1"), conn_id="voiceinfra_default", reason="another event")

    for id_ in (str(ledger.deliveries.kept()[0].id), "all"):
        answer = client.post("setup/replay", data={"id": id_}, headers=OWN)
        assert answer.status_code == 409
        assert "Nothing was done" in answer.text
        assert "extra &#39;opt_out&#39;" in answer.text
    assert ledger.completion("call_1") is None
