"""A completion counts for calls of its own account, whichever comes first, and is kept otherwise."""

from __future__ import annotations

from functools import partial

import pytest

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.schema import calls, counters
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, CallState, Job
from airflow_provider_voiceinfra.ledger.webhooks.records import Recorded
from tests.ledger.conftest import ON_POSTGRES
from tests.ledger.examples import CALL, become, body, completed, execute
from tests.ledger.racing import Rival
from tests.support.completions import keep_delivery, record

Conn = tuple[str, str | None]
A, B, A2 = ("conn_a", "account a"), ("conn_b", "account b"), ("conn_a2", "account a")


def claim(ledger: CallLedger, key: str = "key", conn: Conn = A) -> CallEntry:
    entry, won = ledger.claim(key, CALL, conn_id=conn[0], account=conn[1])
    assert won
    return entry


def unknown(ledger: CallLedger, key: str = "key", conn: Conn = A) -> CallEntry:
    return become(ledger, claim(ledger, key, conn), "unknown")


def complete(ledger: CallLedger, raw: bytes, conn: Conn) -> Recorded:
    return record(ledger, raw, conn_id=conn[0], account=conn[1])


def genuine(ledger: CallLedger) -> Recorded:
    """Record what the account of the call says of it."""
    return complete(ledger, body("call_1"), A)


def forge(ledger: CallLedger) -> Recorded:
    """Record what another account says of it."""
    return complete(ledger, body("call_1", call_outcome="failed"), B)


def keep(ledger: CallLedger, raw: bytes, event: str | None = None) -> None:
    own = {"conn_id": A[0], "account": A[1], "reason": "says something else", "call_id": "call_1"}
    keep_delivery(ledger, raw, **own, event=event)


class TestCompletionOfACallThatIsKnown:
    @pytest.mark.parametrize(
        ("of_call", "conn", "recorded"),
        [
            (A, B, Recorded.FOREIGN),
            (A, A, Recorded.NEW),
            (A, A2, Recorded.NEW),
            (A, (A[0], "another key"), Recorded.NEW),
            (A, (A[0], None), Recorded.NEW),
            # Connections whose account is not known have none in common.
            (("conn_a", None), ("conn_b", None), Recorded.FOREIGN),
            (("conn_a", None), B, Recorded.FOREIGN),
        ],
    )
    def test_that_of_the_same_account_or_connection_counts(
        self, ledger: CallLedger, of_call: Conn, conn: Conn, recorded: Recorded
    ) -> None:
        ledger.accept(claim(ledger, conn=of_call), "call_1")
        assert complete(ledger, body("call_1"), conn) is recorded
        assert (ledger.completion("call_1") is None) == (recorded is Recorded.FOREIGN)
        is_kept = recorded is Recorded.NEW
        again = complete(ledger, body("call_1", transcript="x"), of_call)
        assert again is (Recorded.DIFFERENT if is_kept else Recorded.NEW)


