"""How much the ledger asks of its database for each call and webhook; docs/ledger.md says the same."""

from __future__ import annotations

import re
from pathlib import Path

from airflow_provider_voiceinfra.ledger import CallLedger
from tests.ledger.costs import OPERATIONS, costs

DOCS = Path(__file__).resolve().parents[2] / "docs" / "ledger.md"
_ROW = re.compile(r"^\| ([^|]+) \| (\d+) \| (\d+) \| (\d+) \| [\d,]+ \| [\d,]+ \|$", re.MULTILINE)


def documented(dialect: str) -> dict[str, tuple[int, int]]:
    """Return the statements and commits of each operation, as the documentation has them."""
    rows = {
        name: (int(sqlite), int(postgres), int(commits))
        for name, sqlite, postgres, commits in _ROW.findall(DOCS.read_text())
    }
    return {
        name: (sqlite if dialect == "sqlite" else postgres, commits)
        for name, (sqlite, postgres, commits) in rows.items()
    }


def test_statements_and_commits_are_those_that_the_documentation_names(ledger: CallLedger) -> None:
    found = {name: (cost.statements, cost.commits) for name, cost in costs(ledger).items()}
    assert found == documented(ledger._database.engine.dialect.name)
    assert found.keys() == OPERATIONS.keys()


def test_what_comes_together_shares_its_statements_and_its_commit(ledger: CallLedger) -> None:
    found = costs(ledger)
    assert found["32 webhooks that came together"] == found["a webhook"]
    # What became of each of several is asked afterwards, which is one query for all of them.
    alone, together = found["a call: claim and answer"], found["32 calls that came together"]
    assert (together.statements, together.commits) == (alone.statements + 2, alone.commits)
