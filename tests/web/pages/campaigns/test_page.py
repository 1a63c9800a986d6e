"""The campaigns' pages say how far each is, and let those who may stop one."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
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
from tests.web.pages.conftest import OP, OWN, PARTIAL, USER, VIEWER, Client, FakeVisitor
from tests.web.pages.reading import elements_of, links_of, text_of

EDITS_NO_DAG = FakeVisitor("nobody_of_note", editable_dags=())


@pytest.fixture(autouse=True)
def task_states(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return what Airflow says of tasks, by campaign; there is no Airflow beside these pages."""
    states: dict[str, str] = {}
    monkeypatch.setattr(pages, "task_state", lambda entry: states.get(entry.campaign_id))
    return states


@dataclass(frozen=True)
class Site:
    """Campaigns in a ledger, and the pages as somebody sees them."""

    ledger: CallLedger
    client_of: Client
    visitor: FakeVisitor = OP

    @cached_property
    def client(self) -> TestClient:
        return self.client_of(self.visitor)

    def seen_by(self, visitor: FakeVisitor) -> Site:
        return replace(self, visitor=visitor)

    def begin(
        self,
        id_: str = "spring",
        *,
        dag_id: str | None = "outreach",
        conn_id: str = "voiceinfra_default",
        origin: CallOrigin | None = None,
        **progress: Any,
    ) -> CampaignEntry:
        """Have a process run a campaign that has loaded its contacts, and says something of itself."""
        whence = origin or CallOrigin(dag_id=dag_id, run_id="r1", task_id="call_all", map_index=-1)
        entry = self.ledger.campaigns.take(id_, conn_id=conn_id, origin=whence)
        self.ledger.campaigns.load_contacts(id_, [], loaded_by="r1", runner=running(self.ledger, id_))
        return self.ledger.campaigns.heartbeat(
            id_, str(entry.runner), {**PROGRESS, "obstacle": None, **progress}
        )

    def sleep(self, id_: str = "spring") -> None:
        self.ledger.campaigns.release(id_, str(self.begin(id_).runner))

    def die(self, id_: str = "spring") -> None:
        """Have a campaign's process show itself for the last time a minute ago."""
        before = seen_from(self.ledger, lambda: now() - timedelta(seconds=61))
        replace(self, ledger=before).begin(id_)

    def finish(self, id_: str = "spring", **numbers: Any) -> None:
        entry = self.begin(id_)
        summary = {**Tally().summary(), "results_path": "s3://outreach/results.csv", **numbers}
        self.ledger.campaigns.finish(id_, str(entry.runner), {"campaign_id": id_, **summary})
        self.ledger.campaigns.release(id_, str(entry.runner))

    def is_cancelled(self) -> bool:
        return bool(self.ledger.campaigns.cancelled(["spring"]))

    def listed(self, query: str = "") -> list[str]:
        """Return the campaigns of a list, in its order."""
        return listed(self.client.get(f"campaigns{query}").text)

    def shown(self, id_: str = "spring") -> str:
        answer = self.client.get("campaign", params={"id": id_}, headers=PARTIAL)
        assert answer.status_code == 200
        return answer.text

    def text(self, id_: str = "spring") -> str:
        return text_of(self.shown(id_))

    def post(self, what: str, id_: str = "spring") -> Any:
        return self.client.post(f"campaign/{what}", data={"id": id_}, headers=OWN | PARTIAL)


@pytest.fixture
def site(ledger: CallLedger, client_of: Client) -> Site:
    return Site(ledger, client_of)


def listed(html: str) -> list[str]:
    """Return the campaigns of a list, in its order."""
    links = [link for link in links_of(html) if link.startswith("campaign?")]
    return [parse_qs(urlsplit(link).query)["id"][0] for link in links]


def polling(html: str, id_: str = "campaign") -> dict[str, str | None]:
    """Return how a part keeps itself up to date."""
    [part] = [one for one in elements_of(html, "div") if one.get("id") == id_ and "hx-swap-oob" not in one]
    return {name: part.get(name) for name in ("hx-get", "hx-trigger")}


