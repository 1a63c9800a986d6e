"""The campaigns' pages say how far each is, and let those who may stop one."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient

from airflow_provider_voiceinfra.campaigns.reporting.results import Tally
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from airflow_provider_voiceinfra.ledger.campaigns.states import CampaignState
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.ledger.rows import now
from airflow_provider_voiceinfra.web.pages.campaigns import page as pages
from tests.ledger.examples import running, seen_from
from tests.support.progress import PROGRESS
from tests.web.pages.conftest import (
    OP,
    OWN,
    PARTIAL,
    USER,
    VIEWER,
    Client,
    FakeVisitor,
    elements_of,
    text_of,
)

HOSTILE = "<script>alert(1)</script>'\"&{{7*7}}javascript:alert(2)/../?a=b#c"
EDITS_NO_DAG = FakeVisitor("nobody_of_note", editable_dags=())


@pytest.fixture(autouse=True)
def task_states(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return what Airflow says of tasks, by campaign; there is no Airflow beside these pages."""
    states: dict[str, str] = {}
    monkeypatch.setattr(pages, "task_state", lambda entry: states.get(entry.campaign_id))
    return states


def begin(
    ledger: CallLedger,
    id_: str = "spring",
    *,
    dag_id: str | None = "outreach",
    conn_id: str = "voiceinfra_default",
    origin: CallOrigin | None = None,
    **progress: Any,
) -> CampaignEntry:
    """Have a process run a campaign that has loaded its contacts, and says something of itself."""
    whence = origin or CallOrigin(dag_id=dag_id, run_id="r1", task_id="call_all", map_index=-1)
    entry = ledger.campaigns.take(id_, conn_id=conn_id, origin=whence)
    ledger.campaigns.load_contacts(id_, [], loaded_by="r1", runner=running(ledger, id_))
    return ledger.campaigns.heartbeat(id_, str(entry.runner), {**PROGRESS, "obstacle": None, **progress})


def sleep(ledger: CallLedger, id_: str = "spring", **options: Any) -> None:
    ledger.campaigns.release(id_, str(begin(ledger, id_, **options).runner))


def die(ledger: CallLedger, id_: str = "spring") -> None:
    """Have a campaign's process show itself for the last time a minute ago."""
    begin(seen_from(ledger, lambda: now() - timedelta(seconds=61)), id_)


def finish(ledger: CallLedger, id_: str = "spring", **numbers: Any) -> None:
    entry = begin(ledger, id_)
    summary = {**Tally().summary(), "results_path": "s3://outreach/results.csv", **numbers}
    ledger.campaigns.finish(id_, str(entry.runner), {"campaign_id": id_, **summary})
    ledger.campaigns.release(id_, str(entry.runner))


def shown(client: TestClient, id_: str = "spring", **fields: str) -> str:
    answer = client.get("campaign", params={"id": id_, **fields}, headers=PARTIAL)
    assert answer.status_code == 200
    return answer.text


def listed(html: str) -> list[str]:
    """Return the campaigns of a list, in its order."""
    links = [str(link["href"]) for link in elements_of(html, "a") if "href" in link]
    return [parse_qs(urlsplit(link).query)["id"][0] for link in links if link.startswith("campaign?")]


def polling(html: str, id_: str = "campaign") -> dict[str, str | None]:
    """Return how a part keeps itself up to date."""
    [part] = [one for one in elements_of(html, "div") if one.get("id") == id_ and "hx-swap-oob" not in one]
    return {name: part.get(name) for name in ("hx-get", "hx-trigger")}


def ids_of(html: str, element: str) -> set[str | None]:
    return {one.get("id") for one in elements_of(html, element)}


def post(client: TestClient, what: str, id_: str = "spring", **options: Any) -> Any:
    headers = {**OWN, **PARTIAL, **options.pop("headers", {})}
    return client.post(f"campaign/{what}", data={"id": id_}, headers=headers, **options)


