"""Any JSON that a webhook may hold, as a page shows it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_voiceinfra.web.pages.call.record_values import (
    MOST_DEPTH,
    MOST_VALUES,
    Shown,
    fields_of,
    shown,
)


def test_object_is_a_list_of_names_and_values() -> None:
    assert shown({"lead_score": 7, "wishes": ["morning", 1.5]}) == Shown(
        fields=[
            ("lead_score", Shown(text="7")),
            ("wishes", Shown(items=[Shown(text="morning"), Shown(text="1.5")])),
        ]
    )


@pytest.mark.parametrize(
    ("value", "word"),
    [(True, "yes"), (False, "no"), (None, "(none)"), ("", "(empty)"), ([], "(empty)"), ({}, "(empty)")],
)
def test_value_without_a_text_is_told_in_a_word(value: Any, word: str) -> None:
    assert shown(value) == Shown(text=word, is_word=True)


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (1, "1"), ("yes", "yes"), (10**20, "1" + "0" * 20)])
def test_number_and_text_are_not_taken_for_a_word(value: Any, text: str) -> None:
    assert shown(value) == Shown(text=text)


def nested(depth: int) -> Any:
    value: Any = "inmost"
    for _ in range(depth):
        value = [value]
    return value


def depth_of(one: Shown) -> int:
    inner = [*one.items, *(value for _, value in one.fields)]
    return 1 + max(map(depth_of, inner), default=0)


def test_what_is_nested_too_deep_for_a_page_is_shown_as_json() -> None:
    one = shown(nested(49))
    assert depth_of(one) == MOST_DEPTH + 1
    while one.items:
        [one] = one.items
    assert one.json is not None
    assert json.loads(one.json) == nested(49 - MOST_DEPTH)


@pytest.mark.parametrize(
    "value",
    [list(range(MOST_VALUES)), {str(n): n for n in range(MOST_VALUES)}, [[1] * 200] * 200],
    ids=range(3),
)
def test_what_is_too_long_for_a_page_is_shown_as_json(value: Any) -> None:
    one = shown(value)
    assert one.json is not None
    assert json.loads(one.json) == value


def test_json_of_a_megabyte_does_not_grow() -> None:
    value = [*nested(45), [1] * 400_000]
    one = shown(value)
    assert one.json is not None
    assert len(one.json) <= len(json.dumps(value))


def test_too_many_fields_are_shown_as_json_together() -> None:
    values = {f"field_{number}": number for number in range(MOST_VALUES + 1)}
    [(_, one)] = fields_of(values)
    assert one.json is not None
    assert json.loads(one.json) == values
    assert len(fields_of(dict(list(values.items())[:MOST_VALUES]))) == MOST_VALUES
