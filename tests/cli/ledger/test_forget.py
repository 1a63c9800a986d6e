"""A person is forgotten on demand: the command says what there is, what goes, and what it cannot reach."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.cli.ledger import xcoms
from airflow_provider_voiceinfra.exceptions import CallNotAllowedError, LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.ledger.retention import forgetting
from airflow_provider_voiceinfra.ledger.rules import suppressions
from airflow_provider_voiceinfra.rules.rule_set import Rules, RuleSet
from tests.cli.conftest import Run, claim, complete
from tests.ledger.examples import running
from tests.support.completions import keep_delivery

NUMBER, OTHER, OWN = "+14155550123", "+14155550124", "+14155550199"
PERSONAL = (b"5550123", b"giraffe")


@pytest.fixture(autouse=True)
def no_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{tmp_path / 'airflow.db'}")


@pytest.fixture
def filled(ledger: CallLedger) -> CallLedger:
    """Return a ledger with a call to the number, one of a campaign, and one to somebody else."""
    task: dict[str, Any] = {"dag_id": "reminders", "run_id": "run_1", "task_id": "call", "map_index": -1}
    claim(ledger, "key", to=NUMBER, call_id="call_1", **task)
    complete(ledger, "call_1", to_number=NUMBER, transcript="a blue giraffe", summary="giraffe")
    claim(ledger, "other", to=OTHER, call_id="call_2", dag_id="reminders", run_id="run_2", task_id="call")
    complete(ledger, "call_2", to_number=OTHER, transcript="nothing", summary="nothing")
    keep_delivery(ledger, b"415-555-0123 giraffe", conn_id="c", reason="not_json")
    ledger.campaigns.take("spring", conn_id="c", origin=CallOrigin("outreach", "run_3", "all", -1, 1))
    contact = ContactEntry(0, 1, NUMBER, {"to_number": NUMBER, "agent_id": "a"}, None)
    ledger.campaigns.load_contacts("spring", [contact], loaded_by="r", runner=running(ledger, "spring"))
    summary = {"contacts": 1, "results_path": "s3://bucket/spring.csv"}
    ledger.campaigns.finish("spring", running(ledger, "spring"), summary)
    return ledger


@pytest.fixture
def stored_xcoms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Have XComs in a metadata database of Airflow's; return what lists their tasks."""
    from airflow.models import import_all_models
    from airflow.models.xcom import XComModel
    from sqlalchemy import Table, create_engine, insert, select
    from sqlalchemy.orm import sessionmaker

    import_all_models()  # it refers to others
    engine = create_engine(f"sqlite:///{tmp_path / 'airflow.db'}")
    table = XComModel.__table__
    assert isinstance(table, Table)
    table.create(engine)

    def row(number: int, run_id: str, task_id: str, value: Any) -> dict[str, Any]:
        names = {"dag_run_id": number, "dag_id": "reminders", "run_id": run_id, "task_id": task_id}
        return {**names, "map_index": -1, "key": "return_value", "value": value}

    record = {"call_id": "call_1", "to_number": NUMBER}
    rows = [
        row(1, "run_1", "call", record),
        row(1, "run_1", "sensor", [record]),
        row(1, "run_1", "unrelated", {"to_number": OTHER}),
        row(2, "run_2", "call", {"to_number": NUMBER}),  # of a run that did not call it
    ]
    with engine.begin() as connection:
        connection.execute(insert(table), rows)
    monkeypatch.setattr("airflow.settings.SQL_ALCHEMY_CONN", str(engine.url))
    monkeypatch.setattr("airflow.settings.Session", sessionmaker(engine))

    def left() -> list[str]:
        with engine.connect() as connection:
            found = connection.execute(select(table.c.run_id, table.c.task_id).order_by(table.c.task_id))
            return [f"{run_id}.{task_id}" for run_id, task_id in found]

    return left


def raw(ledger_file: Path) -> bytes:
    return b"".join(path.read_bytes() for path in ledger_file.parent.glob("ledger.db*"))


