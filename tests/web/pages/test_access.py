"""Who gets what from every route and method, without an Airflow; the same table is asked of a real one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from starlette.routing import Mount, Route

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from airflow_provider_voiceinfra.web.pages.addresses import seal
from tests.support.completions import keep_delivery
from tests.web.pages import access
from tests.web.pages.access import METHODS, ROLES, TABLE, Access
from tests.web.pages.conftest import OP, OWN, PARTIAL, USER, VIEWER, Calls, Client
from tests.web.pages.reading import elements_of, links_of, text_of

VISITORS = {access.NOBODY: None, access.VIEWER: VIEWER, access.USER: USER, access.OP: OP, access.ADMIN: OP}
CAMPAIGN = "campaign-of-the-tests"
NUMBER = "+14155550123"
SUPPRESSED = "+14155550147"
RECORD = {"summary": "A summary.", "transcript": "Agent: a transcript."}
BODY = b'{"event": "call.started", "call_id": "call_of_a_delivery"}'


@pytest.fixture
def places(ledger: CallLedger, calls: Calls) -> dict[str, str]:
    """Put one of each kind into the ledger, and return what stands for it in a path."""
    entry = calls.place(
        NUMBER, record=RECORD, campaign_id=CAMPAIGN, position=1, attempt=1, contact_key=NUMBER
    )
    origin = CallOrigin(dag_id="outreach", run_id="run_1", task_id="call", map_index=-1)
    ledger.campaigns.take(CAMPAIGN, conn_id="voiceinfra_default", origin=origin)
    keep_delivery(ledger, BODY, conn_id="voiceinfra_default", reason="another event", event="call.started")
    [delivery] = ledger.deliveries.kept()
    ledger.suppressions.add([Suppression(SUPPRESSED, reason="A reason.")])
    [suppression] = ledger.suppressions.of_number(SUPPRESSED)
    return {
        "key": seal(entry.key_hash),
        "campaign": CAMPAIGN,
        "dag": "outreach",
        "run": "run_1",
        "delivery": str(delivery.id),
        "suppression": str(suppression.id),
    }


@pytest.fixture(autouse=True)
def _connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_VOICEINFRA_DEFAULT", '{"conn_type": "voiceinfra", "password": "key"}')


def ask(
    client: TestClient, one: Access, places: dict[str, str], method: str | None = None, **options: Any
) -> Any:
    """Send a request of the table."""
    data = {name: value.format(**places) for name, value in one.data.items()}
    url = f"http://testserver{one.path.format(**places)}"
    return client.request(method or one.method, url, data=data or None, **{"headers": OWN, **options})


@pytest.mark.parametrize("role", ROLES)
def test_each_role_gets_what_the_table_says_and_no_other_method(
    role: str, client_of: Client, places: dict[str, str]
) -> None:
    known = {(one.method, one.route) for one in TABLE}
    client = client_of(VISITORS[role])
    for one in TABLE:
        assert ask(client, one, places).status_code == one.answers[role], (one.method, one.path)
        for method in METHODS:
            if (method, one.route) not in known:
                answer = ask(client, one, places, method)
                assert answer.status_code == 405, (method, one.path)
                assert CAMPAIGN not in answer.text


def test_visitor_who_is_not_logged_in_gets_no_byte_of_data(client_of: Client, places: dict[str, str]) -> None:
    client = client_of(None)
    told = (
        CAMPAIGN,
        NUMBER,
        NUMBER[-4:],
        SUPPRESSED[-4:],
        "A reason",
        "outreach",
        "A summary",
        "a transcript",
        "call_1",
        "call_of_a",
    )
    for one in (*TABLE, Access("GET", "/ui/no_such_page", {}), Access("GET", "/ui/static/none", {})):
        for headers in (OWN, {}, {"HX-Request": "true"}):
            text = ask(client, one, places, headers=headers).text
            assert not [word for word in told if word in text], one.path
            assert len(text) < 400, one.path


@pytest.mark.parametrize("path", ["calls?outcome=failed", "static/pages.js"])
def test_visitor_who_is_not_logged_in_is_shown_the_way_to_the_login_and_back(
    client_of: Client, path: str
) -> None:
    app = FastAPI()
    app.mount("/airflow/voiceinfra", client_of(None).app)
    answer = TestClient(app).get(f"/airflow/voiceinfra/ui/{path}")
    assert answer.status_code == 401
    assert "not logged in" in text_of(answer.text)
    [link] = elements_of(answer.text, "a")
    address = urlsplit(urljoin(str(answer.url), link["href"] or ""))
    assert address._replace(query="").geturl() == "http://testserver/airflow/api/v2/auth/login"
    assert parse_qs(address.query) == {"next": [f"/airflow/voiceinfra/ui/{path.partition('?')[0]}"]}


def test_visitor_who_may_not_read_the_connection_sees_no_full_number(
    client_of: Client, places: dict[str, str], calls: Calls
) -> None:
    calls.refused(f"{NUMBER} is not valid")
    lists = [Access("GET", f"/ui/calls?{query}", {}) for query in ("order=longest", "digits=0123", "last=1")]
    client, told = client_of(VIEWER), client_of(OP)
    for one in (*TABLE, *lists):
        if one.method == "GET" and one.path.startswith("/ui/"):
            for headers in ({}, {"HX-Request": "true"}):
                text = ask(client, one, places, headers=headers).text
                assert NUMBER not in text, one.path
                assert ("+1415***0123" in text) == (NUMBER in ask(told, one, places, headers=headers).text)


def test_login_that_airflow_does_not_believe_is_shown_the_way_to_another(client_of: Client) -> None:
    answer = client_of(HTTPException(403, "Invalid JWT token")).get("calls")
    assert answer.status_code == 403
    assert links_of(answer.text) == ["../../api/v2/auth/login?next=%2Fui%2Fcalls"]


def test_every_route_is_in_the_table(client: TestClient) -> None:
    assert isinstance(client.app, FastAPI)
    found = set(routes(client.app, ""))
    named = {(one.method, one.route) for one in TABLE}
    named |= {(method, path.replace("pages.css", "{name}")) for method, path in named}
    named |= {(method, path.replace("/voiceinfra_default", "/{conn_id:path}")) for method, path in named}
    assert found - named == set()


def routes(app: FastAPI, prefix: str) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        if isinstance(route, Route):
            for method in route.methods or {"ANY"}:
                yield method, prefix + route.path
        elif isinstance(route, Mount) and isinstance(route.app, FastAPI):
            yield from routes(route.app, prefix + route.path)
        else:
            yield "ANY", prefix + getattr(route, "path", repr(route))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"X-VoiceInfra-Request": "page", "Sec-Fetch-Site": "cross-site"},
        {"X-VoiceInfra-Request": "page", "Sec-Fetch-Site": "same-site"},
        {"X-VoiceInfra-Request": "page", "Sec-Fetch-Site": "none"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "one",
    [one for one in TABLE if one.method == "POST" and one.path.startswith("/ui/")],
    ids=lambda one: one.path,
)
def test_nothing_is_changed_for_another_site(
    one: Access, headers: dict[str, str], client: TestClient, places: dict[str, str], ledger: CallLedger
) -> None:
    if one.path.endswith("resume"):
        ledger.campaigns.cancel(CAMPAIGN)
    before = state_of(ledger)
    answer = ask(client, one, places, headers=headers)
    assert answer.status_code == 403
    unknown = {**places, "campaign": "unknown", "delivery": "77", "suppression": "77"}
    assert ask(client, one, unknown, headers=headers).text == answer.text
    assert state_of(ledger) == before


def state_of(ledger: CallLedger) -> tuple[Any, ...]:
    """Return what the pages can change."""
    suppressions = ledger.suppressions.page(only_in_force=False)
    return ledger.campaigns.get(CAMPAIGN), ledger.deliveries.kept(include_replayed=True), suppressions


def test_every_answer_forbids_what_a_page_does_not_need(client: TestClient, places: dict[str, str]) -> None:
    for one in (*TABLE, Access("GET", "/ui/no_such_page", {})):
        if not one.path.startswith("/ui/"):
            continue
        headers = ask(client, one, places).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'", one.path
        assert policy["frame-ancestors"] == policy["script-src"] == policy["style-src"] == "'self'", one.path
        assert headers["x-content-type-options"] == "nosniff", one.path
        assert headers["referrer-policy"] == "no-referrer", one.path
        assert "no-store" in headers["cache-control"] or "static" in one.path, one.path


@pytest.mark.parametrize("headers", [{}, PARTIAL], ids=["page", "part"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in ("calls", "calls.csv", "charts", "campaigns", "campaign?id=spring")),
        # Sealed anew by each process.
        pytest.param("GET", f"call?key={seal('0' * 64)}", id="GET-call?key"),
        *(("GET", "call?id=call_1"), ("GET", "run?dag_id=d&run_id=r")),
        *(("POST", "campaign/cancel"), ("POST", "campaign/resume")),
        *(("GET", "suppressions"), ("POST", "suppressions/remove"), ("POST", "suppressions/find")),
    ],
)
def test_without_a_ledger_every_page_says_so(
    client_of: Client, method: str, path: str, headers: dict[str, str]
) -> None:
    client = client_of(ledger=CallLedger("sqlite:////no/such/folder/ledger.db"))
    data = {"id": "spring", "number": NUMBER} if method == "POST" else None
    answer = client.request(method, path, data=data, headers=OWN | headers)
    assert answer.status_code == 503
    assert "The ledger of calls cannot be used at present" in text_of(answer.text)
    assert "content-disposition" not in answer.headers


@pytest.mark.parametrize("path", ["calls?dag_id=%00", "call?id=a%00", "run?dag_id=a&run_id=%00"])
def test_address_that_no_database_could_be_asked_for_is_refused(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 400
    assert "NUL" in answer.text


def test_origin_of_another_site_is_refused_even_where_the_browser_tells_no_more(
    client: TestClient, places: dict[str, str], ledger: CallLedger
) -> None:
    for origin, status in (("https://evil.example", 403), ("http://testserver", 200)):
        headers = {"X-VoiceInfra-Request": "page", "Origin": origin}
        answer = client.post("campaign/cancel", data={"id": CAMPAIGN}, headers=headers)
        assert answer.status_code == status
        campaign = ledger.campaigns.get(CAMPAIGN)
        assert campaign is not None
        assert (campaign.cancelled_at is None) == (status == 403)
