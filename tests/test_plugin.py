"""The plugin costs nothing where no HTTP is served, and mounts the receiver where it is."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from airflow_provider_voiceinfra.plugin import VoiceInfraPlugin
from tests.support.imports import loaded_by
from tests.test_import_cost import heavy


def test_importing_the_plugin_loads_nothing_that_airflow_has_not_loaded() -> None:
    use = "import airflow_provider_voiceinfra.plugin as p; p.VoiceInfraPlugin.name"
    statements = [use, "import airflow.sdk", f"import airflow.sdk; {use}"]
    alone, with_plugin, sdk, sdk_with_plugin = loaded_by("import airflow.plugins_manager", statements)
    for before, after in ((alone, with_plugin), (sdk, sdk_with_plugin)):
        assert not heavy(after - before)
        ours = {name for name in after - before if name.startswith("airflow_provider_voiceinfra")}
        assert ours <= {"airflow_provider_voiceinfra", "airflow_provider_voiceinfra.plugin"}


def test_plugin_mounts_an_application_that_runs_even_with_wrong_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", "no database")
    [mounted] = VoiceInfraPlugin.fastapi_apps
    assert (mounted["name"], mounted["url_prefix"]) == ("voiceinfra", "/voiceinfra")
    # Its lifespan is run, or the receiver could answer nothing.
    with TestClient(mounted["app"]) as client:
        assert client.get("/health").status_code == 503
        assert client.post("/webhooks").status_code == 401