def test_everything_goes_and_the_person_is_not_called_again(
    run: Run, filled: CallLedger, ledger_file: Path
) -> None:
    assert all(one in raw(ledger_file) for one in PERSONAL)
    ran = run("forget", NUMBER, "--yes")
    assert (ran.code, ran.err) == (0, "")
    assert "Of +1415***0123 the ledger has 4 rows:" in ran.out
    assert "- 1 calls lose number" in ran.out
    assert "- 1 completion records lose the number" in ran.out
    assert "- 1 kept deliveries that speak" in ran.out
    assert "- 1 contacts of campaigns" in ran.out
    assert "The number will be suppressed for all connections" in ran.out
    assert "The number is suppressed now." in ran.out
    assert "5 rows of the ledger were changed or deleted." in ran.out
    assert "a last look found nothing of it" in ran.out
    assert "5550123" not in ran.out
    assert [one for one in PERSONAL if one in raw(ledger_file)] == []
    with pytest.raises(CallNotAllowedError):
        claim(filled, "again", to=NUMBER)
    assert len(filled.calls()) == 3
    record = filled.completion("call_1")
    assert record is not None
    assert (record.call_outcome, record.duration_seconds) == ("answered", 42)


def test_pages_commands_and_exports_show_nothing_of_it(run: Run, filled: CallLedger) -> None:
    run("forget", NUMBER, "--yes")
    for words in (
        ("calls", "--show-numbers", "--output", "json"),
        ("call", "call_1", "--show-numbers", "--include-transcript", "--output", "json"),
        ("call", "key", "--show-numbers", "--output", "json"),
        ("deliveries", "--include-replayed", "--show-numbers", "--output", "json"),
        ("suppressions", "--all", "--show-numbers", "--output", "json"),
    ):
        ran = run(*words)
        assert ran.code == 0, words
        assert "0123" not in ran.out
        assert "giraffe" not in ran.out
    assert run("calls", "--to-number", NUMBER, "--output", "json").json == []
    [one] = run("suppressions", "--number", NUMBER, "--output", "json").json
    assert (one["number"], one["reason"]) == (None, "forgotten")


def test_what_it_cannot_reach_is_named(run: Run, filled: CallLedger) -> None:
    exempt = RuleSet(deployment=Rules.parse({"exempt_numbers": [NUMBER]}))
    task = CallOrigin("reminders", "run_4", "call")
    filled.claim("key 4", OutboundCall(OTHER, agent_id="a"), conn_id="c", origin=task, rules=exempt)
    ran = run("forget", NUMBER, "--yes")
    beyond = ran.out.partition("This command does not reach:")[2]
    assert "result file of campaign spring (DAG outreach, run run_3): s3://bucket/spring.csv" in beyond
    assert "XComs that may hold the number: DAG reminders, run run_1" in beyond
    assert "was given no metadata database" in beyond
    assert "params and conf of the run: DAG outreach, run run_3" in beyond
    assert "run_2" not in beyond
    [rules] = [line for line in beyond.splitlines() if line.startswith("- rules ")]
    assert "exempt_numbers" in rules
    for place in ("logs", "vendor", "backups", "contacts"):
        assert place in beyond


def test_dry_run_only_counts(run: Run, filled: CallLedger, ledger_file: Path) -> None:
    before = filled.calls()
    ran = run("forget", NUMBER, "--dry-run")
    assert ran.code == 0
    assert "has 4 rows:" in ran.out
    assert "The number would be suppressed for all connections" in ran.out
    assert "s3://bucket/spring.csv" in ran.out
    assert filled.calls() == before
    assert filled.suppressions.count() == 0
    assert PERSONAL[1] in raw(ledger_file)


@pytest.mark.parametrize("answer", ["n\n", "", "yes please\n"], ids=["no", "no terminal", "something else"])
def test_without_a_yes_nothing_changes(
    run: Run, filled: CallLedger, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    ran = run("forget", NUMBER)
    assert ran.code == 1
    assert "nothing was changed" in ran.err
    assert ("--yes" in ran.err) == (answer == "")
    assert filled.suppressions.count() == 0
    assert len(filled.calls(to_number=NUMBER)) == 1


def test_caller_id_of_ones_own_is_refused(run: Run, filled: CallLedger) -> None:
    ran = run("forget", OWN, "--yes")
    assert ran.code == 1
    assert "+1415***0199: it is a caller ID of yours" in ran.err
    assert filled.suppressions.count() == 0


def test_run_again_finds_nothing(run: Run, filled: CallLedger) -> None:
    run("forget", NUMBER, "--yes")
    ran = run("forget", NUMBER, "--yes")
    assert ran.code == 0
    assert "has 0 rows" in ran.out
    assert "The number was suppressed already." in ran.out


def test_nothing_of_a_number_is_said_so(run: Run, ledger: CallLedger) -> None:
    ran = run("forget", NUMBER, "--dry-run")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "Of +1415***0123 the ledger has 0 rows.")


