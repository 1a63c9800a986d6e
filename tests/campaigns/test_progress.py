"""What a campaign says of itself is read as it was written."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from airflow_provider_voiceinfra.campaigns.progress import Obstacle, Progress, Refusal, WaitingFor

NOON = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)


def test_it_is_read_as_it_was_written() -> None:
    progress = Progress(
        contacts=10,
        skipped={"invalid": 1},
        done=3,
        outcomes={"answered": 2, "unknown": 1},
        placed=4,
        active=1,
        max_active_calls=5,
        waiting={WaitingFor.WINDOW: 4, WaitingFor.ANSWER: 1},
        to_redial={"voicemail": 1},
        next_at=NOON,
        opens_at=NOON,
        missed_openings=2,
        rate=1.5,
        allowed_rate=2.0,
        limit=2.25,
        expected_end=NOON,
        obstacle=Obstacle.RATE_LIMIT,
        refusals=(Refusal(NOON, "invalid_phone", "HTTP 422", "+1415***0100"),),
    )
    assert Progress.from_json(json.loads(json.dumps(progress.to_json()))) == progress
    assert Progress.from_json(Progress().to_json()) == Progress()
    assert Progress.from_json(None) is Progress.from_json({}) is None


def test_codes_of_a_newer_version_are_passed_over() -> None:
    told = {**Progress(contacts=1).to_json(), "obstacle": "a storm", "waiting": {"spring": 1, "window": 2}}
    assert Progress.from_json(told) == Progress(contacts=1, waiting={WaitingFor.WINDOW: 2})
