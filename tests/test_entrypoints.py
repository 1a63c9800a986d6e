"""The entry points that are installed, those of ``pyproject.toml``, and what they point to: all the same."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import pytest
from airflow.plugins_manager import AirflowPlugin

from airflow_provider_voiceinfra import __version__

DISTRIBUTION = "airflow-provider-voiceinfra"
# As in pyproject.toml: table, name, and what is behind it.
EXPECTED = {
    ("apache_airflow_provider", "provider_info"): (
        "airflow_provider_voiceinfra.get_provider_info:get_provider_info"
    ),
    ("airflow.plugins", "voiceinfra"): "airflow_provider_voiceinfra.plugin:VoiceInfraPlugin",
    ("console_scripts", "voiceinfra-sandbox"): "airflow_provider_voiceinfra.sandbox.__main__:main",
}
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def installed() -> dict[tuple[str, str], EntryPoint]:
    return {(point.group, point.name): point for point in distribution(DISTRIBUTION).entry_points}


def written() -> dict[tuple[str, str], str]:
    """Read the tables by hand: Python 3.10 has no TOML reader."""
    found: dict[tuple[str, str], str] = {}
    table = None
    for line in PYPROJECT.read_text().splitlines():
        if header := re.fullmatch(r"\[(.+)\]", line.strip()):
            name = header.group(1)
            entry = re.fullmatch(r'project\.entry-points\.(?:"([^"]+)"|(\w+))', name)
            table = (entry.group(1) or entry.group(2)) if entry else None
            table = "console_scripts" if name == "project.scripts" else table
        elif table and (pair := re.fullmatch(r'([\w-]+) = "([^"]+)"', line.strip())):
            found[table, pair.group(1)] = pair.group(2)
    return found


def test_pyproject_names_them() -> None:
    assert written() == EXPECTED


def test_they_are_installed_as_written() -> None:
    assert {key: point.value for key, point in installed().items()} == EXPECTED


@pytest.mark.parametrize("key", list(EXPECTED), ids="/".join)
def test_they_can_be_imported(key: tuple[str, str]) -> None:
    assert callable(installed()[key].load())


def test_the_plugin_is_one() -> None:
    plugin = installed()["airflow.plugins", "voiceinfra"].load()

    assert issubclass(plugin, AirflowPlugin)
    assert plugin.name == "voiceinfra"


def test_the_version_is_the_distribution_s() -> None:
    assert distribution(DISTRIBUTION).version == __version__


if sys.version_info >= (3, 11):  # Python 3.10 has no TOML reader to compare with

    def test_the_hand_made_reader_reads_right() -> None:
        import tomllib

        project = tomllib.loads(PYPROJECT.read_text())["project"]
        tables = {**project["entry-points"], "console_scripts": project["scripts"]}
        pairs = {(table, name): value for table, names in tables.items() for name, value in names.items()}

        assert pairs == written()