def test_number_that_nobody_called_is_suppressed_all_the_same(run: Run, ledger: CallLedger) -> None:
    assert run("forget", NUMBER, "--yes").code == 0
    assert len(ledger.suppressions.of_number(NUMBER)) == 1


def test_xcoms_that_speak_of_it_are_named(
    run: Run, filled: CallLedger, stored_xcoms: Callable[[], list[str]]
) -> None:
    ran = run("forget", NUMBER, "--yes")
    assert ran.code == 0
    assert "deleted by --delete-xcoms: DAG reminders, run run_1, task call: 1" in ran.out
    assert "deleted by --delete-xcoms: DAG reminders, run run_1, task sensor: 1" in ran.out
    assert "unrelated" not in ran.out
    assert len(stored_xcoms()) == 4


def test_xcoms_that_speak_of_it_are_deleted_on_demand(
    run: Run, filled: CallLedger, stored_xcoms: Callable[[], list[str]]
) -> None:
    ran = run("forget", NUMBER, "--yes", "--delete-xcoms")
    assert ran.code == 0
    assert "2 in Airflow's database were deleted" in ran.out
    assert stored_xcoms() == ["run_2.call", "run_1.unrelated"]


def test_xcoms_that_cannot_be_deleted_are_an_error_and_the_rest_goes(run: Run, filled: CallLedger) -> None:
    ran = run("forget", NUMBER, "--yes", "--delete-xcoms")
    assert ran.code == 1
    assert "XComs cannot be deleted from here" in ran.err
    assert filled.calls(to_number=NUMBER) == []


def test_database_that_fails_when_xcoms_are_looked_up_is_no_answer(
    run: Run, filled: CallLedger, stored_xcoms: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow.settings.Session", lambda: 1 / 0)
    ran = run("forget", NUMBER, "--dry-run")
    assert ran.code == 0
    assert "which XComs they are was not looked up (ZeroDivisionError)" in ran.out
    with pytest.raises(xcoms.XComsUnavailableError, match="ZeroDivisionError"):
        xcoms.delete_xcoms([xcoms.HeldXCom("d", "r", "t", -1, "k")])


def test_xcoms_that_fail_to_go_are_an_error(
    run: Run, filled: CallLedger, stored_xcoms: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(held: object) -> int:
        raise xcoms.XComsUnavailableError("OperationalError")

    monkeypatch.setattr("airflow_provider_voiceinfra.cli.ledger.forget.delete_xcoms", fail)
    ran = run("forget", NUMBER, "--yes", "--delete-xcoms")
    assert ran.code == 1
    assert "not all XComs could be deleted (OperationalError)" in ran.err


def test_call_that_is_being_placed_is_said(
    run: Run, filled: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(filled, "now", to=NUMBER)
    monkeypatch.setattr("airflow_provider_voiceinfra.cli.ledger.forget.PATIENCE", 0.0)
    assert suppressions.PATIENCE > 0
    ran = run("forget", NUMBER, "--yes")
    assert ran.code == 1
    assert "is being placed at this moment" in ran.err
    assert "NOTE: 1 calls to it have no record so far" in ran.out


def test_file_that_is_too_busy_is_said(run: Run, filled: CallLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(database: object) -> None:
        raise LedgerUnavailableError("The ledger's file is being read all the time.")

    monkeypatch.setattr(forgetting, "compact", busy)
    ran = run("forget", NUMBER, "--yes")
    assert ran.code == 0
    assert "`airflow voiceinfra encrypt --vacuum`" in ran.out


def test_on_postgresql_the_tables_to_write_anew_are_named(
    run: Run, filled: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["voiceinfra_calls", "voiceinfra_completions"]
    monkeypatch.setattr(forgetting.ForgettingLedger, "compact", lambda self: names)
    ran = run("forget", NUMBER, "--yes")
    assert "VACUUM (FULL) voiceinfra_calls, voiceinfra_completions;" in ran.out


def test_rows_that_came_meanwhile_are_said(
    run: Run, filled: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compact(database: object) -> None:
        complete(filled, "call_late", to_number=NUMBER)

    monkeypatch.setattr(forgetting, "compact", compact)
    ran = run("forget", NUMBER, "--yes")
    assert ran.code == 1
    assert "1 rows came meanwhile. Run this again." in ran.err
