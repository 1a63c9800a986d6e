"""Lists of campaigns are read page after page, by state, by text, or by DAG run."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.states import RUNNER_LEASE, CampaignState, state_of
from airflow_provider_voiceinfra.ledger.database.schema import campaigns
from airflow_provider_voiceinfra.ledger.lists.campaigns import CampaignFilter, CampaignsPage
from tests.ledger.conftest import START, Clock
from tests.ledger.examples import CONN_ID, FIRST_TRY, execute


@pytest.fixture
def ledger(ledger_url: str, clock: Clock) -> CallLedger:
    return CallLedger(ledger_url, now=clock)


def begin(ledger: CallLedger, *ids: str, conn_id: str = CONN_ID, **origin: Any) -> None:
    for id_ in ids:
        ledger.campaigns.take(id_, conn_id=conn_id, origin=replace(FIRST_TRY, **origin))


def ids(page: CampaignsPage) -> list[str]:
    return [entry.campaign_id for entry in page.campaigns]


def found(ledger: CallLedger, **wanted: Any) -> set[str]:
    return set(ids(ledger.lists.page_of_campaigns(CampaignFilter(**wanted))))


class TestPages:
    @pytest.mark.parametrize("number", [0, 1, 3, 7])
    def test_pages_follow_each_other_and_lead_back_even_if_many_began_at_once(
        self, ledger: CallLedger, clock: Clock, number: int
    ) -> None:
        for at in range(number):
            begin(ledger, f"c{at}")
            clock.forward(at % 3 == 2)  # three begin in each second
        expected = [entry.campaign_id for entry in ledger.lists.campaigns()]
        assert len(expected) == number

        page = partial(ledger.lists.page_of_campaigns, CampaignFilter(), limit=3)
        onwards = [page()]
        while onwards[-1].after:
            onwards.append(page(after=onwards[-1].after))
        backwards = [onwards[-1]]
        while backwards[-1].before:
            backwards.append(page(before=backwards[-1].before))

        assert list(itertools.chain(*map(ids, onwards))) == expected
        assert [ids(page) for page in reversed(backwards)] == [ids(page) for page in onwards]
        assert all(len(page.campaigns) == 3 for page in onwards[:-1])
        assert onwards[0].before is None

    def test_what_begins_meanwhile_shifts_no_page(self, ledger: CallLedger, clock: Clock) -> None:
        for id_ in ("one", "two", "three"):
            begin(ledger, id_)
            clock.forward(1)
        first = ledger.lists.page_of_campaigns(CampaignFilter(), limit=2)
        begin(ledger, "four")

        assert ids(first) == ["three", "two"]
        assert ids(ledger.lists.page_of_campaigns(CampaignFilter(), after=first.after, limit=2)) == ["one"]

    @pytest.mark.parametrize("text", ["", "nonsense", "NQ==", "NSB4", "\N{SNOWMAN}"])
    @pytest.mark.parametrize("direction", ["after", "before"])
    def test_place_that_no_page_gave_out_is_refused(
        self, ledger: CallLedger, direction: str, text: str
    ) -> None:
        with pytest.raises(ValueError, match=r".+"):
            ledger.lists.page_of_campaigns(CampaignFilter(), **{direction: text})  # type: ignore[arg-type]


class TestFilter:
    def test_each_state_finds_what_is_in_it(self, ledger: CallLedger) -> None:
        present = START
        seen = (None, present, present - RUNNER_LEASE, present - 2 * RUNNER_LEASE)
        finished = (None, present, present - 1.5 * RUNNER_LEASE)
        every = list(itertools.product((None, "somebody"), seen, (None, present), finished))
        begin(ledger, *(f"c{number}" for number in range(len(every))))
        names = ("runner", "runner_seen_at", "cancelled_at", "finished_at")
        for number, values in enumerate(every):
            one = campaigns.update().where(campaigns.c.campaign_id == f"c{number}")
            execute(ledger, one.values(**dict(zip(names, values, strict=True))))

        for state in CampaignState:
            expected = {
                one.campaign_id for one in ledger.lists.campaigns() if state_of(one, present) is state
            }
            assert expected
            assert found(ledger, state=state.value) == expected, state

    def test_a_state_that_there_is_none_of_is_refused(self, ledger: CallLedger) -> None:
        with pytest.raises(ValueError, match="no state 'asleep'"):
            ledger.lists.page_of_campaigns(CampaignFilter(state="asleep"))

    def test_text_is_looked_for_in_the_ids_of_campaign_dag_and_run(self, ledger: CallLedger) -> None:
        begin(ledger, "Spring_Checkup", dag_id="outreach", run_id="r1")
        begin(ledger, "autumn", dag_id="Recall%", run_id="scheduled")

        assert found(ledger, text="spring_") == found(ledger, text="OUTREACH") == {"Spring_Checkup"}
        assert found(ledger, text="call%") == found(ledger, text="SCHED") == {"autumn"}
        assert found(ledger, text="g%c") == found(ledger, text="autum_") == set()

    def test_those_of_named_dags_and_connections_without_a_dag_are_found(self, ledger: CallLedger) -> None:
        begin(ledger, "a", dag_id="a")
        begin(ledger, "b", dag_id="b")
        begin(ledger, "sales", dag_id=None, conn_id="sales")
        begin(ledger, "support", dag_id=None, conn_id="support")

        def seen(dags: set[str], conns: set[str]) -> set[str]:
            return found(ledger, dag_ids=frozenset(dags), dagless_conns=frozenset(conns))

        assert seen({"a"}, {"sales"}) == {"a", "sales"}
        assert seen(set(), {"support"}) == {"support"}
        assert seen({"a", "b"}, set()) == {"a", "b"}
        assert seen(set(), set()) == set()
        assert found(ledger) == {"a", "b", "sales", "support"}

    def test_sources_are_the_dags_and_connections_of_all_campaigns(self, ledger: CallLedger) -> None:
        begin(ledger, "one", "two", dag_id="a")
        begin(ledger, "three", dag_id=None, conn_id="sales")

        assert sorted(ledger.lists.campaign_sources(), key=str) == [("a", CONN_ID), (None, "sales")]


class TestRun:
    def test_campaigns_of_a_run_are_its_own_newest_first(self, ledger: CallLedger, clock: Clock) -> None:
        for id_, run_id in (("one", "r1"), ("two", "r2"), ("three", "r1")):
            begin(ledger, id_, run_id=run_id)
            clock.forward(1)
        begin(ledger, "another", dag_id="another", run_id="r1")

        def of_run(limit: int = 100) -> list[str]:
            return [entry.campaign_id for entry in ledger.lists.campaigns_of_run("dag", "r1", limit=limit)]

        assert of_run() == ["three", "one"]
        assert of_run(limit=1) == ["three"]
        assert ledger.lists.campaigns_of_run("dag", "r3") == []


def test_what_no_database_can_hold_is_not_found(ledger: CallLedger) -> None:
    begin(ledger, "one")

    assert ledger.campaigns.get("one\0") is None
    assert ledger.lists.campaigns_of_run("dag", "run\0") == []
    assert found(ledger, text="one\0") == set()
