"""Values that users give to a campaign, also as the texts that templates make of them."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.tasks import arguments
from tests.airflow_task import TaskInstance


@pytest.mark.parametrize(
    ("value", "whole", "found"),
    [
        (3, True, 3),
        ("3", True, 3),
        (" 3 ", True, 3),
        (3.0, True, 3),
        ("0.5", False, 0.5),
        (Decimal("2.5"), False, 2.5),
    ],
)
def test_numbers_may_be_text(value: Any, whole: bool, found: float) -> None:
    assert arguments.number("max_active_calls", value, whole=whole) == found


NO_NUMBERS = [0, -1, "0", "", "None", None, "ten", True, [], float("nan"), "inf", "1e999", 10**400]


@pytest.mark.parametrize(
    ("value", "whole"), [*((value, whole) for value in NO_NUMBERS for whole in (True, False)), (1.5, True)]
)
def test_what_is_no_number_above_0_is_refused(value: Any, whole: bool) -> None:
    kind = "a whole number from 1 on" if whole else "a number above 0"
    with pytest.raises(InvalidCallError, match=f"max_active_calls: must be {kind}, not"):
        arguments.number("max_active_calls", value, whole=whole)


def test_the_id_of_a_campaign_is_that_of_its_task_instance_unless_it_is_given() -> None:
    ti = TaskInstance(map_index=3)
    assert arguments.campaign_id(None, ti) == "outreach/manual__2026-03-01/call/3"
    assert arguments.campaign_id("spring", ti) == "spring"
    assert arguments.campaign_id(2026, ti) == "2026"  # of a native template
    longest = "x" * arguments.MAX_CAMPAIGN_ID
    assert arguments.campaign_id(longest, ti) == longest


def test_long_names_of_tasks_make_ids_that_fit_and_differ() -> None:
    ids = {arguments.campaign_id(None, TaskInstance(run_id="r" * 300, map_index=index)) for index in range(9)}
    assert len(ids) == 9
    assert {len(campaign_id) for campaign_id in ids} == {arguments.MAX_CAMPAIGN_ID}


@pytest.mark.parametrize(
    "value", ["", "  ", "None", " None ", "x" * (arguments.MAX_CAMPAIGN_ID + 1), "a\nb", "a\0b", "\ud800"]
)
def test_what_names_no_campaign_is_refused(value: str) -> None:
    with pytest.raises(InvalidCallError, match=r"campaign_id: .* names no campaign; use 1 to 250 printable"):
        arguments.campaign_id(value, TaskInstance())


MOMENT = datetime(2026, 1, 31, 19, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "value",
    [
        MOMENT,
        datetime(2026, 1, 31, 20, tzinfo=timezone(timedelta(hours=1))),
        pendulum.datetime(2026, 1, 31, 14, tz="America/New_York"),
        "2026-01-31T20:00:00+01:00",
        "2026-01-31 19:00:00+00:00",
        "2026-01-31T19:00Z",
        "20260131T190000Z",
    ],
)
def test_moments_are_understood_in_the_forms_that_templates_give(value: Any) -> None:
    found = arguments.moment("deadline", value)
    assert found == MOMENT
    assert found.tzinfo is timezone.utc


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 1, 31, 20),  # noqa: DTZ001 # naive is the point
        "2026-01-31T20:00:00",
        "2026-01-31",
        "2026",
        "20:00",
        "now",
        "tomorrow",
        "None",
        "P1D",
        "2026-01-31T20:00:00Z/P1D",
        "2026-02-30T20:00:00Z",
        "2026-01-31T20:00:00+99:99",
        "2026-01-31T20:00:00 Europe/Paris",
        "9999-12-31T23:59:59-01:00",
        1769889600,
        "²²²²-01-01T00:00:00Z",
    ],
)
def test_what_is_no_moment_with_its_zone_is_refused(value: Any) -> None:
    with pytest.raises(InvalidCallError, match="deadline: must be a moment with its time zone, such as 2026"):
        arguments.moment("deadline", value)


@given(st.text(max_size=30) | st.text("0123456789-:TZ+/.W ", max_size=30).map("2026{}".format))
def test_any_text_is_a_moment_or_is_refused_in_words(text: str) -> None:
    with suppress(InvalidCallError):
        assert arguments.moment("deadline", text).tzinfo is timezone.utc


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("anwered", "; did you mean 'answered'?"),
        ("Failed", "; did you mean 'failed'?"),
        ("voice mail", "; did you mean 'voicemail'?"),
        ("busy", "answered, voicemail, failed"),
    ],
)
def test_outcome_that_is_not_documented_is_doubted(value: str, says: str) -> None:
    [doubt] = arguments.doubtful_outcomes("outcomes", ["answered", value])
    assert doubt.startswith(f"outcomes: VoiceInfra documents no outcome {value!r}, only answered, voicemail")
    assert doubt.endswith(says)


@pytest.mark.parametrize("values", [["answered", "voicemail", "failed"], None])
def test_documented_outcomes_are_not_doubted(values: Any) -> None:
    assert list(arguments.doubtful_outcomes("outcomes", values)) == []


NOTHINGS: list[Any] = [None, "", "None", "  ", [], (), {}, set(), "[]", "{}"]
SOMETHINGS: list[Any] = [0, False, "0", "none of them", [None], {"a": None}]


@pytest.mark.parametrize("value", [*NOTHINGS, *SOMETHINGS], ids=repr)
def test_what_a_template_or_a_task_makes_of_nothing_is_nothing(value: Any) -> None:
    assert arguments.is_nothing(value) is any(value is nothing for nothing in NOTHINGS)
