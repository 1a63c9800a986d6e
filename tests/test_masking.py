"""No text for people holds a full phone number; what is no number stays readable."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_voiceinfra.masking import mask_number, mask_numbers_in


@pytest.mark.parametrize(
    ("number", "masked"),
    [
        ("+14155550100", "+1415***0100"),
        ("+4915155550100", "+4915***0100"),
        ("4155550100", "415***0100"),
        ("+155550100", "+15***0100"),
        ("5550100", "55***"),
        ("", "(none)"),
        (None, "(none)"),
    ],
)
def test_middle_of_a_number_is_hidden(number: str | None, masked: str) -> None:
    assert mask_number(number) == masked


@given(st.from_regex(r"\+?[0-9]{7,15}", fullmatch=True))
def test_at_least_three_digits_of_any_number_are_hidden(number: str) -> None:
    shown = re.sub(r"\D", "", mask_number(number))
    assert len(shown) <= len(number.lstrip("+")) - 3


@pytest.mark.parametrize(
    "text",
    [
        "to_number +14155550100 is not in service",
        "+14155550100",
        "call(+1 415 555 0100)",
        "+1-415-555-0100: not a number",
        "number (415) 555-0100, again",
        "415.555.0100 - refused",
        "'+14155550100'",
        "campaign/contact+14155550100/1",
        "campaign:+14155550100:1",
        "nightly_14155550100_x",
        "tel:+14155550100;ext=1",
        "no\u00a0such number:\n+1 415 555 0100\n",
        "number:415-555-0100",
        "id-415-555-0100",
        "+1\u00a0415\u00a0555\u00a00100",
        "415\u2011555\u20110100",
        "(415)-(555)-(0100)",
        "415_555_0100",
        "415-555-0100:bad",
        "415,555,0100",
        "415'555'0100",
        "415\u2019555\u20190100",
        "415*555*0100",
        "+1|415|555|0100",
        "415\u200b555\u200b0100",
        "+1\u2060415\u2060555\u20600100",
        "415\u00ad555\u00ad0100",
        "id-415-555-0100-x",
        "order_415_555_0100_b",
        "2026-03-01 415-555-0100",
    ],
)
def test_numbers_as_people_write_them_are_masked_in_texts(text: str) -> None:
    masked = mask_numbers_in(" ".join(text.split()))
    assert "4155550100" not in re.sub(r"[^\da-z]", "", masked)
    assert "***" in masked


@pytest.mark.parametrize(
    "text",
    [
        "agent_12345 is inactive",
        "HTTP 502 after 30.5 s",
        "manual__2026-07-04T12:00:00.123456+00:00",
        "request 6f1c2d3e-0000-4000-8000-123456789abc failed",
        "connection to 127.0.0.1, port 5432 failed",
        "/data/2026-03-01/contacts.csv",
        "contacts_2026-03-01_12-00-05.csv",
        "s3://outreach/2026-12-31/0001.csv.gz",
        "more than 1,000,000 bytes",
        "waits 30, 60, 120, 240, 480 and 960",
        "+1415***0100 at 10:00, 415***0100 12",
        "",
    ],
)
def test_what_is_no_number_is_left_alone(text: str) -> None:
    assert mask_numbers_in(text) == text


@pytest.mark.parametrize("number", ["-1/+14155550107/1", "-1/14155550107/12", "17/4155550107/3"])
def test_number_in_a_key_is_not_run_together_with_what_stands_beside_it(number: str) -> None:
    key = f"outreach/r5/call/{number}"
    assert mask_numbers_in(key) == key.replace("5550107", "***0107")


@pytest.mark.parametrize("written", ["2.0655501E+9", "20655501e2", "+1,4155550E+10", "2.06555E+9"])
def test_number_that_a_spreadsheet_has_turned_into_powers_of_ten_is_masked(written: str) -> None:
    said = mask_numbers_in(f"{written} is no number")
    assert re.sub(r"\D", "", written)[:6] not in re.sub(r"\D", "", said)
    assert "***" in said


@pytest.mark.parametrize("text", ["2012-34-56", "2012-34-56 78 90", "call 1999-00-12 now"])
def test_what_is_shaped_like_a_day_that_no_calendar_has_may_be_a_number_and_is_masked(text: str) -> None:
    assert "***" in mask_numbers_in(text)
