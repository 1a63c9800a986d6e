"""One process at a time runs a campaign; a dead one is replaced, and a lost one learns that it must stop."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_voiceinfra.exceptions import CampaignBusyError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from airflow_provider_voiceinfra.ledger.database.connect import Database
from airflow_provider_voiceinfra.ledger.database.schema import campaigns
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from tests.ledger.conftest import START, Clock
from tests.ledger.examples import CONN_ID, FIRST_TRY, SECOND_TRY, execute, running
from tests.ledger.examples import campaign as stored
from tests.ledger.racing import Rival, at_once

ANOTHER_RUN = replace(FIRST_TRY, run_id="another run")


@pytest.fixture
def ledger(ledger_url: str, clock: Clock) -> CallLedger:
    return CallLedger(ledger_url, now=clock)


def take(ledger: CallLedger, origin: CallOrigin = FIRST_TRY, campaign_id: str = "c") -> CampaignEntry:
    return ledger.campaigns.take(campaign_id, conn_id=CONN_ID, origin=origin)


def runner_of(ledger: CallLedger, origin: CallOrigin = FIRST_TRY) -> str:
    """Take a campaign, and return what the process that runs it is known by."""
    return str(take(ledger, origin).runner)


def set_loaded(ledger: CallLedger) -> None:
    ledger.campaigns.load_contacts("c", [], loaded_by="somebody", runner=running(ledger))


class TestTake:
    def test_campaign_of_a_new_id_is_begun(self, ledger: CallLedger, ledger_url: str, clock: Clock) -> None:
        entry = take(ledger)
        assert entry.runner
        assert (entry.campaign_id, entry.conn_id, entry.task) == ("c", CONN_ID, FIRST_TRY.task)
        assert (entry.created_at, entry.runner_seen_at) == (START, START)
        assert (entry.loads, entry.loaded_by, entry.progress, entry.summary) == (0, None, None, None)
        assert (entry.cancelled_at, entry.finished_at) == (None, None)
        [row] = Database(ledger_url).rows(campaigns.select())  # it sees only what was committed
        assert CampaignEntry(**row._mapping) == entry == stored(ledger)

    @pytest.mark.parametrize("field", ["dag_id", "run_id", "task_id", "map_index"])
    def test_another_task_instance_is_refused_meanwhile(self, ledger: CallLedger, field: str) -> None:
        entry = take(ledger)
        with pytest.raises(CampaignBusyError) as caught:
            take(ledger, replace(SECOND_TRY, **{field: 3 if field == "map_index" else "x"}))  # type: ignore[arg-type]
        assert caught.value.campaign_id == "c"
        assert all(f"{name!r}" in str(caught.value) for name in ("dag", "run", "task"))
        assert stored(ledger) == entry

    def test_silent_runner_is_replaced_after_a_minute(self, ledger: CallLedger, clock: Clock) -> None:
        runner = runner_of(ledger)
        for _ in range(2):
            ledger.campaigns.heartbeat("c", runner, {})
            clock.forward(59.9)
            with pytest.raises(CampaignBusyError):
                take(ledger, ANOTHER_RUN)
        clock.forward(0.1)
        entry = take(ledger, ANOTHER_RUN)
        assert (entry.run_id, entry.runner_seen_at) == ("another run", clock.moment)
        assert entry.runner not in (None, runner)

    @pytest.mark.parametrize("origin", [FIRST_TRY, SECOND_TRY], ids=["same try", "next try"])
    def test_same_task_instance_takes_over_at_once(self, ledger: CallLedger, origin: CallOrigin) -> None:
        before = runner_of(ledger)
        entry = take(ledger, origin)
        assert entry.runner not in (None, before)

    def test_campaign_that_is_taken_up_goes_on_where_it_was(self, ledger: CallLedger, clock: Clock) -> None:
        runner = runner_of(ledger)
        set_loaded(ledger)
        ledger.campaigns.heartbeat("c", runner, {"active": 3})
        ledger.campaigns.cancel("c")
        ledger.campaigns.release("c", runner)
        before = stored(ledger)
        clock.forward(1)  # no need to wait: it was released
        entry = ledger.campaigns.take("c", conn_id="another", origin=ANOTHER_RUN)
        changed: dict[str, Any] = {"conn_id": "another", "run_id": "another run", "runner": entry.runner}
        assert entry == replace(before, **changed, runner_seen_at=clock.moment)

    def test_of_many_at_once_exactly_one_runs_it(self, ledger: CallLedger) -> None:
        ledger.check()

        def race(number: int) -> str | None:
            try:
                return runner_of(ledger, replace(FIRST_TRY, map_index=number))
            except CampaignBusyError:
                return None

        assert [runner for runner in at_once(race) if runner] == [stored(ledger).runner]

    @pytest.mark.parametrize("by", [ANOTHER_RUN, SECOND_TRY], ids=["another task", "next try"])
    def test_one_who_comes_meanwhile_is_refused_or_says_so(self, ledger: CallLedger, by: CallOrigin) -> None:
        ledger.campaigns.release("c", runner_of(ledger))
        rival = Rival(ledger, "SELECT", "campaigns", lambda: take(ledger, by))
        entry = take(ledger)
        if by is ANOTHER_RUN:
            with pytest.raises(CampaignBusyError):
                rival.result()
            assert stored(ledger) == entry
        else:
            assert rival.result() == stored(ledger)
            with pytest.raises(CampaignBusyError):
                ledger.campaigns.heartbeat("c", str(entry.runner), {})


class TestBeat:
    def test_beat_shows_life_and_progress(self, ledger: CallLedger, clock: Clock) -> None:
        runner = runner_of(ledger)
        clock.forward(7)
        entry = ledger.campaigns.heartbeat(
            "c", runner, {"active": 3, "waiting": {"window": 2}, "obstacle": None}
        )
        assert entry == stored(ledger)
        assert entry.progress == {"active": 3, "waiting": {"window": 2}, "obstacle": None}
        assert entry.runner_seen_at == START + timedelta(seconds=7)
        assert entry.runner == runner

    @pytest.mark.parametrize("by", [ANOTHER_RUN, SECOND_TRY], ids=["another task", "next try"])
    def test_runner_that_has_lost_the_campaign_is_refused_and_changes_nothing(
        self, ledger: CallLedger, clock: Clock, by: CallOrigin
    ) -> None:
        lost = runner_of(ledger)
        clock.forward(60)
        runner = runner_of(ledger, by)
        set_loaded(ledger)
        entry = ledger.campaigns.heartbeat("c", runner, {"active": 1})
        clock.forward(1)
        with pytest.raises(CampaignBusyError, match=f"{by.run_id!r}"):
            ledger.campaigns.heartbeat("c", lost, {"active": 99})
        with pytest.raises(CampaignBusyError, match=f"{by.run_id!r}"):
            ledger.campaigns.finish("c", lost, {"contacts": 3})
        ledger.campaigns.release("c", lost, forget_load=True)
        assert stored(ledger) == entry

    def test_campaign_that_a_restored_ledger_has_forgotten_is_nobodys(self, ledger: CallLedger) -> None:
        runner = runner_of(ledger)
        execute(ledger, campaigns.delete())
        with pytest.raises(CampaignBusyError):
            ledger.campaigns.heartbeat("c", runner)

    def test_runner_that_has_released_the_campaign_is_refused(self, ledger: CallLedger) -> None:
        runner = runner_of(ledger)
        ledger.campaigns.release("c", runner)
        with pytest.raises(CampaignBusyError):
            ledger.campaigns.heartbeat("c", runner, {})
        assert stored(ledger).runner is None


class TestRelease:
    def test_contacts_stay_loaded_unless_they_are_to_be_forgotten(self, ledger: CallLedger) -> None:
        runner = runner_of(ledger)
        set_loaded(ledger)
        ledger.campaigns.release("c", runner)
        assert (stored(ledger).runner, stored(ledger).loaded_by) == (None, "somebody")
        ledger.campaigns.release("c", runner_of(ledger), forget_load=True)
        assert (stored(ledger).runner, stored(ledger).loaded_by) == (None, None)


class TestCancel:
    def test_campaign_is_cancelled_once(self, ledger: CallLedger, clock: Clock) -> None:
        runner_of(ledger)
        assert not ledger.campaigns.cancelled(["c"])
        clock.forward(5)
        assert ledger.campaigns.cancel("c")
        clock.forward(5)
        assert not ledger.campaigns.cancel("c")
        assert ledger.campaigns.cancelled(["c"])
        assert stored(ledger).cancelled_at == START + timedelta(seconds=5)

    def test_cancellation_can_be_taken_back_and_repeated(self, ledger: CallLedger) -> None:
        runner = runner_of(ledger)
        assert not ledger.campaigns.uncancel("c")
        for _ in range(2):
            assert ledger.campaigns.cancel("c")
            assert ledger.campaigns.heartbeat("c", runner).cancelled_at is not None
            assert ledger.campaigns.uncancel("c")
            assert not ledger.campaigns.cancelled(["c"])
            assert ledger.campaigns.heartbeat("c", runner).cancelled_at is None

    def test_campaign_that_is_not_there_cannot_be_cancelled(self, ledger: CallLedger) -> None:
        take(ledger, campaign_id="another")
        assert not ledger.campaigns.cancel("c")
        assert not ledger.campaigns.uncancel("c")
        assert not ledger.campaigns.cancelled(["c"])
        assert not ledger.campaigns.cancelled(["another"])

    def test_finished_campaign_cannot_be_cancelled(self, ledger: CallLedger, clock: Clock) -> None:
        runner = runner_of(ledger)
        clock.forward(5)
        ledger.campaigns.finish("c", runner, {})
        assert not ledger.campaigns.cancel("c")
        ledger.campaigns.release("c", runner)
        assert not ledger.campaigns.cancel("c")
        assert not ledger.campaigns.cancelled(["c"])

    @pytest.mark.parametrize(
        "loaded", [False, True], ids=["contacts are being loaded", "contacts are loaded"]
    )
    def test_continued_campaign_can_be_cancelled(
        self, ledger: CallLedger, clock: Clock, loaded: bool
    ) -> None:
        runner = runner_of(ledger)
        ledger.campaigns.finish("c", runner, {})
        ledger.campaigns.release("c", runner)
        clock.forward(5)
        runner = runner_of(ledger, ANOTHER_RUN)
        if loaded:
            set_loaded(ledger)
        assert ledger.campaigns.cancel("c")
        assert ledger.campaigns.heartbeat("c", runner, {}).cancelled_at is not None

    def test_campaign_that_was_cancelled_and_is_over_can_be_continued(self, ledger: CallLedger) -> None:
        runner = runner_of(ledger)
        ledger.campaigns.cancel("c")
        ledger.campaigns.finish("c", runner, {"cancelled": 3})
        assert ledger.campaigns.uncancel("c")
        assert not ledger.campaigns.cancelled(["c"])


class TestFinish:
    def test_result_is_stored_and_contacts_are_loaded_anew(self, ledger: CallLedger, clock: Clock) -> None:
        runner = runner_of(ledger)
        set_loaded(ledger)
        clock.forward(9)
        ledger.campaigns.finish("c", runner, {"contacts": 3, "results_path": None})
        entry = stored(ledger)
        assert entry.summary == {"contacts": 3, "results_path": None}
        assert (entry.finished_at, entry.loaded_by) == (START + timedelta(seconds=9), None)

    def test_campaign_with_new_contacts_is_not_finished_any_more(self, ledger: CallLedger) -> None:
        runner = runner_of(ledger)
        ledger.campaigns.finish("c", runner, {"contacts": 3})
        set_loaded(ledger)
        assert (stored(ledger).finished_at, stored(ledger).summary) == (None, None)

    def test_other_campaigns_go_on(self, ledger: CallLedger) -> None:
        runner = runner_of(ledger)
        other = take(ledger, ANOTHER_RUN, "another")
        ledger.campaigns.heartbeat("c", runner, {"active": 1})
        ledger.campaigns.cancel("c")
        ledger.campaigns.finish("c", runner, {})
        ledger.campaigns.release("c", runner, forget_load=True)
        assert stored(ledger, "another") == other


class TestListing:
    def test_campaigns_are_listed_newest_first(self, ledger: CallLedger, clock: Clock) -> None:
        assert (ledger.campaigns.get("one"), ledger.lists.campaigns()) == (None, [])
        for name in ("one", "two", "three"):
            take(ledger, campaign_id=name)
            clock.forward(1)
        take(ledger, SECOND_TRY, "one")  # taking it up again does not make it newer
        assert [entry.campaign_id for entry in ledger.lists.campaigns()] == ["three", "two", "one"]
        assert [entry.campaign_id for entry in ledger.lists.campaigns(limit=2)] == ["three", "two"]
