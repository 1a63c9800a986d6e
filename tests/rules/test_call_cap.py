"""What is no cap is refused with the remedy for what is wrong in it."""

from __future__ import annotations

import pytest

from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.rules.call_cap import parse_call_cap


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("3/0h", "call_cap: '3/0h' has a span of 0; write how long it is, such as '3/24h' or '7/7d'"),
        ("0/0h", "'0/0h' has a span of 0"),
        ("0/24h", "'0/24h' has 0 calls; use do_not_call or a suppression for whom nobody may call"),
        ("3/24h, 1/91d", "'1/91d' is longer than 90 days"),
        ("3 a day", "'3 a day' is none; write calls and a span"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(spec: str, message: str) -> None:
    with pytest.raises(InvalidCallError, match=message):
        parse_call_cap(spec)
