"""Many claims, and many answers, at once: the same rules as for one, and none suffers for another."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_voiceinfra.exceptions import CampaignBusyError, ClaimLostError, LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.batches import ClaimRequest, Settlement
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership
from airflow_provider_voiceinfra.ledger.database.connect import Database
from airflow_provider_voiceinfra.ledger.database.schema import calls
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, CallState
from tests.ledger.examples import CALL, CONN_ID, FIRST_TRY, SECOND_TRY, claim, complete, unknown
from tests.ledger.racing import after_commit, after_statement, in_a_thread

ORIGIN = replace(FIRST_TRY, campaign_id="c", contact_key="k", position=1, attempt=1)


def wish(key: str, origin: CallOrigin = ORIGIN) -> ClaimRequest:
    """Return a request for the right to dial."""
    return ClaimRequest(key, CALL, CONN_ID, origin)


def wishes(*keys: str) -> list[ClaimRequest]:
    return [wish(key) for key in keys]


def owner(ledger: CallLedger) -> Ownership:
    """Take the campaign, from whoever runs it."""
    entry = ledger.take_campaign("c", conn_id=CONN_ID, origin=FIRST_TRY)
    return Ownership("c", str(entry.runner))


def ask(ledger: CallLedger, request: ClaimRequest) -> tuple[CallEntry, bool]:
    """Claim one call among others that nobody has claimed before."""
    crowd = [f"{random.random()}" for _ in range(3)]
    found = ledger.claim_many([*wishes(*crowd[:2]), request, wish(crowd[2])])
    assert [won for _, won in found[:2] + found[3:]] == [True] * 3
    assert [entry.idempotency_key for entry, _ in found[:2] + found[3:]] == crowd
    return found[2]


def stored(ledger: CallLedger, key: str) -> CallEntry:
    entry = ledger.call_by_key(key)
    assert entry is not None
    return entry


class TestClaimMany:
    def test_claims_are_durable_before_they_are_given_and_come_in_order(
        self, ledger: CallLedger, ledger_url: str
    ) -> None:
        keys = [f"key {number}" for number in range(20)]
        found = ledger.claim_many(wishes(*keys))
        assert [(entry.idempotency_key, won) for entry, won in found] == [(key, True) for key in keys]
        with Database(ledger_url).reading() as connection:  # it sees only what was committed
            rows = [CallEntry.from_row(row) for row in connection.execute(calls.select()).mappings()]
        assert {row.key_hash: row for row in rows} == {entry.key_hash: entry for entry, _ in found}
        assert len({entry.token for entry, _ in found}) == 20

    def test_claim_is_the_same_as_one_that_is_made_alone(self, ledger: CallLedger) -> None:
        alone = claim(ledger, "alone", origin=ORIGIN)
        [(entry, _)] = ledger.claim_many(wishes("in a batch"))
        own = ("key_hash", "idempotency_key", "token", "claimed_at", "renewed_at", "sent_at")
        assert replace(entry, **{name: getattr(alone, name) for name in own}) == alone
        assert entry.claimed_at == entry.renewed_at

    def test_nothing_is_claimed_for_a_process_that_has_lost_the_campaign(self, ledger: CallLedger) -> None:
        former = owner(ledger)
        [(entry, won)] = ledger.claim_many(wishes("before"), owner=former)
        assert won
        now_runs = owner(ledger)
        with pytest.raises(CampaignBusyError, match="is being run by task"):
            ledger.claim_many(wishes("after", "before"), owner=former)
        assert ledger.call_by_key("after") is None
        assert ledger.claims_in_flight("c") == 1
        ledger.refuse(entry, "interrupted", "it was not sent")
        assert ledger.claims_in_flight("c") == 0
        # Nor is what was given back meanwhile.
        with pytest.raises(CampaignBusyError):
            ledger.claim_many(wishes("before"), owner=former)
        assert [won for _, won in ledger.claim_many(wishes("after", "before"), owner=now_runs)] == [True] * 2

    def test_no_claim_of_the_former_process_appears_once_a_campaign_was_taken(
        self, ledger: CallLedger
    ) -> None:
        former, lost = owner(ledger), threading.Event()
        claimed: list[str] = []

        def go_on() -> None:
            try:
                for number in range(10_000):
                    ledger.claim_many(wishes(f"key {number}"), owner=former)
                    claimed.append(f"key {number}")
            except CampaignBusyError:
                lost.set()

        with ThreadPoolExecutor(1) as pool:
            going = pool.submit(go_on)
            while len(claimed) < 3:
                assert not going.done()
            owner(ledger)
            seen = ledger.claims_in_flight("c")
            going.result(60)
        assert lost.is_set()
        assert ledger.claims_in_flight("c") == seen == len(claimed)

    def test_nothing_is_asked_for(self, ledger: CallLedger) -> None:
        assert ledger.claim_many([]) == []

    def test_many_more_than_one_statement_takes(self, ledger: CallLedger) -> None:
        keys = [str(number) for number in range(1200)]
        before = {entry.key_hash for entry, _ in ledger.claim_many(wishes(*keys[:600]))}
        found = ledger.claim_many(wishes(*keys))
        assert [won for _, won in found] == [False] * 600 + [True] * 600
        assert {entry.key_hash for entry, _ in found[:600]} == before

    def test_same_key_twice_is_won_once(self, ledger: CallLedger) -> None:
        found = ledger.claim_many(wishes("a", "same", "b", "same"))
        assert [won for _, won in found] == [True, True, True, False]
        assert found[1][0] == found[3][0] == stored(ledger, "same")

    @pytest.mark.parametrize("key", ["k" * 10_000, "nul\x00", "surrogate\ud800", "", "\N{PILE OF POO}"])
    def test_key_may_be_any_text(self, ledger: CallLedger, key: str) -> None:
        [(entry, won)] = ledger.claim_many(wishes(key))
        assert won
        assert ledger.claim_many(wishes(key)) == [(entry, False)]
        assert ledger.claim(key, CALL, conn_id=CONN_ID) == (entry, False)

    @pytest.mark.parametrize("state", ["claimed", "accepted", "unknown"])
    def test_call_that_may_have_rung_is_handed_over_as_it_is(self, ledger: CallLedger, state: str) -> None:
        entry = claim(ledger, origin=ORIGIN)
        if state == "accepted":
            entry = ledger.accept(entry, "call_1")
        elif state == "unknown":
            entry = ledger.mark_unknown(entry, "cut", "cut")
        assert ask(ledger, wish("key")) == (entry, False)
        assert stored(ledger, "key") == entry

    def test_refused_call_may_be_tried_again_with_another_request(self, ledger: CallLedger) -> None:
        entry = claim(ledger, origin=ORIGIN)
        ledger.refuse(entry, "invalid_phone", "no such number")
        other = replace(CALL, to_number="+14155550102")
        origin = replace(ORIGIN, try_number=2)
        again, won = ask(ledger, ClaimRequest("key", other, CONN_ID, origin))
        assert won
        assert again == stored(ledger, "key")
        assert (again.state, again.dials, again.redials) == (CallState.CLAIMED, 2, 0)
        assert (again.request, again.origin) == (other.to_request(), origin)
        assert (again.error_code, again.error_message, again.answered_at) == (None, None, None)
        assert again.token != entry.token

    def test_another_request_for_the_key_gives_the_call_that_there_is(self, ledger: CallLedger) -> None:
        # The contact was changed after it had been called.
        entry = ledger.accept(claim(ledger, origin=ORIGIN), "call_1")
        other = ClaimRequest("key", replace(CALL, to_number="+14155550102"), "another", ORIGIN)
        assert ask(ledger, other) == (entry, False)

    def test_claim_that_a_dead_try_left_behind_is_unknown(self, ledger: CallLedger) -> None:
        claim(ledger, origin=ORIGIN)
        entry, won = ask(ledger, wish("key", replace(ORIGIN, try_number=2)))
        assert not won
        assert (entry.state, entry.error_code) == (CallState.UNKNOWN, "owner_died")

    def test_purged_key_is_never_dialled_again(self, ledger: CallLedger) -> None:
        ledger.accept(claim(ledger, origin=ORIGIN), "call_1")
        ledger.purge(datetime.now(timezone.utc) + timedelta(seconds=1))
        entry, won = ask(ledger, wish("key"))
        assert (entry.call_id, won) == ("call_1", False)


class TestClaimRaces:
    @pytest.mark.parametrize("refused", [False, True], ids=["new", "refused before"])
    def test_of_many_at_once_each_key_is_won_exactly_once(self, ledger: CallLedger, refused: bool) -> None:
        keys = [f"key {number}" for number in range(50)]
        if refused:
            for entry, _ in ledger.claim_many(wishes(*keys)):
                ledger.refuse(entry, "rate_limited", "429")
        ledger.check()
        ready = threading.Barrier(16)

        def race(seed: int) -> list[CallEntry]:
            order = random.Random(seed).sample(keys, len(keys))
            ready.wait()
            found = ledger.claim_many(wishes(*order))
            assert [entry.idempotency_key for entry, _ in found] == order
            return [entry for entry, won in found if won]

        with ThreadPoolExecutor(16) as pool:
            won = [entry for entries in pool.map(race, range(16)) for entry in entries]
        assert sorted(str(entry.idempotency_key) for entry in won) == sorted(keys)
        assert {entry.token for entry in won} == {stored(ledger, key).token for key in keys}

    def test_key_that_another_claims_in_the_middle_costs_the_others_nothing(
        self, postgres_database: str
    ) -> None:
        # SQLite lets only one of them write; PostgreSQL shows each statement what is committed by then.
        ledger = CallLedger(postgres_database)
        ledger.check()
        rivals: list[CallEntry] = []
        after_statement(
            postgres_database,
            "SELECT",
            "calls",
            lambda: in_a_thread(lambda: rivals.append(claim(ledger, "b"))),
        )
        found = ledger.claim_many(wishes("a", "b", "c"))
        assert [won for _, won in found] == [True, False, True]
        assert found[1][0] == rivals[0] == stored(ledger, "b")

    def test_refused_call_that_another_claims_in_the_middle_is_the_others(
        self, postgres_database: str
    ) -> None:
        ledger = CallLedger(postgres_database)
        ledger.refuse(claim(ledger, "b"), "rate_limited", "429")
        rivals: list[CallEntry] = []
        after_statement(
            postgres_database,
            "SELECT",
            "calls",
            lambda: in_a_thread(lambda: rivals.append(ledger.claim("b", CALL, conn_id=CONN_ID)[0])),
        )
        found = ledger.claim_many(wishes("a", "b", "c"))
        assert [won for _, won in found] == [True, False, True]
        assert found[1][0] == rivals[0] == stored(ledger, "b")


class TestClaimWhoseAnswerWasLost:
    """The ledger stored the claims, and its connection broke before it could say so."""

    @pytest.fixture
    def asked(self, ledger: CallLedger, ledger_url: str) -> list[ClaimRequest]:
        """Return requests that were stored without an answer; the first was refused before."""
        ledger.refuse(claim(ledger, "a", origin=ORIGIN), "rate_limited", "429")
        requests = wishes("a", "b")
        after_commit(ledger_url, self.break_connection)
        with pytest.raises(LedgerUnavailableError):
            ledger.claim_many(requests)
        assert [stored(ledger, key).state for key in "ab"] == [CallState.CLAIMED] * 2
        return requests

    @staticmethod
    def break_connection() -> None:
        raise LedgerUnavailableError("the connection was cut")

    def test_same_request_finds_that_it_was_granted(
        self, ledger: CallLedger, asked: list[ClaimRequest]
    ) -> None:
        before = [stored(ledger, key) for key in "ab"]
        found = ledger.claim_many([*asked, wish("c")])
        assert [won for _, won in found] == [True] * 3
        for (entry, _), claimed in zip(found, before, strict=False):
            assert entry == replace(claimed, renewed_at=entry.renewed_at, sent_at=entry.sent_at)
            assert entry.renewed_at > claimed.renewed_at
            ledger.renew(entry)

    def test_another_request_for_the_same_key_does_not(
        self, ledger: CallLedger, asked: list[ClaimRequest]
    ) -> None:
        assert [won for _, won in ledger.claim_many(wishes("a", "b"))] == [False, False]

    @pytest.mark.parametrize("meanwhile", ["unknown", "redialled", "accepted"])
    def test_claim_that_was_taken_over_meanwhile_is_lost(
        self, ledger: CallLedger, asked: list[ClaimRequest], meanwhile: str
    ) -> None:
        entry = ledger.mark_unknown(stored(ledger, "b"), "owner_died", "x")
        if meanwhile == "redialled":
            entry = ledger.claim_redial(entry, origin=SECOND_TRY)
        elif meanwhile == "accepted":
            entry = ledger.accept(entry, "call_1")
        found = ledger.claim_many(asked)
        assert found[1] == (entry, False)
        assert stored(ledger, "b") == entry

    def test_claims_are_kept_when_the_ledger_dies_while_others_are_looked_at(
        self, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        claim(ledger, "taken")
        requests = wishes("new", "taken")
        with monkeypatch.context() as patch:
            patch.setattr(ledger, "call_by_key", lambda *args, **options: self.break_connection())
            with pytest.raises(LedgerUnavailableError):
                ledger.claim_many(requests)
        assert [won for _, won in ledger.claim_many(requests)] == [True, False]


def accepted(entry: CallEntry, call_id: str) -> Settlement:
    return Settlement(entry, CallState.ACCEPTED, call_id=call_id)


def refused(entry: CallEntry, code: str = "rate_limited") -> Settlement:
    return Settlement(entry, CallState.REFUSED, code=code, message="429")


def lost(entry: CallEntry) -> Settlement:
    return Settlement(entry, CallState.UNKNOWN, code="answer_lost", message="cut")


def claims(ledger: CallLedger, *keys: str) -> list[CallEntry]:
    return [claim(ledger, key, origin=ORIGIN) for key in keys]


class TestSettleMany:
    def test_each_is_settled_as_it_would_be_alone(self, ledger: CallLedger) -> None:
        a, b, c = claims(ledger, "a", "b", "c")
        alone_a, alone_b, alone_c = claims(ledger, "alone a", "alone b", "alone c")
        found = ledger.settle_many([accepted(a, "call_a"), refused(b), lost(c)])
        assert found == [stored(ledger, key) for key in "abc"]
        ledger.accept(alone_a, "alone")
        ledger.refuse(alone_b, "rate_limited", "429")
        ledger.mark_unknown(alone_c, "answer_lost", "cut")
        own = ("key_hash", "idempotency_key", "token", "claimed_at", "renewed_at", "answered_at", "sent_at")
        for entry, key in zip(found, ["alone a", "alone b", "alone c"], strict=True):
            alone = stored(ledger, key)
            assert (entry.answered_at is None) == (alone.answered_at is None)
            values = {name: getattr(alone, name) for name in own}
            call_id = "alone" if entry.call_id == "call_a" else entry.call_id
            assert replace(entry, **values, call_id=call_id) == alone

    def test_nothing_is_to_be_settled(self, ledger: CallLedger) -> None:
        assert ledger.settle_many([]) == []

    def test_many_more_than_one_statement_takes(self, ledger: CallLedger) -> None:
        entries = [entry for entry, _ in ledger.claim_many(wishes(*map(str, range(1200))))]
        found = ledger.settle_many([accepted(entry, f"call_{n}") for n, entry in enumerate(entries)])
        assert [entry.call_id for entry in found] == [f"call_{n}" for n in range(1200)]
        assert [entry.idempotency_key for entry in found] == [str(n) for n in range(1200)]
        # An id of the last statement's that another call has is noticed just the same.
        [last, late] = ledger.settle_many(
            [accepted(entry, f"call_{n}") for n, entry in [(7, entries[7]), (1199, claim(ledger, "late"))]]
        )
        assert last == found[7]
        assert late.error_code == "call_id_not_unique"

    def test_answers_may_be_stored_again(self, ledger: CallLedger) -> None:
        # The ledger stored them, and its connection broke before it could say so.
        a, b, c, d = claims(ledger, "a", "b", "c", "d")
        settlements = [accepted(a, "call_a"), refused(b), lost(c), accepted(d, "call_d")]
        before = ledger.settle_many(settlements)
        assert ledger.settle_many(settlements) == before == [stored(ledger, key) for key in "abcd"]
        assert len(ledger.calls()) == 4

    @pytest.mark.parametrize("answer", ["accepted", "refused"])
    def test_answer_to_a_call_that_was_thought_unknown_counts(self, ledger: CallLedger, answer: str) -> None:
        a, b = claims(ledger, "a", "b")
        ledger.mark_unknown(b, "owner_died", "x")
        settlement = accepted(b, "call_b") if answer == "accepted" else refused(b)
        assert ledger.settle_many([accepted(a, "call_a"), settlement])[1].state.value == answer
        assert stored(ledger, "b").state.value == answer

    def test_call_that_is_known_does_not_become_unknown_or_refused(self, ledger: CallLedger) -> None:
        a, b, c = claims(ledger, "a", "b", "c")
        before = [ledger.accept(a, "call_a"), ledger.accept(b, "call_b")]
        found = ledger.settle_many([lost(a), refused(b), accepted(c, "call_c")])
        assert found[:2] == before == [stored(ledger, key) for key in "ab"]
        assert found[2].call_id == "call_c"


class TestSettleDisputed:
    """Whatever is unusual about one answer, it ends as it would alone, and so do the others."""

    def settle(self, ledger: CallLedger, settlement: Settlement) -> CallEntry:
        a, b = claims(ledger, "a", "b")
        found = ledger.settle_many([accepted(a, "call_a"), settlement, refused(b)])
        assert found[0] == stored(ledger, "a")
        assert found[2] == stored(ledger, "b")
        assert (found[0].call_id, found[2].state) == ("call_a", CallState.REFUSED)
        assert found[1] == ledger.call_by_hash(settlement.entry.key_hash)
        return found[1]

    def test_call_id_that_another_call_was_given_before(self, ledger: CallLedger) -> None:
        first = ledger.accept(claim(ledger, "first"), "call_1")
        found = self.settle(ledger, accepted(claim(ledger), "call_1"))
        assert (found.state, found.call_id) == (CallState.UNKNOWN, None)
        assert found.error_code == "call_id_not_unique"
        assert stored(ledger, "first") == first

    def test_call_id_that_two_answers_have(self, ledger: CallLedger) -> None:
        found = self.settle(ledger, accepted(claim(ledger), "call_a"))
        assert (found.state, found.error_code) == (CallState.UNKNOWN, "call_id_not_unique")

    def test_call_id_that_another_call_had_adopted(self, ledger: CallLedger) -> None:
        adopter = unknown(ledger, "adopter")
        complete(ledger, "call_1")
        assert ledger.adopt(adopter).call_id == "call_1"
        found = self.settle(ledger, accepted(claim(ledger), "call_1"))
        assert (found.call_id, found.adopted) == ("call_1", False)
        assert (stored(ledger, "adopter").state, stored(ledger, "adopter").call_id) == (
            CallState.UNKNOWN,
            None,
        )

    @pytest.mark.parametrize("call_id", ["call_1", "call_2"], ids=["the right one", "another's"])
    def test_call_that_had_adopted_a_call_id(self, ledger: CallLedger, call_id: str) -> None:
        entry = claim(ledger)
        complete(ledger, "call_1")
        ledger.adopt(ledger.mark_unknown(entry, "owner_died", "x"))
        found = self.settle(ledger, accepted(entry, call_id))
        assert (found.state, found.call_id, found.adopted) == (CallState.ACCEPTED, call_id, False)

    def test_claim_that_was_redialled_meanwhile(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        redial = ledger.claim_redial(ledger.mark_unknown(entry, "silent", "silent"))
        settled = self.settle(ledger, accepted(entry, "call_1"))
        assert (settled.key_hash, settled.state, settled.call_id) == (
            entry.key_hash,
            CallState.ACCEPTED,
            "call_1",
        )
        with pytest.raises(ClaimLostError):
            ledger.renew(redial)
        assert ledger.settle_many([accepted(redial, "call_2")])[0].call_id == "call_1"
        overtaken = ledger.call_by_id("call_2")  # the phone rang again, so it is kept
        assert overtaken is not None
        assert overtaken.key_hash != entry.key_hash

    @pytest.mark.parametrize("settlement", [refused, lost])
    def test_answer_to_a_claim_that_was_taken_over_meanwhile_changes_nothing(
        self, ledger: CallLedger, settlement: Callable[[CallEntry], Settlement]
    ) -> None:
        entry = claim(ledger)
        redial = ledger.claim_redial(ledger.mark_unknown(entry, "silent", "silent"))
        assert self.settle(ledger, settlement(entry)) == redial

    def test_redial_that_was_refused_leaves_the_call_as_unknown_as_it_was(self, ledger: CallLedger) -> None:
        before = unknown(ledger)
        found = self.settle(ledger, refused(ledger.claim_redial(before)))
        assert (found.state, found.redials, found.answered_at) == (CallState.UNKNOWN, 0, None)
        assert (found.renewed_at, found.unsettled_since) == (before.renewed_at, None)

    def test_redial_that_was_answered(self, ledger: CallLedger) -> None:
        found = self.settle(ledger, accepted(ledger.claim_redial(unknown(ledger)), "call_1"))
        assert (found.state, found.call_id, found.redials) == (CallState.ACCEPTED, "call_1", 1)

    def test_redial_whose_answer_was_lost(self, ledger: CallLedger) -> None:
        before = unknown(ledger)
        found = self.settle(ledger, lost(ledger.claim_redial(before)))
        assert (found.state, found.unsettled_since) == (CallState.UNKNOWN, before.renewed_at)

    def test_call_id_that_another_process_stores_at_the_same_moment(self, postgres_database: str) -> None:
        # SQLite lets only one of them write; PostgreSQL shows each statement what is committed by then.
        ledger = CallLedger(postgres_database)
        rival, a, b, c = claims(ledger, "rival", "a", "b", "c")
        after_statement(
            postgres_database,
            "SELECT",
            "calls",
            lambda: in_a_thread(lambda: ledger.accept(rival, "call_b")),
        )
        found = ledger.settle_many([accepted(a, "call_a"), accepted(b, "call_b"), refused(c)])
        assert found == [stored(ledger, key) for key in "abc"]
        assert [entry.call_id for entry in found] == ["call_a", None, None]
        assert found[1].error_code == "call_id_not_unique"
        assert found[2].state is CallState.REFUSED
        assert stored(ledger, "rival").call_id == "call_b"

    def test_call_that_is_adopted_at_the_same_moment(self, postgres_database: str) -> None:
        ledger = CallLedger(postgres_database)
        adopter = unknown(ledger, "adopter")
        complete(ledger, "call_b")
        other = replace(CALL, agent_id="another")
        a, b = claim(ledger, "a", other), claim(ledger, "b", other)
        after_statement(
            postgres_database, "SELECT", "calls", lambda: in_a_thread(lambda: ledger.adopt(adopter))
        )
        found = ledger.settle_many([accepted(a, "call_a"), accepted(b, "call_b")])
        assert [entry.call_id for entry in found] == ["call_a", "call_b"]
        assert stored(ledger, "adopter").state is CallState.UNKNOWN


def test_answers_that_two_processes_store_in_another_order_are_all_stored(ledger: CallLedger) -> None:
    # One of them was thought dead; both know of all the calls.
    for turn in range(5):
        entries = claims(ledger, *(f"{turn} {number}" for number in range(40)))
        settlements = [accepted(entry, f"call_{entry.idempotency_key}") for entry in entries]
        ready = threading.Barrier(4)

        def settle(
            seed: int, settlements: list[Settlement] = settlements, ready: threading.Barrier = ready
        ) -> None:
            order = random.Random(seed).sample(settlements, len(settlements))
            ready.wait()
            found = ledger.settle_many(order)
            assert [entry.call_id for entry in found] == [one.call_id for one in order]

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(settle, range(4)))
    assert len(ledger.calls(limit=1000)) == 200
