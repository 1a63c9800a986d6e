"""Caps count every call that may have rung, over everything, and are exact under races."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from harness.postgres import PostgresServer
from sqlalchemy import make_url, update

from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.pools import Pool
from airflow_provider_voiceinfra.ledger.database.schema import calls
from airflow_provider_voiceinfra.ledger.database.schema import rules as stored_rules
from airflow_provider_voiceinfra.ledger.records import CallState, Job
from airflow_provider_voiceinfra.rules.rule_set import NO_RULES, Rules, RuleSet
from tests.ledger.conftest import ON_POSTGRES
from tests.ledger.examples import CALL, CONN_ID, FIRST_TRY, become, execute, stored, unknown
from tests.ledger.racing import Rival, after_statement, at_once, elsewhere

DAY = timedelta(hours=24)
MARGIN = timedelta(seconds=30)


def capped(cap: str = "3/24h", exempt: str = "") -> RuleSet:
    return RuleSet(deployment=Rules.parse({"call_cap": cap, "exempt_numbers": exempt}))


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    return CallLedger(ledger_url)


def claim(ledger: CallLedger, key: str, rules: RuleSet = NO_RULES, conn_id: str = CONN_ID) -> None:
    _, won = ledger.claim(key, CALL, conn_id=conn_id, rules=rules)
    assert won


def refusal(ledger: CallLedger, rules: RuleSet, key: str = "one more") -> CallNotAllowedError:
    with pytest.raises(CallNotAllowedError) as caught:
        ledger.claim(key, CALL, conn_id=CONN_ID, rules=rules)
    return caught.value


def backdate(ledger: CallLedger, key: str, age: timedelta, column: str = "dialled_at") -> datetime:
    """Have a call be so old."""
    moment = datetime.now(timezone.utc) - age
    execute(
        ledger,
        update(calls).where(calls.c.key_hash == stored(ledger, key).key_hash).values(**{column: moment}),
    )
    return moment


class TestCap:
    def test_call_beyond_it_is_refused_with_the_moment_when_the_oldest_counts_no_more(
        self, ledger: CallLedger
    ) -> None:
        for key in "abc":
            claim(ledger, key, capped(), conn_id=key)  # over all connections
        oldest = backdate(ledger, "a", timedelta(hours=20))
        error = refusal(ledger, capped())
        assert error.code == "call_cap"
        assert error.allowed_from == oldest + DAY + MARGIN
        assert CALL.to_number not in str(error)
        entry = stored(ledger, "one more")
        assert (entry.state, entry.error_code) == (CallState.REFUSED, "call_cap")
        assert entry.allowed_from == error.allowed_from

    def test_those_of_before_count_no_more(self, ledger: CallLedger) -> None:
        for key in "abc":
            claim(ledger, key)
        backdate(ledger, "a", DAY + MARGIN + timedelta(seconds=5))
        claim(ledger, "d", capped())
        refusal(ledger, capped())

    def test_request_may_leave_a_little_later_than_its_claim(self, ledger: CallLedger) -> None:
        claim(ledger, "a")
        backdate(ledger, "a", DAY + timedelta(seconds=5))
        refusal(ledger, capped("1/24h"))

    @pytest.mark.parametrize(
        ("state", "counts"),
        [("claimed", 1), ("accepted", 1), ("unknown", 1), ("refused", 0), ("redialled", 2)],
    )
    def test_whatever_may_have_rung_counts(self, ledger: CallLedger, state: str, counts: int) -> None:
        entry, _ = ledger.claim("a", CALL, conn_id=CONN_ID)
        become(ledger, entry, state)
        if counts:
            refusal(ledger, capped(f"{counts}/24h"))
        claim(ledger, "b", capped(f"{counts + 1}/24h"))

    def test_refused_ones_do_not_count_however_often_they_are_tried(self, ledger: CallLedger) -> None:
        claim(ledger, "a", capped("1/24h"))
        for _ in range(3):
            refusal(ledger, capped("1/24h"))
        ledger.refuse(stored(ledger, "a"), "rate_limited", "429")
        claim(ledger, "one more", capped("1/24h"))

    def test_call_that_is_tried_again_does_not_count_against_itself(self, ledger: CallLedger) -> None:
        job = Job("a", CALL, FIRST_TRY)
        for _ in range(2):  # the ledger did not answer the first time
            [(_, won)] = ledger.claim_many([job], conn_id=CONN_ID, rules=capped("1/24h"))
            assert won

    def test_redial_counts_against_the_dial_before(self, ledger: CallLedger) -> None:
        entry, _ = ledger.claim("a", CALL, conn_id=CONN_ID)
        entry = ledger.mark_unknown(entry, "answer_lost", "cut")
        with pytest.raises(CallNotAllowedError):
            ledger.claim_redial(entry, rules=capped("1/24h"))
        after = stored(ledger, "a")
        assert (after.state, after.redials) == (CallState.UNKNOWN, 0)
        assert ledger.claim_redial(after, rules=capped("2/24h")).redials == 1

    def test_each_of_several_holds(self, ledger: CallLedger) -> None:
        rules = RuleSet(Rules.parse({"call_cap": "2/1h"}), task=Rules.parse({"call_cap": "3/24h, 4/7d"}))
        claim(ledger, "a", rules)
        claim(ledger, "b", rules)
        backdate(ledger, "a", timedelta(minutes=30))
        assert refusal(ledger, rules).allowed_from is not None
        backdate(ledger, "a", timedelta(hours=2))
        claim(ledger, "c", rules)
        error = refusal(ledger, rules)  # by two of them, until the later one allows it
        assert error.allowed_from == stored(ledger, "a").dialled_at + DAY + MARGIN  # type: ignore[operator]

    def test_exempt_number_is_not_capped(self, ledger: CallLedger) -> None:
        for key in "abcd":
            claim(ledger, key, capped("1/24h", CALL.to_number))

    def test_other_numbers_are_not_touched(self, ledger: CallLedger) -> None:
        claim(ledger, "a", capped("1/24h"))
        other = replace(CALL, to_number="+14155550102")
        assert ledger.claim("b", other, conn_id=CONN_ID, rules=capped("1/24h"))[1]

    def test_batch_counts_its_own(self, ledger: CallLedger) -> None:
        jobs = [Job(f"key {at}", CALL, FIRST_TRY) for at in range(5)]
        found = ledger.claim_many(jobs, conn_id=CONN_ID, rules=capped("2/24h"))
        assert sum(won for _, won in found) == 2

    @pytest.mark.parametrize("how", ["claims", "redials"])
    def test_it_is_exact_whoever_comes_at_the_same_moment(self, ledger: CallLedger, how: str) -> None:
        ledger.check()
        lost = []
        if how == "redials":
            lost = [ledger.claim(f"{which}", CALL, conn_id=CONN_ID)[0] for which in range(8)]
            lost = [ledger.mark_unknown(entry, "answer_lost", "cut") for entry in lost]

        def call(which: int) -> bool:
            process = ledger.with_pool(Pool(f"process {which}"))  # which shares no transaction with others
            try:
                if lost:
                    process.claim_redial(lost[which], rules=capped("10/24h"))
                else:
                    process.claim(f"{which}", CALL, conn_id=CONN_ID, rules=capped("2/24h"))
            except CallNotAllowedError:
                return False
            return True

        assert sum(at_once(call)) == 2

    @pytest.mark.parametrize(
        "of_other",
        [NO_RULES, RuleSet(task=Rules.parse({"call_cap": "9/24h", "exempt_numbers": CALL.to_number}))],
        ids=["without a cap", "with an exemption"],
    )
    def test_call_that_is_being_claimed_under_no_cap_counts(
        self, ledger: CallLedger, of_other: RuleSet
    ) -> None:
        rival = Rival(ledger, "INSERT", "calls", lambda: refusal(elsewhere(ledger), capped("1/24h")))
        claim(ledger, "a", of_other)
        rival.result()

    def test_redial_under_no_cap_counts(self, ledger: CallLedger) -> None:
        lost = unknown(ledger, "a")
        backdate(ledger, "a", timedelta(days=2))
        rival = Rival(ledger, "UPDATE", "calls", lambda: refusal(elsewhere(ledger), capped("1/24h")))
        ledger.claim_redial(lost)
        rival.result()

    @ON_POSTGRES
    def test_calls_under_no_cap_do_not_wait_for_each_other(self, ledger: CallLedger) -> None:
        # If they did, the other one would wait until this transaction has been idle for too long.
        after_statement(ledger, "INSERT", "calls", lambda: claim(elsewhere(ledger), "b"))
        claim(ledger, "a")

    @ON_POSTGRES
    def test_what_was_stored_while_it_waited_counts_whatever_the_servers_isolation(
        self, ledger: CallLedger, postgres_server: PostgresServer
    ) -> None:
        name = make_url(ledger._database.url).database
        setting = "default_transaction_isolation = 'repeatable read'"
        postgres_server.execute(f'ALTER DATABASE "{name}" SET {setting}')
        rules = capped("1/24h")
        # The rules are there already: who stores them as well would wait for that.
        ledger.claim("other", replace(CALL, to_number="+14155550102"), conn_id=CONN_ID, rules=rules)
        rival = Rival(ledger, "INSERT", "calls", lambda: refusal(elsewhere(ledger), rules))
        claim(ledger, "a", rules)
        rival.result()


class TestWhatIsKept:
    def test_call_keeps_the_rules_that_allowed_it(self, ledger: CallLedger) -> None:
        claim(ledger, "a", capped())
        claim(ledger, "b", capped())
        claim(ledger, "c", capped("4/24h"))
        claim(ledger, "d")
        ids = [stored(ledger, key).rules_id for key in "abcd"]
        assert ids[0] == ids[1] != ids[2]
        assert ids[3] is None
        rows = {row.id: row.document for row in ledger._database.rows(stored_rules.select())}
        assert rows == {ids[0]: capped().document, ids[2]: capped("4/24h").document}

    def test_rules_are_stored_whoever_comes_first(self, ledger: CallLedger) -> None:
        ledger.check()
        at_once(lambda which: claim(elsewhere(ledger), f"{which}", capped("90/24h")))
        assert len(ledger._database.rows(stored_rules.select())) == 1
