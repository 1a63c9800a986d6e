"""Completions are kept once, found by what they say, and given to the one call whose own they must be."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from airflow_provider_voiceinfra.calls import CallOutcome, CompletionRecord
from airflow_provider_voiceinfra.ledger import CallLedger, rows
from airflow_provider_voiceinfra.ledger.database.connect import Database, database
from airflow_provider_voiceinfra.ledger.database.schema import calls, counters
from airflow_provider_voiceinfra.ledger.records import CallState, CompletionEntry, Recorded
from tests.ledger.examples import CALL, CONN_ID, body, claim, complete, unknown

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def sequences(entries: list[CompletionEntry]) -> list[int]:
    return [entry.sequence for entry in entries]


class TestComplete:
    def test_record_is_kept_whole(self, ledger: CallLedger) -> None:
        start = datetime(2026, 7, 4, 12, 0, tzinfo=timezone.utc)
        raw = body(
            "call_1", start, transcript="Agent: Hello", lead={"score": 7}, end_time="2026-07-04T12:00:05Z"
        )
        assert ledger.complete(CompletionRecord.from_body(raw), raw, conn_id=CONN_ID) is Recorded.NEW
        entry = ledger.completion("call_1")
        assert entry is not None
        assert (entry.call_id, entry.sequence, entry.conn_id) == ("call_1", 1, CONN_ID)
        assert (entry.agent_id, entry.from_number, entry.to_number) == (
            CALL.agent_id,
            CALL.from_number,
            CALL.to_number,
        )
        assert (entry.call_outcome, entry.duration_seconds) == ("answered", 5)
        assert (entry.started_at, entry.ended_at) == (start, start + timedelta(seconds=5))
        assert entry.body == raw
        assert entry.record().payload == json.loads(raw)
        assert entry.record().received_at == entry.received_at
        assert "415555" not in repr(entry)
        assert "Hello" not in repr(entry)

    def test_call_that_is_not_over_has_no_completion(self, ledger: CallLedger) -> None:
        assert ledger.completion("call_1") is None

    def test_same_delivery_again_changes_nothing(self, ledger: CallLedger) -> None:
        raw = body("call_1")
        record = CompletionRecord.from_body(raw)
        assert ledger.complete(record, raw, conn_id=CONN_ID) is Recorded.NEW
        first = ledger.completion("call_1")
        assert ledger.complete(record, raw, conn_id=CONN_ID) is Recorded.DUPLICATE
        assert ledger.completion("call_1") == first

    def test_first_story_of_a_call_is_kept(self, ledger: CallLedger) -> None:
        complete(ledger, "call_1", call_outcome="answered")
        assert complete(ledger, "call_1", call_outcome="failed") is Recorded.DIFFERENT
        entry = ledger.completion("call_1")
        assert entry is not None
        assert entry.call_outcome == "answered"

    def test_of_many_deliveries_at_once_one_is_new(self, ledger: CallLedger) -> None:
        raw = body("call_1")
        record = CompletionRecord.from_body(raw)
        ready = threading.Barrier(8)

        def deliver(_: int) -> Recorded:
            ready.wait()
            return ledger.complete(record, raw, conn_id=CONN_ID)

        ledger.check()
        with ThreadPoolExecutor(8) as pool:
            results = sorted(result.value for result in pool.map(deliver, range(8)))
        assert results == ["duplicate"] * 7 + ["new"]

    def test_values_too_long_for_their_columns_are_kept_in_the_body(self, ledger: CallLedger) -> None:
        long = "x" * 1000
        fields = {"agent_id": long, "from_number": long, "to_number": long, "call_outcome": long}
        assert complete(ledger, "call_1", **fields) is Recorded.NEW
        entry = ledger.completion("call_1")
        assert entry is not None
        assert entry.record().payload["agent_id"] == long

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
    @given(
        fields=st.dictionaries(
            st.sampled_from(["agent_id", "to_number", "call_outcome", "duration_seconds", "start_time", "x"]),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text()
            | st.datetimes().map(datetime.isoformat)
            | st.lists(st.text()),
        ),
        call_id=st.text(min_size=1) | st.integers(),
    )
    def test_whatever_a_webhook_holds_can_be_stored_and_read(
        self, ledger: CallLedger, fields: dict[str, Any], call_id: Any
    ) -> None:
        raw = json.dumps({**fields, "call_id": call_id}).encode()
        try:
            record = CompletionRecord.from_body(raw)
        except ValueError:
            return
        ledger.complete(record, raw, conn_id=CONN_ID)
        entry = ledger.completion(record.call_id)
        assert entry is not None
        assert entry.call_id == record.call_id


class TestReading:
    def test_many_calls_are_looked_up_together(self, ledger: CallLedger) -> None:
        for number in range(3):
            complete(ledger, f"call_{number}")
        wanted = [f"call_{number}" for number in range(1200)] + ["call_0"]
        found = ledger.completions(wanted)
        assert sorted(found) == ["call_0", "call_1", "call_2"]
        assert all(found[call_id].record().call_id == call_id for call_id in found)
        assert ledger.completions([]) == {}

    def test_entry_read_without_its_body_has_no_record(self, ledger: CallLedger) -> None:
        complete(ledger, "call_1")
        entry = ledger.completions(["call_1"], with_body=False)["call_1"]
        assert entry.body is None
        with pytest.raises(ValueError, match="call_1 was read without its body"):
            entry.record()


class TestSequence:
    def test_numbers_grow_without_gaps_although_duplicates_come_between(self, ledger: CallLedger) -> None:
        assert ledger.last_sequence() == 0
        for number in range(5):
            for _ in range(2):
                complete(ledger, f"call_{number}", LONG_AGO)
        assert sequences(ledger.completions_after(0)) == [1, 2, 3, 4, 5]
        assert ledger.last_sequence() == 5
        assert sequences(ledger.completions_after(3)) == [4, 5]
        assert sequences(ledger.completions_after(1, limit=2)) == [2, 3]
        assert ledger.completions_after(5) == []

    def test_numbers_are_dense_after_a_race_of_duplicates(self, ledger: CallLedger) -> None:
        ledger.check()
        bodies = {f"call_{number}": body(f"call_{number}") for number in range(20)}

        def deliver(call_id: str) -> None:
            raw = bodies[call_id]
            ledger.complete(CompletionRecord.from_body(raw), raw, conn_id=CONN_ID)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(deliver, [call_id for call_id in bodies for _ in range(4)]))
        assert sequences(ledger.completions_after(0)) == list(range(1, 21))

    def test_numbers_go_on_after_a_purge(self, ledger: CallLedger) -> None:
        complete(ledger, "call_1")
        ledger.purge(datetime.now(timezone.utc) + timedelta(seconds=1))
        complete(ledger, "call_2")
        assert sequences(ledger.completions_after(1)) == [2]

    def test_follower_misses_nothing_while_many_write(self, ledger: CallLedger) -> None:
        ledger.check()
        total = 120
        done = threading.Event()
        followed: list[str] = []

        def follow() -> None:
            cursor = 0
            while True:
                finishing = done.is_set()
                for entry in ledger.completions_after(cursor, limit=7):
                    followed.append(entry.call_id)
                    cursor = entry.sequence
                if finishing and not ledger.completions_after(cursor):
                    return

        follower = threading.Thread(target=follow)
        follower.start()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: complete(ledger, f"call_{number}"), range(total)))
        done.set()
        follower.join()
        assert sorted(followed) == sorted(f"call_{number}" for number in range(total))

    def test_transaction_that_commits_late_is_not_overtaken(
        self, postgres_database: str, wait_until: Callable[[Callable[[], bool]], None]
    ) -> None:
        # On PostgreSQL a sequence's numbers and the commits would come in different orders.
        ledger = CallLedger(postgres_database)
        complete(ledger, "call_1")
        slow = Database(postgres_database).engine.connect()
        slow.execute(update(counters).values(value=counters.c.value + 1))  # takes number 2 and is held up
        watching = (
            Database(postgres_database).engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        )
        with ThreadPoolExecutor(1) as pool:
            fast = pool.submit(complete, ledger, "call_2")
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            wait_until(lambda: watching.exec_driver_sql(waiting).scalar_one() == 1)
            assert sequences(ledger.completions_after(1)) == []
            slow.rollback()
            assert fast.result() is Recorded.NEW
        assert sequences(ledger.completions_after(1)) == [2]
        slow.close()
        watching.close()


class TestFind:
    @pytest.fixture
    def four(self, ledger: CallLedger) -> CallLedger:
        complete(ledger, "call_1", to_number="+14155550102", lead={"score": 1}, n=1)
        complete(ledger, "call_2", call_outcome="failed", n=2)
        complete(ledger, "call_3", agent_id="another", lead={"score": 7})
        complete(ledger, "call_4", agent_id=5, call_outcome=None)
        return ledger

    @pytest.mark.parametrize(
        ("match", "outcomes", "call_id"),
        [
            ({}, None, "call_1"),
            ({"to_number": "+14155550100"}, None, "call_2"),
            ({"agent_id": "another"}, None, "call_3"),
            ({"lead": {"score": 7}}, None, "call_3"),
            ({"n": 2, "to_number": "+14155550100"}, None, "call_2"),
            ({"n": 2, "to_number": "+14155550102"}, None, None),
            ({"agent_id": 5}, None, "call_4"),
            ({"agent_id": "5"}, None, None),
            ({"agent_id": ["x"]}, None, None),
            ({"call_outcome": None}, None, "call_4"),
            ({"call_id": "call_3", "conn_id": CONN_ID}, None, "call_3"),
            ({"conn_id": "another"}, None, None),
            ({"nothing": "of the kind"}, None, None),
            ({}, ["failed"], "call_2"),
            ({}, [CallOutcome.FAILED, CallOutcome.VOICEMAIL], "call_2"),
            ({"agent_id": "another"}, ["failed"], None),
            ({}, [], None),
        ],
    )
    def test_first_completion_that_fits_is_found(
        self, four: CallLedger, match: dict[str, Any], outcomes: Any, call_id: str | None
    ) -> None:
        found = four.find_completion(match, since=LONG_AGO, outcomes=outcomes)
        assert (found.call_id if found else None) == call_id

    def test_completions_received_before_are_not_found(self, four: CallLedger) -> None:
        third = four.completion("call_3")
        assert third is not None
        found = four.find_completion({}, since=third.received_at)
        assert found is not None
        assert found.call_id == "call_3"
        assert four.find_completion({}, since=datetime.now(timezone.utc) + timedelta(hours=1)) is None


class TestAdopt:
    def test_call_gets_the_completion_that_can_only_be_its_own(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        complete(ledger, "call_1")
        adopted = ledger.adopt(entry)
        assert (adopted.state, adopted.call_id, adopted.adopted) == (CallState.ACCEPTED, "call_1", True)
        assert adopted.answered_at is not None
        assert ledger.call_by_id("call_1") == adopted

    @pytest.mark.parametrize(
        ("start", "fields"),
        [
            (timedelta(seconds=-60), {}),
            (timedelta(hours=1, seconds=1), {}),
            (None, {"agent_id": "another"}),
            (None, {"agent_id": None}),
            (None, {"from_number": "+14155550109"}),
            (None, {"to_number": "+14155550109"}),
            (None, {"to_number": "14155550100"}),
        ],
        ids=["before claim", "after window", "agent", "no agent", "from", "to", "number in another form"],
    )
    def test_completion_that_may_be_another_calls_is_left_alone(
        self, ledger: CallLedger, start: timedelta | None, fields: dict[str, Any]
    ) -> None:
        entry = unknown(ledger)
        complete(ledger, "call_1", start, **fields)
        assert ledger.adopt(entry) == entry
        assert ledger.candidates(entry) == []

    @pytest.mark.parametrize("behind", [timedelta(seconds=9), timedelta(minutes=4)])
    def test_clock_of_the_api_may_be_behind(self, ledger: CallLedger, behind: timedelta) -> None:
        entry = unknown(ledger)
        start = entry.claimed_at - behind
        complete(ledger, "call_1", start, end_time=start.isoformat())
        assert ledger.adopt(entry).call_id == "call_1"

    @pytest.mark.parametrize("ahead", [timedelta(seconds=15), timedelta(minutes=-2)])
    def test_clock_of_the_worker_decides_nothing(
        self, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(rows, "now", lambda: datetime.now(timezone.utc) + ahead)
            entry = unknown(ledger)
        complete(ledger, "call_1")
        assert ledger.adopt(entry).call_id == "call_1"

    @pytest.mark.parametrize("seconds", [3, 9, 60])
    def test_call_that_had_begun_before_the_claim_is_left_alone(
        self, ledger: CallLedger, seconds: int
    ) -> None:
        entry = unknown(ledger)
        start = entry.claimed_at - timedelta(seconds=seconds)
        complete(ledger, "call_1", start, end_time=datetime.now(timezone.utc).isoformat())
        assert ledger.adopt(entry) == entry
        assert ledger.candidates(entry) == []

    def test_completion_that_was_there_before_the_claim_is_left_alone(self, ledger: CallLedger) -> None:
        complete(ledger, "call_1", timedelta(seconds=1))  # by a clock that is ahead
        entry = unknown(ledger)
        assert ledger.adopt(entry) == entry

    def test_request_that_is_sent_again_is_no_older_than_its_last_one(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        complete(ledger, "call_1")
        ledger.renew(entry)  # after a 429
        assert ledger.adopt(ledger.mark_unknown(entry, "cut", "cut")).state is CallState.UNKNOWN

    def test_call_that_is_waited_for_shortly_may_start_later(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        complete(ledger, "call_1", timedelta(minutes=50))
        assert ledger.adopt(entry, window=timedelta(seconds=1)).call_id == "call_1"

    def test_window_may_be_longer(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        complete(ledger, "call_1", timedelta(hours=2))
        assert ledger.adopt(entry).state is CallState.UNKNOWN
        assert ledger.adopt(entry, window=timedelta(hours=3)).call_id == "call_1"

    def test_completion_without_a_start_counts_from_its_arrival(self, ledger: CallLedger) -> None:
        complete(ledger, "call_before", None, start_time=None, to_number="+14155550102")
        entry = unknown(ledger)
        complete(ledger, "call_1", None, start_time="soon")
        assert ledger.adopt(entry).call_id == "call_1"

    def test_completion_that_came_long_before_the_claim_is_left_alone(self, ledger: CallLedger) -> None:
        # A start in the future is a wrong clock; what arrived before the claim cannot be its call's.
        complete(ledger, "call_1", timedelta(minutes=1))
        entry = unknown(ledger)
        later = replace(entry, renewed_at=entry.renewed_at + timedelta(seconds=30))
        assert ledger.candidates(later) == []

    def test_two_candidates_are_left_to_a_person(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        complete(ledger, "call_1")
        complete(ledger, "call_2")
        assert ledger.adopt(entry) == entry
        assert sorted(ledger.candidates(entry)) == ["call_1", "call_2"]

    def test_completion_of_another_call_is_left_to_it(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        ledger.accept(claim(ledger, "other"), "call_1")
        complete(ledger, "call_1")
        complete(ledger, "call_2")
        assert ledger.adopt(entry).call_id == "call_2"

    @pytest.mark.parametrize("rival_is", ["unknown", "claimed"])
    def test_of_two_calls_that_may_own_it_none_gets_it(self, ledger: CallLedger, rival_is: str) -> None:
        first = unknown(ledger, "first")
        second = claim(ledger, "second")
        if rival_is == "unknown":
            second = ledger.mark_unknown(second, "cut", "cut")
        complete(ledger, "call_1")
        assert ledger.adopt(first) == first
        if rival_is == "unknown":
            assert ledger.adopt(second) == second
        ledger.refuse(second, "x", "nothing rang")
        assert ledger.adopt(first).call_id == "call_1"

    @pytest.mark.parametrize("other", ["to_number", "from_number", "agent_id"])
    def test_call_that_cannot_own_it_is_no_rival(self, ledger: CallLedger, other: str) -> None:
        entry = unknown(ledger)
        value = "another" if other == "agent_id" else "+14155550109"
        unknown(ledger, "second", replace(CALL, **{other: value}))  # type: ignore[arg-type]
        complete(ledger, "call_1")
        assert ledger.adopt(entry).call_id == "call_1"

    def test_call_claimed_after_it_started_is_no_rival(self, ledger: CallLedger, ledger_url: str) -> None:
        entry = unknown(ledger)
        sent_at = entry.renewed_at - timedelta(minutes=1)
        with Database(ledger_url).writing() as connection:
            connection.execute(update(calls).values(renewed_at=sent_at, sent_at=sent_at))
        unknown(ledger, "second")
        # It arrives after the second call was sent, and had begun long before that.
        complete(ledger, "call_1", sent_at + timedelta(seconds=1), end_time=entry.renewed_at.isoformat())
        assert ledger.adopt(entry).call_id == "call_1"

    def test_first_dial_of_a_redialled_call_may_own_it(self, ledger: CallLedger) -> None:
        never_placed = unknown(ledger, "never placed")
        redialled = unknown(ledger, "rang twice")
        redial = ledger.claim_redial(redialled)
        for _ in range(2):  # the second time since nobody could know that the first was stored
            ledger.accept(redial, "call_b")
        complete(ledger, "call_a")
        assert ledger.adopt(never_placed) == never_placed
        # Once the first dial's own answer is known as well, nothing is open about it.
        ledger.accept(redialled, "call_0")
        assert ledger.adopt(never_placed).call_id == "call_a"

    def test_settled_call_adopts_nothing(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        accepted = ledger.accept(entry, "call_2")
        complete(ledger, "call_1")
        assert ledger.adopt(entry) == accepted

    def test_claim_that_was_redialled_meanwhile_adopts_nothing(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        redial = ledger.claim_redial(entry)
        complete(ledger, "call_1")
        assert ledger.adopt(entry) == redial

    def test_purged_call_adopts_nothing(self, ledger: CallLedger) -> None:
        unknown(ledger)
        ledger.purge(datetime.now(timezone.utc) + timedelta(seconds=1))
        entry = ledger.call_by_key("key")
        assert entry is not None
        complete(ledger, "call_1", from_number=None, to_number=None)
        assert ledger.adopt(entry).state is CallState.UNKNOWN

    def test_webhook_that_is_earlier_than_the_answer_is_the_answers(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        complete(ledger, "call_1")
        accepted = ledger.accept(entry, "call_1")
        assert not accepted.adopted
        completion = ledger.completion("call_1")
        assert completion is not None
        assert completion.call_id == accepted.call_id


def test_counter_that_lags_behind_catches_up_and_loses_nothing(ledger: CallLedger, ledger_url: str) -> None:
    complete(ledger, "call_1")
    with database(ledger_url).writing() as connection:
        connection.execute(counters.update().values(value=0))  # as after a restore of some tables only
    assert complete(ledger, "call_2") is Recorded.NEW
    assert [entry.call_id for entry in ledger.completions_after(0)] == ["call_1", "call_2"]


def test_completion_before_the_request_that_rang_belongs_to_somebody_else(
    ledger: CallLedger, ledger_url: str
) -> None:
    entry = claim(ledger)
    with database(ledger_url).writing() as connection:
        earlier = entry.claimed_at - timedelta(minutes=2)  # the requests before the last were answered 429
        connection.execute(calls.update().values(claimed_at=earlier))
    complete(ledger, "call_other", entry.claimed_at - timedelta(minutes=1))
    lost = ledger.mark_unknown(entry, "answer_lost", "the connection was cut")
    assert ledger.adopt(lost).state is CallState.UNKNOWN
