"""The demo believes nobody: whatever the results and the audit log disagree about is found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from demo_outreach import REDIAL_AFTER, Row, disagreements

START = datetime(2026, 3, 1, 20, tzinfo=timezone.utc)
DO_NOT_CALL = ["+14155550199"]


def call(number: str, call_id: str, outcome: str, at: timedelta = timedelta()) -> dict[str, Any]:
    return {
        "to_number": number,
        "call_id": call_id,
        "call_outcome": outcome,
        "time": (START + at).isoformat(),
        "seconds": 2.0,
        "fault": None,
    }


def line(outcome: str, number: str = "", call_id: str = "", attempts: int = 0) -> dict[str, str]:
    return {"outcome": outcome, "to_number": number, "call_id": call_id, "attempts": str(attempts)}


def night() -> dict[str, Any]:
    """A night in which everything agrees: one answered, one redialled, one skipped."""
    again = timedelta(seconds=3) + REDIAL_AFTER
    calls = [
        call("+14155550101", "call_a", "answered"),
        call("+14155550107", "call_b", "voicemail"),
        call("+14155550107", "call_c", "voicemail", again),
    ]
    return {
        "rows": [
            Row(2, "+14155550101", line("answered", "+14155550101", "call_a", 1)),
            Row(3, "+14155550107", line("voicemail", "+14155550107", "call_c", 2)),
            Row(4, "12", line("invalid")),
        ],
        "summary": {
            **{"contacts": 3, "placed": 2, "attempts": 3, "answered": 1, "voicemail": 1, "failed": 0},
            **{"invalid": 1, "duplicates": 0, "do_not_call": 0},
        },
        "do_not_call": DO_NOT_CALL,
        "audit": {
            "calls": calls,
            "deliveries": [{"call_id": name, "delivered": True} for name in ("call_a", "call_b", "call_c")],
        },
    }


def test_a_night_in_which_all_agree_has_no_disagreement() -> None:
    assert disagreements(**night()) == []


def _placed(found: dict[str, Any], number: str, at: timedelta = timedelta(), *, times: int = 1) -> None:
    found["audit"]["calls"] += [call(number, "call_d", "answered", at)] * times


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "called again": lambda found: _placed(found, "+14155550101", timedelta(minutes=1)),
    "called a stranger": lambda found: _placed(found, "+14155550150"),
    "called the list": lambda found: _placed(found, DO_NOT_CALL[0]),
    "called all at once": lambda found: _placed(found, "+14155550101", times=9),
    "redialled at once": lambda found: found["audit"]["calls"][2].update(
        time=(START + timedelta(seconds=3)).isoformat()
    ),
    "lost a webhook": lambda found: found["audit"]["deliveries"][0].update(delivered=False),
    "another outcome": lambda found: found["rows"][0].result.update(outcome="failed"),
    "miscounted": lambda found: found["summary"].update(answered=2),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_differs_is_found(change: Callable[[dict[str, Any]], object]) -> None:
    found = night()
    change(found)
    assert disagreements(**found)
