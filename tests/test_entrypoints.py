"""The entry points that are installed, those of ``pyproject.toml``, and what they point to: all the same."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

from airflow.plugins_manager import AirflowPlugin
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

from airflow_provider_voiceinfra import __version__

ROOT = Path(__file__).parents[1]
PACKAGE = "airflow_provider_voiceinfra"
# As in pyproject.toml: table, name, and what is behind it.
EXPECTED = {
    ("apache_airflow_provider", "provider_info"): f"{PACKAGE}.get_provider_info:get_provider_info",
    ("airflow.plugins", "voiceinfra"): f"{PACKAGE}.plugin:VoiceInfraPlugin",
    ("console_scripts", "voiceinfra-sandbox"): f"{PACKAGE}.sandbox.__main__:main",
}


def test_they_are_installed_as_written() -> None:
    project = ProjectMetadata(str(ROOT), PluginManager()).core
    tables = {**project.entry_points, "console_scripts": project.scripts}
    installed = distribution("airflow-provider-voiceinfra")

    assert {(table, name): to for table, names in tables.items() for name, to in names.items()} == EXPECTED
    assert {(point.group, point.name): point.value for point in installed.entry_points} == EXPECTED
    assert installed.version == __version__


def test_they_can_be_imported_and_the_plugin_is_one() -> None:
    points = distribution("airflow-provider-voiceinfra").entry_points
    loaded = {point.group: point.load() for point in points}
    plugin = loaded["airflow.plugins"]

    assert all(map(callable, loaded.values()))
    assert issubclass(plugin, AirflowPlugin)
    assert plugin.name == "voiceinfra"