def ids_of(html: str, element: str) -> set[str | None]:
    return {one.get("id") for one in elements_of(html, element)}


class TestList:
    def test_it_names_campaigns_newest_first_with_how_far_they_are(self, site: Site) -> None:
        site.finish("autumn", contacts=10, invalid=2, answered=7, cancelled=1, attempts=9)
        site.begin()
        html = site.client.get("campaigns").text
        assert listed(html) == ["spring", "autumn"]
        text = text_of(html)
        assert "spring running 332 answered, 80 voicemail, 8 under way 1,000 412 (41 %) outreach r1" in text
        assert "autumn finished 7 answered, 1 cancelled 8 7 (87 %) outreach r1" in text

    def test_it_is_a_page_of_its_own_or_the_part_that_changes(self, site: Site) -> None:
        site.begin()
        whole, part = site.client.get("campaigns").text, site.client.get("campaigns", headers=PARTIAL).text
        assert "<html" in whole
        assert "<html" not in part
        assert listed(part) == ["spring"]

    def test_it_is_filtered_by_state(self, site: Site) -> None:
        site.begin("running")
        site.sleep("waiting")
        site.die("no_heartbeat")
        site.begin("cancelled")
        site.ledger.campaigns.cancel("cancelled")
        site.finish("finished")
        for state in CampaignState:
            assert site.listed(f"?state={state.value}") == [state.value]

    def test_it_keeps_its_filter_and_its_place_when_it_brings_itself_up_to_date(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pages, "PAGE_SIZE", 1)
        for id_ in ("spring 1", "spring 2"):
            site.begin(id_)
        first = site.client.get("campaigns?state=running&text=spring").text
        [older] = [link for link in links_of(first) if "after=" in link]
        asked = polling(site.client.get(str(older)).text, "campaigns")["hx-get"]
        assert listed(site.client.get(str(asked)).text) == ["spring 1"]

    def test_a_change_of_the_filter_is_announced_and_news_are_not(self, site: Site) -> None:
        site.begin()

        def told(trigger: str) -> bool:
            headers = {**PARTIAL, "HX-Trigger": trigger}
            return "1 campaign is shown." in text_of(site.client.get("campaigns", headers=headers).text)

        assert told("campaigns-filter")
        assert not told("campaigns")

    def test_it_is_filtered_by_a_part_of_any_name_and_no_sign_of_it_has_a_meaning(self, site: Site) -> None:
        site.begin("50%_off", dag_id="sales")
        site.begin("other", dag_id="outreach")

        def found(text: str) -> list[str]:
            return listed(site.client.get("campaigns", params={"text": text}).text)

        assert found("SALE") == found("0%_") == found(" off ") == ["50%_off"]
        assert found("5%o") == []
        assert sorted(found("r1")) == ["50%_off", "other"]

    def test_pages_lead_to_each_other_and_every_campaign_is_on_one_of_them(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pages, "PAGE_SIZE", 2)
        for number in range(5):
            site.begin(f"c{number}")

        def follow(html: str, name: str) -> str:
            [link] = [one for one in elements_of(html, "a") if one.get("id") == f"page-{name}"]
            return site.client.get(str(link["href"])).text

        first = site.client.get("campaigns").text
        second = follow(first, "older")
        third = follow(second, "older")
        assert [listed(page) for page in (first, second, third)] == [["c4", "c3"], ["c2", "c1"], ["c0"]]
        assert listed(follow(third, "newer")) == ["c2", "c1"]
        assert listed(follow(third, "first")) == ["c4", "c3"]
        assert {"page-first", "page-newer"}.isdisjoint(ids_of(first, "a"))
        assert "page-older" not in ids_of(third, "a")

    def test_an_empty_list_says_what_to_do(self, site: Site) -> None:
        assert "VoiceInfraCampaignOperator" in text_of(site.client.get("campaigns").text)
        assert "No campaign fits this filter. Show all" in text_of(site.client.get("campaigns?text=x").text)

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
        self, site: Site, address: str, words: str
    ) -> None:
        site.begin()
        answer = site.client.get(address)
        assert answer.status_code == 400
        assert words in text_of(answer.text)

    def test_campaigns_without_a_dag_are_shown_to_those_who_may_read_their_connection(
        self, site: Site
    ) -> None:
        site.begin("mine", dag_id=None, conn_id="sales")
        site.begin("theirs", dag_id=None, conn_id="support")
        site = site.seen_by(FakeVisitor(connections=["sales"], dags=()))
        assert site.listed() == ["mine"]
        assert site.client.get("campaign?id=mine").status_code == 200
        assert site.client.get("campaign?id=theirs").status_code == 404

    def test_campaigns_of_dags_that_may_not_be_read_are_hidden_and_take_no_place_on_a_page(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pages, "PAGE_SIZE", 2)
        for number in range(4):
            site.begin(f"mine {number}", dag_id="mine")
            site.begin(f"theirs {number}", dag_id="theirs")
        site = site.seen_by(FakeVisitor(dags=["mine"]))
        assert site.listed() == ["mine 3", "mine 2"]
        assert "theirs 0" not in site.client.get("campaigns?text=theirs", headers=PARTIAL).text


