"""Bad input is refused before anything rings, and what a webhook holds becomes a record that can be kept."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_voiceinfra.calls import (
    MAX_CALL_ID_LENGTH,
    MAX_DEPTH,
    CallOutcome,
    CompletionRecord,
    OutboundCall,
    PlacedCall,
    usable_call_id,
)
from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.webhooks.reasons import UnusableRecordError

NOW = datetime(2026, 7, 4, 12, 0, tzinfo=timezone.utc)


def make_call(**fields: Any) -> OutboundCall:
    defaults = {"to_number": "+14155550100", "agent_id": "agent_demo", "from_number": "+14155550101"}
    return OutboundCall(**{**defaults, **fields})


def record(**fields: Any) -> CompletionRecord:
    return CompletionRecord.from_body(json.dumps({"call_id": "call_1", **fields}).encode(), NOW)


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


class TestOutboundCall:
    def test_request_has_the_fields_of_the_api(self) -> None:
        texts = {"first_message": "Hello", "context": "Be brief.", "variables": {"name": "x", "n": 1}}
        assert make_call(**texts).validated().to_request() == {
            "to_number": "+14155550100",
            "agent_id": "agent_demo",
            "from_number": "+14155550101",
            **texts,
        }

    @pytest.mark.parametrize("empty", [None, "", {}])
    def test_fields_without_a_value_are_left_out(self, empty: Any) -> None:
        request = make_call(first_message=empty, context=empty, variables=empty)
        assert set(request.to_request()) == {"to_number", "agent_id", "from_number"}

    @pytest.mark.parametrize(
        "variables",
        [
            {"name": "Ann", "time": "10:30"},
            {"name": "Zoë", "city": "東京"},
            {"name": "\ud83d\ude00"},  # two halves that JSON puts together
            {"n": 1, "x": 2.5, "yes": True, "none": None},
            {"list": (1, "a"), "deep": {"b": (2,)}},
            {"outcome": CallOutcome.FAILED},
        ],
    )
    def test_variables_are_the_same_after_they_were_stored(self, variables: Any) -> None:
        request = make_call(variables=variables).to_request()
        assert json.loads(json.dumps(request)) == request
        assert request["variables"] == json.loads(json.dumps(variables))

    def test_variables_are_sent_as_json_gives_them_back(self) -> None:
        variables = MappingProxyType({"slots": (9, 10), "names": {1: "a", "b": 2}})
        request = make_call(variables=variables).validated().to_request()
        assert request["variables"] == {"slots": [9, 10], "names": {"1": "a", "b": 2}}

    def test_defaults_fill_only_what_is_missing(self) -> None:
        bare = OutboundCall("+14155550100", agent_id="")
        filled = bare.with_defaults(agent_id="agent_default", from_number="+14155550102")
        assert (filled.agent_id, filled.from_number) == ("agent_default", "+14155550102")
        own = make_call().with_defaults(agent_id="agent_default", from_number="+14155550102")
        assert own == make_call()

    def test_repr_holds_neither_numbers_nor_texts(self) -> None:
        shown = repr(make_call(first_message="secret text", variables={"diagnosis": "x"}))
        assert "+1415***0100" in shown
        assert not any(part in shown for part in ("4155550100", "4155550101", "secret", "diagnosis"))

    @pytest.mark.parametrize(
        ("field", "value", "rule"),
        [
            ("agent_id", None, "is missing"),
            ("agent_id", "", "is missing"),
            ("agent_id", "   ", "printable"),
            ("agent_id", 7, "must be text, not int"),
            ("agent_id", "a" * 256, "at most 255"),
            ("agent_id", "agent\x00", "printable"),
            ("agent_id", "agent\ud800", "printable"),
            ("from_number", None, "is missing; set it on the task"),
            ("to_number", "", "is missing"),
            ("to_number", "4155550133", "not in E.164 form"),
            ("to_number", "+1 415 555 0133", "not in E.164 form"),
            ("to_number", "+14155550133\n", "not in E.164 form"),
            ("to_number", "+1415555013\N{ARABIC-INDIC DIGIT ONE}", "not in E.164 form"),
            ("to_number", "+0415555013", "not in E.164 form"),
            ("to_number", 14155550133, "not in E.164 form"),
            ("to_number", "+1415555013312345", "not in E.164 form"),
            ("to_number", "+1415555", "cannot be a phone number"),
            ("to_number", "+9994155550133", "cannot be a phone number"),
            ("first_message", 5, "must be text, not int"),
            ("context", ["x"], "must be text, not list"),
            ("variables", "name=x", "must be a mapping"),
            ("variables", {1: "x"}, "must be a mapping from names"),
            ("variables", {"when": NOW}, "'when' is not JSON"),
            ("variables", {"score": float("nan")}, "'score' is not JSON"),
            ("variables", {"deep": nested(100_000)}, "'deep' is not JSON"),
        ],
    )
    def test_what_the_api_would_refuse_is_refused_first(self, field: str, value: Any, rule: str) -> None:
        with pytest.raises(InvalidCallError) as caught:
            make_call(**{field: value}).validated()
        assert caught.value.field == field
        assert rule in caught.value.rule
        assert str(caught.value).startswith(f"{field}: ")
        assert "555013" not in str(caught.value)
        assert isinstance(caught.value, ValueError)


def test_placed_call_is_plain_json() -> None:
    assert PlacedCall("call_1").to_dict() == {"call_id": "call_1", "status": "queued"}


@pytest.mark.parametrize(
    ("value", "call_id"),
    [
        ("call_1", "call_1"),
        (17, "17"),
        ("c\x00\ud800", "c\N{REPLACEMENT CHARACTER}?"),
        ("x" * MAX_CALL_ID_LENGTH, "x" * MAX_CALL_ID_LENGTH),
        ("x" * (MAX_CALL_ID_LENGTH + 1), None),
        (True, None),
        (1.5, None),
        (" ", None),
        ("", None),
        (None, None),
        ({}, None),
    ],
)
def test_call_id_has_one_form_wherever_it_comes_from(value: Any, call_id: str | None) -> None:
    assert usable_call_id(value) == call_id


class TestCompletionRecord:
    def test_documented_fields_are_read(self) -> None:
        read = record(
            event="call.completed",
            call_outcome="voicemail",
            duration_seconds=12,
            start_time="2026-07-04T12:00:00Z",
            end_time="2026-07-04T14:00:12.500+02:00",
        )
        assert (read.call_id, read.event, read.duration_seconds) == ("call_1", "call.completed", 12)
        assert read.outcome == CallOutcome.VOICEMAIL
        assert read.started_at == NOW
        assert read.ended_at == datetime(2026, 7, 4, 12, 0, 12, 500_000, tzinfo=timezone.utc)

    def test_unknown_fields_are_kept_under_their_own_names(self) -> None:
        kept = record(lead={"score": 7}, tags=["a"]).to_dict()
        assert (kept["lead"], kept["tags"]) == ({"score": 7}, ["a"])

    def test_transcript_is_given_only_when_asked_for(self) -> None:
        read = record(transcript="Agent: Hello", summary="s")
        assert read.to_dict() == {
            "call_id": "call_1",
            "summary": "s",
            "received_at": "2026-07-04T12:00:00+00:00",
        }
        assert read.to_dict(include_transcript=True)["transcript"] == "Agent: Hello"
        assert "received_at" not in CompletionRecord("call_1", {}).to_dict()
        assert "Hello" not in repr(read)

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"", "not JSON"),
            (b"{", "not JSON"),
            (b"\xff\xfe\x00", "not JSON"),
            (b"[" * 100_000, "not JSON"),
            (b"[1]", "not a JSON object"),
            (b"null", "not a JSON object"),
            (b"{}", "no call_id"),
            (b'{"call_id": ""}', "no call_id"),
            (b'{"call_id": false}', "no call_id"),
            (json.dumps({"call_id": "x" * 256}).encode(), "no call_id"),
            (json.dumps({"call_id": "x", "deep": nested(MAX_DEPTH + 1)}).encode(), "nested too deep"),
        ],
    )
    def test_body_without_a_record_is_unusable(self, body: bytes, reason: str) -> None:
        with pytest.raises(UnusableRecordError, match=reason):
            CompletionRecord.from_body(body)

    @pytest.mark.parametrize(
        "moment",
        [
            "yesterday",
            "now",
            "12:00",
            "P1D",
            "P1Y",
            "2026-W01-1/P1D",
            "",
            5,
            None,
            "20",
            "2026-07-04T25:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-07-04T12:00:00,+24:00",
            "0001-01-01T00:00:00+10:00",
        ],
    )
    def test_time_that_is_none_is_no_time(self, moment: Any) -> None:
        assert record(start_time=moment).started_at is None

    @pytest.mark.parametrize(
        "moment",
        [
            "2026-07-04T12:00:00",
            "2026-07-04T12:00:00Z",
            "2026-07-04 12:00:00+00:00",
            "2026-07-04T12:00:00.000000Z",
            "2026-07-04T17:30:00+05:30",
            "20260704T120000Z",
            "2026-07-04T04:00:00.000-0800",
        ],
    )
    def test_each_iso_form_of_a_moment_is_read_and_without_a_zone_it_is_utc(self, moment: str) -> None:
        assert record(start_time=moment).started_at == NOW

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [(12.9, 12), (-1, None), ("12", None), (None, None), (True, None), (2**31, None), ([1], None)],
    )
    def test_duration_may_be_a_fraction_and_what_is_none_is_no_duration(
        self, value: Any, seconds: int | None
    ) -> None:
        assert record(duration_seconds=value).duration_seconds == seconds

    def test_values_that_databases_cannot_hold_are_replaced(self) -> None:
        body = b'{"call_id": "c", "a\\u0000": "\\ud800", "n": NaN, "i": 1e999, "l": [NaN, {"k": "\\u0000"}]}'
        payload = CompletionRecord.from_body(body).payload
        mark = "\N{REPLACEMENT CHARACTER}"
        assert payload == {"call_id": "c", f"a{mark}": "?", "n": None, "i": None, "l": [None, {"k": mark}]}

    @given(st.binary())
    def test_no_bytes_break_it(self, body: bytes) -> None:
        try:
            read = CompletionRecord.from_body(body)
        except UnusableRecordError:
            return
        assert read.call_id

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )

    @given(
        st.dictionaries(
            st.sampled_from(["start_time", "end_time", "duration_seconds", "call_outcome", "agent_id", "x"]),
            json_values,
        )
    )
    def test_every_json_object_with_a_call_id_is_a_record_that_can_be_passed_on(
        self, fields: dict[str, Any]
    ) -> None:
        read = CompletionRecord.from_body(json.dumps({**fields, "call_id": "c"}).encode(), NOW)
        text = json.dumps(read.to_dict(include_transcript=True), allow_nan=False)
        text.encode()
        assert "\\u0000" not in text
        for moment in (read.started_at, read.ended_at):
            assert moment is None or moment.tzinfo is timezone.utc
