"""Any JSON that a webhook may hold, as a page shows it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_voiceinfra.web.pages.call.record_values import (
    MOST_DEPTH,
    MOST_VALUES,
    as_json,
    depth_of,
    fields_of,
)
from airflow_provider_voiceinfra.web.pages.rendering import _environment
from tests.web.pages.reading import elements_of, text_of


def shown(value: Any) -> str:
    """Return the HTML of a value."""
    macros: Any = _environment().get_template("_call_macros.html").module
    return str(macros.value(value, "Data"))


def test_object_is_a_list_of_names_and_values() -> None:
    html = shown({"lead_score": 7, "wishes": ["morning", 1.5]})
    assert text_of(html) == "lead_score 7 wishes morning 1.5"
    assert [len(elements_of(html, name)) for name in ("dl", "ul", "pre")] == [1, 1, 0]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        *((True, "yes"), (False, "no"), (None, "(none)"), ("", "(empty)"), ([], "(empty)"), ({}, "(empty)")),
        *((0, "0"), (1, "1"), ("yes", "yes"), ("(none)", "(none)"), (10**20, "1" + "0" * 20)),
    ],
    ids=repr,
)
def test_value_is_text_or_told_in_a_word(value: Any, word: str) -> None:
    html = shown(value)
    assert text_of(html) == word
    assert bool(elements_of(html, "span")) == (word.startswith("(") and value != word)


def nested(depth: int) -> Any:
    value: Any = "inmost"
    for _ in range(depth):
        value = [value]
    return value


def test_what_is_nested_too_deep_for_a_page_is_shown_as_json() -> None:
    html = shown(nested(49))
    assert len(elements_of(html, "ul")) == MOST_DEPTH
    assert elements_of(html, "pre")
    assert json.loads(text_of(html)) == nested(49 - MOST_DEPTH)


@pytest.mark.parametrize(
    "value",
    [list(range(MOST_VALUES)), {str(n): n for n in range(MOST_VALUES)}, [[1] * 200] * 200],
    ids=range(3),
)
def test_what_is_too_long_for_a_page_is_shown_as_json(value: Any) -> None:
    html = shown(value)
    assert [len(elements_of(html, name)) for name in ("dl", "ul", "pre")] == [0, 0, 1]
    assert json.loads(text_of(html)) == value


def test_json_of_a_megabyte_does_not_grow() -> None:
    value = [*nested(45), [1] * 400_000]
    assert depth_of(value) == 0
    assert len(as_json(value)) <= len(json.dumps(value))


def test_too_many_fields_are_shown_as_json_together() -> None:
    values = {f"field_{number}": number for number in range(MOST_VALUES + 1)}
    [(_, one)] = fields_of(values).items()
    assert json.loads(text_of(shown(one))) == values
    assert len(fields_of(dict(list(values.items())[:MOST_VALUES]))) == MOST_VALUES
