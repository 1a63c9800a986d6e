"""The page of calls lists what a visitor may see, page after page, and says what it means."""

from __future__ import annotations

import base64
import csv
import html
import io
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.lists import search
from airflow_provider_voiceinfra.web.pages.addresses import seal, unseal
from airflow_provider_voiceinfra.web.pages.calls import page as pages
from tests.support.completions import complete
from tests.web.pages.conftest import PARTIAL, VIEWER, Calls, Client, FakeVisitor
from tests.web.pages.reading import elements_of, links_of, text_of

NUMBER = "+14155550123"
MASKED = "+1415***0123"


def keys(page: str) -> list[str]:
    """Return the calls that a page lists, in its order."""
    return [unseal(key) for key in re.findall(r'<a href="call\?key=([\w-]+)"', page)]


def link(page: str, element_id: str) -> str | None:
    """Return where a link leads."""
    return next((one["href"] for one in elements_of(page, "a") if one.get("id") == element_id), None)


def rounds(client: TestClient, address: str) -> list[str]:
    """Return all answers that fill one page, as a browser asks for them."""
    answers = [client.get(address, headers=PARTIAL).text]
    while found := re.search(r'<span hx-get="([^"]+)" hx-target="#further"', answers[-1]):
        answers.append(client.get(html.unescape(found[1]), headers=PARTIAL).text)
    return answers


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a page, and what one question looks at, be few calls."""
    monkeypatch.setattr(pages, "PAGE", 4)
    monkeypatch.setattr(search, "SCAN", 10)
    monkeypatch.setattr(search, "_FIRST_SCAN", 5)


def test_a_call_is_listed_with_what_is_known_of_it(client: TestClient, calls: Calls) -> None:
    entry = calls.place(
        NUMBER, run_id="manual__2026-03-01T00:00:00+00:00", map_index=3, campaign_id="night/1", attempt=2
    )
    page = client.get("calls").text
    said = text_of(page)
    for told in (NUMBER, "answered", "42 s", "night/1", "attempt 2", "outreach", "call [3]", entry.conn_id):
        assert told in said
    assert keys(page) == [entry.key_hash]
    run = "../../dags/outreach/runs/manual__2026-03-01T00%3A00%3A00%2B00%3A00"
    leads = {run, f"{run}/tasks/call/mapped/3", "campaign?id=night%2F1", "calls?dag_id=outreach"}
    assert leads <= {*links_of(page)}


def test_links_into_airflow_are_marked_as_such_and_all_others_stay_at_one_depth(
    client: TestClient, calls: Calls
) -> None:
    calls.place(NUMBER, campaign_id="night")
    for one in elements_of(client.get("calls?dag_id=outreach").text, "a"):
        address = one["href"] or ""
        # A file is no page, but Airflow 3.2 lets no frame load one.
        assert ("data-out" in one) == (address.startswith("../../dags/") or "download" in one)
        assert "data-out" in one or address == "#content" or "/" not in urlsplit(address).path


def test_a_call_shows_its_outcome_or_that_it_is_not_over_or_why_it_was_refused(
    client: TestClient, calls: Calls
) -> None:
    for outcome in ("answered", None, "busy"):
        calls.place(NUMBER, outcome=outcome)
    calls.refused(f"{NUMBER} is not valid")
    page = client.get("calls").text
    badges = re.findall(r'<span class="badge [^>]*>([^<]+)<', page)
    assert badges == ["refused", "busy", "not over yet", "answered"]
    assert f"{NUMBER} is not valid" in text_of(page)


def test_neither_an_address_nor_a_place_in_a_list_tells_the_key_that_a_number_can_be_tried_against(
    client_of: Client, calls: Calls
) -> None:
    entries = [calls.place(NUMBER, campaign_id="night", contact_key=NUMBER) for _ in range(pages.PAGE + 1)]
    client = client_of(VIEWER)
    listed = client.get("calls").text
    following = client.get(link(listed, "page-next") or "").text
    one = client.get(f"call?key={seal(entries[0].key_hash)}").text
    run = client.get("run?dag_id=outreach&run_id=run_1").text
    for entry in entries:
        assert client.get(f"call?key={entry.key_hash}").status_code == 400
        for page in (listed, following, one, run):
            assert entry.key_hash not in page
    place = base64.urlsafe_b64encode(f"0 {entries[0].key_hash}".encode()).decode()
    assert client.get(f"calls?after={place}").status_code == 400


def test_calls_that_a_visitor_may_not_see_are_neither_listed_nor_suggested(
    client_of: Client, calls: Calls
) -> None:
    seen = calls.place(NUMBER, dag_id="open", conn_id="theirs")
    calls.place(NUMBER, dag_id="closed", conn_id="secret_conn")
    calls.unknown(NUMBER, dag_id="closed", conn_id="secret_conn")
    calls.place(NUMBER, dag_id=None, run_id=None, task_id=None, conn_id="theirs")
    own = calls.place(NUMBER, dag_id=None, run_id=None, task_id=None, conn_id="mine")
    visitor = FakeVisitor(connections=("mine",), dags=("open",))
    page = client_of(visitor).get("calls").text
    assert set(keys(page)) == {seen.key_hash, own.key_hash}
    assert "closed" not in page
    assert "secret_conn" not in page
    assert "unknown outcome" not in page
    assert keys(client_of(visitor).get("calls?dag_id=closed").text) == []


FOUND = {
    "conn_id=sales": [4],
    "dag_id=other": [3],
    "dag_id=outreach&run_id=run_2": [2],
    "campaign_id=night": [5],
    "outcome=voicemail": [2],
    "outcome=open": [3],
    "state=unknown": [6],
    "digits=0103": [3],
    "order=oldest": [1, 2, 3, 4, 5, 6],
    "order=longest": [4, 2, 5, 1],
    "order=shortest": [1, 5, 2, 4],
    "since=2999-01-01T00:00": [],
    "until=2999-01-01T00:00": [6, 5, 4, 3, 2, 1],
    "outcome=&dag_id=&digits=&since=&zone=UTC": [6, 5, 4, 3, 2, 1],
}


def test_a_filter_finds_its_calls_in_order(client: TestClient, calls: Calls) -> None:
    placed = [
        calls.place("+14155550101", record={"duration_seconds": 1}),
        calls.place("+14155550102", run_id="run_2", outcome="voicemail", record={"duration_seconds": 30}),
        calls.place("+14155550103", dag_id="other", outcome=None),
        calls.place("+14155550104", conn_id="sales", record={"duration_seconds": 60}),
        calls.place("+14155550105", campaign_id="night", record={"duration_seconds": 20}),
        calls.unknown("+14155550106"),
    ]
    for query, found in FOUND.items():
        expected = [placed[number - 1].key_hash for number in found]
        for headers in ({}, PARTIAL):
            answer = client.get(f"calls?{query}", headers=headers)
            assert (answer.status_code, keys(answer.text)) == (200, expected), query


@pytest.mark.parametrize("order", ["newest", "oldest", "longest", "shortest"])
def test_the_pages_forth_and_back_show_every_call_once(
    client: TestClient, calls: Calls, order: str, small: None
) -> None:
    for number in range(10):
        calls.place(NUMBER, record={"duration_seconds": 60 - number % 3})
    forth, address = [], f"calls?order={order}"
    while address:
        page = client.get(address).text
        forth.append(keys(page))
        address = link(page, "page-next") or ""
    assert [len(one) for one in forth] == [4, 4, 2]
    assert len({key for one in forth for key in one}) == 10
    assert keys(client.get(link(page, "page-previous") or "").text) == forth[1]
    assert keys(client.get(link(page, "page-first") or "").text) == forth[0]
    first = client.get(f"calls?order={order}").text
    assert link(first, "page-first") is link(first, "page-previous") is None
    last = client.get(link(first, "page-last") or "").text
    assert keys(last) == [key for one in forth for key in one][-4:]
    assert link(last, "page-next") is None


@pytest.mark.parametrize("where", ["", "&last=1", "&order=oldest"])
@pytest.mark.parametrize("step", [3, 4, 11])
def test_a_search_that_stops_at_its_bound_goes_on_until_the_page_is_full(
    client: TestClient, calls: Calls, small: None, where: str, step: int
) -> None:
    rare = [calls.place(NUMBER, outcome="failed").key_hash]
    for number in range(60):
        entry = calls.place("+14155550101", outcome="failed" if number % step == step - 1 else "answered")
        if number % step == step - 1:
            rare.append(entry.key_hash)
    in_order = rare if where else rare[::-1]
    answers = rounds(client, f"calls?outcome=failed{where}")
    found = [key for answer in answers for key in keys(answer)]
    assert len(found) == 4
    assert set(found) == set(in_order[:4])
    assert "4 calls on this page." in text_of(answers[-1])
    # With every third, the very call that a question may look at last fills the page.
    assert ("looked at yet" in text_of(answers[0])) == (len(answers) > 1) == (step > 3)
    way = "page-previous" if "last" in where else "page-next"
    beyond = rounds(client, link(answers[-1], way) or "")
    assert {key for answer in beyond for key in keys(answer)} == set(in_order[4:8])


def test_a_search_does_not_go_on_by_itself_for_ever(
    client: TestClient, calls: Calls, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_ROUNDS", 2)
    for _ in range(60):
        calls.place(NUMBER)
    answers = rounds(client, "calls?outcome=failed")
    assert len(answers) == 3
    assert "Searching further" in text_of(answers[0])
    assert link(answers[0], "page-next") is None  # for this page is not full
    assert link(answers[0], "page-last") is not None
    button = next(one for one in elements_of(answers[-1], "a") if one.get("hx-target") == "#further")
    assert parse_qs(urlsplit(button["hx-get"] or "").query)["round"] == ["0"]
    # By hand it goes on, without a script as well.
    assert client.get(button["href"] or "").status_code == 200
    more = rounds(client, button["hx-get"] or "")
    assert len(more) == 3


def test_a_search_that_finds_nothing_says_so_in_the_end(
    client: TestClient, calls: Calls, small: None
) -> None:
    for _ in range(15):
        calls.place(NUMBER)
    answers = rounds(client, "calls?outcome=failed")
    assert len(answers) == 2
    assert "No call that you may see fits this filter." in text_of(answers[-1])
    assert "No calls." in text_of(answers[-1])


NO_PLACE = "Open the list of calls anew"
REFUSED = {
    "state=lost": "State (state)",
    "direction=sideways": "Direction (direction)",
    "digits=12": "last four digits",
    "since=soon": "From (since)",
    "order=random": "Order (order)",
    "dag_id=a%0Ab": "DAG (dag_id)",
    "after=nonsense": NO_PLACE,
    "after=NQ==": NO_PLACE,
    "before=WzEsMl0=": NO_PLACE,
    "after=WyI5OTk5LTEyLTMxVDIzOjU5OjU5LTE0OjAwIiwiYSJd": NO_PLACE,
    "order=longest&after=WzEwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAsImEiXQ==": NO_PLACE,
}


def test_an_address_that_cannot_be_used_is_answered_with_the_remedy(client: TestClient, calls: Calls) -> None:
    calls.place(NUMBER)
    for query, says in REFUSED.items():
        for page in ("calls", "charts", "calls.csv")[: 1 if says == NO_PLACE else 3]:
            for headers in ({}, PARTIAL):
                answer = client.get(f"{page}?{query}", headers=headers)
                assert answer.status_code == 400, query
                assert says in text_of(answer.text), query


def test_a_place_in_another_order_is_refused(client: TestClient, calls: Calls, small: None) -> None:
    for _ in range(5):
        calls.place(NUMBER)
    onwards = link(client.get("calls").text, "page-next")
    assert client.get(f"{onwards}&order=longest").status_code == 400


def test_unknown_calls_stand_out_with_what_to_do(client: TestClient, calls: Calls) -> None:
    calls.place(NUMBER)
    assert "unknown outcome" not in text_of(client.get("calls").text)
    lost = calls.unknown(NUMBER, dag_id="other")
    page = client.get("calls").text
    said = text_of(page)
    assert "1 call has an unknown outcome." in said
    assert 'on_unknown="redial"' in said
    assert sum("is-unknown" in (one.get("class") or "") for one in elements_of(page, "tr")) == 1
    (only,) = {one for one in links_of(page) if "state=unknown" in one}
    assert keys(client.get(only).text) == [lost.key_hash]
    assert "unknown outcome" not in text_of(client.get("calls?dag_id=outreach").text)
    assert "unknown outcome" not in text_of(client.get("calls?outcome=answered").text)


def test_a_script_is_given_the_part_and_the_address_without_what_was_left_empty(
    client: TestClient, calls: Calls
) -> None:
    calls.place(NUMBER)
    answer = client.get("calls?outcome=answered&dag_id=&digits=&zone=Europe%2FLondon", headers=PARTIAL)
    assert answer.headers["HX-Push-Url"] == "calls?outcome=answered"
    assert "<html" not in answer.text
    assert "<form" not in answer.text  # whose fields somebody may be writing in
    assert "1 call on this page." in text_of(answer.text)


def test_the_heads_of_the_columns_sort_and_say_how(client: TestClient, calls: Calls) -> None:
    calls.place(NUMBER)

    def heads(address: str) -> dict[str, str | None]:
        page = client.get(address).text
        (sorted_by,) = [one["aria-sort"] for one in elements_of(page, "th") if "aria-sort" in one]
        return {"is": sorted_by, "time": link(page, "sort-time"), "duration": link(page, "sort-duration")}

    assert heads("calls") == {
        "is": "descending",
        "time": "calls?order=oldest",
        "duration": "calls?order=longest",
    }
    assert heads("calls?order=shortest&conn_id=voiceinfra_default") == {
        "is": "ascending",
        "time": "calls?conn_id=voiceinfra_default",
        "duration": "calls?conn_id=voiceinfra_default&order=longest",
    }


def test_the_filter_is_told_and_can_be_taken_away_and_along(client: TestClient, calls: Calls) -> None:
    calls.place(NUMBER)
    page = client.get("calls?dag_id=outreach&outcome=open&since=2026-03-01T08:00&zone=Europe/Berlin").text
    said = text_of(page)
    for told in ("DAG outreach", "Outcome not over yet", "From 2026-03-01 07:00:00 UTC"):
        assert told in said
    (without,) = [one for one in links_of(page) if "calls?outcome=open&since" in one]
    assert without == "calls?outcome=open&since=2026-03-01T07%3A00%3A00Z"
    (file,) = [one["href"] for one in elements_of(page, "a") if "download" in one]
    assert file == "calls.csv?dag_id=outreach&outcome=open&since=2026-03-01T07%3A00%3A00Z"
    # Without a script all times are UTC, with one they are of the zone that Airflow shows.
    (since,) = [one for one in elements_of(page, "input") if one.get("name") == "since"]
    assert (since["value"], since["data-moment"]) == ("2026-03-01T07:00", "2026-03-01T07:00:00+00:00")
    (zone,) = [one for one in elements_of(page, "input") if one.get("name") == "zone"]
    assert zone["value"] == "UTC"


@pytest.mark.parametrize(
    ("query", "says"),
    [("", "There are no calls yet"), ("?conn_id=other", "Remove one of its parts above")],
)
def test_an_empty_list_says_what_to_do(client: TestClient, query: str, says: str) -> None:
    assert says in text_of(client.get(f"calls{query}").text)


def receive(ledger: CallLedger, call_id: str, *, conn_id: str = "voiceinfra_default", **fields: Any) -> None:
    """Let a webhook arrive for a call that was not placed from here; by default an inbound one."""
    numbers = {"from_number": "+12065550177", "to_number": "+12025550100"}  # which calls are placed from
    complete(ledger, call_id, conn_id=conn_id, **{**numbers, "duration_seconds": 75, **fields})


@pytest.fixture
def received(calls: Calls, ledger: CallLedger) -> list[str]:
    """Place one call, and receive two that were not placed from here."""
    calls.place(NUMBER)
    receive(ledger, "in/1 &")
    receive(ledger, "other", from_number="+12025550199", to_number="+12065550188", call_outcome="voicemail")
    return ["in/1 &", "other"]


def numbers(page: str) -> set[str]:
    return set(re.findall(r"\+1\d{10}", text_of(page))) - {"+12025550100"}


@pytest.mark.usefixtures("received")
def test_calls_that_were_not_placed_from_here_have_lists_of_their_own(client: TestClient) -> None:
    for query in ("", "?direction=outbound"):
        assert numbers(client.get(f"calls{query}").text) == {NUMBER}
    page = client.get("calls?direction=inbound").text
    assert numbers(page) == {"+12065550177"}  # who called, not the number that was called
    said = text_of(page)
    for told in ("inbound +12065550177", "answered", "1 min 15 s", "voiceinfra_default", "Direction inbound"):
        assert told in said
    assert "call?id=in%2F1+%26" in links_of(page)
    page = client.get("calls?direction=elsewhere").text
    assert numbers(page) == {"+12065550188"}
    assert "from elsewhere +12065550188" in text_of(page)
    assert text_of(client.get("call?id=in%2F1+%26").text).startswith("A call")


@pytest.mark.usefixtures("received")
def test_calls_that_were_not_placed_from_here_are_filtered_sorted_counted_and_exported(
    client: TestClient, ledger: CallLedger
) -> None:
    receive(ledger, "in/2", from_number="+12065550166", duration_seconds=5, call_outcome="failed")
    inbound = "direction=inbound"
    assert numbers(client.get(f"calls?{inbound}&digits=0166").text) == {"+12065550166"}
    assert numbers(client.get(f"calls?{inbound}&outcome=answered").text) == {"+12065550177"}
    assert numbers(client.get(f"calls?{inbound}&dag_id=outreach").text) == set()
    listed = client.get(f"calls?{inbound}&order=shortest").text
    assert listed.index("+12065550166") < listed.index("+12065550177")
    counted = text_of(client.get(f"charts?{inbound}").text)
    assert "Calls 2 Over 2 Answered 50.0% Talk time, mean 1 min 15 s" in counted
    rows = list(csv.DictReader(io.StringIO(client.get(f"calls.csv?{inbound}").text, newline="")))
    assert [row["call_id"] for row in rows] == ["in/2", "in/1 &"]
    assert {(row["direction"], row["state"]) for row in rows} == {("inbound", "")}
    assert (rows[1]["from_number"], rows[1]["to_number"]) == ("+12065550177", "+12025550100")


@pytest.mark.usefixtures("received")
def test_calls_that_were_not_placed_from_here_are_for_those_alone_who_may_read_their_connection(
    client_of: Client, ledger: CallLedger
) -> None:
    receive(ledger, "in/3", conn_id="reception", from_number="+12065550155")
    whole = {"+12065550177", "+12065550155"}
    for visitor, seen in (
        (FakeVisitor(), whole),
        (FakeVisitor(connections=["reception"]), {"+12065550155"}),
        (FakeVisitor(connections=["another"]), set()),
        (VIEWER, set()),
    ):
        client = client_of(visitor)
        for page in ("calls", "calls.csv"):
            text = client.get(f"{page}?direction=inbound").text
            assert numbers(text) == seen
            assert MASKED[:5] not in text
        calls = re.search(r"Calls (\d)", text_of(client.get("charts?direction=inbound").text))
        assert int(calls[1] if calls else 0) == len(seen)
