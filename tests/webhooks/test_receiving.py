"""What becomes of a delivery, without HTTP: verified, read, stored, counted; and kept ones tried again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any
from unittest.mock import Mock

import pytest

from airflow_provider_voiceinfra import metrics
from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger, rows
from airflow_provider_voiceinfra.ledger.webhooks.records import Arrival, Stored
from airflow_provider_voiceinfra.webhooks import receiving
from airflow_provider_voiceinfra.webhooks.reasons import KeptReason, RejectionReason
from airflow_provider_voiceinfra.webhooks.receiving import (
    Delivery,
    Outcome,
    Receipt,
    replay,
    report,
    store,
    verify,
)
from airflow_provider_voiceinfra.webhooks.signing import sign
from tests.support.completions import keep_delivery
from tests.support.ledgers import ON_SQLITE

SECRET = "a-secret-of-the-tests"


class RecordingBackend:
    """A metrics backend that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.durations: list[timedelta] = []

    def incr(self, stat: str, *, tags: dict[str, str]) -> None:
        self.seen.append((stat, tags))

    def timing(self, stat: str, duration: timedelta, *, tags: dict[str, str]) -> None:
        self.seen.append((stat, tags))
        self.durations.append(duration)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> RecordingBackend:
    recording = RecordingBackend()
    monkeypatch.setattr(metrics, "_report", lambda send: send(recording))
    return recording


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    return CallLedger(ledger_url)


def body_of(call_id: str = "call_1", **fields: Any) -> bytes:
    return json.dumps({"call_id": call_id, "call_outcome": "answered", **fields}).encode()


def receive(
    delivery: Delivery, *, secrets: Sequence[str] | None, allow_unsigned: bool, ledger: CallLedger
) -> Receipt:
    """Take a delivery all the way, as the receiver does."""
    rejection = verify(delivery, secrets, allow_unsigned=allow_unsigned)
    receipt = Receipt(Outcome.REJECTED, rejection.value) if rejection else store([delivery], ledger)[0]
    report(delivery, receipt)
    return receipt


def deliver(ledger: CallLedger, body: bytes, event: str | None = "call.completed", **options: Any) -> Receipt:
    delivery = Delivery("vendor", body, [sign(SECRET, body)], event)
    return receive(delivery, **{"secrets": (SECRET,), "allow_unsigned": False, "ledger": ledger, **options})


@ON_SQLITE
@pytest.mark.parametrize("header", ["call.completed", " call.completed ", "", None])
@pytest.mark.parametrize("field", ["call.completed", "", None])
def test_completion_is_recognised_by_either_event_or_by_its_call_id(
    ledger: CallLedger, header: str | None, field: str | None
) -> None:
    fields = {} if field is None else {"event": field}
    assert deliver(ledger, body_of(**fields), header).outcome is Outcome.RECORDED
    assert ledger.completion("call_1") is not None


@pytest.mark.parametrize(
    ("body", "event", "reason"),
    [
        (body_of(event="call.completed"), "call.started", KeptReason.OTHER_EVENT_HEADER),
        (body_of(event="call.started"), "call.completed", KeptReason.OTHER_EVENT_FIELD),
        (body_of(event="call.started"), None, KeptReason.OTHER_EVENT_FIELD),
        (body_of(event=7), None, KeptReason.OTHER_EVENT_FIELD),
        (body_of(), "call.completed, call.completed", KeptReason.OTHER_EVENT_HEADER),
        (b"\xff\xfe", "call.completed", KeptReason.NOT_JSON),
        (b'"text"', None, KeptReason.NOT_AN_OBJECT),
        (b"{}", None, KeptReason.NO_CALL_ID),
    ],
)
def test_genuine_delivery_that_cannot_be_used_is_kept_as_it_came(
    ledger: CallLedger, body: bytes, event: str | None, reason: KeptReason
) -> None:
    receipt = deliver(ledger, body, event)
    assert receipt.outcome is Outcome.KEPT
    [kept] = ledger.deliveries.kept()
    assert (kept.body, kept.conn_id, kept.event) == (body, "vendor", event)
    assert kept.reason == receipt.reason == reason.value
    assert ledger.last_sequence() == 0


def test_event_header_is_stored_as_a_database_can_hold_it(ledger: CallLedger) -> None:
    deliver(ledger, b"{}", "a\x00b\udcffc" + "\xe9" * 300)
    [kept] = ledger.deliveries.kept()
    assert kept.event is not None
    assert kept.event.startswith("a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c\xe9")


