"""Each kind of violation that is planted in a ledger is found, and nothing else is."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import delete, update

from airflow_provider_voiceinfra.audit import auditing, judge
from airflow_provider_voiceinfra.audit.verdicts import (
    CALL_CAP,
    CODES,
    NO_CONSENT,
    OUTSIDE,
    RULES_MISSING,
    SUPPRESSED,
    Why,
)
from airflow_provider_voiceinfra.ledger.database.schema import rules as stored_rules
from airflow_provider_voiceinfra.ledger.database.schema import suppressions
from airflow_provider_voiceinfra.ledger.rules import history
from tests.audit.planting import DAY, HOUR, NOON, NUMBER, SECOND, Field
from tests.ledger.examples import execute

OTHER = "+12125550101"
IN_TWO_ZONES = "+12195550100"
IN_FLORIDA = "+13055550100"
TOLL_FREE = "+18005550100"
CLOSING = NOON + 8 * HOUR
"""20:00 in New York."""
MOMENT = timedelta(microseconds=1000)
HOURS = {"calling_window": "09:00-20:00"}
CAP = {"call_cap": "3/24h"}


def test_a_ledger_without_calls_has_no_offenders(field: Field) -> None:
    assert list(field.verdicts()) == []


class TestTolerance:
    """The clocks of the database and of those who call differ a little, and nobody broke a rule by that."""

    @pytest.fixture(autouse=True)
    def _as_it_is(self, _exactly: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(judge, "TOLERANCE", timedelta(seconds=2))

    def test_two_seconds_at_the_edges_of_a_window_are_let_pass_and_no_more(self, field: Field) -> None:
        rules = field.rules(task=HOURS)
        opening = NOON - 3 * HOUR
        for at in (opening - 2 * SECOND, CLOSING + SECOND):
            field.call(at, rules_id=rules)
        early = field.call(opening - 2 * SECOND - MOMENT, rules_id=rules)
        late = field.call(CLOSING + 2 * SECOND, rules_id=rules)
        assert sorted(field.found()) == sorted([(early, OUTSIDE), (late, OUTSIDE)])

    def test_two_seconds_around_a_suppression_are_let_pass_and_no_more(self, field: Field) -> None:
        field.suppression(NOON, ends_at=NOON + HOUR)
        for at in (NOON + 2 * SECOND, NOON + HOUR - 2 * SECOND):
            field.call(at)
        first = field.call(NOON + 2 * SECOND + MOMENT)
        last = field.call(NOON + HOUR - 2 * SECOND - MOMENT)
        assert sorted(field.found()) == sorted([(first, SUPPRESSED), (last, SUPPRESSED)])


def test_without_rules_any_call_is_allowed(field: Field) -> None:
    field.call(NOON - 9 * HOUR)
    [verdict] = field.verdicts()
    assert (verdict.findings, verdict.unjudged) == ([], [])


class TestWindow:
    @pytest.mark.parametrize("place", ["deployment", "connection", "task"])
    def test_at_closing_is_too_late_and_a_second_before_is_not(self, field: Field, place: str) -> None:
        rules = field.rules(**{place: HOURS})
        field.call(CLOSING - SECOND, rules_id=rules)
        late = field.call(CLOSING, rules_id=rules)
        assert field.found() == [(late, OUTSIDE)]

    def test_at_opening_is_not_too_early_and_a_moment_before_is(self, field: Field) -> None:
        rules = field.rules(task=HOURS)
        field.call(NOON - 3 * HOUR, rules_id=rules)
        early = field.call(NOON - 3 * HOUR - MOMENT, rules_id=rules)
        assert field.found() == [(early, OUTSIDE)]

    def test_it_is_open_in_each_zone_of_an_area_code_or_it_is_closed(self, field: Field) -> None:
        rules = field.rules(task=HOURS)
        late = field.call(CLOSING, IN_TWO_ZONES, rules_id=rules)
        field.call(CLOSING - SECOND, IN_TWO_ZONES, rules_id=rules)
        early = field.call(NOON - 2 * HOUR - SECOND, IN_TWO_ZONES, rules_id=rules)
        assert sorted(field.found()) == sorted([(late, OUTSIDE), (early, OUTSIDE)])

    def test_a_zone_that_was_named_for_the_person_decides_alone(self, field: Field) -> None:
        rules = field.rules(task=HOURS)
        field.call(CLOSING, rules_id=rules, timezone="America/Chicago")
        late = field.call(CLOSING + HOUR, rules_id=rules, timezone="America/Chicago")
        assert field.found() == [(late, OUTSIDE)]

    def test_a_zone_that_the_window_names_decides_alone(self, field: Field) -> None:
        rules = field.rules(task={"calling_window": "09:00-20:00 Europe/Berlin"})
        field.call(NOON, rules_id=rules)  # 18:00 in Berlin
        late = field.call(NOON + 2 * HOUR, rules_id=rules)
        assert field.found() == [(late, OUTSIDE)]

    def test_the_region_of_the_number_or_of_the_person_decides(self, field: Field) -> None:
        rules = field.rules(task={"calling_window": "US-FL 08:00-20:00; US 08:00-21:00"})
        late = field.call(CLOSING, IN_FLORIDA, rules_id=rules)
        moved = field.call(CLOSING, NUMBER, rules_id=rules, region="US-FL")
        field.call(CLOSING, NUMBER, rules_id=rules)
        field.call(CLOSING, IN_FLORIDA, rules_id=rules, region="US-GA")
        assert sorted(field.found()) == sorted([(late, OUTSIDE), (moved, OUTSIDE)])

    def test_every_place_must_allow_it(self, field: Field) -> None:
        rules = field.rules(deployment={"calling_window": "08:00-21:00"}, task=HOURS)
        late = field.call(CLOSING, rules_id=rules)
        assert field.found() == [(late, OUTSIDE)]

    def test_a_toll_free_number_may_be_in_any_zone(self, field: Field) -> None:
        rules = field.rules(task=HOURS)
        early = field.call(NOON, TOLL_FREE, rules_id=rules)
        assert field.found() == [(early, OUTSIDE)]

    def test_what_the_clocks_showed_is_said(self, field: Field) -> None:
        field.call(CLOSING, IN_TWO_ZONES, rules_id=field.rules(task=HOURS))
        [verdict] = field.verdicts()
        assert {zone: f"{local:%H:%M}" for zone, local in verdict.local.items()} == {
            "America/Chicago": "19:00",
            "America/New_York": "20:00",
        }
        [finding] = verdict.findings
        assert finding.rule == (
            "task: calling_window = 09:00-20:00; it was Wed 2026-03-04 20:00:00 in America/New_York"
        )


class TestCap:
    def test_the_fourth_call_of_a_day_is_found_and_one_exactly_a_day_later_is_not(self, field: Field) -> None:
        rules = field.rules(deployment=CAP)
        for hour in range(3):
            field.call(NOON + hour * HOUR, rules_id=rules)
        fourth = field.call(NOON + DAY - MOMENT, rules_id=rules)
        assert field.found() == [(fourth, CALL_CAP)]
        field.change(fourth, dialled_at=NOON + DAY)
        assert field.found() == []

    def test_each_of_several_caps_counts(self, field: Field) -> None:
        rules = field.rules(connection={"call_cap": "3/24h, 4/7d"})
        for day in range(4):
            field.call(NOON + day * DAY, rules_id=rules)
        fifth = field.call(NOON + 6 * DAY, rules_id=rules)
        field.call(NOON + 8 * DAY, rules_id=rules)
        assert field.found() == [(fifth, CALL_CAP)]

    def test_calls_of_all_origins_count_whatever_is_asked_for(self, field: Field) -> None:
        rules = field.rules(task=CAP)
        field.call(NOON, conn_id="other", dag_id="other")
        field.call(NOON + HOUR, campaign_id="other")
        field.call(NOON + 2 * HOUR)
        fourth = field.call(NOON + 3 * HOUR, rules_id=rules, campaign_id="mine", dag_id="d", conn_id="x")
        for equal in ({"campaign_id": "mine"}, {"dag_id": "d"}, {"conn_id": "x"}):
            assert field.found(**equal, since=NOON + 3 * HOUR) == [(fourth, CALL_CAP)]
        assert field.found(campaign_id="other") == []

    def test_calls_to_other_numbers_do_not_count(self, field: Field) -> None:
        rules = field.rules(task=CAP)
        for number in (NUMBER, OTHER):
            field.call(NOON, number, rules_id=rules)
            field.call(NOON, number, rules_id=rules)
        assert field.found() == []

    @pytest.mark.parametrize("state", ["accepted", "unknown", "claimed", "refused"])
    def test_what_may_have_rung_counts_and_what_was_refused_does_not(self, field: Field, state: str) -> None:
        rules = field.rules(task={"call_cap": "1/24h"})
        field.call(NOON, state=state)
        second = field.call(NOON + HOUR, rules_id=rules)
        assert field.found() == ([] if state == "refused" else [(second, CALL_CAP)])

    @pytest.mark.parametrize("state", ["accepted", "unknown", "claimed", "refused"])
    def test_what_may_have_rung_can_offend(self, field: Field, state: str) -> None:
        late = field.call(CLOSING, state=state, rules_id=field.rules(task=HOURS))
        assert field.found() == ([] if state == "refused" else [(late, OUTSIDE)])

    def test_a_redial_counts_as_two_dials_and_each_is_judged(self, field: Field) -> None:
        rules = field.rules(task={"call_cap": "1/24h", **HOURS})
        redialled = field.call(NOON, rules_id=rules, unsettled_since=NOON - DAY)
        assert field.found() == []
        field.change(redialled, unsettled_since=NOON - 5 * HOUR)
        found = [
            (verdict.is_first, finding.code) for verdict in field.verdicts() for finding in verdict.findings
        ]
        assert found == [(True, OUTSIDE), (False, CALL_CAP)]
        third = field.call(NOON + 2 * HOUR, rules_id=rules)
        [verdict] = [verdict for verdict in field.verdicts() if verdict.call.key_hash == third]
        assert verdict.calls_before == ["task: 2 before it, of 1/24h"]

    def test_a_redial_at_the_very_moment_of_the_dial_before_comes_after_it(self, field: Field) -> None:
        field.call(NOON, rules_id=field.rules(task={"call_cap": "1/1h"}), unsettled_since=NOON)
        found = [(verdict.is_first, len(verdict.findings)) for verdict in field.verdicts()]
        assert found == [(True, 0), (False, 1)]

    def test_what_was_before_the_first_of_two_dials_counts_for_it(self, field: Field) -> None:
        field.call(NOON - DAY)
        rules = field.rules(task={"call_cap": "1/2h"})
        field.call(NOON, rules_id=rules, unsettled_since=NOON - DAY + HOUR)
        found = [(verdict.is_first, len(verdict.findings)) for verdict in field.verdicts(since=NOON - DAY)]
        assert found == [(False, 0), (True, 1), (False, 0)]

    def test_the_first_of_two_dials_of_a_call_that_is_not_judged_counts(self, field: Field) -> None:
        field.call(NOON + 2 * HOUR, unsettled_since=NOON, conn_id="other")
        second = field.call(NOON + HOUR, rules_id=field.rules(task={"call_cap": "1/24h"}))
        assert field.found(conn_id="c") == [(second, CALL_CAP)]

    def test_what_was_before_since_counts_for_the_longest_of_the_caps(self, field: Field) -> None:
        for day in range(4):
            field.call(NOON + day * DAY)
        fifth = field.call(NOON + 6 * DAY, rules_id=field.rules(task={"call_cap": "3/24h, 4/7d"}))
        assert field.found(since=NOON + 6 * DAY) == [(fifth, CALL_CAP)]

    def test_two_at_the_same_moment_are_one_too_many(self, field: Field) -> None:
        rules = field.rules(task={"call_cap": "1/1h"})
        field.call(NOON, rules_id=rules)
        field.call(NOON, rules_id=rules)
        assert [code for _, code in field.found()] == [CALL_CAP]


class TestSuppression:
    @pytest.mark.parametrize(
        ("created_at", "values", "is_offender"),
        [
            (NOON - MOMENT, {}, True),
            (NOON, {}, False),
            (NOON + MOMENT, {}, False),
            (NOON - DAY, {"ends_at": NOON}, False),
            (NOON - DAY, {"ends_at": NOON + MOMENT}, True),
            (NOON - DAY, {"removed_at": NOON}, False),
            (NOON - DAY, {"removed_at": NOON + MOMENT}, True),
            (NOON - DAY, {"ends_at": NOON + DAY, "removed_at": NOON - HOUR}, False),
            (NOON - DAY, {"ends_at": NOON - HOUR, "removed_at": NOON + HOUR}, False),
            (NOON - DAY, {"conn_id": "c"}, True),
            (NOON - DAY, {"conn_id": "other"}, False),
            (NOON - DAY, {"to": OTHER}, False),
            (NOON - DAY, {"number": None}, True),
        ],
    )
    def test_it_counts_while_it_is_in_force_for_that_connection_and_number(
        self, field: Field, created_at: datetime, values: dict[str, Any], is_offender: bool
    ) -> None:
        field.suppression(created_at, **values)
        call = field.call(NOON)
        assert field.found() == ([(call, SUPPRESSED)] if is_offender else [])

    def test_exempt_numbers_are_not_exempt_from_it(self, field: Field) -> None:
        field.suppression(NOON - DAY)
        call = field.call(NOON, rules_id=field.rules(deployment={"exempt_numbers": [NUMBER]}))
        assert field.found() == [(call, SUPPRESSED)]

    def test_of_several_each_is_looked_at(self, field: Field) -> None:
        field.suppression(NOON - DAY, removed_at=NOON - HOUR)
        field.suppression(NOON - 2 * DAY, conn_id="other")
        field.suppression(NOON - HOUR)
        call = field.call(NOON)
        assert field.found() == [(call, SUPPRESSED)]


class TestExempt:
    @pytest.mark.parametrize(
        ("exempt_in", "offends_in"),
        [
            (None, ["deployment", "connection", "task"]),
            ("deployment", []),
            ("connection", ["deployment"]),
            ("task", ["deployment", "connection"]),
        ],
    )
    @pytest.mark.parametrize("code", [OUTSIDE, CALL_CAP])
    def test_a_number_is_exempt_from_there_on_inwards(
        self, field: Field, exempt_in: str | None, offends_in: list[str], code: str
    ) -> None:
        field.call(CLOSING - HOUR)
        for place in ("deployment", "connection", "task"):
            places: dict[str, dict[str, Any]] = {
                place: {"calling_window": "09:00-20:00"} if code == OUTSIDE else {"call_cap": "1/24h"}
            }
            if exempt_in:
                places.setdefault(exempt_in, {})["exempt_numbers"] = [OTHER, NUMBER]
            call = field.call(CLOSING, rules_id=field.rules(**places))
            assert [found for found in field.found() if found[0] == call] == (
                [(call, code)] if place in offends_in else []
            )
            field.change(call, state="refused")

    def test_another_number_is_not(self, field: Field) -> None:
        call = field.call(CLOSING, rules_id=field.rules(task={**HOURS, "exempt_numbers": [OTHER]}))
        assert field.found() == [(call, OUTSIDE)]


class TestConsent:
    @pytest.mark.parametrize("place", ["deployment", "connection", "task"])
    def test_who_is_called_without_is_found_also_if_exempt(self, field: Field, place: str) -> None:
        rules = field.rules(**{place: {"require_consent": True, "exempt_numbers": [NUMBER]}})
        field.call(rules_id=rules, consent="form 17")
        without = field.call(rules_id=rules)
        field.call()
        assert field.found() == [(without, NO_CONSENT)]


class TestUnknown:
    def test_rules_that_are_gone_are_an_offence_and_suppressions_are_judged_all_the_same(
        self, field: Field
    ) -> None:
        rules = field.rules(task=HOURS)
        call = field.call(NOON, rules_id=rules)
        field.suppression(NOON - DAY)
        execute(field.ledger, delete(stored_rules))
        assert sorted(field.found()) == sorted([(call, SUPPRESSED), (call, RULES_MISSING)])

    @pytest.mark.parametrize(
        "document", [b"{", b"[]", b'{"planet": {}}', b'{"task": {"call_cap": "few"}}', b'{"task": 1}']
    )
    def test_rules_that_cannot_be_read_are_not_passed_over(self, field: Field, document: bytes) -> None:
        call = field.call(rules_id=field.rules())
        execute(field.ledger, update(stored_rules).values(document=document))
        assert field.unjudged() == [(call, code, Why.UNREADABLE) for code in (OUTSIDE, CALL_CAP, NO_CONSENT)]

    @pytest.mark.parametrize("window", ["whenever 09:00-20:00", "09:00-20:00; holidays XX"])
    def test_a_window_that_cannot_be_read_is_not_passed_over(self, field: Field, window: str) -> None:
        rules = field.rules(task={"calling_window": window, "require_consent": True})
        call = field.call(rules_id=rules)
        assert field.unjudged() == [(call, OUTSIDE, Why.UNREADABLE)]
        assert field.found() == [(call, NO_CONSENT)]

    @pytest.mark.parametrize(("to", "timezone"), [("+19995550100", None), (NUMBER, "Mars/Base")])
    def test_a_number_without_a_zone(self, field: Field, to: str, timezone: str | None) -> None:
        call = field.call(CLOSING, to, rules_id=field.rules(task=HOURS), timezone=timezone)
        field.call(NOON, to, rules_id=field.rules(task={"calling_window": "09:00-20:00 Europe/Berlin"}))
        assert field.unjudged() == [(call, OUTSIDE, Why.NO_PLACE)]

    def test_when_it_was_dialled_before_that_was_kept(self, field: Field) -> None:
        call = field.call(None, rules_id=field.rules(task=HOURS))
        assert field.unjudged() == [(call, code, Why.NO_MOMENT) for code in CODES]


class TestPurged:
    def purged(self, field: Field, at: datetime, **values: Any) -> str:
        """Plant a call of which only the hash of its number is left."""
        call = field.call(at, **values)
        field.change(call, to_number=None, request=None, consent=None, purged_at=NOON + 90 * DAY)
        return call

    def test_caps_and_suppressions_and_exemptions_are_judged_by_the_hash(self, field: Field) -> None:
        rules = field.rules(task={"call_cap": "1/24h"})
        first, second = self.purged(field, NOON), self.purged(field, NOON + HOUR, rules_id=rules)
        exempt = field.rules(task={"call_cap": "1/24h", "exempt_numbers": [NUMBER]})
        third = self.purged(field, NOON + 2 * HOUR, rules_id=exempt)
        assert field.found() == [(second, CALL_CAP)]
        field.suppression(NOON - DAY)
        assert {call for call, code in field.found() if code == SUPPRESSED} == {first, second, third}
        assert field.unjudged() == []

    def test_window_and_consent_cannot_be_judged(self, field: Field) -> None:
        rules = field.rules(deployment=HOURS, task={"require_consent": True})
        call = self.purged(field, CLOSING, rules_id=rules, consent="form 17")
        assert field.found() == []
        assert sorted(field.unjudged()) == sorted(
            [(call, OUTSIDE, Why.PURGED), (call, NO_CONSENT, Why.PURGED)]
        )

    @pytest.mark.parametrize(
        ("window", "values"),
        [
            ("09:00-20:00 America/New_York", {}),
            ("09:00-20:00", {"timezone": "America/New_York"}),
            ("09:00-20:00", {"region": "US-NJ"}),
            ("US-NJ 09:00-20:00", {"region": "US-NJ", "timezone": "America/New_York"}),
        ],
    )
    def test_a_window_is_judged_if_the_place_is_still_known(
        self, field: Field, window: str, values: dict[str, str]
    ) -> None:
        rules = field.rules(task={"calling_window": window})
        late = self.purged(field, CLOSING, rules_id=rules, **values)
        self.purged(field, CLOSING - SECOND, rules_id=rules, **values)
        assert (field.found(), field.unjudged()) == ([(late, OUTSIDE)], [])

    def test_a_window_by_region_is_not_judged_by_the_zone_alone(self, field: Field) -> None:
        rules = field.rules(task={"calling_window": "US-FL 09:00-20:00; 09:00-21:00 America/New_York"})
        call = self.purged(field, CLOSING, rules_id=rules, timezone="America/New_York")
        assert field.unjudged() == [(call, OUTSIDE, Why.PURGED)]

    def test_without_the_hash_neither_caps_nor_suppressions_are_judged(self, field: Field) -> None:
        call = self.purged(field, NOON, rules_id=field.rules(task=CAP))
        field.change(call, to_number_hash=None)
        assert field.unjudged() == [(call, SUPPRESSED, Why.PURGED), (call, CALL_CAP, Why.PURGED)]

    def test_a_real_purge_leaves_what_it_takes(self, field: Field) -> None:
        rules = field.rules(task={"call_cap": "1/24h"})
        field.call(NOON, rules_id=rules)
        second = field.call(NOON + HOUR, rules_id=rules)
        field.ledger.purge(datetime(2027, 1, 1, tzinfo=timezone.utc))
        assert field.found() == [(second, CALL_CAP)]


def test_a_call_whose_hash_is_missing_is_found_by_its_number(field: Field) -> None:
    field.suppression(NOON - DAY)
    call = field.call(NOON)
    field.change(call, to_number_hash=None)
    assert field.found() == [(call, SUPPRESSED)]


def test_since_is_judged_and_until_is_not(field: Field) -> None:
    rules = field.rules(task={"calling_window": "01:00-02:00"})
    calls = [field.call(NOON + second * SECOND, rules_id=rules) for second in range(4)]
    found = field.found(since=NOON + SECOND, until=NOON + 3 * SECOND)
    assert found == [(call, OUTSIDE) for call in calls[1:3]]


def test_only_the_dial_within_is_judged_of_two(field: Field) -> None:
    rules = field.rules(task={"calling_window": "01:00-02:00"})
    field.call(NOON, rules_id=rules, unsettled_since=NOON - HOUR)
    assert [verdict.is_first for verdict in field.verdicts(until=NOON)] == [True]
    assert [verdict.is_first for verdict in field.verdicts(since=NOON)] == [False]


def test_a_call_that_was_claimed_long_before_is_judged_by_when_it_was_dialled(field: Field) -> None:
    late = field.call(CLOSING, rules_id=field.rules(task=HOURS), claimed_at=NOON - 3 * DAY)
    assert field.found(since=CLOSING) == [(late, OUTSIDE)]


def test_none_is_lost_or_judged_twice_however_many_are_read_at_once(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_AT_ONCE", 3)
    monkeypatch.setattr(history, "_CALLS", history._CALLS.limit(3))
    monkeypatch.setattr(auditing, "_MOST_RULES", 1)
    rules = [field.rules(task={"call_cap": f"{most}/24h"}) for most in (1, 100)]
    moments = [NOON, *[NOON + HOUR] * 4, *(NOON + number * HOUR for number in range(2, 9))]
    calls = [field.call(at, rules_id=rules[number % 2]) for number, at in enumerate(moments)]
    assert sorted(verdict.call.key_hash for verdict in field.verdicts()) == sorted(calls)
    assert sorted(field.found()) == sorted((call, CALL_CAP) for call in calls[2::2])


def test_suppressions_of_many_numbers_are_each_their_own(field: Field) -> None:
    numbers = [f"+12125550{line}" for line in range(100, 200)]
    calls = {number: field.call(NOON, number) for number in numbers}
    for number in numbers[::7]:
        field.suppression(NOON - DAY, number)
    assert sorted(field.found()) == sorted((calls[number], SUPPRESSED) for number in numbers[::7])
    execute(field.ledger, delete(suppressions))
    assert field.found() == []
