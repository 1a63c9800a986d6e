"""Who gets what from every route of the web application of a real Airflow, which asks for a login."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from airflow_provider_voiceinfra.web.pages.addresses import seal
from tests.integration.conftest import Deployment
from tests.support.completions import keep_delivery
from tests.web.pages.access import NOBODY, ROLES, TABLE, Access
from tests.web.pages.conftest import OWN, Calls

pytestmark = [pytest.mark.integration, pytest.mark.every_airflow]

CAMPAIGN = "campaign-of-the-access-tests"
NUMBER, SUPPRESSED = "+14155550177", "+14155550176"
BODY = b'{"event": "call.started", "call_id": "call_of_the_access_tests"}'
SECRETS = (
    *(CAMPAIGN, NUMBER, "0177", "0176", "it_one_call", "A reason of the access tests"),
    *("The summary of the access tests", "call_of_the_access"),
)


@pytest.fixture(scope="module")
def places(deployment: Deployment) -> dict[str, str]:
    """Put one of each kind into the ledger, and return what stands for it in a path."""
    ledger = deployment.ledger
    whence: dict[str, Any] = {
        "dag_id": "it_one_call",
        "run_id": "access",
        "campaign_id": CAMPAIGN,
        "position": 1,
        "attempt": 1,
    }
    record = {"summary": "The summary of the access tests"}
    entry = Calls(ledger, prefix="access-").place(NUMBER, record=record, **whence)
    origin = CallOrigin(dag_id="it_one_call", run_id="access", task_id="call", map_index=-1)
    ledger.campaigns.take(CAMPAIGN, conn_id="voiceinfra_default", origin=origin)
    keep_delivery(ledger, BODY, conn_id="voiceinfra_default", reason="another event", event="call.started")
    [delivery] = [one for one in ledger.deliveries.kept() if one.body == BODY]
    ledger.suppressions.add([Suppression(SUPPRESSED, reason="A reason of the access tests")])
    [suppression] = ledger.suppressions.of_number(SUPPRESSED)
    return {
        "key": seal(entry.key_hash),
        "campaign": CAMPAIGN,
        "dag": "it_one_call",
        "run": "access",
        "delivery": str(delivery.id),
        "suppression": str(suppression.id),
    }


@pytest.fixture(scope="module")
def tokens(deployment: Deployment) -> dict[str, str]:
    """Log each user in, and return their tokens."""
    found = {}
    for user, password in deployment.airflow.passwords.items():
        login = {"username": user, "password": password}
        answer = requests.post(f"{deployment.airflow.base_url}/auth/token", json=login, timeout=30)
        found[user] = answer.json()["access_token"]
    return found


def ask(
    deployment: Deployment,
    one: Access,
    places: dict[str, str],
    method: str | None = None,
    token: str | None = None,
) -> requests.Response:
    """Send a request of the table, with the cookie that a browser would send."""
    return requests.request(
        method or one.method,
        f"{deployment.airflow.base_url}/voiceinfra{one.path.format(**places)}",
        data={name: value.format(**places) for name, value in one.data.items()},
        headers=OWN,
        cookies={"_token": token} if token else None,
        allow_redirects=False,
        timeout=60,
    )


@pytest.mark.parametrize("one", TABLE, ids=lambda one: f"{one.method} {one.route}")
def test_each_role_gets_what_the_table_says(
    one: Access, deployment: Deployment, tokens: dict[str, str], places: dict[str, str]
) -> None:
    found = {role: ask(deployment, one, places, token=tokens.get(role)).status_code for role in ROLES}
    assert found == one.answers


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "POST"])
def test_visitor_who_is_not_logged_in_gets_no_byte_of_data(
    method: str, deployment: Deployment, places: dict[str, str]
) -> None:
    for one in TABLE:
        answer = ask(deployment, one, places, method)
        assert answer.status_code in (401, 405) or one.path == "/health", one.path
        assert not [word for word in SECRETS if word in answer.text], one.path


def test_a_login_that_is_not_airflows_opens_nothing(deployment: Deployment, places: dict[str, str]) -> None:
    for one in TABLE:
        if one.answers[NOBODY] == 401 and one.path.startswith("/ui"):
            answer = ask(deployment, one, places, token="eyJhbGciOiJIUzI1NiJ9.e30.none")
            assert answer.status_code in (401, 403), one.path
            assert not [word for word in SECRETS if word in answer.text], one.path


def test_viewer_sees_masked_numbers_and_op_full_ones(
    deployment: Deployment, tokens: dict[str, str], places: dict[str, str]
) -> None:
    for path in ("/ui/calls?dag_id={dag}&run_id={run}", "/ui/calls.csv?dag_id={dag}", "/ui/call?key={key}"):
        one = Access("GET", path, {})
        for role in ("viewer", "user"):
            text = ask(deployment, one, places, token=tokens[role]).text
            assert "+1415***0177" in text, path
            assert NUMBER not in text, path
            assert "The summary" not in text, path
        assert NUMBER in ask(deployment, one, places, token=tokens["op"]).text, path
    call = Access("GET", "/ui/call?key={key}", {})
    assert "The summary of the access tests" in ask(deployment, call, places, token=tokens["op"]).text
