"""An answer settles its call, whatever else is known of it, whether it is stored alone or among many."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_provider_voiceinfra.exceptions import ClaimLostError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.schema import calls
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, Job, Settlement
from tests.ledger.conftest import ON_POSTGRES
from tests.ledger.examples import (
    CALL,
    CONN_ID,
    FIRST_TRY,
    become,
    claim,
    complete,
    execute,
    stored,
    unknown,
)
from tests.ledger.racing import Rival, after_statement, at_once

Settle = Callable[[Settlement], CallEntry]
Answer = Callable[[CallEntry], Settlement]


def accepted(entry: CallEntry, call_id: str = "call_1") -> Settlement:
    return Settlement(entry, CallState.ACCEPTED, call_id=call_id)


def refused(entry: CallEntry) -> Settlement:
    return Settlement(entry, CallState.REFUSED, code="rate_limited", message="HTTP 429")


def lost(entry: CallEntry) -> Settlement:
    return Settlement(entry, CallState.UNKNOWN, code="answer_lost", message="cut")


anything = pytest.mark.parametrize("answer", [accepted, refused, lost])


def claims(ledger: CallLedger, *keys: str) -> list[CallEntry]:
    return [claim(ledger, key) for key in keys]


def forget(ledger: CallLedger) -> None:
    """Restore the ledger from a backup that has no calls."""
    execute(ledger, calls.delete())


@pytest.fixture(params=["alone", "among many"])
def settle(request: pytest.FixtureRequest, ledger: CallLedger) -> Settle:
    """Return what stores an answer, alone or among others that nothing is unusual about."""
    numbers = itertools.count()

    def settle(one: Settlement) -> CallEntry:
        if request.param == "among many":
            mark = f"crowd {next(numbers)}"
            a, b = claims(ledger, f"a {mark}", f"b {mark}")
            before, found, after = ledger.settle_many([accepted(a, mark), one, refused(b)])
            assert (before, after) == (stored(ledger, f"a {mark}"), stored(ledger, f"b {mark}"))
            assert (before.call_id, after.state) == (mark, CallState.REFUSED)
            return found
        if one.call_id is not None:
            return ledger.accept(one.entry, one.call_id)
        store = ledger.refuse if one.state is CallState.REFUSED else ledger.mark_unknown
        return store(one.entry, one.code, one.message)

    return settle


def answered(ledger: CallLedger) -> set[str]:
    """Return the ids of all calls but those of the crowd."""
    call_ids = {str(entry.call_id) for entry in ledger.calls() if entry.call_id}
    return {call_id for call_id in call_ids if not call_id.startswith("crowd")}


class TestAccept:
    def test_answer_is_stored(self, ledger: CallLedger, settle: Settle) -> None:
        found = settle(accepted(claim(ledger)))
        assert (found.state, found.call_id, found.adopted) == (CallState.ACCEPTED, "call_1", False)
        assert found.answered_at is not None
        assert ledger.call_by_id("call_1") == stored(ledger) == found
        assert ledger.call_by_id("call_2") is None

    @anything
    def test_answer_may_be_stored_again(self, ledger: CallLedger, settle: Settle, answer: Answer) -> None:
        # The ledger stored it, and its connection broke before it could say so.
        one = answer(claim(ledger))
        before = settle(one)
        again = settle(one)
        assert replace(again, answered_at=before.answered_at) == before
        assert again == stored(ledger)

    def test_late_answer_of_an_unknown_call_is_stored(self, ledger: CallLedger, settle: Settle) -> None:
        entry = claim(ledger)
        ledger.mark_unknown(entry, "owner_silent", "no sign of life")
        found = settle(accepted(entry))
        assert (found.state, found.call_id) == (CallState.ACCEPTED, "call_1")
        assert (found.error_code, found.error_message) == (None, None)

    @pytest.mark.parametrize("call_id", ["call_1", "call_2"], ids=["the right one", "another's"])
    def test_answer_confirms_or_corrects_what_was_adopted(
        self, ledger: CallLedger, settle: Settle, call_id: str
    ) -> None:
        entry = claim(ledger)
        complete(ledger, "call_1")
        assert ledger.adopt(ledger.mark_unknown(entry, "owner_died", "x")).adopted
        found = settle(accepted(entry, call_id))
        assert (found.state, found.call_id, found.adopted) == (CallState.ACCEPTED, call_id, False)
        assert (ledger.call_by_id("call_1") is None) == (call_id == "call_2")

    def test_answer_takes_back_what_another_adopted(self, ledger: CallLedger, settle: Settle) -> None:
        adopter = unknown(ledger, "first")
        complete(ledger, "call_1")
        ledger.adopt(adopter)
        found = settle(accepted(claim(ledger)))
        assert (found.call_id, found.adopted) == ("call_1", False)
        robbed = stored(ledger, "first")
        assert (robbed.state, robbed.call_id, robbed.error_code) == (CallState.UNKNOWN, None, "answer_lost")
        assert ledger.adopt(robbed).state is CallState.UNKNOWN

    def test_answer_that_another_call_was_given_is_unknown(self, ledger: CallLedger, settle: Settle) -> None:
        first, entry = ledger.accept(claim(ledger, "first"), "call_1"), claim(ledger)
        for _ in range(2):
            found = settle(accepted(entry))
            assert (found.state, found.call_id) == (CallState.UNKNOWN, None)
            assert found.error_code == "call_id_not_unique"
            assert "call_1" in (found.error_message or "")
        assert stored(ledger, "first") == first

    @pytest.mark.parametrize("redial_is", ["claimed", "refused", "unknown"])
    def test_answer_that_comes_while_a_redial_has_none_settles_the_call(
        self, ledger: CallLedger, settle: Settle, redial_is: str
    ) -> None:
        entry = claim(ledger)
        redial = become(ledger, entry, "redialled")
        become(ledger, redial, redial_is)
        for _ in range(2):
            found = settle(accepted(entry))
            assert (found.key_hash, found.call_id) == (entry.key_hash, "call_1")
        with pytest.raises(ClaimLostError):
            ledger.renew(redial)
        assert answered(ledger) == {"call_1"}

    def test_answers_to_both_dials_are_kept(self, ledger: CallLedger, settle: Settle) -> None:
        entry = claim(ledger)
        redial = become(ledger, entry, "redialled")
        assert settle(accepted(redial, "call_2")).call_id == "call_2"
        for _ in range(2):
            assert settle(accepted(entry)).call_id == "call_2"
        overtaken = ledger.call_by_id("call_1")
        assert overtaken is not None
        assert overtaken.key_hash != entry.key_hash
        assert (overtaken.to_number, overtaken.origin) == (entry.to_number, entry.origin)
        assert overtaken.claimed_at == entry.claimed_at
        assert (overtaken.dials, overtaken.redials, overtaken.unsettled_since) == (1, 0, None)
        assert stored(ledger).unsettled_since is None
        assert answered(ledger) == {"call_1", "call_2"}

    def test_answer_to_a_redial_is_none_to_the_first_dial(self, ledger: CallLedger, settle: Settle) -> None:
        before = unknown(ledger)
        found = settle(accepted(ledger.claim_redial(before)))
        assert (found.state, found.call_id, found.redials) == (CallState.ACCEPTED, "call_1", 1)
        assert found.unsettled_since == before.renewed_at


class TestNotAccepted:
    @pytest.mark.parametrize(
        ("state", "answer"), [("claimed", refused), ("unknown", refused), ("claimed", lost)]
    )
    def test_it_is_stored(self, ledger: CallLedger, settle: Settle, state: str, answer: Answer) -> None:
        entry = claim(ledger)
        become(ledger, entry, state)
        one = answer(entry)
        found = settle(one)
        assert found == stored(ledger)
        assert (found.state, found.error_code, found.error_message) == (one.state, one.code, one.message)
        assert (found.answered_at is None) == (answer is lost)

    def test_refused_redial_leaves_the_call_as_it_was(self, ledger: CallLedger, settle: Settle) -> None:
        before = unknown(ledger)
        after = settle(refused(ledger.claim_redial(before)))
        assert (after.state, after.redials, after.answered_at) == (CallState.UNKNOWN, 0, None)
        assert (after.renewed_at, after.unsettled_since) == (before.renewed_at, None)
        complete(ledger, "call_1")  # the first dial did ring
        assert ledger.adopt(after).call_id == "call_1"

    def test_lost_redial_keeps_when_the_first_was_sent(self, ledger: CallLedger, settle: Settle) -> None:
        before = unknown(ledger)
        found = settle(lost(ledger.claim_redial(before)))
        assert (found.state, found.unsettled_since) == (CallState.UNKNOWN, before.renewed_at)


@pytest.mark.parametrize("answer", [refused, lost])
@pytest.mark.parametrize("state", ["accepted", "redialled"])
def test_what_is_known_better_stays(ledger: CallLedger, settle: Settle, answer: Answer, state: str) -> None:
    entry = claim(ledger)
    before = become(ledger, entry, state)
    assert settle(answer(entry)) == before == stored(ledger)


class TestLedgerThatForgot:
    """A ledger that was restored from a backup no longer has the newest claims, or has them as they were."""

    @anything
    def test_call_that_is_gone_comes_back(self, ledger: CallLedger, settle: Settle, answer: Answer) -> None:
        entry = claim(ledger, origin=FIRST_TRY)
        forget(ledger)
        one = answer(entry)
        found = settle(one)
        assert found == stored(ledger)
        assert (found.state, found.call_id) == (one.state, one.call_id)
        assert (found.token, found.origin, found.claimed_at) == (entry.token, FIRST_TRY, entry.claimed_at)
        assert found.request == CALL.to_request()
        assert ledger.calls(to_number=CALL.to_number)[-1].token == entry.token

    @pytest.mark.parametrize("answer", [accepted, lost])
    @pytest.mark.parametrize("backup", ["claimed", "refused", "unknown"])
    def test_call_that_is_as_it_was_before_its_last_claim_is_written_anew(
        self, ledger: CallLedger, settle: Settle, answer: Answer, backup: str
    ) -> None:
        first = claim(ledger)
        become(ledger, first, backup)
        [row] = ledger._database.rows(calls.select())
        if backup == "claimed":
            become(ledger, first, "refused")
        entry = ledger.claim_redial(stored(ledger)) if backup == "unknown" else claim(ledger)
        execute(ledger, calls.delete(), calls.insert().values(**row._mapping))
        one = answer(entry)
        found = settle(one)
        assert (found.state, found.call_id, found.token) == (one.state, one.call_id, entry.token)
        assert (found.dials, found.redials) == (entry.dials, entry.redials)

    def test_redial_that_was_refused_is_still_unknown(self, ledger: CallLedger, settle: Settle) -> None:
        redial = ledger.claim_redial(unknown(ledger))
        forget(ledger)
        assert settle(refused(redial)).state is CallState.UNKNOWN

    def test_lost_answer_is_found_by_its_webhook(self, ledger: CallLedger, settle: Settle) -> None:
        complete(ledger, "call_before", to_number="+14155550102")
        entry = claim(ledger)
        forget(ledger)
        found = settle(lost(entry))
        complete(ledger, "call_1")
        assert ledger.adopt(found).call_id == "call_1"

    def test_answer_with_the_id_of_another_call_is_unknown(self, ledger: CallLedger, settle: Settle) -> None:
        entry = claim(ledger)
        forget(ledger)
        ledger.accept(claim(ledger, "another"), "call_1")
        assert settle(accepted(entry)).error_code == "call_id_not_unique"

    def test_call_that_is_gone_adopts_nothing(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        complete(ledger, "call_1")
        forget(ledger)
        assert ledger.adopt(entry) == entry
        assert ledger.call_by_key("key") is None


class TestMany:
    def test_redials_that_are_answered_and_refused_together_are_each_what_they_were(
        self, ledger: CallLedger
    ) -> None:
        redials = [become(ledger, claim(ledger, key), "redialled") for key in "abcd"]
        ledger.settle_many(
            [
                accepted(redials[0], "call_a"),
                refused(redials[1]),
                accepted(redials[2], "call_c"),
                refused(redials[3]),
            ]
        )
        for key in "bd":
            assert (stored(ledger, key).state, stored(ledger, key).redials) == (CallState.UNKNOWN, 0)
            assert stored(ledger, key).unsettled_since is None
        assert [stored(ledger, key).call_id for key in "ac"] == ["call_a", "call_c"]

    def test_many_more_than_one_statement_takes(self, ledger: CallLedger) -> None:
        assert ledger.settle_many([]) == []
        keys = [str(number) for number in range(1200)]
        requests = [Job(key, CALL, FIRST_TRY) for key in keys]
        entries = [entry for entry, _ in ledger.claim_many(requests, conn_id=CONN_ID)]
        found = ledger.settle_many([accepted(entry, f"call_{n}") for n, entry in enumerate(entries)])
        assert [entry.call_id for entry in found] == [f"call_{n}" for n in range(1200)]
        assert [entry.idempotency_key for entry in found] == keys
        # An id of the last statement's that another call has is noticed just the same.
        late_one = claim(ledger, "late")
        [last, late] = ledger.settle_many([accepted(entries[7], "call_7"), accepted(late_one, "call_1199")])
        assert replace(last, answered_at=found[7].answered_at) == found[7]
        assert late.error_code == "call_id_not_unique"

    def test_of_two_answers_with_one_id_the_first_counts(self, ledger: CallLedger) -> None:
        a, b, c = claims(ledger, "a", "b", "c")
        found = ledger.settle_many([accepted(a, "call_a"), accepted(b, "call_a"), refused(c)])
        assert [entry.state for entry in found] == [CallState.ACCEPTED, CallState.UNKNOWN, CallState.REFUSED]
        assert found[1].error_code == "call_id_not_unique"

    def test_answers_stored_at_once_in_any_order_are_all_stored(self, ledger: CallLedger) -> None:
        # One of them was thought dead; both know of all the calls.
        for turn in range(3):
            entries = claims(ledger, *(f"{turn} {number}" for number in range(15)))
            settlements = [accepted(entry, f"call_{entry.idempotency_key}") for entry in entries]

            def settle(seed: int, settlements: list[Settlement] = settlements) -> None:
                order = random.Random(seed).sample(settlements, len(settlements))
                found = ledger.settle_many(order)
                assert [entry.call_id for entry in found] == [one.call_id for one in order]

            at_once(settle, 4)
        assert len(ledger.calls(limit=1000)) == 45


class TestAtTheSameMoment:
    """SQLite lets only one of them write; PostgreSQL shows each statement what is committed by then."""

    @pytest.fixture
    def adopter(self, ledger: CallLedger) -> CallEntry:
        """Return an unknown call that may adopt the completion ``call_1``."""
        adopter = unknown(ledger, "adopter")
        complete(ledger, "call_1")
        return adopter

    @pytest.fixture
    def owner(self, ledger: CallLedger) -> CallEntry:
        """Return a claimed call that could not."""
        return claim(ledger, "owner", replace(CALL, agent_id="another"))

    @ON_POSTGRES
    def test_call_id_that_another_process_stores(self, ledger: CallLedger) -> None:
        other, a, b, c = claims(ledger, "other", "a", "b", "c")
        rival = Rival(ledger, "SELECT", "calls", lambda: ledger.accept(other, "call_b"))
        found = ledger.settle_many([accepted(a, "call_a"), accepted(b, "call_b"), refused(c)])
        assert [entry.call_id for entry in found] == ["call_a", "call_b", None]
        assert found == [stored(ledger, key) for key in "abc"]
        assert rival.result() == stored(ledger, "other")
        assert stored(ledger, "other").error_code == "call_id_not_unique"

    @ON_POSTGRES
    def test_adoption_gives_way_to_an_answer_that_came_first(
        self, ledger: CallLedger, adopter: CallEntry, owner: CallEntry
    ) -> None:
        # After the look for completions that belong to no call.
        after_statement(ledger, "SELECT", "completions", lambda: ledger.accept(owner, "call_1"))
        assert ledger.adopt(adopter).state is CallState.UNKNOWN
        assert stored(ledger, "owner").call_id == "call_1"

    @ON_POSTGRES
    def test_answer_takes_back_what_was_adopted_first(
        self, ledger: CallLedger, adopter: CallEntry, owner: CallEntry
    ) -> None:
        answer = Rival(ledger, "UPDATE", "calls", lambda: ledger.accept(owner, "call_1"))
        assert ledger.adopt(adopter).call_id == "call_1"
        assert answer.result() == stored(ledger, "owner")
        assert stored(ledger, "owner").call_id == "call_1"
        robbed = stored(ledger, "adopter")
        assert (robbed.state, robbed.call_id) == (CallState.UNKNOWN, None)
