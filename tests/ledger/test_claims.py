"""Whoever claims a key may dial, and nobody else; what became of it is settled by its owner alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import Connection, event, update

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import ClaimLostError, IdempotencyConflictError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.connect import Database, database
from airflow_provider_voiceinfra.ledger.database.schema import calls
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, CallState
from tests.ledger.examples import CALL, CONN_ID, FIRST_TRY, SECOND_TRY, claim, complete, unknown


def state_of(ledger: CallLedger, key: str = "key") -> CallState | None:
    entry = ledger.call_by_key(key)
    return entry.state if entry else None


class TestClaim:
    def test_claim_is_durable_before_it_is_given(self, ledger: CallLedger, ledger_url: str) -> None:
        entry = claim(ledger, origin=FIRST_TRY)
        stored = Database(ledger_url)  # connections of their own: they see only what was committed
        with stored.reading() as connection:
            row = connection.execute(calls.select()).mappings().one()
        assert CallEntry.from_row(row) == entry
        assert (entry.state, entry.dials, entry.redials) == (CallState.CLAIMED, 1, 0)
        assert (entry.conn_id, entry.origin) == (CONN_ID, FIRST_TRY)
        assert entry.request == CALL.to_request()
        assert entry.claimed_at == entry.renewed_at
        assert entry.claimed_at.tzinfo is timezone.utc

    def test_second_claim_of_same_key_is_refused(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        assert ledger.claim("key", CALL, conn_id=CONN_ID) == (entry, False)

    def test_another_key_is_another_call(self, ledger: CallLedger) -> None:
        assert claim(ledger, "one").token != claim(ledger, "two").token

    @pytest.mark.parametrize("key", ["k" * 10_000, "nul\x00", "surrogate\ud800", "", "\N{PILE OF POO}"])
    def test_key_may_be_any_text(self, ledger: CallLedger, key: str) -> None:
        entry = claim(ledger, key)
        assert ledger.claim(key, CALL, conn_id=CONN_ID) == (entry, False)
        assert ledger.call_by_key(key) == ledger.call_by_hash(entry.key_hash) == entry
        assert claim(ledger, key + "x")

    def test_same_request_with_values_in_another_form_is_no_conflict(self, ledger: CallLedger) -> None:
        entry = claim(ledger, call=replace(CALL, variables={"slots": (9, 10), "names": {1: "a", "b": 2}}))
        again = replace(CALL, variables={"names": {"b": 2, "1": "a"}, "slots": [9, 10]}, context="")
        assert ledger.claim("key", again, conn_id=CONN_ID) == (entry, False)

    @pytest.mark.parametrize("settle", ["claimed", "accepted", "unknown"])
    def test_another_request_for_the_key_is_a_conflict_that_names_the_fields(
        self, ledger: CallLedger, settle: str
    ) -> None:
        entry = claim(ledger, "key +14155550100")
        if settle == "accepted":
            ledger.accept(entry, "call_1")
        elif settle == "unknown":
            ledger.mark_unknown(entry, "cut", "cut")
        other = replace(CALL, to_number="+14155550102", context="x")
        with pytest.raises(IdempotencyConflictError) as caught:
            ledger.claim("key +14155550100", other, conn_id="another")
        assert caught.value.fields == ("context", "to_number", "voiceinfra_conn_id")
        assert "context, to_number, voiceinfra_conn_id" in str(caught.value)
        assert "4155550100" not in repr(caught.value)

    def test_refused_call_may_be_tried_again_with_another_request(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        ledger.refuse(entry, "invalid_phone", "no such number")
        other = replace(CALL, to_number="+14155550102")
        again, won = ledger.claim("key", other, conn_id=CONN_ID, origin=SECOND_TRY)
        assert won
        assert (again.state, again.dials, again.redials) == (CallState.CLAIMED, 2, 0)
        assert (again.request, again.origin) == (other.to_request(), SECOND_TRY)
        assert (again.error_code, again.error_message, again.answered_at) == (None, None, None)
        assert again.token != entry.token

    def test_claim_that_a_dead_try_left_behind_is_unknown(self, ledger: CallLedger) -> None:
        claim(ledger, origin=FIRST_TRY)
        entry, won = ledger.claim("key", CALL, conn_id=CONN_ID, origin=SECOND_TRY)
        assert not won
        assert (entry.state, entry.error_code) == (CallState.UNKNOWN, "owner_died")

    @pytest.mark.parametrize(
        "origin",
        [
            FIRST_TRY,
            None,
            CallOrigin(try_number=9),
            replace(SECOND_TRY, map_index=3),
            replace(SECOND_TRY, run_id="another"),
            replace(SECOND_TRY, try_number=None),
        ],
        ids=["same try", "nobody", "no task", "another map index", "another run", "unnumbered"],
    )
    def test_claim_of_somebody_who_may_be_alive_is_left_to_its_owner(
        self, ledger: CallLedger, origin: CallOrigin | None
    ) -> None:
        claim(ledger, origin=FIRST_TRY)
        entry, won = ledger.claim("key", CALL, conn_id=CONN_ID, origin=origin)
        assert (entry.state, won) == (CallState.CLAIMED, False)

    def test_of_many_at_once_exactly_one_may_dial(self, ledger: CallLedger) -> None:
        ledger.check()
        ready = threading.Barrier(8)

        def race(_: int) -> bool:
            ready.wait()
            return ledger.claim("key", CALL, conn_id=CONN_ID)[1]

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(race, range(8))) == [False] * 7 + [True]

    def test_of_many_at_once_exactly_one_may_try_a_refused_call_again(self, ledger: CallLedger) -> None:
        ledger.refuse(claim(ledger), "rate_limited", "429")
        ready = threading.Barrier(8)

        def race(_: int) -> bool:
            ready.wait()
            return ledger.claim("key", CALL, conn_id=CONN_ID)[1]

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(race, range(8))) == [False] * 7 + [True]

    def test_claim_is_what_was_written_even_if_another_takes_it_over_at_once(
        self, ledger: CallLedger, ledger_url: str
    ) -> None:
        # The first owner is paused right after its commit, until a later try has redialled.
        ledger.check()
        redialled: list[CallEntry] = []

        def take_over() -> None:
            entry, _ = ledger.claim("key", CALL, conn_id=CONN_ID, origin=SECOND_TRY)
            redialled.append(ledger.claim_redial(entry, origin=SECOND_TRY))

        at_next(ledger_url, "commit", lambda: in_a_thread(take_over))
        entry = claim(ledger, origin=FIRST_TRY)
        assert redialled
        assert entry.token != redialled[0].token
        with pytest.raises(ClaimLostError):
            ledger.renew(entry)
        ledger.renew(redialled[0])


def at_next(url: str, end: str, action: Callable[[], object]) -> None:
    """Do something once, right after the next transaction ends, before its owner goes on.

    :param end: ``commit`` or ``rollback``.
    """

    def on_end(connection: Connection) -> None:
        getattr(connection.connection, end)()  # SQLAlchemy tells before it ends the transaction itself
        action()

    event.listen(database(url).engine, end, on_end, once=True)


def in_a_thread(action: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(action).result()


class TestRenew:
    def test_owner_may_say_that_it_is_alive(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        ledger.renew(entry)
        renewed = ledger.call_by_key("key")
        assert renewed is not None
        assert renewed.renewed_at > entry.renewed_at
        assert renewed.claimed_at == entry.claimed_at

    @pytest.mark.parametrize("settled", ["unknown", "accepted", "refused", "taken over"])
    def test_claim_that_was_settled_cannot_be_renewed(self, ledger: CallLedger, settled: str) -> None:
        entry = claim(ledger)
        if settled == "accepted":
            ledger.accept(entry, "call_1")
        elif settled == "refused":
            ledger.refuse(entry, "x", "y")
        else:
            marked = ledger.mark_unknown(entry, "x", "y")
            if settled == "taken over":
                ledger.claim_redial(marked)
        with pytest.raises(ClaimLostError):
            ledger.renew(entry)


class TestAccept:
    def test_answer_is_stored(self, ledger: CallLedger) -> None:
        accepted = ledger.accept(claim(ledger), "call_1")
        assert (accepted.state, accepted.call_id, accepted.adopted) == (CallState.ACCEPTED, "call_1", False)
        assert accepted.answered_at is not None
        assert ledger.call_by_id("call_1") == ledger.call_by_key("key") == accepted
        assert ledger.call_by_id("call_2") is None

    def test_answer_may_be_stored_again(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        assert ledger.accept(entry, "call_1") == ledger.accept(entry, "call_1")
        assert len(ledger.calls()) == 1

    def test_late_answer_of_an_unknown_call_is_stored(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        ledger.mark_unknown(entry, "owner_silent", "no sign of life")
        accepted = ledger.accept(entry, "call_1")
        assert (accepted.state, accepted.call_id) == (CallState.ACCEPTED, "call_1")
        assert (accepted.error_code, accepted.error_message) == (None, None)

    def test_answer_after_adoption_of_the_same_call_confirms_it(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        complete(ledger, "call_1")
        assert ledger.adopt(entry).adopted
        accepted = ledger.accept(entry, "call_1")
        assert (accepted.call_id, accepted.adopted) == ("call_1", False)

    def test_answer_after_adoption_of_another_call_corrects_it(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        complete(ledger, "call_of_somebody_else")
        ledger.adopt(entry)
        accepted = ledger.accept(entry, "call_1")
        assert (accepted.call_id, accepted.adopted) == ("call_1", False)
        assert ledger.call_by_id("call_of_somebody_else") is None

    def test_answer_that_another_call_had_adopted_takes_it_back(self, ledger: CallLedger) -> None:
        entry = unknown(ledger, "first")
        complete(ledger, "call_1")
        ledger.adopt(entry)
        accepted = ledger.accept(claim(ledger, "second"), "call_1")
        assert (accepted.call_id, accepted.adopted) == ("call_1", False)
        robbed = ledger.call_by_key("first")
        assert robbed is not None
        assert (robbed.state, robbed.call_id, robbed.error_code) == (CallState.UNKNOWN, None, "answer_lost")
        assert ledger.adopt(robbed).state is CallState.UNKNOWN

    def test_answer_that_another_call_was_given_before_is_unknown(self, ledger: CallLedger) -> None:
        first = ledger.accept(claim(ledger, "first"), "call_1")
        entry = claim(ledger, "second")
        for _ in range(2):
            second = ledger.accept(entry, "call_1")
            assert (second.state, second.call_id) == (CallState.UNKNOWN, None)
            assert second.error_code == "call_id_not_unique"
            assert "call_1" in (second.error_message or "")
        assert ledger.call_by_key("first") == first

    @pytest.mark.parametrize("redial_is", ["claimed", "refused", "unknown"])
    def test_answer_that_comes_while_a_redial_has_none_settles_the_call(
        self, ledger: CallLedger, redial_is: str
    ) -> None:
        entry = claim(ledger)
        redial = ledger.claim_redial(ledger.mark_unknown(entry, "owner_silent", "no sign of life"))
        if redial_is == "refused":
            ledger.refuse(redial, "rate_limited", "429")
        elif redial_is == "unknown":
            ledger.mark_unknown(redial, "answer_lost", "the connection was cut")
        for _ in range(2):
            settled = ledger.accept(entry, "call_1")
            assert (settled.key_hash, settled.call_id) == (entry.key_hash, "call_1")
        with pytest.raises(ClaimLostError):
            ledger.renew(redial)
        assert [stored.call_id for stored in ledger.calls()] == ["call_1"]

    def test_answers_to_both_dials_are_kept(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        redial = ledger.claim_redial(ledger.mark_unknown(entry, "owner_silent", "no sign of life"))
        assert ledger.accept(redial, "call_2").call_id == "call_2"
        for _ in range(2):
            assert ledger.accept(entry, "call_1").call_id == "call_2"
        overtaken = ledger.call_by_id("call_1")
        assert overtaken is not None
        assert overtaken.key_hash != entry.key_hash
        assert (overtaken.to_number, overtaken.origin) == (entry.to_number, entry.origin)
        assert overtaken.claimed_at == entry.claimed_at
        assert {stored.call_id for stored in ledger.calls()} == {"call_1", "call_2"}

    def test_adoption_in_the_middle_of_an_answer_gives_way_to_it(self, postgres_database: str) -> None:
        # SQLite lets only one of them write; PostgreSQL shows each statement what is committed by then.
        ledger = CallLedger(postgres_database)
        adopter = unknown(ledger, "adopter")
        complete(ledger, "call_1")
        answered = claim(ledger, "answered", replace(CALL, agent_id="another"))
        adopted: list[CallEntry] = []

        def adopt(_conn: object, _cursor: object, statement: str, *_: object) -> None:
            if statement.startswith("UPDATE") and not adopted:
                adopted.append(adopter)
                in_a_thread(lambda: adopted.append(ledger.adopt(adopter)))

        event.listen(database(postgres_database).engine, "after_cursor_execute", adopt)
        accepted = ledger.accept(answered, "call_1")
        assert adopted[1].call_id == "call_1"
        assert (accepted.state, accepted.call_id) == (CallState.ACCEPTED, "call_1")
        robbed = ledger.call_by_key("adopter")
        assert robbed is not None
        assert robbed.state is CallState.UNKNOWN

    def test_answer_and_adoption_at_the_same_time_end_with_the_answer(self, ledger: CallLedger) -> None:
        for number in range(10):
            call_id = f"call_{number}"
            call = replace(CALL, to_number=f"+141555501{number:02d}")
            adopter = unknown(ledger, f"adopter {number}", call)
            complete(ledger, call_id, to_number=call.to_number)
            owner = claim(ledger, f"owner {number}", replace(call, agent_id="another"))
            with ThreadPoolExecutor(2) as pool:
                adopting = pool.submit(ledger.adopt, adopter)
                accepting = pool.submit(ledger.accept, owner, call_id)
                adopting.result()
                assert accepting.result().call_id == call_id
            entry = ledger.call_by_key(f"adopter {number}")
            assert entry is not None
            assert (entry.state, entry.call_id) == (CallState.UNKNOWN, None)


class TestRefuse:
    @pytest.mark.parametrize("marked", [False, True])
    def test_refusal_of_a_call_in_flight_is_stored(self, ledger: CallLedger, marked: bool) -> None:
        entry = claim(ledger)
        if marked:
            ledger.mark_unknown(entry, "owner_silent", "no sign of life")
        ledger.refuse(entry, "invalid_phone", "HTTP 422")
        refused = ledger.call_by_key("key")
        assert refused is not None
        assert (refused.state, refused.error_code) == (CallState.REFUSED, "invalid_phone")
        assert refused.error_message == "HTTP 422"

    def test_accepted_call_cannot_be_refused(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        accepted = ledger.accept(entry, "call_1")
        ledger.refuse(entry, "x", "y")
        assert ledger.call_by_key("key") == accepted

    def test_claim_of_another_cannot_be_refused(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        redial = ledger.claim_redial(ledger.mark_unknown(entry, "x", "y"))
        ledger.refuse(entry, "x", "y")
        assert ledger.call_by_key("key") == redial


class TestUnknown:
    def test_settled_call_does_not_become_unknown(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        accepted = ledger.accept(entry, "call_1")
        assert ledger.mark_unknown(entry, "x", "y") == accepted

    def test_row_that_is_gone_is_a_lost_claim(self, ledger: CallLedger, ledger_url: str) -> None:
        entry = claim(ledger)
        with database(ledger_url).writing() as connection:
            connection.execute(calls.delete())
        with pytest.raises(ClaimLostError, match="disappeared"):
            ledger.mark_unknown(entry, "x", "y")


class TestRedial:
    def test_redial_is_counted_and_says_who_asked(self, ledger: CallLedger) -> None:
        entry, _ = ledger.claim("key", CALL, conn_id=CONN_ID, origin=FIRST_TRY)
        redial = ledger.claim_redial(ledger.mark_unknown(entry, "x", "y"), origin=SECOND_TRY)
        assert (redial.state, redial.dials, redial.redials) == (CallState.CLAIMED, 2, 1)
        assert redial.origin == SECOND_TRY
        assert redial.request == entry.request
        # The try that redials is alive, so it must not take its own claim for that of a dead one.
        assert ledger.claim("key", CALL, conn_id=CONN_ID, origin=SECOND_TRY) == (redial, False)

    def test_redial_that_was_refused_leaves_the_call_as_unknown_as_it_was(self, ledger: CallLedger) -> None:
        before = unknown(ledger)
        ledger.refuse(ledger.claim_redial(before), "rate_limited", "429")
        after = ledger.call_by_key("key")
        assert after is not None
        assert (after.state, after.redials) == (CallState.UNKNOWN, 0)
        assert after.renewed_at == before.renewed_at
        complete(ledger, "call_1")  # the first dial did ring
        assert ledger.adopt(after).call_id == "call_1"

    def test_first_dial_is_found_although_the_redial_is_unknown_too(self, ledger: CallLedger) -> None:
        before = unknown(ledger)
        complete(ledger, "call_1")
        redial = ledger.claim_redial(before)
        again = ledger.mark_unknown(redial, "answer_lost", "no answer")
        assert ledger.adopt(again).call_id == "call_1"

    def test_of_many_at_once_exactly_one_may_redial(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        ready = threading.Barrier(8)

        def race(_: int) -> bool:
            ready.wait()
            try:
                ledger.claim_redial(entry)
            except ClaimLostError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(race, range(8))) == 1

    def test_call_that_was_settled_meanwhile_is_not_redialled(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        ledger.accept(entry, "call_1")
        with pytest.raises(ClaimLostError):
            ledger.claim_redial(entry)

    def test_purged_call_is_not_redialled(self, ledger: CallLedger) -> None:
        unknown(ledger)
        ledger.purge(datetime.now(timezone.utc) + timedelta(seconds=1))
        entry = ledger.call_by_key("key")
        assert entry is not None
        with pytest.raises(ClaimLostError, match="purged"):
            ledger.claim_redial(entry)


def test_claim_is_made_anew_if_the_one_in_its_way_is_rolled_back(ledger: CallLedger, ledger_url: str) -> None:
    entry = claim(ledger)

    def forget() -> None:
        with Database(ledger_url).writing() as connection:
            connection.execute(calls.delete())

    at_next(ledger_url, "commit", forget)
    again, won = ledger.claim("key", CALL, conn_id=CONN_ID)
    assert won
    assert again.token != entry.token


class TestListing:
    def test_calls_are_listed_newest_first(self, ledger: CallLedger, ledger_url: str) -> None:
        for number, key in enumerate(["one", "two", "three"]):
            entry = claim(ledger, key)
            with database(ledger_url).writing() as connection:
                moment = datetime(2026, 7, 4, 12, number, tzinfo=timezone.utc)
                change = update(calls).where(calls.c.key_hash == entry.key_hash)
                connection.execute(change.values(claimed_at=moment))
        assert [entry.idempotency_key for entry in ledger.calls()] == ["three", "two", "one"]
        assert [entry.idempotency_key for entry in ledger.calls(limit=1)] == ["three"]
        since = datetime(2026, 7, 4, 14, 1, tzinfo=timezone(timedelta(hours=2)))
        assert [entry.idempotency_key for entry in ledger.calls(since=since)] == ["three", "two"]

    def test_calls_can_be_filtered_by_every_column_offered(self, ledger: CallLedger) -> None:
        accepted = ledger.accept(claim(ledger, "one", origin=FIRST_TRY), "call_1")
        other = OutboundCall("+14155550105", agent_id="agent_demo", from_number="+14155550101")
        ledger.claim("two", other, conn_id="another", origin=CallOrigin("dag2", "run2", "task2"))
        assert ledger.calls(conn_id=CONN_ID) == [accepted]
        assert ledger.calls(state=CallState.ACCEPTED) == [accepted]
        assert ledger.calls(dag_id="dag", run_id="run") == [accepted]
        assert ledger.calls(to_number="+14155550100") == [accepted]
        assert ledger.calls(dag_id="dag", run_id="run2") == []


def test_repr_of_an_entry_holds_no_number(ledger: CallLedger) -> None:
    shown = repr(claim(ledger, "+14155550100", origin=replace(FIRST_TRY, contact_key="+14155550100")))
    assert "415555" not in shown
