"""A completion counts for calls of its own account, whichever comes first, and is kept otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.connect import database
from airflow_provider_voiceinfra.ledger.database.schema import calls, counters
from airflow_provider_voiceinfra.ledger.records import (
    CallEntry,
    CallOrigin,
    CallState,
    Job,
    Recorded,
    Settlement,
)
from tests.ledger.examples import CALL, body
from tests.ledger.racing import Rival, after_statement
from tests.support.completions import record

Accept = Callable[[CallLedger, CallEntry], CallEntry]
A, B, A2 = ("conn_a", "account a"), ("conn_b", "account b"), ("conn_a2", "account a")


def claim(ledger: CallLedger, key: str = "key", conn: tuple[str, str | None] = A) -> CallEntry:
    entry, won = ledger.claim(key, CALL, conn_id=conn[0], account=conn[1])
    assert won
    return entry


def unknown(ledger: CallLedger, key: str = "key", conn: tuple[str, str | None] = A) -> CallEntry:
    return ledger.mark_unknown(claim(ledger, key, conn), "answer_lost", "the connection was cut")


def complete(ledger: CallLedger, raw: bytes, conn: tuple[str, str | None]) -> Recorded:
    return record(ledger, raw, conn_id=conn[0], account=conn[1])


def keep(ledger: CallLedger, raw: bytes, conn: tuple[str, str | None], event: str | None = None) -> None:
    ledger.keep_delivery(
        raw, conn_id=conn[0], account=conn[1], reason="says something else", event=event, call_id="call_1"
    )


def accept_alone(ledger: CallLedger, entry: CallEntry) -> CallEntry:
    return ledger.accept(entry, "call_1")


def accept_among_many(ledger: CallLedger, entry: CallEntry) -> CallEntry:
    return ledger.settle_many([Settlement(entry, CallState.ACCEPTED, call_id="call_1")])[0]


accepting = pytest.mark.parametrize("accept", [accept_alone, accept_among_many], ids=["alone", "among many"])


class TestCompletionOfACallThatIsKnown:
    def test_another_accounts_does_not_count(self, ledger: CallLedger) -> None:
        accept_alone(ledger, claim(ledger))
        assert complete(ledger, body("call_1", call_outcome="failed"), B) is Recorded.FOREIGN
        assert ledger.completion("call_1") is None
        assert complete(ledger, body("call_1"), A) is Recorded.NEW

    @pytest.mark.parametrize("conn", [A2, (A[0], "another key"), (A[0], None)])
    def test_that_of_the_same_account_or_connection_counts(
        self, ledger: CallLedger, conn: tuple[str, str | None]
    ) -> None:
        accept_alone(ledger, claim(ledger))
        assert complete(ledger, body("call_1"), conn) is Recorded.NEW

    @pytest.mark.parametrize("conn", [("conn_b", None), B])
    def test_connections_whose_account_is_not_known_have_none_in_common(
        self, ledger: CallLedger, conn: tuple[str, str | None]
    ) -> None:
        accept_alone(ledger, claim(ledger, conn=("conn_a", None)))
        assert complete(ledger, body("call_1"), conn) is Recorded.FOREIGN


@accepting
class TestCompletionBeforeItsCallIsKnown:
    def test_another_accounts_makes_room_for_the_calls_own(self, ledger: CallLedger, accept: Accept) -> None:
        entry = claim(ledger)
        forged, genuine = body("call_1", call_outcome="failed"), body("call_1")
        assert complete(ledger, forged, B) is Recorded.NEW
        before = ledger.last_sequence()
        assert accept(ledger, entry).call_id == "call_1"
        assert ledger.completion("call_1") is None
        assert [(kept.conn_id, kept.body) for kept in ledger.deliveries()] == [("conn_b", forged)]
        assert complete(ledger, genuine, A) is Recorded.NEW
        [found] = ledger.completions_after(before)
        assert found.call_id == "call_1"

    def test_calls_own_that_was_kept_because_of_another_accounts_counts(
        self, ledger: CallLedger, accept: Accept
    ) -> None:
        entry = claim(ledger)
        forged, genuine = body("call_1", call_outcome="failed"), body("call_1")
        unknown(ledger, "might be theirs", B)
        complete(ledger, forged, B)
        assert complete(ledger, genuine, A) is Recorded.DIFFERENT
        keep(ledger, genuine, A)
        before = ledger.last_sequence()
        accept(ledger, entry)
        found = ledger.completion("call_1")
        assert found is not None
        assert (found.body, found.conn_id) == (genuine, "conn_a")
        assert [entry.call_id for entry in ledger.completions_after(before)] == ["call_1"]
        assert [kept.body for kept in ledger.deliveries()] == [forged]

    @pytest.mark.parametrize("said_by", ["header", "body"])
    def test_what_tells_of_something_else_than_its_end_does_not_count(
        self, ledger: CallLedger, accept: Accept, said_by: str
    ) -> None:
        entry = claim(ledger)
        complete(ledger, body("call_1", call_outcome="failed"), B)
        if said_by == "header":
            keep(ledger, body("call_1"), A, event="call.started")
        else:
            keep(ledger, body("call_1", event="call.started"), A)
        accept(ledger, entry)
        assert ledger.completion("call_1") is None
        assert len(ledger.deliveries()) == 2
        assert complete(ledger, body("call_1"), A) is Recorded.NEW

    def test_calls_own_counts_although_the_numbers_were_set_back(
        self, ledger: CallLedger, ledger_url: str, accept: Accept
    ) -> None:
        entry = claim(ledger)
        for call_id in ("another", "call_1"):
            complete(ledger, body(call_id, call_outcome="failed"), B)
        keep(ledger, body("call_1"), A)
        with database(ledger_url).writing() as connection:
            connection.execute(counters.update().values(value=0))
        accept(ledger, entry)
        found = ledger.completion("call_1")
        assert found is not None
        assert found.conn_id == "conn_a"
        assert found.sequence == ledger.last_sequence()

    @pytest.mark.parametrize("conn", [A, A2])
    def test_that_of_the_same_account_stays(
        self, ledger: CallLedger, accept: Accept, conn: tuple[str, str]
    ) -> None:
        entry = claim(ledger)
        complete(ledger, body("call_1"), conn)
        before = ledger.completion("call_1")
        accept(ledger, entry)
        assert ledger.completion("call_1") == before
        assert ledger.deliveries() == []

    def test_another_accounts_leaves_an_answer_that_a_redial_has_overtaken(
        self, ledger: CallLedger, accept: Accept
    ) -> None:
        entry = claim(ledger)
        redial = ledger.claim_redial(ledger.mark_unknown(entry, "owner_silent", "no sign of life"))
        ledger.accept(redial, "call_2")
        complete(ledger, body("call_1", call_outcome="failed"), B)
        assert accept(ledger, entry).call_id == "call_2"
        assert ledger.completion("call_1") is None
        assert complete(ledger, body("call_1"), A) is Recorded.NEW


class TestAtTheSameMoment:
    """SQLite lets only one of them write; PostgreSQL shows each statement what is committed by then."""

    @accepting
    def test_answer_that_comes_while_another_accounts_is_recorded(
        self, postgres_database: str, accept: Accept
    ) -> None:
        ledger = CallLedger(postgres_database)
        entry = claim(ledger)
        answer = Rival(lambda: accept(ledger, entry))
        # After the look for the call that it is of.
        after_statement(postgres_database, "SELECT", "calls", answer)
        complete(ledger, body("call_1", call_outcome="failed"), B)
        assert answer.result() == ledger.call_by_id("call_1")
        assert ledger.completion("call_1") is None
        assert complete(ledger, body("call_1"), A) is Recorded.NEW

    @accepting
    @pytest.mark.parametrize("earlier", ["nobody's", "another account's"])
    def test_answer_that_comes_while_the_calls_own_is_recorded(
        self, postgres_database: str, accept: Accept, earlier: str
    ) -> None:
        ledger = CallLedger(postgres_database)
        entry = claim(ledger)
        if earlier == "another account's":
            unknown(ledger, "might be theirs", B)
            complete(ledger, body("call_1", call_outcome="failed"), B)
        answer = Rival(lambda: accept(ledger, entry))
        # After the look for a completion that is there already.
        after_statement(postgres_database, "SELECT", "completions", answer)
        assert complete(ledger, body("call_1"), A) is Recorded.NEW
        answer.result()
        found = ledger.completion("call_1")
        assert found is not None
        assert found.conn_id == "conn_a"

    def test_another_accounts_that_is_there_nevertheless_makes_room(
        self, ledger: CallLedger, ledger_url: str
    ) -> None:
        entry = claim(ledger)
        complete(ledger, body("call_1", call_outcome="failed"), B)
        with database(ledger_url).writing() as connection:
            accepted = {"state": CallState.ACCEPTED.value, "call_id": "call_1"}
            connection.execute(calls.update().where(calls.c.key_hash == entry.key_hash).values(**accepted))
        assert complete(ledger, body("call_1"), A) is Recorded.NEW
        assert [kept.conn_id for kept in ledger.deliveries()] == ["conn_b"]


class TestAnswerThatWasLost:
    """Two accounts tell of one call, and no answer says whose it is."""

    def test_completion_of_the_account_that_waits_takes_the_place(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        forged, genuine = body("call_1", call_outcome="failed"), body("call_1")
        complete(ledger, forged, B)
        assert complete(ledger, genuine, A) is Recorded.NEW
        assert [(kept.conn_id, kept.body) for kept in ledger.deliveries()] == [("conn_b", forged)]
        assert ledger.adopt(entry).call_id == "call_1"
        assert complete(ledger, forged, B) is Recorded.FOREIGN

    def test_same_bytes_from_another_account_are_no_duplicate(self, ledger: CallLedger) -> None:
        entry, raw = unknown(ledger), body("call_1")
        complete(ledger, raw, B)
        assert complete(ledger, raw, A) is Recorded.NEW
        assert ledger.adopt(entry).call_id == "call_1"

    def test_completion_that_came_first_keeps_its_place(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        complete(ledger, body("call_1"), A)
        assert complete(ledger, body("call_1", call_outcome="failed"), B) is Recorded.DIFFERENT
        assert ledger.adopt(entry).call_id == "call_1"

    @pytest.mark.parametrize("waiting", [(), (A, B)], ids=["nobody waits", "both wait"])
    def test_first_one_counts_if_nothing_tells_whose_it_is(
        self, ledger: CallLedger, waiting: tuple[tuple[str, str], ...]
    ) -> None:
        for number, conn in enumerate(waiting):
            unknown(ledger, str(number), conn)
        complete(ledger, body("call_1", call_outcome="failed"), B)
        assert complete(ledger, body("call_1"), A) is Recorded.DIFFERENT

    def test_completion_that_was_adopted_stays(self, ledger: CallLedger) -> None:
        theirs = unknown(ledger, "theirs", B)
        complete(ledger, body("call_1", call_outcome="failed"), B)
        assert ledger.adopt(theirs).call_id == "call_1"
        unknown(ledger)
        assert complete(ledger, body("call_1"), A) is Recorded.FOREIGN


class TestAdoption:
    def test_completion_of_another_account_is_left_alone(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        complete(ledger, body("call_1"), B)
        assert ledger.adopt(entry) == entry
        assert ledger.candidates(entry) == []

    @pytest.mark.parametrize("conn", [A, A2])
    def test_completion_of_the_same_account_is_adopted(
        self, ledger: CallLedger, conn: tuple[str, str]
    ) -> None:
        entry = unknown(ledger)
        complete(ledger, body("call_1"), conn)
        assert ledger.adopt(entry).call_id == "call_1"

    def test_call_of_another_account_is_no_rival(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        unknown(ledger, "of another account", B)
        complete(ledger, body("call_1"), A)
        assert ledger.adopt(entry).call_id == "call_1"

    def test_call_of_the_same_account_is_a_rival(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        unknown(ledger, "through another connection", A2)
        complete(ledger, body("call_1"), A)
        assert ledger.adopt(entry) == entry

    def test_account_stays_with_a_call_through_a_redial(self, ledger: CallLedger) -> None:
        redial = ledger.claim_redial(unknown(ledger))
        assert redial.account == A[1]
        complete(ledger, body("call_1"), A2)
        assert ledger.adopt(ledger.mark_unknown(redial, "cut", "cut")).call_id == "call_1"


def test_many_claims_hold_their_account(ledger: CallLedger) -> None:
    wishes = [Job(key, CALL, CallOrigin()) for key in "ab"]
    assert [entry.account for entry, _ in ledger.claim_many(wishes, conn_id=A[0], account=A[1])] == [A[1]] * 2
    ledger.refuse(ledger.claim_many(wishes, conn_id=A[0], account=A[1])[0][0], "x", "nothing rang")
    call = OutboundCall(CALL.to_number, agent_id="another", from_number=CALL.from_number)
    [(again, _)] = ledger.claim_many([Job("a", call, CallOrigin())], conn_id=B[0], account=B[1])
    assert again.account in (A[1], B[1])
