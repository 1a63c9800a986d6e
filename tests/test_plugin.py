"""The plugin costs nothing where no HTTP is served, and mounts the receiver where it is."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from fastapi import FastAPI

from airflow_provider_voiceinfra.plugin import VoiceInfraPlugin
from tests.support.imports import loaded_by

HEAVY = ("fastapi", "requests", "sqlalchemy", "phonenumbers", "alembic", "cachetools", "uvicorn")


@pytest.mark.parametrize(
    "own", ["import airflow.plugins_manager", "import airflow.plugins_manager, airflow.sdk"]
)
def test_importing_the_plugin_loads_nothing_that_airflow_has_not_loaded(own: str) -> None:
    use = "import airflow_provider_voiceinfra.plugin as p; p.VoiceInfraPlugin.name"
    before, after = loaded_by(own, [use])
    assert not (after - before) & set(HEAVY)
    ours = {name for name in after - before if name.startswith("airflow_provider_voiceinfra")}
    assert ours <= {"airflow_provider_voiceinfra", "airflow_provider_voiceinfra.plugin"}


def test_plugin_mounts_an_application_whose_lifespan_is_run() -> None:
    [mounted] = VoiceInfraPlugin.fastapi_apps
    assert (mounted["name"], mounted["url_prefix"]) == ("voiceinfra", "/voiceinfra")
    assert isinstance(mounted["app"], FastAPI)


def test_airflow_finds_the_plugin() -> None:
    [found] = entry_points(group="airflow.plugins", name="voiceinfra")
    assert found.load() is VoiceInfraPlugin


def test_wrong_settings_do_not_keep_the_api_server_from_starting() -> None:
    code = (
        "from airflow_provider_voiceinfra.plugin import VoiceInfraPlugin\n"
        "from fastapi.testclient import TestClient\n"
        "[mounted] = VoiceInfraPlugin.fastapi_apps\n"
        "with TestClient(mounted['app']) as client:\n"
        "    print(client.get('/health').status_code, client.post('/webhooks').status_code)\n"
    )
    environment = {**os.environ, "AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN": "no database"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    assert "503 401" in done.stdout.splitlines()  # among what is logged meanwhile
