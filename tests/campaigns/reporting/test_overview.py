"""What there is to show of a campaign while it runs."""

from __future__ import annotations

from airflow_provider_voiceinfra.campaigns.reporting.overview import overview, progress_in_words
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallOrigin

PROGRESS = {
    "contacts": 10,
    "done": 4,
    "outcomes": {"answered": 3, "voicemail": 1},
    "waiting": {"redial": 2, "window": 4},
    "to_redial": {"voicemail": 1, "failed": 1},
}


def test_log_says_when_the_next_call_is_due() -> None:
    progress = {**PROGRESS, "active": 0, "rate": 0.0, "expected_end": None, "obstacle": None}
    said = progress_in_words({**progress, "next_at": "2026-03-02T14:00:00+00:00"})
    assert "4 until their calling window opens, 2 to be called" in said
    assert "(the next at 2026-03-02T14:00:00+00:00)" in said
    assert "the next at" not in progress_in_words({**progress, "next_at": None})


def test_who_waits_for_a_redial_was_called_once_the_campaign_is_cancelled(ledger_url: str) -> None:
    ledger = CallLedger(ledger_url)
    entry, _ = ledger.take_campaign("spring", conn_id="voiceinfra_default", origin=CallOrigin("dag"))
    running = overview(ledger.beat("spring", str(entry.runner), PROGRESS), {})
    assert (running["done"], running["outcomes"]) == (4, {"answered": 3, "voicemail": 1})
    assert running["waiting"] == {"redial": 2, "window": 4}

    ledger.cancel_campaign("spring")
    cancelled = ledger.campaign("spring")
    assert cancelled is not None
    shown = overview(cancelled, {})
    assert (shown["contacts"], shown["done"]) == (10, 6)  # so 4 were not called
    assert shown["outcomes"] == {"answered": 3, "voicemail": 2, "failed": 1}

    ledger.uncancel_campaign("spring")
    resumed = ledger.campaign("spring")
    assert resumed is not None
    assert overview(resumed, {})["done"] == 4
