"""How far a contact is: what its calls say, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan, RedialPolicy
from airflow_provider_voiceinfra.campaigns.standings import (
    AGAIN_CODES,
    MENDABLE_CODES,
    Stage,
    Standing,
    standing,
    standings,
)
from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.ledger.campaigns.records import Attempt
from airflow_provider_voiceinfra.ledger.records import CallState
from tests.support.records import build

CLAIMED = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
RENEWED = CLAIMED + timedelta(seconds=10)
ANSWERED = CLAIMED + timedelta(seconds=20)
ENDED = CLAIMED + timedelta(minutes=5)
PLAN = CampaignPlan(
    "spring",
    redial=RedialPolicy.parse({"waits": [30, 60], "attempts": 3}),
    completion_timeout=timedelta(minutes=7),
    unknown_timeout=timedelta(minutes=11),
)
ONCE = CampaignPlan("spring")


def attempt(number: int = 1, state: CallState = CallState.ACCEPTED, **values: Any) -> Attempt:
    usual = {
        "position": 4,
        "key_hash": f"hash-{number}",
        "call_id": f"call-{number}" if state is CallState.ACCEPTED else None,
        "claimed_at": CLAIMED,
        "renewed_at": RENEWED,
        "answered_at": None if state is CallState.CLAIMED else ANSWERED,
    }
    return build(Attempt, number=number, state=state, **{**usual, **values})


def ended(number: int = 1, outcome: str | None = "voicemail") -> Attempt:
    return attempt(number, outcome=outcome, completed_at=ENDED)


def refused(code: str, number: int = 1, message: str | None = None) -> Attempt:
    return attempt(number, CallState.REFUSED, error_code=code, error_message=message)


def test_a_call_on_the_phone_is_waited_for_from_its_answer_or_its_claim_on() -> None:
    assert standing(4, [attempt(answered_at=None)], PLAN).due == CLAIMED + PLAN.completion_timeout
    found = standing(4, [attempt()], PLAN)
    assert (found.stage, found.outcome, found.placed) == (Stage.COMPLETION, "unknown", 1)
    assert found.due == ANSWERED + PLAN.completion_timeout
    assert found.reason == "the call was placed, and no completion record has come"


@pytest.mark.parametrize("state", [CallState.CLAIMED, CallState.UNKNOWN])
def test_a_call_whose_answer_was_lost_may_have_rung_and_is_not_dialled_again(state: CallState) -> None:
    found = standing(4, [attempt(1, state)], PLAN)
    assert (found.stage, found.next_attempt, found.outcome, found.placed) == (Stage.ANSWER, 1, "unknown", 0)
    assert found.due == RENEWED + PLAN.unknown_timeout
    assert "the answer to the request was lost" in str(found.reason)


@pytest.mark.parametrize("code", sorted(AGAIN_CODES))
def test_a_call_that_was_refused_for_no_fault_of_its_own_is_dialled_under_its_number(code: str) -> None:
    found = standing(4, [refused(code)], PLAN)
    assert (found.stage, found.next_attempt, found.due) == (Stage.DIAL, 1, None)
    assert (found.outcome, found.last, found.placed) == (None, None, 0)


@pytest.mark.parametrize("code", sorted(AGAIN_CODES))
@pytest.mark.parametrize(("redial", "stage"), [(PLAN.redial, Stage.DIAL), (None, Stage.OVER)])
def test_a_redial_that_did_not_get_through(code: str, redial: RedialPolicy | None, stage: Stage) -> None:
    found = standing(4, [ended(1, "failed"), refused(code, 2)], replace(PLAN, redial=redial))
    assert (found.stage, found.outcome, found.placed) == (stage, "failed", 1)
    assert redial is None or found.next_attempt == 2
    assert found.last == ended(1, "failed")


OF_THE_API = sorted(MENDABLE_CODES - set(CallNotAllowedError.CODES))


@pytest.mark.parametrize("code", [*OF_THE_API, "invalid_phone", "some_new_code"])
def test_what_a_person_may_have_fixed_is_dialled_again_and_reported_as_refused_until_then(code: str) -> None:
    found = standing(4, [refused(code, message="no such agent")], PLAN)
    stage = Stage.DIAL if code in MENDABLE_CODES else Stage.OVER
    assert (found.stage, found.next_attempt, found.outcome, found.due) == (stage, 1, "refused", None)
    assert found.reason == "the API refused the call: no such agent"
    assert standing(4, [refused(code)], PLAN).reason == f"the API refused the call: {code}"


@pytest.mark.parametrize(("code", "outcome"), [("suppressed", "do_not_call"), ("no_consent", "refused")])
def test_what_a_rule_refuses_is_said_to_be_so_and_asked_again_by_the_next_try(
    code: str, outcome: str
) -> None:
    found = standing(4, [refused(code, message="the number is suppressed")], PLAN)
    assert (found.stage, found.outcome, found.reason) == (Stage.DIAL, outcome, "the number is suppressed")
    found = standing(4, [ended(1, "failed"), refused(code, 2, "the number is suppressed")], PLAN)
    assert (found.outcome, found.reason) == ("failed", "not called again: the number is suppressed")


def test_who_was_called_as_often_as_a_cap_allows_waits_until_it_does() -> None:
    later = ENDED + timedelta(days=1)
    capped = replace(refused("call_cap"), allowed_from=later)
    found = standing(4, [capped], PLAN)
    assert (found.stage, found.next_attempt, found.due, found.is_capped) == (Stage.DIAL, 1, later, True)
    again = replace(refused("call_cap", 2), allowed_from=later)
    found = standing(4, [ended(1, "failed"), again], PLAN)
    assert (found.stage, found.next_attempt, found.due, found.is_capped) == (Stage.DIAL, 2, later, True)
    found = standing(4, [ended(1, "failed"), again], replace(PLAN, redial=None))
    assert (found.stage, found.outcome, found.is_capped) == (Stage.OVER, "failed", False)


@pytest.mark.parametrize(
    ("calls", "plan", "next_attempt", "wait"),
    [
        ([ended(1)], PLAN, 2, 30),
        ([ended(1), ended(2, "failed")], PLAN, 3, 60),
        ([ended(1), ended(2), ended(3)], PLAN, None, None),
        ([ended(1, "answered")], PLAN, None, None),
        ([ended(1), ended(2, "answered")], PLAN, None, None),
        ([ended(1)], ONCE, None, None),
        ([ended(1, None)], PLAN, None, None),
    ],
    ids=["first", "second", "no attempt left", "answered", "answered at last", "no policy", "no outcome"],
)
def test_who_was_not_reached_is_dialled_again_as_often_as_the_plan_says(
    calls: list[Attempt], plan: CampaignPlan, next_attempt: int | None, wait: int | None
) -> None:
    found = standing(4, calls, plan)
    assert found.outcome == (calls[-1].outcome or "unknown")
    assert found.placed == len(calls)
    if next_attempt is None:
        assert (found.stage, found.due) == (Stage.OVER, None)
    else:
        assert wait is not None
        assert (found.stage, found.next_attempt) == (Stage.DIAL, next_attempt)
        assert found.due == ENDED + timedelta(minutes=wait)


@pytest.mark.parametrize("code", ["invalid_phone", *OF_THE_API])
def test_a_redial_that_the_api_refuses_leaves_what_the_call_before_came_to(code: str) -> None:
    found = standing(4, [ended(1, "failed"), refused(code, 2, "bad number")], PLAN)
    mendable = code in MENDABLE_CODES
    assert (found.stage, found.next_attempt) == (Stage.DIAL if mendable else Stage.OVER, 2)
    assert (found.outcome, found.last, found.placed) == ("failed", ended(1, "failed"), 1)
    assert found.refused == refused(code, 2, "bad number")
    assert found.reason == "the API refused a redial: bad number"


def test_a_call_whose_record_was_purged_is_over_and_said_to_be_so() -> None:
    found = standing(4, [attempt(purged_at=ENDED)], PLAN)
    assert (found.stage, found.outcome, found.placed) == (Stage.OVER, "unknown", 1)
    assert "no record of how it ended is left" in str(found.reason)
    # A record that is younger than the call outlives it.
    kept = attempt(purged_at=ENDED, outcome="answered", completed_at=ENDED)
    assert standing(4, [kept], PLAN).outcome == "answered"


# Whatever the ledger holds.

REFUSALS = [*sorted(AGAIN_CODES), *sorted(MENDABLE_CODES), "invalid_phone"]


@st.composite
def histories(draw: st.DrawFn) -> list[Attempt]:
    """Return calls as a campaign makes them: the next one only after the one before is over."""
    before = draw(st.lists(st.sampled_from(["voicemail", "failed"]), max_size=4))
    calls = [ended(number, outcome) for number, outcome in enumerate(before, 1)]
    state = draw(st.sampled_from(list(CallState)))
    number = len(calls) + 1
    if state is CallState.REFUSED:
        return [*calls, refused(draw(st.sampled_from(REFUSALS)), number)]
    if state is CallState.ACCEPTED and draw(st.booleans()):
        outcome = draw(st.sampled_from(["answered", "voicemail", "failed", "busy", None]))
        return [*calls, ended(number, outcome)]
    return [*calls, attempt(number, state)]


policies = st.none() | st.builds(
    lambda waits, attempts: RedialPolicy.parse({"waits": waits, "attempts": attempts}),
    st.lists(st.integers(0, 100), min_size=1, max_size=4),
    st.integers(2, 6),
)


@given(histories(), policies)
def test_nobody_is_dialled_twice_for_one_attempt_and_nobody_is_forgotten(
    calls: list[Attempt], redial: RedialPolicy | None
) -> None:
    plan = CampaignPlan("spring", redial=redial)
    found = standing(4, calls, plan)
    last = calls[-1]

    may_have_rung = [call.number for call in calls if call.state is not CallState.REFUSED]
    if found.stage is Stage.DIAL:
        assert found.next_attempt not in may_have_rung
        assert found.next_attempt == (last.number if last.state is CallState.REFUSED else last.number + 1)
        if found.next_attempt > last.number:
            assert redial is not None
            assert found.next_attempt <= redial.attempts
            assert last.outcome in redial.outcomes
    else:
        # Either it is waited for, until some moment, or its outcome is told.
        assert (found.stage is Stage.OVER) == (found.due is None)
    assert found.placed == sum(call.state is CallState.ACCEPTED for call in calls)
    # "Never called" is said of those alone whom no call was placed or may have been placed to.
    assert (found.outcome is None) == (not may_have_rung and last.error_code in AGAIN_CODES)
    assert (found.last is None) == (found.outcome is None)


@given(st.lists(histories(), max_size=5), policies)
def test_a_stream_of_calls_says_the_same_as_each_contact_by_itself(
    contacts: list[list[Attempt]], redial: RedialPolicy | None
) -> None:
    plan = CampaignPlan("spring", redial=redial)
    placed = [
        [replace(call, position=3 * place) for call in calls] for place, calls in enumerate(contacts, 1)
    ]
    expected: list[Standing] = [standing(calls[0].position, calls, plan) for calls in placed]
    assert list(standings(chain.from_iterable(placed), plan)) == expected