class TestList:
    def test_it_names_campaigns_newest_first_with_how_far_they_are(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        finish(ledger, "autumn", contacts=10, invalid=2, answered=7, cancelled=1, attempts=9)
        begin(ledger)

        html = client.get("campaigns").text

        assert listed(html) == ["spring", "autumn"]
        text = text_of(html)
        assert "spring running 332 answered, 80 voicemail, 8 under way 1,000 412 (41 %) outreach r1" in text
        assert "autumn finished 7 answered, 1 cancelled 8 7 (87 %) outreach r1" in text

    def test_it_is_a_page_of_its_own_or_the_part_that_changes(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        begin(ledger)

        whole, part = client.get("campaigns").text, client.get("campaigns", headers=PARTIAL).text

        assert "<html" in whole
        assert "<html" not in part
        assert listed(part) == ["spring"]

    def test_its_links_lead_to_airflow_and_to_the_campaign_whatever_they_are_called(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        begin(ledger, "a/b c&d", origin=CallOrigin(dag_id="d/e", run_id="r +1:00", task_id="t", map_index=-1))

        links = [link["href"] for link in elements_of(client.get("campaigns").text, "a")]

        assert "campaign?id=a%2Fb+c%26d" in links
        assert "../../dags/d%2Fe/runs/r%20%2B1%3A00" in links

    @pytest.mark.parametrize(
        ("put", "trigger"),
        [(begin, "every 5s"), (sleep, "every 5s"), (finish, None)],
        ids=["running", "waiting", "finished"],
    )
    def test_it_keeps_itself_up_to_date_while_something_may_change(
        self, client: TestClient, ledger: CallLedger, put: Any, trigger: str | None
    ) -> None:
        put(ledger)

        assert polling(client.get("campaigns").text, "campaigns")["hx-trigger"] == trigger

    def test_it_keeps_its_filter_and_its_place_when_it_brings_itself_up_to_date(
        self, client: TestClient, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pages, "PAGE_SIZE", 1)
        for id_ in ("spring 1", "spring 2"):
            begin(ledger, id_)
        first = client.get("campaigns?state=running&text=spring").text
        [older] = [link["href"] for link in elements_of(first, "a") if link.get("id") == "page-older"]

        asked = polling(client.get(str(older)).text, "campaigns")["hx-get"]

        assert listed(client.get(str(asked)).text) == ["spring 1"]

    def test_a_change_of_the_filter_is_announced_and_news_are_not(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        begin(ledger)

        def told(trigger: str) -> bool:
            headers = {**PARTIAL, "HX-Trigger": trigger}
            return "1 campaign is shown." in text_of(client.get("campaigns", headers=headers).text)

        assert told("campaigns-filter")
        assert not told("campaigns")

    @pytest.mark.parametrize("state", CampaignState)
    def test_it_is_filtered_by_state(
        self, client: TestClient, ledger: CallLedger, state: CampaignState
    ) -> None:
        begin(ledger, "running")
        sleep(ledger, "waiting")
        die(ledger, "no_heartbeat")
        begin(ledger, "cancelled")
        ledger.campaigns.cancel("cancelled")
        finish(ledger, "finished")

        assert listed(client.get("campaigns", params={"state": state.value}).text) == [state.value]

    def test_it_is_filtered_by_a_part_of_any_name_and_no_sign_of_it_has_a_meaning(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        begin(ledger, "50%_off", dag_id="sales")
        begin(ledger, "other", dag_id="outreach")

        def found(text: str) -> list[str]:
            return listed(client.get("campaigns", params={"text": text}).text)

        assert found("SALE") == found("0%_") == found(" off ") == ["50%_off"]
        assert found("5%o") == []
        assert sorted(found("r1")) == ["50%_off", "other"]

    def test_pages_lead_to_each_other_and_every_campaign_is_on_one_of_them(
        self, client: TestClient, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pages, "PAGE_SIZE", 2)
        for number in range(5):
            begin(ledger, f"c{number}")

        def follow(html: str, name: str) -> str:
            [link] = [one for one in elements_of(html, "a") if one.get("id") == f"page-{name}"]
            return client.get(str(link["href"])).text

        first = client.get("campaigns").text
        second = follow(first, "older")
        third = follow(second, "older")

        assert [listed(page) for page in (first, second, third)] == [["c4", "c3"], ["c2", "c1"], ["c0"]]
        assert listed(follow(third, "newer")) == ["c2", "c1"]
        assert listed(follow(third, "first")) == ["c4", "c3"]
        assert {"page-first", "page-newer"}.isdisjoint(ids_of(first, "a"))
        assert "page-older" not in ids_of(third, "a")

    def test_an_empty_list_says_what_to_do(self, client: TestClient) -> None:
        assert "VoiceInfraCampaignOperator" in text_of(client.get("campaigns").text)
        assert "No campaign fits this filter. Show all" in text_of(client.get("campaigns?text=x").text)

    @pytest.mark.parametrize(
        ("address", "words"),
        [
            ("campaigns?state=asleep", "state: campaigns have no state 'asleep'; choose one of running, "),
            ("campaigns?after=nonsense", "after: this is no place in the list of campaigns; begin anew"),
            ("campaigns?before=NQ==", "before: this is no place"),  # 5
            ("campaigns?after=WzUsICJhIl0=", "after: this is no place"),  # [5, "a"]
            ("campaigns?after=%C3%A9", "after: this is no place"),
            ("campaign", "id is missing or wrong"),
        ],
    )
    def test_what_makes_no_sense_is_refused_with_the_field_and_the_remedy(
        self, client: TestClient, ledger: CallLedger, address: str, words: str
    ) -> None:
        begin(ledger)

        answer = client.get(address)

        assert answer.status_code == 400
        assert words in text_of(answer.text)

    def test_campaigns_of_dags_that_may_not_be_read_are_hidden(
        self, client_of: Client, ledger: CallLedger
    ) -> None:
        begin(ledger, "mine", dag_id="mine")
        begin(ledger, "theirs", dag_id="theirs")
        client = client_of(FakeVisitor(dags=["mine"]))

        assert listed(client.get("campaigns").text) == ["mine"]
        assert "theirs" not in client.get("campaigns?text=theirs", headers=PARTIAL).text

    def test_campaigns_without_a_dag_are_shown_to_those_who_may_read_their_connection(
        self, client_of: Client, ledger: CallLedger
    ) -> None:
        begin(ledger, "mine", dag_id=None, conn_id="sales")
        begin(ledger, "theirs", dag_id=None, conn_id="support")
        client = client_of(FakeVisitor(connections=["sales"], dags=()))

        assert listed(client.get("campaigns").text) == ["mine"]
        assert client.get("campaign?id=mine").status_code == 200
        assert client.get("campaign?id=theirs").status_code == 404

    def test_what_is_hidden_takes_no_place_on_a_page(
        self, client_of: Client, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pages, "PAGE_SIZE", 2)
        for number in range(4):
            begin(ledger, f"mine {number}", dag_id="mine")
            begin(ledger, f"theirs {number}", dag_id="theirs")

        html = client_of(FakeVisitor(dags=["mine"])).get("campaigns").text

        assert listed(html) == ["mine 3", "mine 2"]


class TestOne:
    @pytest.mark.parametrize(
        "words",
        [
            "412 of 1,000 contacts done (41 %)",
            "332 answered 80 voicemail 8 under way 580 left",
            "Calls placed 437",
            "Under way 8 of 10 lines",
            "Waiting 580",
            "Rate now 4.90 calls per second Allowed at present 5.02 calls per second",
            "The API's limit seems to be 5.22 calls per second",
            "Expected end 2026-03-01 10:02:00 UTC",
            "12 contacts wait until their calling window opens.",
            "3 contacts wait to be called again after a voicemail or a failure.",
            "1 contact waits for word of a call whose answer was lost.",
            "565 contacts wait for their turn.",
            "The next of them is due at 2026-03-01 14:00:00 UTC",
            "2 not valid, such as a number that is none 1 the same contact as an earlier row",
            "2026-03-01 10:00:00 UTC +1415***0100 invalid_phone +1415***0100 is not valid",
            "DAG outreach Run r1 Task call_all Connection voiceinfra_default",
        ],
    )
    def test_it_says_all_that_a_campaign_says_of_itself(
        self, client: TestClient, ledger: CallLedger, words: str
    ) -> None:
        begin(ledger)

        assert words in text_of(shown(client))

    def test_the_bar_has_a_part_for_each_outcome_and_for_what_is_under_way(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        begin(ledger, outcomes={"answered": 300, "busy": 100, "refused": 12})

        html = shown(client)

        bar = next(one for one in elements_of(html, "svg") if one.get("role") == "img")
        assert bar["aria-label"] == "Progress: 300 answered, 12 refused, 100 busy, 8 under way"
        parts = [one for one in elements_of(html, "rect") if one.get("x") is not None]
        assert [(one["class"], one["x"], one["width"]) for one in parts] == [
            ("fill-answered", "0.0", "300.0"),
            ("fill-refused", "300.0", "12.0"),
            ("fill-other", "312.0", "100.0"),
            ("fill-open", "412.0", "8.0"),
        ]

    def test_the_bar_never_grows_beyond_its_end(self, client: TestClient, ledger: CallLedger) -> None:
        begin(ledger, contacts=10, outcomes={"answered": 9, "failed": 8}, active=5)

        parts = [one for one in elements_of(shown(client), "rect") if one.get("x") is not None]

        assert sum(float(str(one["width"])) for one in parts) == 1000

    def test_who_waits_for_a_free_line_is_said_to(self, client: TestClient, ledger: CallLedger) -> None:
        begin(ledger, active=10)

        assert "563 contacts wait for a free line: all 10 are in use." in text_of(shown(client))

    @pytest.mark.parametrize(
        ("obstacle", "words"),
        [
            ("rate_limit", "The API's rate limit was met"),
            ("unreachable", "It is tried again by itself"),
            ("failing", "answers to calls get lost"),
        ],
    )
    def test_what_is_in_the_way_is_explained(
        self, client: TestClient, ledger: CallLedger, obstacle: str, words: str
    ) -> None:
        begin(ledger, obstacle=obstacle)

        text = text_of(shown(client))

        assert "In the way:" in text
        assert words in text

    def test_contacts_are_counted_while_they_are_loaded(self, client: TestClient, ledger: CallLedger) -> None:
        ledger.campaigns.take("spring", conn_id="voiceinfra_default", origin=CallOrigin(dag_id="outreach"))

        text = text_of(shown(client))

        assert "contacts are being loaded" in text
        assert "It is not known yet how many contacts there are." in text

    def test_one_that_is_over_shows_its_summary_and_its_result_file(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        finish(ledger, contacts=12, invalid=1, duplicates=2, answered=8, expired=1, attempts=11)

        text = text_of(shown(client))

        assert "9 of 9 contacts done (100 %)" in text
        assert "Calls placed 11 Done 9" in text
        assert "Result file s3://outreach/results.csv" in text
        assert "duplicates 2" in text
        for gone in ("Rate now", "waits", "Waiting", "Under way", "lines"):
            assert gone not in text

    def test_links_lead_to_its_calls_its_run_and_its_task(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        origin = CallOrigin(dag_id="d/e", run_id="r +1:00", task_id="t.u", map_index=0)
        begin(ledger, "a b&c", origin=origin)

        links = {link["href"]: link for link in elements_of(shown(client, "a b&c"), "a")}

        assert "calls?campaign_id=a+b%26c" in links
        assert "data-out" in links["../../dags/d%2Fe/runs/r%20%2B1%3A00"]
        assert "data-out" in links["../../dags/d%2Fe/runs/r%20%2B1%3A00/tasks/t.u/mapped/0"]

    def test_a_campaign_without_a_task_has_no_links_to_one(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        begin(ledger, origin=CallOrigin())

        assert not [link for link in elements_of(shown(client), "a") if "data-out" in link]

    def test_it_asks_for_news_often_while_it_runs_seldom_while_it_sleeps_and_not_once_it_is_over(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        begin(ledger, "runs")
        begin(ledger, "is stopping")
        ledger.campaigns.cancel("is stopping")
        sleep(ledger, "sleeps")
        die(ledger, "died")
        finish(ledger, "over")
        finish(ledger, "over and cancelled")
        ledger.campaigns.cancel("over and cancelled")

        names = ("runs", "is stopping", "sleeps", "died", "over", "over and cancelled")
        found = {name: polling(shown(client, name))["hx-trigger"] for name in names}

        assert found == {
            "runs": "every 2s",
            "is stopping": "every 2s",
            "sleeps": "every 10s",
            "died": "every 10s",
            "over": None,
            "over and cancelled": None,
        }

    def test_news_are_announced_if_the_state_has_changed_and_only_then(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        begin(ledger)
        news = str(polling(shown(client))["hx-get"])

        before = client.get(news, headers=PARTIAL).text
        ledger.campaigns.cancel("spring")
        after = client.get(news, headers=PARTIAL).text
        later = client.get(str(polling(after)["hx-get"]), headers=PARTIAL).text

        assert "announced" not in ids_of(before, "div")
        assert "The campaign is now: cancelled. Nobody else is dialled." in text_of(after)
        assert "announced" not in ids_of(later, "div")

    def test_what_somebody_may_be_using_has_an_id_by_which_it_is_found_again(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        begin(ledger)
        finish(ledger, "over", contacts=1, answered=1)

        for id_ in ("spring", "over"):
            html = shown(client, id_)
            used = [one for name in ("a", "button", "summary", "details") for one in elements_of(html, name)]
            used += [one for one in elements_of(html, "div") if one.get("tabindex") == "0"]
            names = [one.get("id") for one in used]
            assert None not in names
            assert len(set(names)) == len(names)

    @pytest.mark.parametrize("id_", ["unknown", "", "x" * 300, "SPRING"])
    def test_an_unknown_one_is_not_there(self, client: TestClient, ledger: CallLedger, id_: str) -> None:
        begin(ledger)

        answer = client.get("campaign", params={"id": id_})

        assert answer.status_code == 404
        assert "There is no such campaign, or you may not see it." in text_of(answer.text)

    def test_a_hidden_one_looks_like_one_that_is_not_there(
        self, client_of: Client, ledger: CallLedger
    ) -> None:
        begin(ledger)
        client = client_of(FakeVisitor(dags=()))

        hidden, unknown = client.get("campaign?id=spring"), client.get("campaign?id=unknown")

        assert hidden.status_code == unknown.status_code == 404
        assert hidden.text == unknown.text

    def test_nobody_sees_a_full_number(self, client_of: Client, ledger: CallLedger) -> None:
        begin(ledger)

        for visitor in (VIEWER, USER, OP):
            html = shown(client_of(visitor))
            assert "+1415***0100" in html
            assert not re.search(r"\+1\d{10}", html)

    def test_whatever_it_is_called_and_says_is_shown_as_text(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        origin = CallOrigin(dag_id=HOSTILE, run_id=HOSTILE, task_id=HOSTILE, map_index=-1)
        refusal = dict.fromkeys(("at", "code", "message", "to_number"), HOSTILE)
        told: dict[str, Any] = {"outcomes": {HOSTILE: 5}, "skipped": {HOSTILE: 2}, "waiting": {HOSTILE: 3}}
        begin(ledger, HOSTILE, origin=origin, refusals=[refusal], obstacle=HOSTILE, **told)
        finish(ledger, "over", results_path=HOSTILE)

        whole = client.get("campaign", params={"id": HOSTILE}).text
        for html in (
            whole,
            shown(client, HOSTILE, was=HOSTILE),
            shown(client, "over"),
            client.get("campaigns").text,
        ):
            assert HOSTILE in text_of(html)
            assert not [one for one in elements_of(html, "script") if "src" not in one]
            addresses = [str(one.get("href")) for one in elements_of(html, "a")]
            assert not [one for one in addresses if one.startswith(("javascript", "<"))]

    def test_a_dead_ledger_is_said_to_be_one(self, client_of: Client) -> None:
        client = client_of(ledger=CallLedger("sqlite:////nowhere/ledger.db"))

        answers = [client.get("campaigns"), client.get("campaign?id=spring"), post(client, "cancel")]

        assert [answer.status_code for answer in answers] == [503, 503, 503]
        assert "The ledger of calls cannot be used at present" in text_of(answers[0].text)


class TestTask:
    """What Airflow says of the task of a campaign that nobody runs."""

    @pytest.mark.parametrize("failed", ["failed", "upstream_failed"])
    @pytest.mark.parametrize("put", [sleep, die], ids=["released", "killed"])
    def test_one_whose_task_has_failed_says_so_and_waits_for_nothing(
        self,
        client: TestClient,
        ledger: CallLedger,
        task_states: dict[str, str],
        put: Any,
        failed: str,
    ) -> None:
        put(ledger)
        task_states["spring"] = failed

        text = text_of(shown(client))

        assert "task failed" in text
        assert "Its task has failed, so nobody else is called." in text
        assert "clear task call_all of run r1 of DAG outreach" in text
        assert "What it waits for" not in text

    @pytest.mark.parametrize(
        ("state", "words"),
        [
            ("deferred", "Its task sleeps until there is something to do"),
            ("up_for_retry", "Airflow runs the task again by itself"),
            ("queued", "Its task is about to run"),
            ("success", "Nobody dials at present"),
        ],
    )
    def test_one_that_waits_says_why(
        self,
        client: TestClient,
        ledger: CallLedger,
        task_states: dict[str, str],
        state: str,
        words: str,
    ) -> None:
        sleep(ledger)
        task_states["spring"] = state

        text = text_of(shown(client))

        assert words in text
        assert "task failed" not in text

    def test_a_task_that_fails_is_announced(
        self, client: TestClient, ledger: CallLedger, task_states: dict[str, str]
    ) -> None:
        sleep(ledger)
        news = str(polling(shown(client))["hx-get"])
        task_states["spring"] = "failed"

        assert "The campaign is now: waiting, task failed." in text_of(client.get(news, headers=PARTIAL).text)

    def test_a_campaign_that_runs_is_believed_without_asking_airflow(
        self, client: TestClient, ledger: CallLedger, task_states: dict[str, str]
    ) -> None:
        begin(ledger)
        task_states["spring"] = "failed"

        assert "task failed" not in text_of(shown(client))


class TestChange:
    def test_cancelling_stops_it_and_says_what_happens_next(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        begin(ledger)

        answer = post(client, "cancel")

        assert answer.status_code == 200
        assert ledger.campaigns.cancelled(["spring"])
        text = text_of(answer.text)
        assert "The campaign is cancelled." in text
        assert "The running task notices within a second or so." in text
        assert '"Resume" takes this back.' in text
        assert "<html" not in answer.text

    def test_it_asks_back_before_it_cancels(self, client: TestClient, ledger: CallLedger) -> None:
        begin(ledger)

        html = shown(client)

        [question] = [one for one in elements_of(html, "details") if one["id"] == "ask-cancel"]
        assert "open" not in question
        [form] = elements_of(html, "form")
        assert (form["hx-post"], form["action"], form["method"]) == ("campaign/cancel",) * 2 + ("post",)
        assert "Cancel this campaign? Nobody else is dialled; calls under way go on. Yes" in text_of(html)

    def test_cancelling_twice_says_since_when_it_is_cancelled(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        begin(ledger)
        post(client, "cancel")
        before = ledger.campaigns.get("spring")
        assert before
        assert before.cancelled_at

        text = text_of(post(client, "cancel").text)

        assert f"the campaign was cancelled before, at {before.cancelled_at:%Y-%m-%d %H:%M:%S} UTC" in text
        assert ledger.campaigns.get("spring") == before

    def test_cancelling_too_late_says_so(self, client: TestClient, ledger: CallLedger) -> None:
        finish(ledger)

        text = text_of(post(client, "cancel").text)

        assert "Nothing was changed: the campaign was over before it could be cancelled." in text
        assert not ledger.campaigns.cancelled(["spring"])

    @pytest.mark.parametrize(
        ("put", "words"),
        [(begin, "It goes on within a second or so."), (sleep, "It goes on when its task runs again.")],
        ids=["running", "waiting"],
    )
    def test_a_cancellation_can_be_taken_back(
        self, client: TestClient, ledger: CallLedger, put: Any, words: str
    ) -> None:
        put(ledger)
        ledger.campaigns.cancel("spring")
        assert "ask-resume" in ids_of(shown(client), "details")

        text = text_of(post(client, "resume").text)

        assert not ledger.campaigns.cancelled(["spring"])
        assert f"The cancellation is taken back. {words}" in text

    def test_one_that_was_cancelled_and_is_over_goes_on_when_its_task_is_cleared(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        runner = str(begin(ledger).runner)
        ledger.campaigns.cancel("spring")
        ledger.campaigns.finish("spring", runner, {**Tally().summary(), "contacts": 3, "cancelled": 3})
        ledger.campaigns.release("spring", runner)

        text = text_of(post(client, "resume").text)

        assert "Now clear task call_all of run r1 of DAG outreach" in text

    def test_there_may_be_nothing_to_take_back(self, client: TestClient, ledger: CallLedger) -> None:
        begin(ledger)

        assert "the campaign is not cancelled" in text_of(post(client, "resume").text)

    def test_what_can_be_done_next_is_offered_and_nothing_else(
        self, client: TestClient, ledger: CallLedger
    ) -> None:
        begin(ledger, "runs")
        begin(ledger, "cancelled")
        ledger.campaigns.cancel("cancelled")
        finish(ledger, "over")

        offered = {id_: ids_of(shown(client, id_), "form") for id_ in ("runs", "cancelled", "over")}
        actions = {
            id_: {form["hx-post"] for form in elements_of(shown(client, id_), "form")} for id_ in offered
        }

        assert actions == {"runs": {"campaign/cancel"}, "cancelled": {"campaign/resume"}, "over": set()}

    @pytest.mark.parametrize("what", ["cancel", "resume"])
    @pytest.mark.parametrize("visitor", [VIEWER, EDITS_NO_DAG], ids=lambda one: one.name)
    def test_who_may_not_change_it_is_told_which_permission_is_missing(
        self, client_of: Client, ledger: CallLedger, what: str, visitor: FakeVisitor
    ) -> None:
        begin(ledger)
        if what == "resume":
            ledger.campaigns.cancel("spring")
        before = ledger.campaigns.get("spring")
        client = client_of(visitor)

        answer = post(client, what)

        assert answer.status_code == 403
        assert "you need permission to edit the runs of the DAG 'outreach'" in text_of(answer.text)
        assert ledger.campaigns.get("spring") == before
        assert not elements_of(shown(client), "form")

    def test_without_a_dag_it_takes_the_permission_to_edit_the_connection(
        self, client_of: Client, ledger: CallLedger
    ) -> None:
        begin(ledger, dag_id=None)
        reader = FakeVisitor("reader", connections=["voiceinfra_default"], editable_connections=())

        refused = post(client_of(reader), "cancel")
        allowed = post(client_of(FakeVisitor(editable_dags=())), "cancel")

        assert refused.status_code == 403
        assert "permission to edit the connection 'voiceinfra_default'" in text_of(refused.text)
        assert allowed.status_code == 200

    @pytest.mark.parametrize("what", ["cancel", "resume"])
    def test_unknown_and_hidden_ones_look_alike(
        self, client_of: Client, ledger: CallLedger, what: str
    ) -> None:
        begin(ledger)
        client = client_of(FakeVisitor(dags=()))

        hidden, unknown = post(client, what, "spring"), post(client, what, "unknown\0")

        assert hidden.status_code == unknown.status_code == 404
        assert hidden.text == unknown.text
        assert not ledger.campaigns.cancelled(["spring"])

    @pytest.mark.parametrize(
        "headers",
        [{"X-VoiceInfra-Request": ""}, {"Sec-Fetch-Site": "cross-site"}],
        ids=["no header", "other site"],
    )
    @pytest.mark.parametrize("id_", ["spring", "unknown"])
    def test_another_site_changes_nothing_and_learns_nothing(
        self, client: TestClient, ledger: CallLedger, headers: dict[str, str], id_: str
    ) -> None:
        begin(ledger)
        sent = {name: value for name, value in {**OWN, **headers}.items() if value}

        answer = client.post("campaign/cancel", data={"id": id_}, headers=sent)

        assert answer.status_code == 403
        assert "did not come from a page of this Airflow" in text_of(answer.text)
        assert not ledger.campaigns.cancelled(["spring"])

    def test_without_an_id_nothing_is_changed(self, client: TestClient) -> None:
        answer = client.post("campaign/cancel", headers=OWN)

        assert answer.status_code == 400
        assert "id is missing" in text_of(answer.text)

    def test_the_log_says_who_has_changed_what(
        self, client_of: Client, ledger: CallLedger, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger=pages.__name__)
        begin(ledger, "spring\nfake line")
        client = client_of(USER)

        for what in ("cancel", "cancel", "resume", "resume"):
            post(client, what, "spring\nfake line")

        assert [record.getMessage() for record in caplog.records if record.name == pages.__name__] == [
            r"Campaign 'spring\nfake line' was cancelled by 'user'.",
            r"The cancellation of campaign 'spring\nfake line' was taken back by 'user'.",
        ]
