"""``audit`` says how many calls were judged, which broke a rule, and what cannot be known."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_voiceinfra.audit.report import COLUMNS
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from tests.audit.planting import HOUR, NOON, NUMBER, Field
from tests.cli.conftest import Run

SINCE = ("audit", "--since", "2026-03-01", "--until", "2026-03-08")
NIGHT = NOON - 10 * HOUR
OTHER = "+12125550101"


@pytest.fixture
def field(ledger: CallLedger) -> Field:
    return Field(ledger)


@pytest.fixture
def planted(field: Field) -> Field:
    """Return a ledger with one call that is allowed, one at night, one too many, and one that is purged."""
    field.ledger.campaigns.take("spring", conn_id="other", origin=CallOrigin("outreach", "r", "t"))
    rules = field.rules(connection={"calling_window": "09:00-20:00"}, task={"call_cap": "1/24h"})
    field.call(NOON, rules_id=rules, call_id="call_1", dag_id="d", run_id="r", task_id="t")
    night = {"campaign_id": "spring", "dag_id": "d", "run_id": "r", "task_id": "t"}
    field.call(NIGHT, OTHER, rules_id=rules, call_id="call_2", conn_id="other", **night)
    field.call(NOON + HOUR, rules_id=rules, call_id="call_3", state="unknown")
    purged = field.call(NOON, "+12125550102", rules_id=rules, call_id="call_4")
    field.change(purged, to_number=None, purged_at=NOON)
    return field


def test_all_is_well(run: Run, field: Field) -> None:
    field.call(NOON, rules_id=field.rules(task={"calling_window": "09:00-20:00"}))
    ran = run(*SINCE, "--output", "json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json == {
        "dials": 1,
        "offending": 0,
        "offending_by_code": dict.fromkeys(
            ("suppressed", "outside_calling_window", "call_cap", "no_consent", "rules_missing"), 0
        ),
        "not_judged": 0,
        "not_judged_by_code": {},
        "offenders": [],
    }


def test_a_ledger_without_calls_is_said_to_be_one(run: Run, field: Field) -> None:
    assert run(*SINCE, "--output", "json").json["dials"] == 0


def test_offenders_are_named_with_all_that_is_needed_to_find_them(run: Run, planted: Field) -> None:
    ran = run(*SINCE, "--output", "json")

    assert ran.code == 1
    assert ran.err == "voiceinfra: 2 of 4 dials broke a rule that was in force.\n"
    found = ran.json
    assert (found["dials"], found["offending"], found["not_judged"]) == (4, 2, 1)
    assert found["offending_by_code"]["outside_calling_window"] == 1
    assert found["offending_by_code"]["call_cap"] == 1
    assert found["not_judged_by_code"] == {"outside_calling_window": {"purged": 1}}
    night, third = found["offenders"]
    assert night == {
        "dialled_at": "2026-03-04T07:00:00.000+00:00",
        "local_times": {"America/New_York": "2026-03-04T02:00:00.000-05:00"},
        "to_number": "+1212***0101",
        "call_id": "call_2",
        "key_hash": night["key_hash"],
        "state": "accepted",
        "dial": "last",
        "conn_id": "other",
        "dag_id": "d",
        "run_id": "r",
        "task_id": "t",
        "map_index": None,
        "campaign_id": "spring",
        "broken": [
            {
                "code": "outside_calling_window",
                "rule": "connection: calling_window = 09:00-20:00; it was Wed 2026-03-04 02:00:00 in "
                "America/New_York",
            }
        ],
    }
    assert third["call_id"] == "call_3"
    assert [one["code"] for one in third["broken"]] == ["call_cap"]


@pytest.mark.parametrize("output", ["table", "plain"])
def test_people_read_the_same(run: Run, planted: Field, output: str) -> None:
    ran = run(*SINCE, "--output", output)
    assert ran.code == 1
    assert "offending_by_code.call_cap" in ran.out
    assert "purged 1" in ran.out
    assert "call_cap = 1/24h" in " ".join(run(*SINCE, "--output", "plain").out.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--conn-id", "other"), ["call_2"]),
        (("--dag-id", "d"), ["call_2"]),
        (("--campaign", "spring"), ["call_2"]),
        (("--conn-id", "c"), ["call_3"]),
        (("--until", "2026-03-04T12:00"), ["call_2"]),
        (("--since", "2026-03-04T12:00"), ["call_3"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_filters(run: Run, planted: Field, words: tuple[str, ...], expected: list[str]) -> None:
    found = run(*SINCE, *words, "--output", "json").json["offenders"]
    assert [one["call_id"] for one in found] == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--conn-id", "othre"), "--conn-id: there is no connection 'othre', and no call went through one."),
        (("--dag-id", "x"), "--dag-id: the ledger has no call of a DAG 'x'."),
        (
            ("--campaign", "sprin"),
            "--campaign: there is no campaign 'sprin'. Those that are alike: 'spring'.",
        ),
    ],
    ids=["connection", "DAG", "campaign"],
)
def test_what_nobody_knows_is_no_proof(
    run: Run, planted: Field, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr("airflow_provider_voiceinfra.cli.known.find_secrets", lambda _: None)
    ran = run(*SINCE, *words, "--output", "json")
    assert (ran.code, ran.out, ran.err) == (1, "", f"voiceinfra: {message}\n")


def test_what_has_not_called_yet_is_proven_to_have_broken_nothing(
    run: Run, planted: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_voiceinfra.cli.known.find_secrets", lambda _: ())
    for words in (("--conn-id", "new"), ("--dag-id", "outreach")):
        ran = run(*SINCE, *words, "--output", "json")
        assert (ran.code, ran.json["dials"]) == (0, 0)


def test_only_so_many_are_listed_and_all_are_counted(run: Run, planted: Field) -> None:
    ran = run(*SINCE, "--limit", "1", "--output", "json")
    assert (ran.code, len(ran.json["offenders"]), ran.json["offending"]) == (1, 1, 2)
    assert "Only 1 of 2 are listed" in run(*SINCE, "--limit", "1").out


@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
def test_numbers_are_masked_unless_asked_for(run: Run, planted: Field, output: str) -> None:
    assert OTHER not in run(*SINCE, "--output", output).out
    assert OTHER in run(*SINCE, "--output", output, "--show-numbers").out


def lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_file_has_a_line_for_every_dial_and_what_was_looked_at(
    run: Run, planted: Field, tmp_path: Path
) -> None:
    path = tmp_path / "proof.csv"
    assert run(*SINCE, "--csv", str(path), "--limit", "1").code == 1

    found = {line["call_id"]: line for line in lines(path)}
    assert tuple(found["call_1"]) == COLUMNS
    assert {call: line["verdict"] for call, line in found.items()} == {
        "call_1": "allowed",
        "call_2": "broke a rule",
        "call_3": "broke a rule",
        "call_4": "not judged by all rules",
    }
    assert found["call_1"]["rules"] == "connection: calling_window = 09:00-20:00 | task: call_cap = 1/24h"
    assert found["call_1"]["calls_before"] == "task: 0 before it, of 1/24h"
    assert found["call_1"]["local_times"] == "America/New_York 2026-03-04T12:00:00.000-05:00"
    assert found["call_3"]["codes"] == "call_cap"
    assert found["call_4"]["not_judged"] == "outside_calling_window: purged"
    assert NUMBER not in path.read_text()
    assert OTHER not in path.read_text()


def test_a_file_says_which_place_exempts_the_number(run: Run, field: Field, tmp_path: Path) -> None:
    window = "\n  mon-fri 09:00-20:00;\n  sat 10:00-16:00"
    outer, exempt = {"calling_window": window}, {"calling_window": "09:00-10:00", "exempt_numbers": [NUMBER]}
    rules = field.rules(deployment=outer, connection=exempt, task={"call_cap": "1/24h"})
    field.call(NOON, rules_id=rules)
    path = tmp_path / "proof.csv"
    assert run(*SINCE, "--csv", str(path)).code == 0
    [line] = lines(path)
    assert line["rules"] == (
        "deployment: calling_window = mon-fri 09:00-20:00; sat 10:00-16:00 | "
        "connection: exempt_numbers has the number"
    )


def test_a_file_shows_numbers_if_asked_for(run: Run, field: Field, tmp_path: Path) -> None:
    field.call(NOON, consent=f"call of {NUMBER}")
    path = tmp_path / "proof.csv"
    assert run(*SINCE, "--csv", str(path), "--show-numbers").code == 0
    [line] = lines(path)
    assert (line["to_number"], line["consent"]) == (NUMBER, f"call of {NUMBER}")
    assert run(*SINCE, "--csv", str(path)).code == 0
    assert NUMBER not in path.read_text()


def test_a_spreadsheet_takes_no_cell_for_a_formula(run: Run, field: Field, tmp_path: Path) -> None:
    field.call(NOON, consent="=HYPERLINK(1)", dag_id="@d", campaign_id="+c|x")
    path = tmp_path / "proof.csv"
    run(*SINCE, "--csv", str(path))
    [line] = lines(path)
    assert (line["consent"], line["dag_id"], line["campaign_id"]) == ("'=HYPERLINK(1)", "'@d", "'+c|x")


def test_a_file_that_cannot_be_written_is_named(run: Run, planted: Field, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "proof.csv"
    ran = run(*SINCE, "--csv", str(path))
    assert ran.code == 1
    assert ran.err == f"voiceinfra: --csv: {path} cannot be written: No such file or directory.\n"


def test_dates_in_a_rule_are_not_taken_for_numbers(run: Run, field: Field) -> None:
    window = "09:00-20:00; off 2026-03-04, 2026-03-05"
    field.call(NOON, rules_id=field.rules(task={"calling_window": window}))
    [found] = run(*SINCE, "--output", "json").json["offenders"]
    assert found["broken"][0]["rule"].startswith(f"task: calling_window = {window}; it was Wed 2026-03-04")


def test_an_empty_span_is_refused(run: Run, field: Field) -> None:
    ran = run("audit", "--since", "2026-03-08", "--until", "2026-03-08")
    assert ran.code == 1
    assert "--until is not after --since" in ran.err
