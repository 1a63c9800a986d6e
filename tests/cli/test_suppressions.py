"""Numbers can be suppressed, one or many, listed, and released again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression, SuppressionsLedger
from tests.cli.conftest import Run, claim, complete, completion_body
from tests.support.completions import keep_delivery

NUMBER, OTHER = "+14155550123", "+14155550124"
SAYING = "extracted_data.opt_out = true"


def is_refused(ledger: CallLedger, number: str = NUMBER, conn_id: str = "voiceinfra_default") -> bool:
    """Return whether a call to a number is refused since the number is suppressed."""
    call = OutboundCall(number, agent_id="agent_a", from_number="+14155550199")
    try:
        entry, _ = ledger.claim(f"{number}/{conn_id}", call, conn_id=conn_id, origin=CallOrigin())
    except CallNotAllowedError as error:
        return error.code == CallNotAllowedError.SUPPRESSED
    ledger.refuse(entry, "invalid_phone", "Not of these tests.")
    return False


@pytest.fixture(autouse=True)
def _connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for conn_id in ("VOICEINFRA_DEFAULT", "SALES"):
        conn = {"conn_type": "voiceinfra", "password": "key", "extra": {"webhook_secret": "secret-" * 4}}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id}", json.dumps(conn))


def test_number_is_called_no_more_through_any_connection(run: Run, ledger: CallLedger) -> None:
    ran = run("suppress", NUMBER, "--reason", "asked by mail")

    assert ran.code == 0
    assert "+1415***0123 is suppressed now, for all connections." in ran.out
    assert "No request leaves any more." in ran.out
    assert is_refused(ledger)
    assert is_refused(ledger, conn_id="sales")
    [one] = ledger.suppressions.of_number(NUMBER)
    assert (one.reason, one.source, one.ends_at) == ("asked by mail", "cli", None)
    assert one.added_by


def test_number_may_be_suppressed_for_one_connection_and_for_a_while(run: Run, ledger: CallLedger) -> None:
    assert run("suppress", NUMBER, "--conn-id", "sales", "--until", "30d").code == 0

    assert is_refused(ledger, conn_id="sales")
    assert not is_refused(ledger)
    [one] = ledger.suppressions.of_number(NUMBER)
    assert one.ends_at is not None
    left = one.ends_at - datetime.now(timezone.utc)
    assert timedelta(days=29) < left <= timedelta(days=30)


def test_one_that_is_suppressed_is_not_added_again(run: Run, ledger: CallLedger) -> None:
    run("suppress", NUMBER)

    assert "was suppressed already" in run("suppress", NUMBER, "--conn-id", "sales").out
    assert len(ledger.suppressions.of_number(NUMBER)) == 1


def test_call_that_is_being_placed_is_reported(
    run: Run, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[str]] = []

    def await_last_requests(self: SuppressionsLedger, numbers: Sequence[str], **_: object) -> bool:
        asked.append(numbers)
        return False

    monkeypatch.setattr(SuppressionsLedger, "await_last_requests", await_last_requests)

    ran = run("suppress", NUMBER)

    assert (ran.code, asked) == (1, [[NUMBER]])
    assert "a call to it is being placed at this moment" in ran.err
    assert ledger.suppressions.of_number(NUMBER)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give one of a number, --file and --from-records"),
        ((NUMBER, "--file", "x.csv"), "give one of"),
        (("--from-records",), "--from-records and --since belong together"),
        ((NUMBER, "--since", "1d"), "--from-records and --since belong together"),
    ],
)
def test_what_is_not_clear_changes_nothing(
    run: Run, ledger: CallLedger, words: tuple[str, ...], said: str
) -> None:
    ran = run("suppress", *words)

    assert ran.code == 1
    assert said in ran.err
    assert ledger.suppressions.page() == []


def test_connection_that_nobody_knows_is_refused(
    run: Run, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        "whether there is a connection 'salse' cannot be said"
        in run("suppress", NUMBER, "--conn-id", "salse").err
    )
    monkeypatch.setattr("airflow_provider_voiceinfra.cli.known.find_secrets", lambda _: None)
    assert "there is no connection 'salse'" in run("suppress", NUMBER, "--conn-id", "salse").err
    assert ledger.suppressions.page() == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("numbers.csv", f"name,phone\nAda,{NUMBER}\nBob,(415) 555-0124\n"),
        ("numbers.jsonl", f'{{"to_number": "{NUMBER}"}}\n{{"to_number": "415 555 0124"}}\n'),
        ("numbers.txt", f"# of March\n{NUMBER}\n\n415-555-0124\n"),
    ],
)
def test_file_of_any_kind_is_suppressed(
    run: Run, ledger: CallLedger, tmp_path: Path, name: str, text: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    ledger.suppressions.add([Suppression(OTHER)])

    ran = run("suppress", "--file", str(path), "--default-region", "US", "--reason", "list of March")

    assert ran.code == 0
    assert (
        "1 numbers are suppressed now, for all connections; 1 of the 2 in the file were already." in ran.out
    )
    [one] = ledger.suppressions.of_number(NUMBER)
    assert (one.reason, one.source) == ("list of March", "file")


def test_country_of_numbers_is_named_as_the_option_is(run: Run, ledger: CallLedger, tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    path.write_text("415 555 0124\n")
    assert "or set --default-region" in run("suppress", "--file", str(path)).err
    assert "--default-region: 'UK' is" in run("suppress", "--file", str(path), "--default-region", "UK").err


def test_one_unreadable_number_refuses_the_whole_file(run: Run, ledger: CallLedger, tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text(f"phone\n{NUMBER}\n1.4E+10\n+1415555012\n{OTHER}\n")

    ran = run("suppress", "--file", str(path))

    assert ran.code == 1
    assert "numbers.csv, row 3: 14*** was turned into powers of ten by a spreadsheet" in ran.err
    assert "numbers.csv, row 4: +141***5012 cannot be a phone number" in ran.err
    assert "2 of the numbers cannot be read, so nothing was changed" in ran.err
    assert ledger.suppressions.page() == []


def test_file_that_is_not_there_is_named(run: Run, ledger: CallLedger, tmp_path: Path) -> None:
    ran = run("suppress", "--file", str(tmp_path / "numbers.csv"))

    assert ran.code == 1
    assert "voiceinfra: --file: " in ran.err
    assert "numbers.csv cannot be read" in ran.err


def test_those_who_opted_out_before_opt_out_was_set_are_found(
    run: Run, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(ledger, "a", to=OTHER, call_id="call_1")
    complete(ledger, "call_1", to_number=NUMBER, extracted_data={"opt_out": "True"})
    complete(ledger, "call_2", to_number="+14155550125", extracted_data={"opt_out": False})
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__OPT_OUT", SAYING)

    ran = run("suppress", "--from-records", "--since", "1d")

    assert ran.code == 0
    assert "2 records were looked at; 2 numbers are of people who opted out" in ran.out
    # That of the record, and the one that was dialled.
    found = {one.number: one for one in ledger.suppressions.page()}
    assert found.keys() == {NUMBER, OTHER}
    assert {(one.conn_id, one.source, one.added_by) for one in found.values()} == {
        (None, "webhook", "call_1")
    }
    assert "0 of them are suppressed now" in run("suppress", "--from-records", "--since", "1d").out


def test_what_a_connection_says_of_opting_out_is_for_its_own_records(
    run: Run, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = {"conn_type": "voiceinfra", "password": "key", "extra": {"opt_out": SAYING}}
    monkeypatch.setenv("AIRFLOW_CONN_SALES", json.dumps(conn))
    said: dict[str, Any] = {"from_number": None, "extracted_data": {"opt_out": True}}
    complete(ledger, "call_1", to_number=NUMBER, conn_id="sales", **said)
    complete(ledger, "call_2", to_number=OTHER, **said)

    run("suppress", "--from-records", "--since", "1d")

    assert [one.number for one in ledger.suppressions.page()] == [NUMBER]


def test_records_from_before_that_moment_are_left_alone(
    run: Run, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__OPT_OUT", SAYING)
    complete(ledger, "call_1", to_number=NUMBER, extracted_data={"opt_out": True})
    soon = (datetime.now(timezone.utc) + timedelta(hours=1)).isoformat()

    assert "0 records were looked at" in run("suppress", "--from-records", "--since", soon).out
    assert ledger.suppressions.page() == []


def test_records_are_looked_through_to_the_last(
    run: Run, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__OPT_OUT", SAYING)
    for number in range(250):
        data = {"opt_out": number == 249}
        complete(ledger, f"call_{number}", to_number=NUMBER, from_number=None, extracted_data=data)

    assert "250 records were looked at; 1 numbers" in run("suppress", "--from-records", "--since", "1d").out


def test_field_that_no_record_has_is_named(
    run: Run, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__OPT_OUT", f"extracted.optout = true; {SAYING}; summary = stop")
    complete(ledger, "call_1", to_number=NUMBER, extracted_data={"opt_out": None})
    complete(ledger, "call_2", to_number=NUMBER, extracted_data={})

    ran = run("suppress", "--from-records", "--since", "1d")

    assert ran.code == 0
    assert ran.out.count("WARNING") == 1
    assert "WARNING: no record of those has the field extracted.optout, which opt_out names." in ran.out
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__OPT_OUT", "")
    ran = run("suppress", "--from-records", "--since", "1d")
    assert "WARNING: opt_out is not set for any of those records" in ran.out


def test_opt_out_that_cannot_be_read_is_named(
    run: Run, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = {"conn_type": "voiceinfra", "password": "key", "extra": {"opt_out": "extracted_data.opt_out"}}
    monkeypatch.setenv("AIRFLOW_CONN_VOICEINFRA_DEFAULT", json.dumps(conn))
    complete(ledger, "call_1", to_number=NUMBER)

    ran = run("suppress", "--from-records", "--since", "1d")

    assert ran.code == 1
    assert "Connection 'voiceinfra_default': extra 'opt_out'" in ran.err
    assert "no field with a value" in ran.err


def test_opt_out_of_a_kept_delivery_counts_once_it_is_replayed(
    run: Run, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__OPT_OUT", SAYING)
    body = completion_body("call_1", to_number=NUMBER, extracted_data={"opt_out": True})
    keep_delivery(ledger, body, conn_id="voiceinfra_default", reason="other event", event="call.completed")

    assert run("deliveries", "--replay", "all").code == 0
    assert is_refused(ledger)


def test_number_may_be_called_again_and_the_proof_stays(run: Run, ledger: CallLedger) -> None:
    ledger.suppressions.add([Suppression(NUMBER, "sales"), Suppression(NUMBER)])

    ran = run("unsuppress", NUMBER)

    assert ran.code == 0
    assert "+1415***0123 is not suppressed for all connections any more" in ran.out
    assert "+1415***0123 is not suppressed for connection 'sales' any more" in ran.out
    assert not is_refused(ledger)
    assert not is_refused(ledger, conn_id="sales")
    assert len(ledger.suppressions.of_number(NUMBER, only_in_force=False)) == 2


def test_what_is_for_one_connection_can_be_ended_alone(run: Run, ledger: CallLedger) -> None:
    ledger.suppressions.add([Suppression(NUMBER, "sales"), Suppression(NUMBER)])

    assert "It still is for others" in run("unsuppress", NUMBER, "--conn-id", "sales").out
    assert [one.conn_id for one in ledger.suppressions.of_number(NUMBER)] == [None]
    assert (
        "is not suppressed for connection 'sales' alone"
        in run("unsuppress", NUMBER, "--conn-id", "sales").err
    )


def test_one_can_be_ended_by_its_id(run: Run, ledger: CallLedger) -> None:
    ledger.suppressions.add([Suppression(NUMBER), Suppression(OTHER)])
    [one] = ledger.suppressions.of_number(NUMBER)

    assert run("unsuppress", "--id", str(one.id)).code == 0
    assert [left.number for left in ledger.suppressions.page()] == [OTHER]
    assert run("unsuppress", "--id", str(one.id)).code == 1


@pytest.mark.parametrize("words", [(), (NUMBER, "--id", "1")])
def test_what_is_to_end_has_to_be_clear(run: Run, ledger: CallLedger, words: tuple[str, ...]) -> None:
    ledger.suppressions.add([Suppression(NUMBER)])

    assert run("unsuppress", *words).code == 1
    assert is_refused(ledger)


def test_number_that_is_not_suppressed_is_exit_code_1(run: Run, ledger: CallLedger) -> None:
    ran = run("unsuppress", NUMBER)

    assert (ran.code, ran.err) == (1, "voiceinfra: +1415***0123 is not suppressed.\n")


def test_list_is_of_those_in_force_newest_first_and_masked(run: Run, ledger: CallLedger) -> None:
    ledger.suppressions.add([Suppression(NUMBER, reason=f"{NUMBER} asked"), Suppression(OTHER, "sales")])
    ledger.suppressions.add([Suppression("+14155550125")])
    [gone] = ledger.suppressions.of_number("+14155550125")
    ledger.suppressions.remove([gone.id])

    rows = run("suppressions", "--output", "json").json

    assert [(row["number"], row["conn_id"], row["reason"]) for row in rows] == [
        ("+1415***0124", "sales", None),
        ("+1415***0123", None, "+1415***0123 asked"),
    ]
    everything = run("suppressions", "--all", "--output", "json").json
    assert [row["in_force"] for row in everything] == [False, True, True]
    assert everything[0]["removed_at"] is not None
    assert "(all)" in run("suppressions", "--output", "plain").out
    assert NUMBER in run("suppressions", "--show-numbers", "--output", "plain").out


def test_list_can_be_of_one_number_or_one_connection(run: Run, ledger: CallLedger) -> None:
    ledger.suppressions.add([Suppression(NUMBER), Suppression(OTHER, "sales"), Suppression(OTHER, "support")])

    def listed(*words: str) -> set[tuple[str, str | None]]:
        rows = run("suppressions", *words, "--output", "json").json
        return {(row["number"][-4:], row["conn_id"]) for row in rows}

    assert listed("--number", OTHER) == {("0124", "sales"), ("0124", "support")}
    assert listed("--conn-id", "sales") == {("0123", None), ("0124", "sales")}
    assert listed("--number", OTHER, "--conn-id", "sales") == {("0124", "sales")}
    assert len(listed("--limit", "1")) == 1
