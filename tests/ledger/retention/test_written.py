"""A number is found however people write it, and nothing else is taken for it."""

from __future__ import annotations

import json

import pytest

from airflow_provider_voiceinfra.ledger.retention.written import REMAINS, WrittenNumber

NUMBER = "+14155550123"
LONDON = "+442079460123"

WAYS = [
    "+14155550123",
    "14155550123",
    "4155550123",
    "(415) 555-0123",
    "(415)555-0123",
    "415.555.0123",
    "415-555-0123",
    "415 555 0123",
    "4 1 5 5 5 5 0 1 2 3",
    "+1 415 555 0123",
    "+1-415-555-0123",
    "+1 (415) 555-0123",
    "001 415 555 0123",
    "0014155550123",
    "tel:+1-415-555-0123",
    "+1\u00a0415\u2011555\u20110123",
    "\u202a+14155550123\u202c",
]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_write_a_number_is_found_and_taken_out(way: str) -> None:
    wanted = WrittenNumber(NUMBER)
    text = f"Ring me on {way}, please."
    assert wanted.is_in(text)
    left = wanted.without(text)
    assert REMAINS in left
    assert not wanted.is_in(left)
    assert not any(digits in left for digits in ("415", "555", "0123"))


@pytest.mark.parametrize(
    "way", ["020 7946 0123", "+44 (0)20 7946 0123", "+44 20 7946 0123", "0044 2079460123"]
)
def test_national_forms_of_other_countries_are_found(way: str) -> None:
    wanted = WrittenNumber(LONDON)
    assert wanted.without(f"<{way}>").strip("<>()+") == REMAINS
    assert wanted.is_it(way)


@pytest.mark.parametrize(
    "text",
    [
        "+14155550124",
        "14155550123456",
        "94155550123",
        "415 555 012",
        "order 5550123",
        "2026-03-01T12:34:56Z",
        "",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    wanted = WrittenNumber(NUMBER)
    assert not wanted.is_in(text)
    assert not wanted.is_it(text)
    assert wanted.without(text) == text


def test_number_that_is_part_of_a_longer_text_is_not_that_text() -> None:
    assert not WrittenNumber(NUMBER).is_it(f"call {NUMBER} and +14155550199")
    assert WrittenNumber(NUMBER).is_it(" (415) 555-0123 ")
    assert not WrittenNumber(NUMBER).is_it(None)


def test_number_goes_from_every_place_of_a_document() -> None:
    wanted = WrittenNumber(NUMBER)
    document = {
        "call_id": "call_1",
        "extracted_data": {"phones": [14155550123, "415-555-0123", 4155550123.0], "age": 41, NUMBER: True},
        "transcript": "first (415) 555-0123, then +14155550123",
    }
    assert wanted.without(document) == {
        "call_id": "call_1",
        "extracted_data": {"phones": [REMAINS, REMAINS, REMAINS], "age": 41, REMAINS: True},
        "transcript": f"first ({REMAINS}, then {REMAINS}",
    }


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (json.dumps({"said": NUMBER}).encode(), True),
        (json.dumps({"said": 14155550123}).encode(), True),
        (b'{"said": "\\u002b14155\\u0035\\u0035 0123"}', True),
        (b'{"said": "\\u002b14155\\u0035\\u0035 0124"}', False),
        (b"not JSON: 415-555-0123 \xff", True),
        (b'"\\' + b"[" * 100_000, False),
        (b"{}", False),
    ],
)
def test_document_that_speaks_of_it_is_found_whatever_it_is(document: bytes, found: bool) -> None:
    assert WrittenNumber(NUMBER).is_in_document(document) is found


def test_number_that_no_library_knows_is_found_as_it_is() -> None:
    wanted = WrittenNumber("+999")
    assert wanted.is_it("+999")
    assert not wanted.is_it("+9990")
