"""Importing what a DAG file, a task or the scheduler imports loads nothing heavy of ours."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

NAME = "airflow_provider_voiceinfra"
HEAVY = {
    "requests",
    "urllib3",
    "fastapi",
    "starlette",
    "sqlalchemy",
    "phonenumbers",
    "alembic",
    "psycopg",
    "psycopg2",
}
# What whoever imports one of ours has loaded, or loads by it: Airflow's own base classes.
BASE = "import airflow.sdk, airflow.plugins_manager, airflow.triggers.base"
LIGHT = [
    "operators.voiceinfra",
    "sensors.voiceinfra",
    "triggers.voiceinfra",
    "hooks.voiceinfra",
    "links.voiceinfra",
    "plugin",
    "calls",
    "exceptions",
    "ledger",
    "settings",
    "deployment",
    "get_provider_info",
]


def loaded_by(*statements: str) -> set[str]:
    """Return all modules that a fresh process has loaded after some statements."""
    code = "\n".join((*statements, "import json, sys", "print(json.dumps(sorted(sys.modules)))"))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout.splitlines()[-1]))


def heavy(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] in HEAVY}


@pytest.fixture(scope="module")
def base() -> set[str]:
    return loaded_by(BASE)


@pytest.mark.parametrize("module", [name for name in LIGHT if "voiceinfra" in name or name == "plugin"])
def test_module_alone_loads_nothing_heavy(module: str, base: set[str]) -> None:
    loaded = loaded_by(f"import {NAME}.{module}")
    assert heavy(loaded) - base == set()


def test_all_of_them_together_load_nothing_heavy_and_few_of_ours(base: set[str]) -> None:
    loaded = loaded_by(BASE, *(f"import {NAME}.{module}" for module in LIGHT))
    assert heavy(loaded) - base == set()
    ours = {name.removeprefix(f"{NAME}.") for name in loaded if name.startswith(f"{NAME}.")}
    assert not ours & {
        "api.client",
        "dialling.placing",
        "receiving",
        "ledger.store",
        "ledger.database.schema",
        "web.app",
    }
    assert not any(name.startswith("sandbox") for name in ours)


def test_operators_with_all_that_is_checked_at_once_load_nothing_heavy(base: set[str]) -> None:
    task = (
        f"from {NAME}.operators.voiceinfra import VoiceInfraCampaignOperator\n"
        "VoiceInfraCampaignOperator(task_id='a', contacts='a.csv', redial={'waits': [5]},\n"
        "    max_active_calls=5, max_calls_per_second=2, calling_window='mon-fri 09:00-17:00',\n"
        "    deadline='2026-01-31T20:00:00+01:00')"
    )
    assert heavy(loaded_by(BASE, task)) - base == set()


def test_package_itself_loads_nothing_at_all() -> None:
    assert {name for name in loaded_by(f"import {NAME}") if name.startswith(f"{NAME}.")} == set()


def test_check_finds_what_is_heavy(base: set[str]) -> None:
    assert any(name.startswith("requests") for name in heavy(loaded_by(f"import {NAME}.api.client")))