TOLD = (
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
)


class TestOne:
    def test_it_says_all_that_a_campaign_says_of_itself(self, site: Site) -> None:
        site.begin()
        text = site.text()
        assert [words for words in TOLD if words not in text] == []

    def test_the_bar_has_a_part_for_each_outcome_and_for_what_is_under_way(self, site: Site) -> None:
        site.begin(outcomes={"answered": 300, "busy": 100, "refused": 12})
        html = site.shown()
        bar = next(one for one in elements_of(html, "svg") if one.get("role") == "img")
        assert bar["aria-label"] == "Progress: 300 answered, 12 refused, 100 busy, 8 under way"
        parts = [one for one in elements_of(html, "rect") if one.get("x") is not None]
        assert [(one["class"], one["x"], one["width"]) for one in parts] == [
            ("fill-answered", "0.0", "300.0"),
            ("fill-refused", "300.0", "12.0"),
            ("fill-other", "312.0", "100.0"),
            ("fill-open", "412.0", "8.0"),
        ]

    def test_who_was_suppressed_while_it_ran_is_counted_and_named(self, site: Site) -> None:
        site.begin(outcomes={"answered": 300, "do_not_call": 7}, skipped={"do_not_call": 5})
        text = site.text()
        assert "7 suppressed" in text
        assert "5 on the do-not-call list" in text

    def test_who_waits_for_the_window_and_who_for_the_cap_is_told(self, site: Site) -> None:
        site.begin(waiting={"window": 312, "call_cap": 1})
        assert "312 contacts wait until their calling window opens." in site.text()
        assert "1 contact waits since their number was called as often as the cap allows." in site.text()

    def test_the_bar_never_grows_beyond_its_end(self, site: Site) -> None:
        site.begin(contacts=10, outcomes={"answered": 9, "failed": 8}, active=5)
        parts = [one for one in elements_of(site.shown(), "rect") if one.get("x") is not None]
        assert sum(float(str(one["width"])) for one in parts) == 1000

    def test_who_waits_for_a_free_line_is_said_to(self, site: Site) -> None:
        site.begin(active=10)
        assert "563 contacts wait for a free line: all 10 are in use." in site.text()

    @pytest.mark.parametrize(
        ("obstacle", "words"),
        [
            ("rate_limit", "The API's rate limit was met"),
            ("unreachable", "It is tried again by itself"),
            ("failing", "answers to calls get lost"),
        ],
    )
    def test_what_is_in_the_way_is_explained(self, site: Site, obstacle: str, words: str) -> None:
        site.begin(obstacle=obstacle)
        text = site.text()
        assert "In the way:" in text
        assert words in text

    def test_contacts_are_counted_while_they_are_loaded(self, site: Site) -> None:
        site.ledger.campaigns.take(
            "spring", conn_id="voiceinfra_default", origin=CallOrigin(dag_id="outreach")
        )
        text = site.text()
        assert "contacts are being loaded" in text
        assert "It is not known yet how many contacts there are." in text

    def test_one_that_is_over_shows_its_summary_and_its_result_file(self, site: Site) -> None:
        site.finish(contacts=12, invalid=1, duplicates=2, answered=8, expired=1, attempts=11)
        text = site.text()
        assert "9 of 9 contacts done (100 %)" in text
        assert "Calls placed 11 Done 9" in text
        assert "Result file s3://outreach/results.csv" in text
        assert "duplicates 2" in text
        for gone in ("Rate now", "waits", "Waiting", "Under way", "lines"):
            assert gone not in text

    def test_links_lead_to_airflow_and_to_its_calls_whatever_they_are_called(self, site: Site) -> None:
        origin = CallOrigin(dag_id="d/e", run_id="r +1:00", task_id="t.u", map_index=0)
        site.begin("a/b c&d", origin=origin)
        run = "../../dags/d%2Fe/runs/r%20%2B1%3A00"
        assert {"campaign?id=a%2Fb+c%26d", run} <= {*links_of(site.client.get("campaigns").text)}
        links = {link["href"]: link for link in elements_of(site.shown("a/b c&d"), "a")}
        assert "calls?campaign_id=a%2Fb+c%26d" in links
        assert "data-out" in links[run]
        assert "data-out" in links[f"{run}/tasks/t.u/mapped/0"]

    def test_a_campaign_without_a_task_has_no_links_to_one(self, site: Site) -> None:
        site.begin(origin=CallOrigin())
        assert not [link for link in elements_of(site.shown(), "a") if "data-out" in link]

    @pytest.mark.parametrize(
        ("put", "cancelled", "of_list", "of_page"),
        [
            (Site.begin, False, "every 5s", "every 2s"),
            (Site.begin, True, None, "every 2s"),
            (Site.sleep, False, "every 5s", "every 10s"),
            (Site.die, False, "every 5s", "every 10s"),
            (Site.finish, False, None, None),
            (Site.finish, True, None, None),
        ],
        ids=["runs", "is stopping", "sleeps", "died", "over", "over and cancelled"],
    )
    def test_news_are_asked_for_as_often_as_there_may_be_some(
        self, site: Site, put: Any, cancelled: bool, of_list: str | None, of_page: str | None
    ) -> None:
        put(site)
        if cancelled:
            site.ledger.campaigns.cancel("spring")
        assert polling(site.client.get("campaigns").text, "campaigns")["hx-trigger"] == of_list
        assert polling(site.shown())["hx-trigger"] == of_page

    def test_news_are_announced_if_the_state_has_changed_and_only_then(self, site: Site) -> None:
        site.begin()
        news = str(polling(site.shown())["hx-get"])
        before = site.client.get(news, headers=PARTIAL).text
        site.ledger.campaigns.cancel("spring")
        after = site.client.get(news, headers=PARTIAL).text
        later = site.client.get(str(polling(after)["hx-get"]), headers=PARTIAL).text
        assert "announced" not in ids_of(before, "div")
        assert "The campaign is now: cancelled. Nobody else is dialled." in text_of(after)
        assert "announced" not in ids_of(later, "div")

    def test_what_somebody_may_be_using_has_an_id_by_which_it_is_found_again(self, site: Site) -> None:
        site.begin()
        site.finish("over", contacts=1, answered=1)
        for id_ in ("spring", "over"):
            html = site.shown(id_)
            used = [one for name in ("a", "button", "summary", "details") for one in elements_of(html, name)]
            used += [one for one in elements_of(html, "div") if one.get("tabindex") == "0"]
            names = [one.get("id") for one in used]
            assert None not in names
            assert len(set(names)) == len(names)

    @pytest.mark.parametrize("id_", ["unknown", "", "x" * 300, "SPRING"])
    def test_an_unknown_one_is_not_there(self, site: Site, id_: str) -> None:
        site.begin()
        answer = site.client.get("campaign", params={"id": id_})
        assert answer.status_code == 404
        assert "There is no such campaign, or you may not see it." in text_of(answer.text)

    def test_nobody_sees_a_full_number(self, site: Site) -> None:
        site.begin()
        for visitor in (VIEWER, USER, OP):
            html = site.seen_by(visitor).shown()
            assert "+1415***0100" in html
            assert not re.search(r"\+1\d{10}", html)


