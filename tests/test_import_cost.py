"""Importing what a DAG file, a task or the scheduler imports loads nothing heavy of ours."""

from __future__ import annotations

import pytest

from tests.support.imports import loaded_by

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


ALONE = [name for name in LIGHT if "voiceinfra" in name or name == "plugin"]
TOGETHER = "; ".join(f"import {NAME}.{module}" for module in LIGHT)
CLIENT = f"import {NAME}.api.client"
TASK = (
    f"from {NAME}.operators.voiceinfra import VoiceInfraCampaignOperator\n"
    "VoiceInfraCampaignOperator(task_id='a', contacts='a.csv', redial={'waits': [5]},\n"
    "    max_active_calls=5, max_calls_per_second=2, calling_window='mon-fri 09:00-17:00',\n"
    "    deadline='2026-01-31T20:00:00+01:00')"
)


def heavy(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] in HEAVY}


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Return the modules that are loaded after the base alone, and after each of ours on top of it."""
    statements = [*(f"import {NAME}.{module}" for module in ALONE), TOGETHER, TASK, CLIENT]
    return dict(zip(["base", *statements], loaded_by(BASE, statements), strict=True))


@pytest.mark.parametrize("module", ALONE)
def test_module_alone_loads_nothing_heavy(module: str, loaded: dict[str, set[str]]) -> None:
    assert heavy(loaded[f"import {NAME}.{module}"]) - loaded["base"] == set()


def test_all_of_them_together_load_nothing_heavy_and_few_of_ours(loaded: dict[str, set[str]]) -> None:
    assert heavy(loaded[TOGETHER]) - loaded["base"] == set()
    ours = {name.removeprefix(f"{NAME}.") for name in loaded[TOGETHER] if name.startswith(f"{NAME}.")}
    assert not ours & {
        "api.client",
        "dialling.placing",
        "receiving",
        "ledger.store",
        "ledger.database.schema",
        "web.app",
    }
    assert not any(name.startswith("sandbox") for name in ours)


def test_operators_with_all_that_is_checked_at_once_load_nothing_heavy(loaded: dict[str, set[str]]) -> None:
    assert heavy(loaded[TASK]) - loaded["base"] == set()


def test_package_itself_loads_nothing_at_all() -> None:
    [modules] = loaded_by(f"import {NAME}")
    assert {name for name in modules if name.startswith(f"{NAME}.")} == set()


def test_check_finds_what_is_heavy(loaded: dict[str, set[str]]) -> None:
    assert any(name.startswith("requests") for name in heavy(loaded[CLIENT]) - loaded["base"])
