"""The tab of a DAG run: its calls and campaigns, and nothing of other runs."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from fastapi.testclient import TestClient

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.web.pages import run
from airflow_provider_voiceinfra.web.pages.addresses import unseal
from tests.support.progress import PROGRESS
from tests.web.pages.conftest import PARTIAL, Calls, Client, FakeVisitor
from tests.web.pages.reading import elements_of, links_of, shown, text_of

NUMBER = "+14155550123"


def tab(dag_id: str = "outreach", run_id: str = "run_1") -> str:
    """Return the address as Airflow fills it in, by ``encodeURIComponent``."""
    return f"run?dag_id={quote(dag_id, safe='')}&run_id={quote(run_id, safe='')}"


def keys_on(page: str) -> list[str]:
    links = [link for link in links_of(page) if link.startswith("call?key=")]
    return [unseal(link.removeprefix("call?key=")) for link in links]


def begin(ledger: CallLedger, campaign_id: str, done: int = 0, **origin: Any) -> None:
    whence = {"dag_id": "outreach", "run_id": "run_1", "task_id": "call", "map_index": -1, **origin}
    entry = ledger.campaigns.take(campaign_id, conn_id="voiceinfra_default", origin=CallOrigin(**whence))
    progress = {**PROGRESS, "contacts": 10, "done": done, "outcomes": {"answered": done}}
    ledger.campaigns.heartbeat(campaign_id, str(entry.runner), progress)


def test_calls_of_the_run_are_counted_and_listed(client: TestClient, calls: Calls) -> None:
    mine = [calls.place(outcome=outcome) for outcome in ("answered", "answered", "voicemail", None)]
    calls.place(run_id="run_2")
    calls.place(dag_id="another")
    page = client.get(tab()).text
    assert sorted(keys_on(page)) == sorted(entry.key_hash for entry in mine)
    told = text_of(page)
    for part in ("Calls 4", "answered 2", "voicemail 1", "not over yet 1"):
        assert part in told
    assert "calls?dag_id=outreach&run_id=run_1" in links_of(page)


@pytest.mark.parametrize(
    "run_id",
    [
        *("scheduled__2026-01-02T03:00:00+00:00", "manual 1", "a/b/../c", "100%"),
        *("r&run_id=run_2", "été #1?", "a+b c"),
    ],
)
def test_run_may_be_called_anything(client: TestClient, calls: Calls, run_id: str) -> None:
    entry = calls.place(run_id=run_id)
    calls.place(run_id=run_id.replace("+", " ") + "x")
    page = client.get(tab(run_id=run_id)).text
    assert keys_on(page) == [entry.key_hash]
    assert run_id in text_of(page)
    links = {one.get("id"): one["href"] for one in elements_of(page, "a")}
    assert links["to-calls"] == "calls?" + urlencode({"dag_id": "outreach", "run_id": run_id})


def test_run_without_calls_says_so(client: TestClient, calls: Calls) -> None:
    calls.place(run_id="run_2")
    told = shown(client, tab())
    assert "This run has placed no calls." in told
    assert "VoiceInfraOutboundCallOperator" in told


def test_campaigns_of_the_run_are_shown_with_their_progress(client: TestClient, calls: Calls) -> None:
    calls.place(campaign_id="night & day", position=1)
    begin(calls.ledger, "night & day", done=4)
    begin(calls.ledger, "of another run", run_id="run_2")
    page = client.get(tab()).text
    assert "campaign?id=night+%26+day" in links_of(page)
    assert "4 answered" in text_of(page)
    assert len([one for one in elements_of(page, "svg") if one.get("class") == "bar"]) == 1
    assert "of another run" not in page


def test_campaign_that_has_called_nobody_yet_is_shown(client: TestClient, ledger: CallLedger) -> None:
    begin(ledger, "night")
    told = shown(client, tab())
    assert "night" in told
    assert "No call was placed so far." in told
    assert "This run has placed no calls." not in told


def test_tab_keeps_itself_up_to_date_only_while_a_campaign_goes_on(client: TestClient, calls: Calls) -> None:
    calls.place()
    assert "hx-trigger" not in client.get(tab()).text
    begin(calls.ledger, "night")
    [part] = [one for one in elements_of(client.get(tab()).text, "div") if one.get("id") == "run"]
    assert part["hx-get"] == "run?dag_id=outreach&run_id=run_1"
    answer = client.get(str(part["hx-get"]), headers=PARTIAL)
    assert answer.text.startswith('<div id="run"')
    calls.ledger.campaigns.cancel("night")
    assert "hx-trigger" not in client.get(tab()).text


def test_unknown_calls_stand_out(client: TestClient, calls: Calls) -> None:
    calls.unknown()
    page = client.get(tab()).text
    assert "1 call has an unknown outcome." in text_of(page)
    assert "calls?dag_id=outreach&run_id=run_1&state=unknown" in links_of(page)


def test_only_the_latest_calls_are_listed_and_the_others_linked(
    client: TestClient, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "MOST_CALLS", 2)
    monkeypatch.setattr(run, "MOST_COUNTED", 3)
    entries = [calls.place() for _ in range(4)]
    page = client.get(tab()).text
    assert keys_on(page) == [entries[3].key_hash, entries[2].key_hash]
    assert "Latest calls" in text_of(page)
    assert "about the newest 3 calls of this run" in text_of(page)


def test_run_of_a_hidden_dag_is_not_told_from_one_that_does_not_exist(
    client_of: Client, calls: Calls
) -> None:
    calls.place(dag_id="secret", campaign_id="night")
    begin(calls.ledger, "night", dag_id="secret")
    client = client_of(FakeVisitor(dags=["outreach"]))
    hidden, missing = client.get(tab("secret")), client.get(tab("none"))
    assert (hidden.status_code, hidden.text) == (missing.status_code, missing.text)
    assert hidden.status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "dag_id, run_id"),
        ("dag_id=outreach", "run_id"),
        ("dag_id=&run_id=run_1", "dag_id"),
        ("dag_id=outreach&run_id=a%0Ab", "run_id"),
        (f"dag_id={'x' * 251}&run_id=run_1", "dag_id"),
    ],
)
def test_address_that_names_no_run_is_refused(client: TestClient, query: str, field: str) -> None:
    answer = client.get(f"run?{query}")
    assert answer.status_code == 400
    assert field in text_of(answer.text)
