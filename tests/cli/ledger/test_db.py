"""``db upgrade`` makes the tables, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_voiceinfra.ledger.database.schema import HEAD_REVISION
from tests.cli.conftest import Run


def test_the_tables_are_made_once(run: Run, ledger_file: Path) -> None:
    first, second = run("db", "upgrade"), run("db", "upgrade")

    assert (first.code, second.code) == (0, 0)
    assert first.out == f"The ledger is at revision {HEAD_REVISION} now.\n"
    assert second.out == f"Nothing to do: the ledger is at revision {HEAD_REVISION}.\n"
    assert ledger_file.is_file()


@pytest.mark.parametrize("words", [("db", "upgrade"), ("calls",)])
def test_a_database_that_cannot_be_reached_is_one_clear_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", "sqlite:////no/such/folder/ledger.db")

    ran = run(*words)

    assert ran.code == 1
    assert ran.err.startswith("voiceinfra: The ledger's database cannot be used")
    assert ran.err.count("\n") == 1


def test_a_url_that_is_none_does_not_show_its_password(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", "postgres user:hidden-word@host")

    ran = run("db", "upgrade")

    assert ran.code == 1
    assert "is not a database URL" in ran.err
    assert "hidden-word" not in ran.out + ran.err
