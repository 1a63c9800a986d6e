"""Whoever claims a key may dial, and nobody else, whether it is claimed alone or among many."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import update

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import (
    CampaignBusyError,
    ClaimLostError,
    IdempotencyConflictError,
    LedgerUnavailableError,
)
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership
from airflow_provider_voiceinfra.ledger.database.connect import Database
from airflow_provider_voiceinfra.ledger.database.schema import calls
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, CallState, Job
from tests.ledger.conftest import ON_POSTGRES
from tests.ledger.examples import (
    CALL,
    CONN_ID,
    FIRST_TRY,
    SECOND_TRY,
    become,
    claim,
    complete,
    execute,
    purge_all,
    stored,
    unknown,
)
from tests.ledger.racing import Rival, after_commit, after_statement, at_once, elsewhere
from tests.support.waiting import until

Ask = Callable[..., tuple[CallEntry, bool]]
ORIGIN = replace(FIRST_TRY, campaign_id="c", contact_key="k", position=1, attempt=1)


def wish(key: str, call: OutboundCall = CALL, *, origin: CallOrigin = ORIGIN) -> Job:
    """Return a request for the right to dial."""
    return Job(key, call, origin)


def wishes(*keys: str) -> list[Job]:
    return [wish(key) for key in keys]


@pytest.fixture(params=["alone", "among many"])
def ask(request: pytest.FixtureRequest, ledger: CallLedger) -> Ask:
    """Return what asks for the right to dial for one key, alone or among others that nobody has claimed."""
    numbers = itertools.count()

    def ask(
        key: str, call: OutboundCall = CALL, origin: CallOrigin | None = ORIGIN
    ) -> tuple[CallEntry, bool]:
        if request.param == "alone":
            return ledger.claim(key, call, conn_id=CONN_ID, origin=origin)
        crowd = [f"crowd {next(numbers)}" for _ in range(2)]
        asked = wish(key, call, origin=origin or CallOrigin())
        first, found, last = ledger.claim_many([wish(crowd[0]), asked, wish(crowd[1])], conn_id=CONN_ID)
        assert ([entry.idempotency_key for entry, _ in (first, last)], first[1], last[1]) == (
            crowd,
            True,
            True,
        )
        return found

    return ask


class TestClaim:
    def test_claim_is_durable_before_it_is_given(self, ledger: CallLedger, ledger_url: str, ask: Ask) -> None:
        entry, won = ask("key")
        assert won
        # It sees only what was committed.
        [row] = Database(ledger_url).rows(calls.select().where(calls.c.key_hash == entry.key_hash))
        assert CallEntry.from_row(row._mapping) == entry == stored(ledger)
        assert (entry.state, entry.dials, entry.redials) == (CallState.CLAIMED, 1, 0)
        assert (entry.conn_id, entry.origin) == (CONN_ID, ORIGIN)
        assert entry.request == CALL.to_request()
        assert entry.claimed_at == entry.renewed_at
        assert entry.claimed_at.tzinfo is timezone.utc
        assert ask("another")[0].token != entry.token

    @pytest.mark.parametrize("key", ["k" * 10_000, "nul\x00", "surrogate\ud800", "", "\N{PILE OF POO}"])
    def test_key_may_be_any_text(self, ledger: CallLedger, ask: Ask, key: str) -> None:
        entry, won = ask(key)
        assert won
        assert ask(key) == (entry, False)
        assert ledger.call_by_key(key) == ledger.call_by_hash(entry.key_hash) == entry
        assert ask(key + "x")[1]

    @pytest.mark.parametrize("state", ["claimed", "accepted", "unknown"])
    def test_call_that_may_have_rung_is_returned(self, ledger: CallLedger, ask: Ask, state: str) -> None:
        entry = become(ledger, claim(ledger, origin=ORIGIN), state)
        assert ask("key") == (entry, False)
        assert stored(ledger) == entry

    def test_refused_call_may_be_tried_again_with_another_request(self, ledger: CallLedger, ask: Ask) -> None:
        entry = claim(ledger, origin=ORIGIN)
        ledger.refuse(entry, "invalid_phone", "no such number")
        other, origin = replace(CALL, to_number="+14155550102"), replace(ORIGIN, try_number=2)
        again, won = ask("key", other, origin)
        assert won
        assert again == stored(ledger)
        assert (again.state, again.dials, again.redials) == (CallState.CLAIMED, 2, 0)
        assert (again.request, again.origin) == (other.to_request(), origin)
        assert (again.error_code, again.error_message, again.answered_at) == (None, None, None)
        assert again.token != entry.token

    def test_claim_that_a_dead_try_left_behind_is_unknown(self, ledger: CallLedger, ask: Ask) -> None:
        claim(ledger, origin=ORIGIN)
        entry, won = ask("key", origin=replace(ORIGIN, try_number=2))
        assert not won
        assert entry == stored(ledger)
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
        self, ledger: CallLedger, ask: Ask, origin: CallOrigin | None
    ) -> None:
        claim(ledger, origin=FIRST_TRY)
        entry, won = ask("key", origin=origin)
        assert (entry.state, won) == (CallState.CLAIMED, False)

    @pytest.mark.parametrize("state", ["claimed", "accepted", "unknown"])
    def test_purged_key_is_never_dialled_again(self, ledger: CallLedger, ask: Ask, state: str) -> None:
        before = become(ledger, claim(ledger, origin=ORIGIN), state)
        purge_all(ledger)
        entry, won = ask("key")
        assert (entry.state, entry.call_id, won) == (before.state, before.call_id, False)

    def test_claim_is_what_was_written_although_it_is_taken_over(self, ledger: CallLedger, ask: Ask) -> None:
        # The first owner is paused right after its commit, until a later try has redialled.
        redialled: list[CallEntry] = []
        later = replace(ORIGIN, try_number=2)

        another_process = elsewhere(ledger)

        def take_over() -> None:
            entry, _ = another_process.claim("key", CALL, conn_id=CONN_ID, origin=later)
            redialled.append(another_process.claim_redial(entry, origin=later))

        after_commit(ledger, take_over)
        entry, won = ask("key")
        assert won
        assert entry.token != redialled[0].token
        with pytest.raises(ClaimLostError):
            ledger.renew(entry)
        ledger.renew(redialled[0])


class TestAnotherRequestForTheKey:
    @pytest.mark.parametrize("state", ["claimed", "accepted", "unknown"])
    def test_alone_it_is_a_conflict_that_names_the_fields(self, ledger: CallLedger, state: str) -> None:
        become(ledger, claim(ledger, "key +14155550100"), state)
        other = replace(CALL, to_number="+14155550102", context="x")
        with pytest.raises(IdempotencyConflictError) as caught:
            ledger.claim("key +14155550100", other, conn_id="another")
        assert caught.value.fields == ("context", "to_number", "voiceinfra_conn_id")
        assert "context, to_number, voiceinfra_conn_id" in str(caught.value)
        assert "4155550100" not in repr(caught.value)

    def test_same_request_with_values_in_another_form_is_no_conflict(self, ledger: CallLedger) -> None:
        entry = claim(ledger, call=replace(CALL, variables={"slots": (9, 10), "names": {1: "a", "b": 2}}))
        again = replace(CALL, variables={"names": {"b": 2, "1": "a"}, "slots": [9, 10]}, context="")
        assert ledger.claim("key", again, conn_id=CONN_ID) == (entry, False)

    def test_among_many_it_gives_the_call_that_there_is(self, ledger: CallLedger) -> None:
        # The contact was changed after it had been called.
        entry = ledger.accept(claim(ledger, origin=ORIGIN), "call_1")
        other = wish("key", replace(CALL, to_number="+14155550102"))
        assert ledger.claim_many([other, wish("new")], conn_id="another")[0] == (entry, False)


class TestMany:
    def test_many_more_than_one_statement_takes_come_in_their_order(self, ledger: CallLedger) -> None:
        assert ledger.claim_many([], conn_id=CONN_ID) == []
        keys = [str(number) for number in range(1200)]
        before = {entry.key_hash for entry, _ in ledger.claim_many(wishes(*keys[:600]), conn_id=CONN_ID)}
        found = ledger.claim_many(wishes(*keys), conn_id=CONN_ID)
        assert [won for _, won in found] == [False] * 600 + [True] * 600
        assert [entry.idempotency_key for entry, _ in found] == keys
        assert {entry.key_hash for entry, _ in found[:600]} == before
        assert len({entry.token for entry, _ in found}) == 1200

    @pytest.mark.parametrize("refused", [False, True], ids=["new", "refused before"])
    def test_same_key_twice_is_won_once(self, ledger: CallLedger, refused: bool) -> None:
        if refused:
            ledger.refuse(claim(ledger, "same"), "rate_limited", "429")
        found = ledger.claim_many(wishes("a", "same", "b", "same"), conn_id=CONN_ID)
        assert [won for _, won in found] == [True, True, True, False]
        assert found[1][0] == found[3][0] == stored(ledger, "same")


class TestOwner:
    @staticmethod
    def take(ledger: CallLedger) -> Ownership:
        """Take the campaign, from whoever runs it."""
        entry = ledger.campaigns.take("c", conn_id=CONN_ID, origin=FIRST_TRY)
        return Ownership("c", str(entry.runner))

    def test_nothing_is_claimed_for_a_process_that_has_lost_the_campaign(self, ledger: CallLedger) -> None:
        former = self.take(ledger)
        [(entry, won)] = ledger.claim_many(wishes("before"), conn_id=CONN_ID, owner=former)
        assert won
        now_runs = self.take(ledger)
        with pytest.raises(CampaignBusyError, match="is being run by task"):
            ledger.claim_many(wishes("after", "before"), conn_id=CONN_ID, owner=former)
        assert ledger.call_by_key("after") is None
        assert ledger.campaigns.claims_in_flight("c") == 1
        ledger.refuse(entry, "interrupted", "it was not sent")
        assert ledger.campaigns.claims_in_flight("c") == 0
        # Nor is what was given back meanwhile.
        with pytest.raises(CampaignBusyError):
            ledger.claim_many(wishes("before"), conn_id=CONN_ID, owner=former)
        assert [
            won for _, won in ledger.claim_many(wishes("after", "before"), conn_id=CONN_ID, owner=now_runs)
        ] == [True] * 2

    def test_no_claim_of_the_former_appears_once_a_campaign_was_taken(self, ledger: CallLedger) -> None:
        former = self.take(ledger)
        claimed: list[int] = []

        def go_on() -> None:
            for number in range(10_000):
                ledger.claim_many(wishes(f"key {number}"), owner=former, conn_id=CONN_ID)
                claimed.append(number)

        with ThreadPoolExecutor(1) as pool:
            going = pool.submit(go_on)
            until(lambda: len(claimed) >= 3 or going.done())
            self.take(ledger)
            seen = ledger.campaigns.claims_in_flight("c")
            with pytest.raises(CampaignBusyError):
                going.result(60)
        assert ledger.campaigns.claims_in_flight("c") == seen == len(claimed)


class TestRaces:
    @pytest.mark.parametrize("refused", [False, True], ids=["new", "refused before"])
    @pytest.mark.parametrize("number", [1, 50], ids=["one", "many"])
    def test_of_many_at_once_one_wins_each_key(self, ledger: CallLedger, refused: bool, number: int) -> None:
        keys = [f"key {place}" for place in range(number)]
        if refused:
            for entry, _ in ledger.claim_many(wishes(*keys), conn_id=CONN_ID):
                ledger.refuse(entry, "rate_limited", "429")
        ledger.check()

        def race(seed: int) -> list[CallEntry]:
            order = random.Random(seed).sample(keys, len(keys))
            found = ledger.claim_many(wishes(*order), conn_id=CONN_ID)
            assert [entry.idempotency_key for entry, _ in found] == order
            return [entry for entry, won in found if won]

        won = [entry for entries in at_once(race, 16) for entry in entries]
        assert sorted(str(entry.idempotency_key) for entry in won) == sorted(keys)
        assert {entry.token for entry in won} == {stored(ledger, key).token for key in keys}

    # SQLite lets only one of them write; PostgreSQL shows each statement what is committed by then.

    @ON_POSTGRES
    def test_key_that_another_claims_in_the_middle_is_the_others_no_more(self, ledger: CallLedger) -> None:
        rival = Rival(ledger, "INSERT", "calls", lambda: ledger.claim("b", CALL, conn_id=CONN_ID))
        found = ledger.claim_many(wishes("a", "b", "c"), conn_id=CONN_ID)
        assert [won for _, won in found] == [True] * 3
        assert rival.result() == (found[1][0], False)

    @ON_POSTGRES
    def test_key_whose_call_is_gone_when_it_is_looked_at_is_claimed_anew(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        after_statement(ledger, "INSERT", "calls", lambda: execute(ledger, calls.delete()))
        again, won = ledger.claim("key", CALL, conn_id=CONN_ID)
        assert won
        assert again.token != entry.token

    @ON_POSTGRES
    def test_refused_call_that_another_claims_in_the_middle_is_the_others(self, ledger: CallLedger) -> None:
        become(ledger, claim(ledger, "b"), "refused")
        rivals: list[CallEntry] = []
        claim_it = lambda: rivals.append(ledger.claim("b", CALL, conn_id=CONN_ID)[0])  # noqa: E731
        after_statement(ledger, "SELECT", "calls", claim_it)
        found = ledger.claim_many(wishes("a", "b", "c"), conn_id=CONN_ID)
        assert [won for _, won in found] == [True, False, True]
        assert found[1][0] == rivals[0] == stored(ledger, "b")


class TestClaimWhoseAnswerWasLost:
    """The ledger stored the claims, and its connection broke before it could say so."""

    @pytest.fixture
    def asked(self, ledger: CallLedger) -> list[Job]:
        """Return requests that were stored without an answer; the first was refused before."""
        become(ledger, claim(ledger, "a", origin=ORIGIN), "refused")
        requests = wishes("a", "b")

        def break_connection() -> None:
            raise LedgerUnavailableError("the connection was cut")

        after_commit(ledger, break_connection)
        with pytest.raises(LedgerUnavailableError):
            ledger.claim_many(requests, conn_id=CONN_ID)
        assert [stored(ledger, key).state for key in "ab"] == [CallState.CLAIMED] * 2
        return requests

    def test_only_the_same_request_is_granted_again(self, ledger: CallLedger, asked: list[Job]) -> None:
        assert [won for _, won in ledger.claim_many(wishes("a", "b"), conn_id=CONN_ID)] == [False, False]
        before = [stored(ledger, key) for key in "ab"]
        found = ledger.claim_many([*asked, wish("c")], conn_id=CONN_ID)
        assert [won for _, won in found] == [True] * 3
        for (entry, _), claimed in zip(found, before, strict=False):
            again = {name: getattr(entry, name) for name in ("renewed_at", "sent_at", "dialled_at")}
            assert entry == replace(claimed, **again)
            assert entry.renewed_at > claimed.renewed_at
            ledger.renew(entry)

    @pytest.mark.parametrize("meanwhile", ["unknown", "redialled", "accepted"])
    def test_claim_that_was_taken_over_is_lost(
        self, ledger: CallLedger, asked: list[Job], meanwhile: str
    ) -> None:
        entry = become(ledger, stored(ledger, "b"), meanwhile)
        found = ledger.claim_many(asked, conn_id=CONN_ID)
        assert found[1] == (entry, False)
        assert stored(ledger, "b") == entry


class TestRenew:
    def test_owner_may_say_that_it_is_alive(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        ledger.renew(entry)
        renewed = stored(ledger)
        assert renewed.renewed_at > entry.renewed_at
        assert renewed.claimed_at == entry.claimed_at

    @pytest.mark.parametrize("state", ["unknown", "accepted", "refused", "redialled"])
    def test_claim_that_was_settled_cannot_be_renewed(self, ledger: CallLedger, state: str) -> None:
        entry = claim(ledger)
        become(ledger, entry, state)
        with pytest.raises(ClaimLostError):
            ledger.renew(entry)


class TestRedial:
    def test_redial_is_counted_and_says_who_asked(self, ledger: CallLedger) -> None:
        entry, _ = ledger.claim("key", CALL, conn_id=CONN_ID, origin=FIRST_TRY)
        redial = ledger.claim_redial(ledger.mark_unknown(entry, "x", "y"), origin=SECOND_TRY)
        assert (redial.state, redial.dials, redial.redials) == (CallState.CLAIMED, 2, 1)
        assert redial.origin == SECOND_TRY
        assert redial.request == entry.request
        # The try that redials is alive, so it must not take its own claim for that of a dead one.
        assert ledger.claim("key", CALL, conn_id=CONN_ID, origin=SECOND_TRY) == (redial, False)

    def test_first_dial_is_found_although_the_redial_is_unknown_too(self, ledger: CallLedger) -> None:
        before = unknown(ledger)
        complete(ledger, "call_1")
        redial = ledger.claim_redial(before)
        again = ledger.mark_unknown(redial, "answer_lost", "no answer")
        assert ledger.adopt(again).call_id == "call_1"

    def test_of_many_at_once_exactly_one_may_redial(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)

        def race(_: int) -> bool:
            try:
                ledger.claim_redial(entry)
            except ClaimLostError:
                return False
            return True

        assert sum(at_once(race)) == 1

    def test_call_that_was_settled_meanwhile_is_not_redialled(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        ledger.accept(entry, "call_1")
        with pytest.raises(ClaimLostError):
            ledger.claim_redial(entry)

    def test_purged_call_is_not_redialled(self, ledger: CallLedger) -> None:
        unknown(ledger)
        purge_all(ledger)
        with pytest.raises(ClaimLostError, match="purged"):
            ledger.claim_redial(stored(ledger))


class TestListing:
    def test_calls_are_listed_newest_first(self, ledger: CallLedger) -> None:
        for number, key in enumerate(["one", "two", "three"]):
            change = update(calls).where(calls.c.key_hash == claim(ledger, key).key_hash)
            moment = datetime(2026, 7, 4, 12, number, tzinfo=timezone.utc)
            execute(ledger, change.values(claimed_at=moment))
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
