"""The judge shares no code with what it judges: only the data of where a number may be."""

from __future__ import annotations

import ast
from pathlib import Path

import airflow_provider_voiceinfra.audit

ROOT = Path(airflow_provider_voiceinfra.audit.__file__).parent
NAME = "airflow_provider_voiceinfra."
# Where a number may be; what the ledger keeps; how it is shown.
SHARED = {
    "rules.calling_window.place",
    "rules.recipient",
    "ledger.rules.history",
    "exceptions",
    "masking",
    "campaigns.reporting.replacing",
    "campaigns.reporting.result_files",
}
# What history is made of: nothing that knows a rule.
OF_HISTORY = {"database.chunks", "database.personal", "database.schema", "part"}


def imported(path: Path) -> set[str]:
    """Return the modules of this package that a module imports, wherever it does."""
    nodes = ast.walk(ast.parse(path.read_text()))
    names = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.removeprefix(NAME) for name in names if name.startswith(NAME)}


def test_it_imports_no_rule_and_no_guard() -> None:
    found = set().union(*(imported(path) for path in ROOT.glob("*.py")))
    assert {name for name in found if not name.startswith("audit.")} <= SHARED


def test_the_ledgers_history_knows_no_rule() -> None:
    found = imported(ROOT.parent / "ledger" / "rules" / "history.py")
    assert {name.removeprefix("ledger.") for name in found} <= OF_HISTORY
