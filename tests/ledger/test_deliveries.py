"""A signed webhook that could not be used is kept as it came, once, until a replay makes use of it."""

from __future__ import annotations

from datetime import timezone

from airflow_provider_voiceinfra.ledger import CallLedger

BODY = b'\x00\xff{"event": "call.started", "to": "+14155550100"}'


def keep(ledger: CallLedger, body: bytes = BODY, conn_id: str = "vi", event: str | None = None) -> None:
    ledger.keep_delivery(body, conn_id=conn_id, reason="another event", event=event)


def test_delivery_is_kept_as_it_came(ledger: CallLedger) -> None:
    keep(ledger, event="call.started")
    (kept,) = ledger.deliveries()
    assert (kept.body, kept.conn_id, kept.reason, kept.event) == (BODY, "vi", "another event", "call.started")
    assert kept.received_at.tzinfo is timezone.utc
    assert kept.replayed_at is None
    assert ledger.delivery(kept.id) == kept
    assert "415555" not in repr(kept)


def test_same_bytes_are_kept_once_for_each_connection(ledger: CallLedger) -> None:
    for conn_id in ("vi", "vi", "other"):
        keep(ledger, conn_id=conn_id)
    assert [kept.conn_id for kept in ledger.deliveries()] == ["other", "vi"]


def test_long_event_is_cut_to_its_column(ledger: CallLedger) -> None:
    keep(ledger, event="x" * 1000)
    assert ledger.deliveries()[0].event == "x" * 255


def test_newest_come_first_and_no_more_than_asked_for(ledger: CallLedger) -> None:
    for number in range(3):
        keep(ledger, str(number).encode())
    assert [kept.body for kept in ledger.deliveries(limit=2)] == [b"2", b"1"]


def test_replayed_delivery_is_shown_only_on_request(ledger: CallLedger) -> None:
    keep(ledger)
    (kept,) = ledger.deliveries()
    ledger.mark_replayed(kept.id)
    assert ledger.deliveries() == []
    (replayed,) = ledger.deliveries(include_replayed=True)
    assert replayed.replayed_at is not None
    assert replayed.id == kept.id


def test_unknown_delivery_is_none(ledger: CallLedger) -> None:
    assert ledger.delivery(7) is None