class TestCompletionBeforeItsCallIsKnown:
    def test_another_accounts_makes_room_for_the_calls_own(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        assert forge(ledger) is Recorded.NEW
        forged = completed(ledger)
        assert ledger.accept(entry, "call_1").call_id == "call_1"
        assert ledger.completion("call_1") is None
        assert [(kept.conn_id, kept.body) for kept in ledger.deliveries.kept()] == [("conn_b", forged.body)]
        assert genuine(ledger) is Recorded.NEW
        [found] = ledger.completions_after(forged.sequence)
        assert found.call_id == "call_1"

    def test_calls_own_that_was_kept_because_of_another_accounts_counts(self, ledger: CallLedger) -> None:
        entry, raw = claim(ledger), body("call_1")
        unknown(ledger, "might be theirs", B)
        forge(ledger)
        forged = completed(ledger)
        assert complete(ledger, raw, A) is Recorded.DIFFERENT
        keep(ledger, raw)
        ledger.accept(entry, "call_1")
        found = completed(ledger)
        assert (found.body, found.conn_id) == (raw, "conn_a")
        assert [one.call_id for one in ledger.completions_after(forged.sequence)] == ["call_1"]
        assert [kept.body for kept in ledger.deliveries.kept()] == [forged.body]

    @pytest.mark.parametrize("header", [None, "call.started"])
    def test_what_says_not_how_it_ended_does_not_count(self, ledger: CallLedger, header: str | None) -> None:
        entry = claim(ledger)
        forge(ledger)
        keep(ledger, body("call_1", event="call.completed" if header else "call.started"), header)
        ledger.accept(entry, "call_1")
        assert ledger.completion("call_1") is None
        assert len(ledger.deliveries.kept()) == 2
        assert genuine(ledger) is Recorded.NEW

    def test_calls_own_counts_although_the_numbers_were_set_back(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        complete(ledger, body("another"), B)
        forge(ledger)
        keep(ledger, body("call_1"))
        execute(ledger, counters.update().values(value=0))
        ledger.accept(entry, "call_1")
        assert completed(ledger).conn_id == "conn_a"
        assert completed(ledger).sequence == ledger.last_sequence()

    @pytest.mark.parametrize("conn", [A, A2])
    def test_that_of_the_same_account_stays(self, ledger: CallLedger, conn: Conn) -> None:
        entry = claim(ledger)
        complete(ledger, body("call_1"), conn)
        before = ledger.completion("call_1")
        ledger.accept(entry, "call_1")
        assert ledger.completion("call_1") == before
        assert ledger.deliveries.kept() == []

    def test_another_accounts_leaves_an_answer_that_a_redial_has_overtaken(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        ledger.accept(become(ledger, entry, "redialled"), "call_2")
        forge(ledger)
        assert ledger.accept(entry, "call_1").call_id == "call_2"
        assert ledger.completion("call_1") is None
        assert genuine(ledger) is Recorded.NEW


class TestAtTheSameMoment:
    """SQLite lets only one of them write; PostgreSQL shows each statement what is committed by then."""

    @ON_POSTGRES
    def test_answer_that_comes_while_another_accounts_is_recorded(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        # After the look for the call that it is of.
        answer = Rival(ledger, "SELECT", "calls", lambda: ledger.accept(entry, "call_1"))
        forge(ledger)
        assert answer.result() == ledger.call_by_id("call_1")
        assert ledger.completion("call_1") is None
        assert genuine(ledger) is Recorded.NEW

    @ON_POSTGRES
    @pytest.mark.parametrize("earlier", ["nobody's", "another account's"])
    def test_answer_that_comes_while_its_own_is_recorded(self, ledger: CallLedger, earlier: str) -> None:
        entry = claim(ledger)
        if earlier == "another account's":
            unknown(ledger, "might be theirs", B)
            forge(ledger)
        # After the look for a completion that is there already. The answer waits, and then gives it back.
        answer = Rival(ledger, "SELECT", "completions", lambda: ledger.accept(entry, "call_1"))
        genuine(ledger)
        answer.result()
        assert completed(ledger).conn_id == "conn_a"

    def test_another_accounts_that_is_there_nevertheless_makes_room(self, ledger: CallLedger) -> None:
        claim(ledger)
        forge(ledger)
        execute(ledger, calls.update().values(state=CallState.ACCEPTED.value, call_id="call_1"))
        assert genuine(ledger) is Recorded.NEW
        assert [kept.conn_id for kept in ledger.deliveries.kept()] == ["conn_b"]


class TestAnswerThatWasLost:
    """Two accounts tell of one call, and no answer says whose it is."""

    def test_completion_of_the_account_that_waits_takes_the_place(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        forge(ledger)
        forged = completed(ledger).body
        assert genuine(ledger) is Recorded.NEW
        assert [(kept.conn_id, kept.body) for kept in ledger.deliveries.kept()] == [("conn_b", forged)]
        assert ledger.adopt(entry).call_id == "call_1"
        assert forge(ledger) is Recorded.FOREIGN

    def test_same_bytes_from_another_account_are_no_duplicate(self, ledger: CallLedger) -> None:
        entry, raw = unknown(ledger), body("call_1")
        complete(ledger, raw, B)
        assert complete(ledger, raw, A) is Recorded.NEW
        assert ledger.adopt(entry).call_id == "call_1"

    def test_completion_that_came_first_keeps_its_place(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        genuine(ledger)
        assert forge(ledger) is Recorded.DIFFERENT
        assert ledger.adopt(entry).call_id == "call_1"

    @pytest.mark.parametrize("waiting", [(), (A, B)], ids=["nobody waits", "both wait"])
    def test_first_one_counts_if_it_may_be_either(
        self, ledger: CallLedger, waiting: tuple[Conn, ...]
    ) -> None:
        for number, conn in enumerate(waiting):
            unknown(ledger, str(number), conn)
        forge(ledger)
        assert genuine(ledger) is Recorded.DIFFERENT

    def test_completion_that_was_adopted_stays(self, ledger: CallLedger) -> None:
        theirs = unknown(ledger, "theirs", B)
        forge(ledger)
        assert ledger.adopt(theirs).call_id == "call_1"
        unknown(ledger)
        assert genuine(ledger) is Recorded.FOREIGN


class TestAdoption:
    @pytest.mark.parametrize(("conn", "call_ids"), [(A, ["call_1"]), (A2, ["call_1"]), (B, [])])
    def test_that_of_the_same_account_is_adopted(
        self, ledger: CallLedger, conn: Conn, call_ids: list[str]
    ) -> None:
        entry = unknown(ledger)
        complete(ledger, body("call_1"), conn)
        assert ledger.candidates(entry) == call_ids
        assert ledger.adopt(entry).call_id == (call_ids[0] if call_ids else None)

    @pytest.mark.parametrize(("conn", "call_id"), [(B, "call_1"), (A2, None)])
    def test_that_of_the_same_account_is_a_rival(
        self, ledger: CallLedger, conn: Conn, call_id: str | None
    ) -> None:
        entry = unknown(ledger)
        unknown(ledger, "another", conn)
        genuine(ledger)
        assert ledger.adopt(entry).call_id == call_id

    def test_account_stays_with_a_call_through_a_redial(self, ledger: CallLedger) -> None:
        redial = ledger.claim_redial(unknown(ledger))
        assert redial.account == A[1]
        complete(ledger, body("call_1"), A2)
        assert ledger.adopt(become(ledger, redial, "unknown")).call_id == "call_1"


def test_many_claims_hold_their_account(ledger: CallLedger) -> None:
    wishes = [Job(key, CALL, CallOrigin()) for key in "ab"]
    ask = partial(ledger.claim_many, wishes, conn_id=A[0], account=A[1])
    assert [entry.account for entry, _ in ask()] == [A[1]] * 2
    become(ledger, ask()[0][0], "refused")
    [(again, _)] = ledger.claim_many([Job("a", CALL, CallOrigin())], conn_id=B[0], account=B[1])
    assert again.account == B[1]
