"""Completions are kept once, found by what they say, and given to the one call whose own they must be."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from airflow_provider_voiceinfra.calls import CallOutcome, CompletionRecord
from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger, rows
from airflow_provider_voiceinfra.ledger.database.connect import Database
from airflow_provider_voiceinfra.ledger.database.schema import calls, counters
from airflow_provider_voiceinfra.ledger.records import CallState, CompletionEntry
from airflow_provider_voiceinfra.ledger.webhooks.records import Arrival, Recorded
from tests.ledger.conftest import ON_POSTGRES
from tests.ledger.examples import (
    CALL,
    CONN_ID,
    become,
    body,
    claim,
    complete,
    completed,
    execute,
    purge_all,
    stored,
    unknown,
)
from tests.ledger.racing import at_once
from tests.support.completions import record
from tests.support.waiting import until

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def sequences(entries: list[CompletionEntry]) -> list[int]:
    return [entry.sequence for entry in entries]


class TestComplete:
    def test_record_is_kept_whole(self, ledger: CallLedger) -> None:
        start = datetime(2026, 7, 4, 12, 0, tzinfo=timezone.utc)
        said = {"transcript": "Agent: Hello", "lead": {"score": 7}}
        raw = body("call_1", start, end_time="2026-07-04T12:00:05Z", **said)
        assert record(ledger, raw) is Recorded.NEW
        entry = completed(ledger)
        assert (entry.call_id, entry.sequence, entry.conn_id) == ("call_1", 1, CONN_ID)
        party = (CALL.agent_id, CALL.from_number, CALL.to_number)
        assert (entry.agent_id, entry.from_number, entry.to_number) == party
        assert (entry.call_outcome, entry.duration_seconds) == ("answered", 5)
        assert (entry.started_at, entry.ended_at) == (start, start + timedelta(seconds=5))
        assert entry.body == raw
        assert entry.record().payload == json.loads(raw)
        assert entry.record().received_at == entry.received_at
        assert "415555" not in repr(entry)
        assert "Hello" not in repr(entry)

    def test_first_story_of_a_call_is_kept(self, ledger: CallLedger) -> None:
        assert ledger.completion("call_1") is None
        raw = body("call_1", call_outcome="answered")
        assert record(ledger, raw) is Recorded.NEW
        first = completed(ledger)
        assert record(ledger, raw) is Recorded.DUPLICATE
        assert complete(ledger, "call_1", call_outcome="failed") is Recorded.DIFFERENT
        assert completed(ledger) == first

    def test_of_many_deliveries_at_once_one_is_new(self, ledger: CallLedger) -> None:
        raw = body("call_1")
        ledger.check()
        results = sorted(result.value for result in at_once(lambda _: record(ledger, raw)))
        assert results == ["duplicate"] * 7 + ["new"]

    def test_of_several_of_which_one_is_there_already_none_is_stored(self, ledger: CallLedger) -> None:
        # Whoever adds them has looked before, and locked them, so this should never be.
        complete(ledger, "call_1")
        both = [
            Arrival(body(call_id=name), CONN_ID, record=CompletionRecord.from_body(body(call_id=name)))
            for name in ("call_2", "call_1")
        ]
        with (
            pytest.raises(LedgerUnavailableError, match="only some"),
            ledger._database.writing() as connection,
        ):
            rows.add_completions(connection, both)
        assert set(ledger.completions(["call_1", "call_2"])) == {"call_1"}

    def test_values_too_long_for_their_columns_are_kept_in_the_body(self, ledger: CallLedger) -> None:
        long = "x" * 1000
        fields = {"agent_id": long, "from_number": long, "to_number": long, "call_outcome": long}
        assert complete(ledger, "call_1", **fields) is Recorded.NEW
        assert completed(ledger).record().payload["agent_id"] == long

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
    def test_whatever_a_webhook_holds_is_stored(
        self, ledger: CallLedger, fields: dict[str, Any], call_id: Any
    ) -> None:
        raw = json.dumps({**fields, "call_id": call_id}).encode()
        try:
            found = CompletionRecord.from_body(raw)
        except ValueError:
            return
        ledger.take_in([Arrival(raw, CONN_ID, None, found)])
        assert completed(ledger, found.call_id).call_id == found.call_id


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

    def test_numbers_go_on_after_a_purge(self, ledger: CallLedger) -> None:
        complete(ledger, "call_1")
        purge_all(ledger)
        complete(ledger, "call_2")
        assert sequences(ledger.completions_after(1)) == [2]

    def test_counter_that_lags_behind_catches_up_and_loses_nothing(self, ledger: CallLedger) -> None:
        complete(ledger, "call_1")
        execute(ledger, counters.update().values(value=0))  # as after a restore of some tables only
        assert complete(ledger, "call_2") is Recorded.NEW
        assert [entry.call_id for entry in ledger.completions_after(0)] == ["call_1", "call_2"]

    def test_follower_misses_nothing_while_many_write(self, ledger: CallLedger) -> None:
        ledger.check()
        done = threading.Event()
        followed: list[CompletionEntry] = []

        def follow() -> None:
            while True:
                finishing = done.is_set()
                found = ledger.completions_after(followed[-1].sequence if followed else 0, limit=7)
                followed.extend(found)
                if finishing and not found:
                    return

        bodies = [body(f"call_{number}") for number in range(80)]
        with ThreadPoolExecutor(1) as followers, ThreadPoolExecutor(8) as pool:
            follower = followers.submit(follow)
            list(pool.map(lambda raw: record(ledger, raw), [raw for raw in bodies for _ in range(3)]))
            done.set()
            follower.result()
        assert sequences(followed) == list(range(1, 81))
        assert {entry.call_id for entry in followed} == {f"call_{number}" for number in range(80)}

    @ON_POSTGRES
    def test_transaction_that_commits_late_stays_first(self, ledger: CallLedger, ledger_url: str) -> None:
        # On PostgreSQL a sequence's numbers and the commits would come in different orders.
        complete(ledger, "call_1")
        engine = Database(ledger_url).engine
        with engine.connect() as slow, engine.connect() as watching, ThreadPoolExecutor(1) as pool:
            slow.execute(update(counters).values(value=counters.c.value + 1))  # takes number 2, is held up
            watching = watching.execution_options(isolation_level="AUTOCOMMIT")
            fast = pool.submit(complete, ledger, "call_2")
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            until(lambda: watching.exec_driver_sql(waiting).scalar_one() == 1)
            assert sequences(ledger.completions_after(1)) == []
            slow.rollback()
            assert fast.result() is Recorded.NEW
        assert sequences(ledger.completions_after(1)) == [2]


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
        third = completed(four, "call_3")
        assert four.find_completion({}, since=third.received_at) == third
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

    @pytest.mark.parametrize(
        ("seconds", "length", "call_ids"),
        [(9, 0, ["call_1"]), (240, 0, ["call_1"]), (3, 3, []), (60, 60, [])],
        ids=["9 s behind", "4 min behind", "began before", "began long before"],
    )
    def test_clock_of_the_api_may_be_behind(
        self, ledger: CallLedger, seconds: int, length: int, call_ids: list[str]
    ) -> None:
        entry = unknown(ledger)
        start = entry.claimed_at - timedelta(seconds=seconds)
        complete(ledger, "call_1", start, end_time=(start + timedelta(seconds=length)).isoformat())
        assert ledger.candidates(entry) == call_ids
        assert ledger.adopt(entry).call_id == (call_ids[0] if call_ids else None)

    @pytest.mark.parametrize("ahead", [timedelta(seconds=15), timedelta(minutes=-2)])
    def test_clock_of_the_worker_decides_nothing(
        self, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(rows, "now", lambda: datetime.now(timezone.utc) + ahead)
            entry = unknown(ledger)
        complete(ledger, "call_1")
        assert ledger.adopt(entry).call_id == "call_1"

    def test_completion_that_was_there_before_the_claim_is_left_alone(self, ledger: CallLedger) -> None:
        # A start in the future is a wrong clock; what arrived before the claim cannot be its call's.
        for number in range(2):
            complete(ledger, f"call_{number}", timedelta(seconds=1 + 59 * number))
        entry = unknown(ledger)
        assert ledger.adopt(entry) == entry
        assert ledger.candidates(entry) == []

    def test_request_that_is_sent_again_is_no_older_than_its_last_one(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        complete(ledger, "call_1")
        ledger.renew(entry)  # after a 429
        assert ledger.adopt(ledger.mark_unknown(entry, "cut", "cut")).state is CallState.UNKNOWN

    @pytest.mark.parametrize(
        ("start", "window", "state"),
        [
            (timedelta(minutes=50), timedelta(seconds=1), CallState.ACCEPTED),
            (timedelta(hours=2), timedelta(), CallState.UNKNOWN),
            (timedelta(hours=2), timedelta(hours=3), CallState.ACCEPTED),
        ],
        ids=["within an hour", "later", "as long as it is waited for"],
    )
    def test_call_may_start_as_late_as_it_is_waited_for(
        self, ledger: CallLedger, start: timedelta, window: timedelta, state: CallState
    ) -> None:
        entry = unknown(ledger)
        complete(ledger, "call_1", start)
        assert ledger.adopt(entry, window=window).state is state

    def test_completion_without_a_start_counts_from_its_arrival(self, ledger: CallLedger) -> None:
        complete(ledger, "call_before", None, start_time=None, to_number="+14155550102")
        entry = unknown(ledger)
        complete(ledger, "call_1", None, start_time="soon")
        assert ledger.adopt(entry).call_id == "call_1"

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
        second = become(ledger, claim(ledger, "second"), rival_is)
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

    def test_call_claimed_after_it_started_is_no_rival(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        sent_at = entry.renewed_at - timedelta(minutes=1)
        execute(ledger, update(calls).values(renewed_at=sent_at, sent_at=sent_at))
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

    @pytest.mark.parametrize("meanwhile", ["accepted", "redialled"])
    def test_call_that_changed_meanwhile_adopts_nothing(self, ledger: CallLedger, meanwhile: str) -> None:
        entry = unknown(ledger)
        after = ledger.accept(entry, "call_2") if meanwhile == "accepted" else ledger.claim_redial(entry)
        complete(ledger, "call_1")
        assert ledger.adopt(entry) == after

    def test_purged_call_adopts_nothing(self, ledger: CallLedger) -> None:
        unknown(ledger)
        purge_all(ledger)
        complete(ledger, "call_1", from_number=None, to_number=None)
        assert ledger.adopt(stored(ledger)).state is CallState.UNKNOWN

    def test_webhook_that_is_earlier_than_the_answer_is_the_answers(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        complete(ledger, "call_1")
        assert not ledger.accept(entry, "call_1").adopted
        assert completed(ledger).call_id == "call_1"

    def test_completion_before_the_request_that_rang_is_anothers(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        earlier = entry.claimed_at - timedelta(minutes=2)  # the requests before the last were answered 429
        execute(ledger, calls.update().values(claimed_at=earlier))
        complete(ledger, "call_other", entry.claimed_at - timedelta(minutes=1))
        assert ledger.adopt(become(ledger, entry, "unknown")).state is CallState.UNKNOWN