def test_second_story_about_a_call_is_kept_and_the_first_stays(ledger: CallLedger) -> None:
    first, second = body_of(), body_of(call_outcome="failed")
    assert deliver(ledger, first).outcome is Outcome.RECORDED
    assert deliver(ledger, first).outcome is Outcome.DUPLICATE
    assert deliver(ledger, second).outcome is Outcome.KEPT
    assert deliver(ledger, second).outcome is Outcome.KEPT
    entry = ledger.completion("call_1")
    assert entry is not None
    assert entry.body == first
    assert [kept.body for kept in ledger.deliveries.kept()] == [second]


@ON_SQLITE
@pytest.mark.parametrize(
    ("secrets", "signatures", "reason"),
    [
        (None, "right", RejectionReason.UNKNOWN_CONNECTION),
        ((), "right", RejectionReason.NO_SECRET),
        ((SECRET,), [], RejectionReason.MISSING_SIGNATURE),
        ((SECRET,), ["0" * 63], RejectionReason.MALFORMED_SIGNATURE),
        ((SECRET,), ["0" * 64, "0" * 64], RejectionReason.MALFORMED_SIGNATURE),
        ((SECRET,), ["0" * 64], RejectionReason.WRONG_SIGNATURE),
    ],
)
def test_rejection_names_its_reason_to_us_and_stores_nothing(
    ledger: CallLedger, secrets: tuple[str, ...] | None, signatures: Any, reason: RejectionReason
) -> None:
    body = body_of()
    given = [sign(SECRET, body)] if signatures == "right" else signatures
    receipt = receive(Delivery("vendor", body, given), secrets=secrets, allow_unsigned=False, ledger=ledger)
    assert receipt == Receipt(Outcome.REJECTED, reason.value)
    assert ledger.last_sequence() == 0
    assert ledger.deliveries.kept() == []


@pytest.mark.parametrize("secrets", [None, ()])
def test_what_signs_for_nobody_opens_no_connection_without_secret(secrets: tuple[str, ...] | None) -> None:
    signature = sign(receiving._NOBODYS_SECRET[0], body_of())
    assert verify(Delivery("vendor", body_of(), [signature]), secrets, allow_unsigned=False) is not None


@pytest.mark.parametrize(("secrets", "taken"), [(None, False), ((SECRET,), False), ((), True)])
def test_unsigned_is_taken_for_a_connection_without_a_secret_alone(
    secrets: tuple[str, ...] | None, taken: bool
) -> None:
    assert (verify(Delivery("vendor", body_of()), secrets, allow_unsigned=True) is None) is taken


@pytest.mark.parametrize(
    ("text", "readable"),
    [("2026-01-02T08:34:05+05:30", True), ("20260102T030405Z", True), ("2026-W01-1/P1D", False)],
)
def test_unreadable_time_costs_no_record(ledger: CallLedger, text: str, readable: bool) -> None:
    assert deliver(ledger, body_of(start_time=text, end_time=text)).outcome is Outcome.RECORDED
    entry = ledger.completion("call_1")
    assert entry is not None
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc) if readable else None
    assert (entry.started_at, entry.ended_at) == (moment, moment)


