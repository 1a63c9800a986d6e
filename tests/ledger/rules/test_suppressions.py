"""Who is suppressed is not called from that moment on, whatever others do in the same moment."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress as suppress_errors
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallState, Job
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression, SuppressionSource
from tests.ledger.examples import CALL, CONN_ID, FIRST_TRY, SECOND_TRY, claim, stored, unknown
from tests.ledger.racing import Rival, at_once, elsewhere

NUMBER = CALL.to_number
OTHER = replace(CALL, to_number="+14155550102")


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    return CallLedger(ledger_url)


def suppress(ledger: CallLedger, *numbers: str, **values: object) -> int:
    return ledger.suppressions.add([Suppression(number, **values) for number in numbers or (NUMBER,)])  # type: ignore[arg-type]


def refusal(ledger: CallLedger, call: OutboundCall = CALL, key: str = "key") -> CallNotAllowedError:
    with pytest.raises(CallNotAllowedError) as caught:
        ledger.claim(key, call, conn_id=CONN_ID, origin=FIRST_TRY)
    return caught.value


def soon(seconds: float = 3600) -> datetime:
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)


class TestClaims:
    def test_suppressed_number_is_not_claimed_and_others_are(self, ledger: CallLedger) -> None:
        assert suppress(ledger, reason="asked by mail") == 1
        error = refusal(ledger)
        assert (error.code, error.allowed_from) == ("suppressed", None)
        assert "asked by mail" in str(error)
        assert NUMBER not in str(error)
        entry = stored(ledger)
        assert (entry.state, entry.error_code) == (CallState.REFUSED, "suppressed")
        assert claim(ledger, "other", OTHER)

    @pytest.mark.parametrize(
        ("values", "is_refused"),
        [
            ({"conn_id": CONN_ID}, True),
            ({"conn_id": "sales"}, False),
            ({"ends_at": soon()}, True),
            ({"ends_at": soon(-1)}, False),
        ],
    )
    def test_it_counts_for_its_connection_and_until_its_end(
        self, ledger: CallLedger, values: dict[str, object], is_refused: bool
    ) -> None:
        suppress(ledger, **values)
        if is_refused:
            error = refusal(ledger)
            assert error.allowed_from == values.get("ends_at")
        else:
            assert claim(ledger)

    def test_last_of_several_ends_is_when_it_is_allowed(self, ledger: CallLedger) -> None:
        end = soon(7200)
        suppress(ledger, ends_at=soon(3600))
        suppress(ledger, ends_at=end, conn_id=CONN_ID)
        assert refusal(ledger).allowed_from == end
        suppress(ledger)
        assert refusal(ledger).allowed_from is None

    def test_removed_one_counts_no_more_and_stays(self, ledger: CallLedger) -> None:
        suppress(ledger)
        [before] = ledger.suppressions.of_number(NUMBER)
        refusal(ledger)
        assert ledger.suppressions.remove([before.id]) == 1
        assert ledger.suppressions.remove([before.id]) == 0
        assert claim(ledger, call=CALL)
        assert ledger.suppressions.of_number(NUMBER) == []
        [after] = ledger.suppressions.of_number(NUMBER, only_in_force=False)
        assert after.removed_at is not None
        assert replace(after, removed_at=None) == before

    def test_of_many_claims_only_those_to_it_are_refused(self, ledger: CallLedger) -> None:
        suppress(ledger)
        calls = [CALL, OTHER, CALL, replace(CALL, to_number="+14155550103")]
        jobs = [Job(f"key {at}", call, FIRST_TRY) for at, call in enumerate(calls)]
        found = ledger.claim_many(jobs, conn_id=CONN_ID)
        assert [won for _, won in found] == [False, True, False, True]
        assert [entry.error_code for entry, _ in found] == ["suppressed", None, "suppressed", None]
        assert [entry.key_hash for entry, _ in found] == [stored(ledger, job.key).key_hash for job in jobs]

    def test_call_that_exists_is_taken_up_all_the_same(self, ledger: CallLedger) -> None:
        ledger.accept(claim(ledger), "call_1")
        suppress(ledger)
        entry, won = ledger.claim("key", CALL, conn_id=CONN_ID, origin=SECOND_TRY)
        assert (entry.call_id, won) == ("call_1", False)

    def test_redial_is_refused_and_leaves_the_call_unknown(self, ledger: CallLedger) -> None:
        before = unknown(ledger)
        suppress(ledger)
        with pytest.raises(CallNotAllowedError):
            ledger.claim_redial(before)
        after = stored(ledger)
        assert (after.state, after.redials, after.renewed_at) == (CallState.UNKNOWN, 0, before.renewed_at)

    def test_claim_that_is_about_to_be_sent_again_is_asked_again(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        ledger.renew(entry)
        suppress(ledger)
        with pytest.raises(CallNotAllowedError):
            ledger.renew(entry)


class TestAdding:
    def test_what_is_covered_is_not_added(self, ledger: CallLedger) -> None:
        end = soon()
        assert suppress(ledger, ends_at=end) == 1
        assert suppress(ledger, ends_at=end) == 0
        assert suppress(ledger, conn_id=CONN_ID, ends_at=end) == 0  # it is for all connections
        assert suppress(ledger, ends_at=end + timedelta(seconds=1)) == 1
        assert suppress(ledger, NUMBER, NUMBER) == 1
        assert suppress(ledger) == 0
        assert ledger.suppressions.count() == 3

    def test_many_are_added_once(self, ledger: CallLedger) -> None:
        numbers = [f"+1415555{last:04}" for last in range(100, 200)] * 12
        assert suppress(ledger, *numbers) == 100
        assert suppress(ledger, *numbers) == 0

    @pytest.mark.parametrize("character", ["\x00", "\udc80"])
    def test_reason_that_no_database_can_hold_keeps_nobody_callable(
        self, ledger: CallLedger, character: str
    ) -> None:
        assert suppress(ledger, reason=f"asked{character}by mail") == 1
        [one] = ledger.suppressions.of_number(NUMBER)
        assert one.reason in ("asked\N{REPLACEMENT CHARACTER}by mail", "asked?by mail")

    def test_two_who_add_the_same_at_once_add_one(self, ledger: CallLedger) -> None:
        ledger.check()
        assert sum(at_once(lambda _: suppress(elsewhere(ledger)), 6)) == 1

    def test_pages_are_newest_first_and_of_visible_connections(self, ledger: CallLedger) -> None:
        for number, conn_id in (("+14155550110", "a"), ("+14155550111", "b"), ("+14155550112", None)):
            suppress(ledger, number, conn_id=conn_id, source=SuppressionSource.CLI.value, added_by="op")
        found = ledger.suppressions.page()
        assert [one.number for one in found] == ["+14155550112", "+14155550111", "+14155550110"]
        [second] = ledger.suppressions.page(before=found[0].id, limit=1)
        assert second == found[1]
        visible = ledger.suppressions.page(conn_ids=["a"])
        assert [one.conn_id for one in visible] == [None, "a"]
        assert NUMBER[:-4] not in repr(found)


class TestLastRequests:
    """Once they are awaited, no request to the number leaves any more."""

    def await_last(self, ledger: CallLedger, number: str = NUMBER) -> bool:
        return ledger.suppressions.await_last_requests([number], patience=0.0)

    def test_claim_of_before_is_waited_for_until_it_is_settled(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        suppress(ledger)
        assert self.await_last(ledger, OTHER.to_number)
        assert not self.await_last(ledger)
        ledger.accept(entry, "call_1")
        assert self.await_last(ledger)

    def test_claim_whose_request_cannot_leave_any_more_is_not(self, ledger: CallLedger) -> None:
        from sqlalchemy import update

        from airflow_provider_voiceinfra.ledger.database.schema import calls
        from tests.ledger.examples import execute

        claim(ledger)
        execute(ledger, update(calls).values(dialled_at=soon(-16)))
        assert self.await_last(ledger)

    def test_somebody_is_waited_for(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            ledger.refuse(entry, "rate_limited", "429")

        assert ledger.suppressions.await_last_requests([NUMBER], patience=60.0, sleep=sleep)
        assert len(slept) == 1

    @pytest.mark.parametrize("claims", ["one", "redial", "many", "several"])
    def test_claim_that_is_being_stored_is_refused_or_waited_for(
        self, ledger: CallLedger, claims: str
    ) -> None:
        # The suppression comes right after the claim has asked for it, before it is committed.
        before = unknown(ledger) if claims == "redial" else None
        others = elsewhere(ledger)

        def opt_out() -> bool:
            suppress(others)
            return others.suppressions.await_last_requests([NUMBER], patience=0.0)

        asking = ("SELECT", "suppressions") if claims == "redial" else ("INSERT", "calls")
        rival = Rival(ledger, *asking, opt_out)
        make: dict[str, Callable[[], object]] = {
            "one": lambda: ledger.claim("key", CALL, conn_id=CONN_ID),
            "redial": lambda: ledger.claim_redial(before or claim(ledger)),
            "many": lambda: ledger.claim_many([Job("key", CALL, FIRST_TRY)], conn_id=CONN_ID),
            # These ask right after they are stored, in a statement of its own.
            "several": lambda: ledger.claim_many(
                [Job("key", CALL, FIRST_TRY), Job("other", OTHER, FIRST_TRY)], conn_id=CONN_ID
            ),
        }
        with suppress_errors(CallNotAllowedError):
            make[claims]()
        is_settled = rival.result()
        may_send = stored(ledger).state is CallState.CLAIMED
        assert not (may_send and is_settled)
