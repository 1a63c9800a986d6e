"""What a campaign that is under way reports of itself."""

from __future__ import annotations

from typing import Any

PROGRESS: dict[str, Any] = {
    "contacts": 1000,
    "skipped": {"invalid": 2, "duplicate": 1},
    "done": 412,
    "outcomes": {"voicemail": 80, "answered": 332},
    "placed": 437,
    "rate": 4.9,
    "expected_end": "2026-03-01T10:02:00+00:00",
    "refusals": [
        {
            "at": "2026-03-01T10:00:00+00:00",
            "code": "invalid_phone",
            "message": "+1415***0100 is not valid",
            "to_number": "+1415***0100",
        }
    ],
    "active": 8,
    "max_active_calls": 10,
    "waiting": {"window": 12, "redial": 3, "answer": 1},
    "next_at": "2026-03-01T14:00:00+00:00",
    "allowed_rate": 5.02,
    "limit": 5.217391,
    "obstacle": "rate_limit",
}