def test_values_that_nobody_foresaw_are_kept_until_they_can_be_read(
    ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in = CallLedger.take_in

    def stumble(self: CallLedger, arrivals: Sequence[Arrival]) -> list[Stored]:
        if any(one.record is not None and one.record.call_id == "call_1" for one in arrivals):
            raise TypeError("a value that nobody foresaw")
        return take_in(self, arrivals)

    with monkeypatch.context() as stumbling:
        stumbling.setattr(CallLedger, "take_in", stumble)
        among = [Delivery("vendor", body_of(f"call_{number}")) for number in range(4)]
        outcomes = [receipt.outcome for receipt in store(among, ledger)]
    assert outcomes == [Outcome.RECORDED, Outcome.KEPT, Outcome.RECORDED, Outcome.RECORDED]
    [kept] = ledger.deliveries.kept()
    assert kept.reason == "unforeseen_value:TypeError"
    assert replay(kept, ledger).outcome is Outcome.RECORDED


def test_value_that_the_database_cannot_hold_is_kept_and_costs_no_other_delivery_anything(
    ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_short", lambda text, length: text)
    too_long = Delivery("vendor", body_of("call_2", agent_id="a" * 300))
    among = [Delivery("vendor", body_of("call_1")), too_long, Delivery("vendor", body_of("call_3"))]
    outcomes = [receipt.outcome for receipt in store(among, ledger)]
    holds_any_length = ledger._database.engine.dialect.name == "sqlite"
    assert outcomes[1] is (Outcome.RECORDED if holds_any_length else Outcome.KEPT)
    assert outcomes[0] is outcomes[2] is Outcome.RECORDED
    assert [kept.reason for kept in ledger.deliveries.kept()] == (
        [] if holds_any_length else ["unforeseen_value:UnstorableValueError"]
    )


def test_deliveries_that_come_together_fare_as_if_one_came_after_the_other(ledger: CallLedger) -> None:
    first, second = body_of("call_1"), body_of("call_1", call_outcome="failed")
    bodies = [first, body_of("call_2"), b"junk", second, first, b"junk", body_of("call_3")]
    receipts = store([Delivery("vendor", body) for body in bodies], ledger)
    assert [(one.outcome, one.call_id) for one in receipts] == [
        (Outcome.RECORDED, "call_1"),
        (Outcome.RECORDED, "call_2"),
        (Outcome.KEPT, None),
        (Outcome.KEPT, "call_1"),
        (Outcome.DUPLICATE, "call_1"),
        (Outcome.KEPT, None),
        (Outcome.RECORDED, "call_3"),
    ]
    assert sorted(kept.reason for kept in ledger.deliveries.kept()) == ["not_json", "other_record"]
    assert [one.sequence for one in ledger.completions_after(0)] == [1, 2, 3]


def test_nothing_is_answered_before_it_is_durable(tmp_path: Any) -> None:
    ledger = CallLedger(f"sqlite:///{tmp_path / 'not there' / 'ledger.db'}")
    for body in (body_of(), b"not json"):
        with pytest.raises(LedgerUnavailableError):
            deliver(ledger, body)


def test_replay_records_what_has_become_usable(ledger: CallLedger) -> None:
    # As an older version of this package would have kept it.
    keep_delivery(ledger, body_of(), conn_id="vendor", reason="unknown form", event="call.completed")
    [kept] = ledger.deliveries.kept()
    assert replay(kept, ledger).outcome is Outcome.RECORDED
    entry = ledger.completion("call_1")
    assert entry is not None
    assert (entry.conn_id, entry.body) == ("vendor", body_of())
    assert ledger.deliveries.kept() == []
    # Ended between recording and marking, the replay is run again.
    assert replay(kept, ledger).outcome is Outcome.DUPLICATE


def test_replay_of_what_is_still_of_no_use_says_why_and_keeps_it(ledger: CallLedger) -> None:
    deliver(ledger, b"not json")
    [kept] = ledger.deliveries.kept()
    assert replay(kept, ledger) == Receipt(Outcome.KEPT, "not_json")
    assert ledger.deliveries.kept() == [kept]


def place(ledger: CallLedger) -> None:
    call = OutboundCall(to_number="+14155550123", agent_id="agent_1", from_number="+14155550100")
    entry, _ = ledger.claim("key", call, conn_id="vendor")
    ledger.accept(entry, "call_1")


def test_new_record_of_our_call_is_counted_and_timed(ledger: CallLedger, backend: RecordingBackend) -> None:
    place(ledger)
    deliver(ledger, body_of())
    assert backend.seen == [
        ("voiceinfra.calls.completed", {"conn_id": "vendor", "outcome": "answered"}),
        ("voiceinfra.calls.placing_to_completion", {"conn_id": "vendor"}),
        ("voiceinfra.webhooks.accepted", {"conn_id": "vendor"}),
    ]
    assert timedelta(0) < backend.durations[0] < timedelta(minutes=1)


@ON_SQLITE
@pytest.mark.parametrize("outcome", ["busy", "", None, 5, ["answered"], "answered "])
def test_outcomes_that_nobody_documented_share_one_tag(
    ledger: CallLedger, backend: RecordingBackend, outcome: Any
) -> None:
    deliver(ledger, body_of(call_outcome=outcome))
    assert backend.seen[0] == ("voiceinfra.calls.completed", {"conn_id": "vendor", "outcome": "other"})


def test_only_new_records_count_as_completed_calls(ledger: CallLedger, backend: RecordingBackend) -> None:
    deliver(ledger, body_of())
    backend.seen.clear()
    deliver(ledger, body_of())
    deliver(ledger, b"not json")
    deliver(ledger, body_of(), secrets=("another-secret",))
    assert backend.seen == [
        ("voiceinfra.webhooks.duplicate", {"conn_id": "vendor"}),
        ("voiceinfra.webhooks.kept", {"conn_id": "vendor"}),
        ("voiceinfra.webhooks.rejected", {}),
    ]


def test_broken_metrics_cost_no_record(ledger: CallLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_prepare", Mock(side_effect=RuntimeError("no backend today")))
    place(ledger)
    assert deliver(ledger, body_of()).outcome is Outcome.RECORDED
