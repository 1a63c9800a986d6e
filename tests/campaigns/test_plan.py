"""Whom a campaign calls again, and when; every other word about that is refused."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_voiceinfra.calls import CallOutcome
from airflow_provider_voiceinfra.campaigns.plan import MAX_ATTEMPTS, RedialPolicy
from airflow_provider_voiceinfra.exceptions import InvalidCallError

ENDED = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def minutes_until_redial(policy: RedialPolicy, attempt: int, outcome: str = "voicemail") -> float | None:
    due = policy.due(outcome, attempt, ENDED)
    return None if due is None else (due - ENDED) / timedelta(minutes=1)


@pytest.mark.parametrize(
    ("spec", "waits"),
    [
        ({"waits": [30, 60, 120]}, [30, 60, 120, None]),
        ({"waits": 30}, [30, None]),
        ({"waits": (0.5,)}, [0.5, None]),
        ({"waits": [0]}, [0, None]),
        ({"waits": [30, 60], "attempts": 5}, [30, 60, 60, 60, None]),
        ({"waits": [30, 60], "attempts": 2}, [30, None]),
    ],
)
@pytest.mark.parametrize("form", [lambda spec: spec, json.dumps], ids=["mapping", "json"])
def test_each_call_is_followed_by_its_wait_and_the_last_one_by_none(
    spec: dict[str, Any], waits: list[float | None], form: Any
) -> None:
    policy = RedialPolicy.parse(form(spec))
    assert [minutes_until_redial(policy, attempt) for attempt in range(1, len(waits) + 1)] == waits


@pytest.mark.parametrize(
    ("outcomes", "redialled"),
    [
        (None, {"voicemail", "failed"}),
        ("failed", {"failed"}),
        (["voicemail"], {"voicemail"}),
        ({"voicemail", "failed"}, {"voicemail", "failed"}),
        ([CallOutcome.VOICEMAIL], {"voicemail"}),
    ],
)
def test_only_the_outcomes_that_were_named_are_redialled(outcomes: Any, redialled: set[str]) -> None:
    policy = RedialPolicy.parse({"waits": [1], **({"outcomes": outcomes} if outcomes else {})})
    for outcome in ("answered", "voicemail", "failed", "busy", None):
        assert (policy.due(outcome, 1, ENDED) is not None) == (outcome in redialled)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("", "is no JSON"),
        ("None", "is no JSON"),
        ("[30]", "must be a mapping"),
        ("null", "must be a mapping"),
        (30, "must be a mapping"),
        ({}, "waits must be a list of minutes"),
        ({"waits": []}, "waits must be a list of minutes"),
        ({"waits": "30"}, "waits must be a list of minutes"),
        ({"waits": ["30"]}, "waits must be minutes from 0 to 43200"),
        ({"waits": [-1]}, "not -1"),
        ({"waits": [43_201]}, "not 43201"),
        ({"waits": [float("nan")]}, "not nan"),
        ({"waits": True}, "not True"),
        ({"waits": [1], "attempts": 1}, "attempts must be a whole number from 2 to 20, not 1"),
        ({"waits": [1], "attempts": "3"}, "not '3'"),
        ({"waits": [1], "attempts": 2.5}, "not 2.5"),
        ({"waits": [1], "attempts": True}, "not True"),
        ({"waits": [1], "attempts": MAX_ATTEMPTS + 1}, "not 21"),
        ({"waits": [1] * MAX_ATTEMPTS}, "not 21"),
        ({"waits": [1], "outcomes": ["answered"]}, "outcomes must be of voicemail and failed"),
        ({"waits": [1], "outcomes": []}, "outcomes must be"),
        ({"waits": [1], "outcomes": 5}, "outcomes must be"),
        ({"waits": [1], "outcomes": [["voicemail"]]}, "outcomes must be"),
        ({"waits": [1], "wait": 5}, "knows outcomes, waits and attempts, not wait"),
        ({"waits": [1], 7: 5, "x": 1}, "not 7, x"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_by_name(spec: Any, says: str) -> None:
    with pytest.raises(InvalidCallError, match=says) as caught:
        RedialPolicy.parse(spec)
    assert caught.value.field == "redial"


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("voicemail"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(["outcomes", "waits", "attempts", "x"]), json_values) | json_values,
    st.booleans(),
)
def test_any_policy_is_refused_in_words_or_ends(spec: Any, as_text: bool) -> None:
    try:
        policy = RedialPolicy.parse(json.dumps(spec) if as_text else spec)
    except InvalidCallError:
        return
    assert policy.outcomes <= {"voicemail", "failed"}
    for attempt in range(1, policy.attempts):
        assert policy.due(next(iter(policy.outcomes)), attempt, ENDED) is not None
    assert minutes_until_redial(policy, policy.attempts) is None