class TestTask:
    """What Airflow says of the task of a campaign that nobody runs."""

    @pytest.mark.parametrize("failed", ["failed", "upstream_failed"])
    @pytest.mark.parametrize("put", [Site.sleep, Site.die], ids=["released", "killed"])
    def test_one_whose_task_has_failed_says_so_and_waits_for_nothing(
        self, site: Site, task_states: dict[str, str], put: Any, failed: str
    ) -> None:
        put(site)
        task_states["spring"] = failed
        text = site.text()
        assert "task failed" in text
        assert "Its task has failed, so nobody else is called." in text
        assert "clear task call_all of run r1 of DAG outreach" in text
        assert "What it waits for" not in text

    def test_one_that_waits_says_why(self, site: Site, task_states: dict[str, str]) -> None:
        site.sleep()
        task_states["spring"] = "deferred"
        text = site.text()
        assert "Its task sleeps until there is something to do" in text
        assert "task failed" not in text

    def test_a_task_that_fails_is_announced(self, site: Site, task_states: dict[str, str]) -> None:
        site.sleep()
        news = str(polling(site.shown())["hx-get"])
        task_states["spring"] = "failed"
        text = text_of(site.client.get(news, headers=PARTIAL).text)
        assert "The campaign is now: waiting, task failed." in text

    def test_a_campaign_that_runs_is_believed_without_asking_airflow(
        self, site: Site, task_states: dict[str, str]
    ) -> None:
        site.begin()
        task_states["spring"] = "failed"
        assert "task failed" not in site.text()


