"""The verdict on counted instructions: a tenth more is let pass, and no more than that."""

from __future__ import annotations

import pytest

from tests.instructions.guard import in_units, verdicts
from tests.instructions.work import REFERENCE

KNOWN = {"claim": 0.5, "settle": 0.01}


@pytest.mark.parametrize(
    ("found", "fine"),
    [
        (KNOWN, True),
        ({"claim": 0.549, "settle": 0.01}, True),
        ({"claim": 0.551, "settle": 0.01}, False),
        ({"claim": 0.5, "settle": 0.0111}, False),
        ({"claim": 0.2, "settle": 0.001}, True),
        ({"claim": 0.5}, False),
        ({**KNOWN, "parse": 0.1}, False),
    ],
)
def test_work_may_take_a_tenth_more_instructions_and_none_may_be_missing(
    found: dict[str, float], fine: bool
) -> None:
    assert verdicts(found, KNOWN)[1] is fine


def test_line_of_what_takes_more_says_so() -> None:
    lines, _ = verdicts({"claim": 0.6, "settle": 0.01}, KNOWN)
    assert [("+20.0% MORE THAN ALLOWED" in line) for line in lines] == [True, False]


def test_count_is_in_units_of_the_reference() -> None:
    assert in_units({REFERENCE: 2000, "claim": 1000}) == {"claim": 0.5}
