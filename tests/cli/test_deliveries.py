"""Kept deliveries can be listed, looked at and tried again."""

from __future__ import annotations

import pytest

from airflow_provider_voiceinfra.ledger import CallLedger
from tests.cli.conftest import Run, completion_body
from tests.support.completions import keep_delivery


@pytest.fixture(autouse=True)
def _connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_VOICEINFRA_DEFAULT", '{"conn_type": "voiceinfra", "password": "key"}')


def keep(ledger: CallLedger, body: bytes, reason: str = "other event") -> int:
    keep_delivery(ledger, body, conn_id="voiceinfra_default", reason=reason, event="call.completed")
    return ledger.deliveries.kept()[0].id


def test_open_ones_are_listed(run: Run, ledger: CallLedger) -> None:
    done = keep(ledger, b"{}")
    ledger.deliveries.mark_replayed(done)
    id_ = keep(ledger, b"not JSON", "not_json")

    (row,) = run("deliveries", "--output", "json").json

    assert (row["id"], row["reason"], row["bytes"]) == (id_, "not_json", 8)
    assert row["meaning"] == "the body is not JSON"
    assert "the body is not JSON" in run("deliveries", "--output", "plain").out
    assert {row["id"] for row in run("deliveries", "--include-replayed", "-o", "json").json} == {done, id_}


def test_a_reason_that_nobody_knows_is_shown_as_it_is(run: Run, ledger: CallLedger) -> None:
    keep(ledger, b"{}", "a reason: of another version")

    assert "a reason: of another version" in run("deliveries", "--output", "plain").out


def test_a_body_is_shown_masked_and_without_its_transcript_wherever_that_stands(
    run: Run, ledger: CallLedger
) -> None:
    nested = {"data": [{"transcript": "Caller: yes", "+14155550123": 1}]}
    id_ = str(keep(ledger, completion_body("call_1", **nested)))

    body = run("deliveries", "--show", id_, "--output", "json").json["body"]

    assert (body["call_id"], body["to_number"]) == ("call_1", "+1415***0100")
    assert "transcript" not in body
    assert body["data"] == [{"+1415***0123": 1}]
    assert "Caller: yes" in run("deliveries", "--show", id_, "--include-transcript").out


@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
@pytest.mark.parametrize(
    "body",
    [b'{"a": ' * 400 + b"1" + b"}" * 400, b'{"a": "\\ud800\\u0000", "b": NaN}', b'{"a": ' * 9000, b""],
    ids=["deep", "no text", "endless", "empty"],
)
def test_a_hostile_body_can_be_shown(run: Run, ledger: CallLedger, body: bytes, output: str) -> None:
    ran = run("deliveries", "--show", str(keep(ledger, body)), "--output", output)

    assert ran.code == 0
    assert "NaN" not in ran.out


def test_a_body_that_is_no_object_is_only_shown_on_request(run: Run, ledger: CallLedger) -> None:
    id_ = str(keep(ledger, b"Caller: it is me, +14155550123 \xff"))

    assert "Caller" not in run("deliveries", "--show", id_).out
    shown = run("deliveries", "--show", id_, "--include-transcript").out
    assert "Caller: it is me, +1415***0123" in shown


def test_one_that_can_be_read_now_becomes_a_completion(run: Run, ledger: CallLedger) -> None:
    id_ = keep(ledger, completion_body("call_1"))

    ran = run("deliveries", "--replay", str(id_), "--output", "json")

    assert ran.code == 0
    assert ran.json == [
        {"id": id_, "result": "recorded", "call_id": "call_1", "reason": None, "meaning": None}
    ]
    assert ledger.completion("call_1") is not None
    assert ledger.deliveries.kept() == []


def test_all_are_tried_in_the_order_in_which_they_came(run: Run, ledger: CallLedger) -> None:
    first = keep(ledger, completion_body("call_1"))
    second = keep(ledger, b"not JSON")

    ran = run("deliveries", "--replay", "all", "--output", "json")

    assert ran.code == 1
    assert [(row["id"], row["result"]) for row in ran.json] == [(first, "recorded"), (second, "kept")]
    assert [delivery.id for delivery in ledger.deliveries.kept()] == [second]


def test_nothing_to_replay_is_no_failure(run: Run) -> None:
    assert run("deliveries", "--replay", "all").code == 0


@pytest.mark.parametrize("option", ["--show", "--replay"])
def test_no_such_delivery_is_exit_code_1(run: Run, option: str) -> None:
    ran = run("deliveries", option, "7")

    assert ran.code == 1
    assert "there is no delivery 7" in ran.err


def test_nothing_is_replayed_while_nobody_knows_what_its_connection_says(
    run: Run, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There is no metadata database here, which could have it.
    monkeypatch.delenv("AIRFLOW_CONN_VOICEINFRA_DEFAULT")
    id_ = keep(ledger, completion_body("call_1"))

    ran = run("deliveries", "--replay", str(id_))

    assert ran.code == 1
    assert "Connection 'voiceinfra_default', which may say how people opt out, cannot be looked up" in ran.err
    assert ledger.completion("call_1") is None