class TestChange:
    def test_cancelling_stops_it_and_says_what_happens_next_or_since_when_it_is_cancelled(
        self, site: Site
    ) -> None:
        site.begin()
        answer = site.post("cancel")
        assert answer.status_code == 200
        text = text_of(answer.text)
        assert "The campaign is cancelled." in text
        assert "The running task notices within a second or so." in text
        assert '"Resume" takes this back.' in text
        assert "<html" not in answer.text
        before = site.ledger.campaigns.get("spring")
        assert before
        assert before.cancelled_at
        text = text_of(site.post("cancel").text)
        assert f"the campaign was cancelled before, at {before.cancelled_at:%Y-%m-%d %H:%M:%S} UTC" in text
        assert site.ledger.campaigns.get("spring") == before

    def test_it_asks_back_before_it_cancels(self, site: Site) -> None:
        site.begin()
        html = site.shown()
        [question] = [one for one in elements_of(html, "details") if one["id"] == "ask-cancel"]
        assert "open" not in question
        [form] = elements_of(html, "form")
        assert (form["hx-post"], form["action"], form["method"]) == ("campaign/cancel",) * 2 + ("post",)
        assert "Cancel this campaign? Nobody else is dialled; calls under way go on. Yes" in text_of(html)

    def test_cancelling_too_late_says_so(self, site: Site) -> None:
        site.finish()
        text = text_of(site.post("cancel").text)
        assert "Nothing was changed: the campaign was over before it could be cancelled." in text
        assert not site.is_cancelled()

    @pytest.mark.parametrize(
        ("put", "words"),
        [
            (Site.begin, "It goes on within a second or so."),
            (Site.sleep, "It goes on when its task runs again."),
        ],
        ids=["running", "waiting"],
    )
    def test_a_cancellation_can_be_taken_back(self, site: Site, put: Any, words: str) -> None:
        put(site)
        site.ledger.campaigns.cancel("spring")
        assert "ask-resume" in ids_of(site.shown(), "details")
        text = text_of(site.post("resume").text)
        assert not site.is_cancelled()
        assert f"The cancellation is taken back. {words}" in text
        assert "the campaign is not cancelled" in text_of(site.post("resume").text)

    def test_one_that_was_cancelled_and_is_over_goes_on_when_its_task_is_cleared(self, site: Site) -> None:
        runner = str(site.begin().runner)
        site.ledger.campaigns.cancel("spring")
        site.ledger.campaigns.finish("spring", runner, {**Tally().summary(), "contacts": 3, "cancelled": 3})
        site.ledger.campaigns.release("spring", runner)
        text = text_of(site.post("resume").text)
        assert "Now clear task call_all of run r1 of DAG outreach" in text

    def test_what_can_be_done_next_is_offered_and_nothing_else(self, site: Site) -> None:
        site.begin("runs")
        site.begin("cancelled")
        site.ledger.campaigns.cancel("cancelled")
        site.finish("over")
        for id_, actions in (("runs", ["campaign/cancel"]), ("cancelled", ["campaign/resume"]), ("over", [])):
            assert [form["hx-post"] for form in elements_of(site.shown(id_), "form")] == actions

    @pytest.mark.parametrize("what", ["cancel", "resume"])
    @pytest.mark.parametrize("visitor", [VIEWER, EDITS_NO_DAG], ids=lambda one: one.name)
    def test_who_may_not_change_it_is_told_which_permission_is_missing(
        self, site: Site, what: str, visitor: FakeVisitor
    ) -> None:
        site.begin()
        if what == "resume":
            site.ledger.campaigns.cancel("spring")
        before = site.ledger.campaigns.get("spring")
        site = site.seen_by(visitor)
        answer = site.post(what)
        assert answer.status_code == 403
        assert "you need permission to edit the runs of the DAG 'outreach'" in text_of(answer.text)
        assert site.ledger.campaigns.get("spring") == before
        assert not elements_of(site.shown(), "form")

    def test_without_a_dag_it_takes_the_permission_to_edit_the_connection(self, site: Site) -> None:
        site.begin(dag_id=None)
        reader = FakeVisitor("reader", connections=["voiceinfra_default"], editable_connections=())
        refused = site.seen_by(reader).post("cancel")
        allowed = site.seen_by(FakeVisitor(editable_dags=())).post("cancel")
        assert refused.status_code == 403
        assert "permission to edit the connection 'voiceinfra_default'" in text_of(refused.text)
        assert allowed.status_code == 200

    def test_unknown_and_hidden_ones_look_alike(self, site: Site) -> None:
        site.begin()
        site = site.seen_by(FakeVisitor(dags=()))

        def asked(id_: str) -> list[Any]:
            return [
                site.client.get("campaign", params={"id": id_}),
                site.post("cancel", id_),
                site.post("resume", id_),
            ]

        for hidden, unknown in zip(asked("spring"), asked("unknown"), strict=True):
            assert hidden.status_code == unknown.status_code == 404
            assert hidden.text == unknown.text
        assert not site.is_cancelled()

    def test_without_an_id_nothing_is_changed(self, site: Site) -> None:
        answer = site.client.post("campaign/cancel", headers=OWN)
        assert answer.status_code == 400
        assert "id is missing" in text_of(answer.text)

    def test_the_log_says_who_has_changed_what(self, site: Site, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, logger=pages.__name__)
        site.begin("spring\nfake line")
        site = site.seen_by(USER)
        for what in ("cancel", "cancel", "resume", "resume"):
            site.post(what, "spring\nfake line")
        assert [record.getMessage() for record in caplog.records if record.name == pages.__name__] == [
            r"Campaign 'spring\nfake line' was cancelled by 'user'.",
            r"The cancellation of campaign 'spring\nfake line' was taken back by 'user'.",
        ]
