"""``calls`` and ``call`` show what the ledger knows, and no more of a person than was asked for."""

from __future__ import annotations

import json

import pytest

from airflow_provider_voiceinfra.ledger import CallLedger
from tests.cli.conftest import Run, claim, complete

NUMBER = "+14155550100"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), {"call_1", "call_2", None}),
        (("--conn-id", "other"), {"call_2"}),
        (("--state", "accepted"), {"call_1", "call_2"}),
        (("--state", "claimed"), {None}),
        (("--dag-id", "d1"), {"call_1"}),
        (("--run-id", "r2"), {"call_2"}),
        (("--to-number", "+14155550101"), {"call_2"}),
        (("--since", "1h"), {"call_1", "call_2", None}),
        (("--since", "2026-01-01"), {"call_1", "call_2", None}),
        (("--since", "2999-01-01T00:00:00Z"), set()),
        (("--state", "accepted", "--dag-id", "d3"), set()),
    ],
    ids=lambda value: " ".join(value) or "all" if isinstance(value, tuple) else "",
)
def test_filters(run: Run, ledger: CallLedger, words: tuple[str, ...], expected: set[str | None]) -> None:
    claim(ledger, "k1", call_id="call_1", dag_id="d1", run_id="r1")
    claim(ledger, "k2", call_id="call_2", to="+14155550101", conn_id="other", dag_id="d2", run_id="r2")
    claim(ledger, "k3", dag_id="d3", run_id="r1")

    ran = run("calls", *words, "--output", "json")

    assert ran.code == 0
    assert {row["call_id"] for row in ran.json} == expected


def test_newest_first_and_no_more_than_the_limit(run: Run, ledger: CallLedger) -> None:
    for number in range(3):
        claim(ledger, f"k{number}", call_id=f"call_{number}")

    rows = run("calls", "--limit", "2", "--output", "json").json

    assert [row["call_id"] for row in rows] == ["call_2", "call_1"]


@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
def test_numbers_are_masked_wherever_they_stand(run: Run, ledger: CallLedger, output: str) -> None:
    entry = claim(ledger, f"campaign/{NUMBER}/1", contact_key=NUMBER, campaign_id="campaign")
    ledger.refuse(entry, "invalid_phone", f"{NUMBER} is not valid")
    complete(ledger, "call_9")

    shown = run("calls", "--output", output).out + run("call", "call_9", "--output", output).out

    assert "4155550100" not in shown
    assert "5550123" not in shown
    assert "+1415***0100" in shown


@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
def test_numbers_are_shown_in_full_when_asked_for(run: Run, ledger: CallLedger, output: str) -> None:
    claim(ledger, "k1", call_id="call_1")

    assert NUMBER in run("calls", "--show-numbers", "--output", output).out


@pytest.mark.parametrize("command", ["calls", "campaigns"])
def test_an_empty_list_is_said_to_be_one(run: Run, command: str) -> None:
    assert run(command).out == "No data found\n"
    assert run(command, "--output", "json").json == []


@pytest.mark.parametrize("id_", ["call_1", "d/r/t/-1"])
def test_a_call_is_found_by_its_id_or_its_key(run: Run, ledger: CallLedger, id_: str) -> None:
    claim(ledger, call_id="call_1")
    complete(ledger, "call_1")

    shown = run("call", id_, "--output", "json").json

    assert shown["call"]["idempotency_key"] == "d/r/t/-1"
    assert shown["call"]["outcome"] == "answered"
    assert shown["completion"]["duration_seconds"] == 42
    assert shown["completion"]["recording_url"].endswith("/20260301123456.mp3")


def test_a_call_whose_key_is_shown_masked_is_found_by_what_is_shown(run: Run, ledger: CallLedger) -> None:
    claim(ledger, f"customer-{NUMBER}")
    (listed,) = run("calls", "--output", "json").json
    assert listed["idempotency_key"] == "customer-+1415***0100"

    shown = run("call", listed["key_hash"], "--output", "json").json

    assert shown["call"] == listed


def test_a_call_and_a_completion_are_each_shown_without_the_other(run: Run, ledger: CallLedger) -> None:
    claim(ledger, call_id="call_1")
    complete(ledger, "inbound_1")

    call, completion = (run("call", id_, "--output", "json").json for id_ in ("call_1", "inbound_1"))

    assert (call["call"]["call_id"], call["completion"]) == ("call_1", None)
    assert (completion["call"], completion["completion"]["call_id"]) == (None, "inbound_1")


def test_what_could_be_an_unknown_call_s_is_named(run: Run, ledger: CallLedger) -> None:
    ledger.mark_unknown(claim(ledger), "timeout", "no answer")
    complete(ledger, "call_7")
    complete(ledger, "call_8")

    shown = run("call", "d/r/t/-1", "--output", "json").json

    assert sorted(shown["possible_call_ids"]) == ["call_7", "call_8"]


def test_no_such_call_is_exit_code_1(run: Run) -> None:
    ran = run("call", "call_1")

    assert ran.code == 1
    assert "neither a call nor a completion" in ran.err


@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
def test_a_transcript_is_only_shown_when_asked_for(run: Run, ledger: CallLedger, output: str) -> None:
    complete(ledger, "call_1")

    assert "Caller:" not in run("call", "call_1", "--show-numbers", "--output", output).out
    assert "Caller:" in run("call", "call_1", "--include-transcript", "--output", output).out


def test_values_keep_their_types_in_json_and_ids_their_zeros(run: Run, ledger: CallLedger) -> None:
    claim(ledger, "k1", call_id="0012", map_index=3)
    complete(ledger, "0012", callback=[14155550123], score=7.5, interested=True, deal={"rooms": [1, 2]})

    shown = run("call", "0012", "--output", "json").json

    assert " 0012 " in run("calls", "--output", "plain").out
    assert shown["call"]["map_index"] == 3
    assert shown["call"]["adopted"] is False
    assert "5550123" not in json.dumps(shown)  # a large integer may be a number
    assert shown["completion"]["score"] == 7.5
    assert shown["completion"]["interested"] is True
    assert shown["completion"]["deal"] == {"rooms": [1, 2]}


@pytest.mark.parametrize("output", ["table", "plain"])
def test_a_hostile_webhook_cannot_steer_the_terminal(run: Run, ledger: CallLedger, output: str) -> None:
    complete(ledger, "call_1", summary="\x1b[2J[bold]gone[/nothing]\nfake line")

    shown = run("call", "call_1", "--output", output).out

    assert "\x1b" not in shown
    assert "[bold]gone[/nothing]" in shown
    assert "\nfake line" not in shown
