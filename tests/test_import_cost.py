"""Importing what a DAG file, a task or the scheduler imports loads nothing heavy of ours."""

from __future__ import annotations

import sys

import pytest

from tests.support.imports import loaded_by

NAME = "airflow_provider_voiceinfra"
HEAVY = {"requests", "urllib3", "fastapi", "starlette", "sqlalchemy", "phonenumbers", "alembic", "psycopg",
         "psycopg2", "cachetools", "uvicorn"}  # fmt: skip
# What whoever imports one of ours has loaded, or loads by it: Airflow's own base classes.
BASE = "import airflow.sdk, airflow.plugins_manager, airflow.triggers.base"
ALONE = [f"{kind}.voiceinfra" for kind in ("operators", "sensors", "triggers", "hooks", "links")] + ["plugin"]
LIGHT = [*ALONE, "calls", "exceptions", "ledger", "settings", "deployment", "get_provider_info"]
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
    heavy_ones = {"api.client", "dialling.placing", "ledger.store", "ledger.database.schema", "web.app"}
    heavy_ones |= {"ledger.records"}  # its dataclasses cost more than all else of ours
    assert not ours & {*heavy_ones, "webhooks.receiving"}
    assert not any(name.startswith("sandbox") for name in ours)


def test_operators_with_all_that_is_checked_at_once_load_nothing_heavy(loaded: dict[str, set[str]]) -> None:
    assert heavy(loaded[TASK]) - loaded["base"] == set()


def test_package_and_its_description_load_nothing_else() -> None:
    # Airflow reads the description while it is being imported itself, in every process.
    description = f"{NAME}.get_provider_info"
    package, described = loaded_by(f"import {NAME}", [f"import {description}"])
    assert {name for name in package if name.startswith(f"{NAME}.")} == set()
    assert {name for name in described if name.startswith(f"{NAME}.")} == {description}
    assert {name.partition(".")[0] for name in described - package} <= {*sys.stdlib_module_names, NAME}


def test_check_finds_what_is_heavy(loaded: dict[str, set[str]]) -> None:
    assert any(name.startswith("requests") for name in heavy(loaded[CLIENT]) - loaded["base"])
