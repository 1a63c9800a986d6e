"""The wheel works in an Airflow that has nothing besides: no development tool, no optional package.

Not collected by itself, since it installs Airflow anew: ``make test-dist``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.processes import base_environment, end, spawn, wait_for
from harness.sandbox import READY, connection_json

from tests.support.building import ROOT, build

CONSTRAINTS = ROOT / "constraints" / "airflow-3.3.txt"
OPTIONAL = {"psycopg", "psycopg2", "holidays"}
# All that the package has, but for what Alembic runs itself.
IMPORT_ALL = """
import importlib, pkgutil, sys
import airflow_provider_voiceinfra as package
names = [found.name for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
skipped = ("migrations.env", "migrations.versions", "__main__")
names = [name for name in names if not any(part in name for part in skipped)]
for name in names:
    importlib.import_module(name)
print(len(names), package.__file__)
"""
DAG = """
from airflow.sdk import DAG
from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraOutboundCallOperator

with DAG("bare", schedule=None):
    VoiceInfraOutboundCallOperator(task_id="call", to_number="+14155550100", first_message="Hello.")
"""


class Bare:
    """A virtual environment with nothing but Airflow and the wheel, and an Airflow home."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.venv, self.home = folder / "venv", folder / "home"
        self.python = self.venv / "bin" / "python"
        (self.home / "dags").mkdir(parents=True)
        self.env = {
            **base_environment(str(self.home)),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.home / "dags"),
            "AIRFLOW__CORE__FERNET_KEY": "",
        }
        # For tests that run from a checkout; here the wheel has to be enough.
        self.env.pop("PYTHONPATH", None)
        uv = [sys.executable, "-m", "uv", "--quiet"]
        self._run([*uv, "venv", "--python", sys.executable, str(self.venv)])
        install = [*uv, "pip", "install", "--python", str(self.python), "--constraint", str(CONSTRAINTS)]
        self._run([*install, str(wheel)])
        self._run([*uv, "pip", "check", "--python", str(self.python)])

    def _run(self, command: list[str]) -> str:
        ran = subprocess.run(
            command, cwd=self.home, env=self.env, capture_output=True, text=True, check=False, timeout=600
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
        return ran.stdout

    def run(self, program: str, *arguments: str) -> str:
        """Run one of its programs, and return what it printed."""
        return self._run([str(self.venv / "bin" / program), *arguments])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("dist"))["wheel"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Bare:
    made = Bare(tmp_path_factory.mktemp("bare"), wheel)
    made.run("airflow", "db", "migrate")
    return made


@pytest.fixture
def sandbox(bare: Bare) -> Iterator[str]:
    """Start the wheel's own sandbox, and return its address."""
    log = bare.home / "sandbox.log"
    process = spawn([str(bare.venv / "bin" / "voiceinfra-sandbox"), "--port", "0"], env=bare.env, log=log)
    try:
        found = wait_for("the sandbox", lambda: READY.search(log.read_text()), 60)
        assert found is not None
        yield found[1]
    finally:
        end(process)


def test_it_brings_airflow_and_phonenumbers_and_nothing_to_develop_with(bare: Bare) -> None:
    code = "import importlib.metadata as m; print(*(d.name.lower() for d in m.distributions()))"
    names = set(bare.run("python", "-c", code).split())

    assert {"apache-airflow", "phonenumbers", "airflow-provider-voiceinfra"} <= names
    assert names & {"pytest", "hypothesis", "ruff", "mypy", "hatchling", *OPTIONAL} == set()


def test_each_module_can_be_imported(bare: Bare) -> None:
    number, path = bare.run("python", "-c", IMPORT_ALL).splitlines()[-1].split()

    assert int(number) > 150
    assert Path(path).is_relative_to(bare.venv)


def test_airflow_knows_the_provider_and_the_plugin(bare: Bare) -> None:
    providers = json.loads(bare.run("airflow", "providers", "list", "--output", "json"))
    plugins = json.loads(bare.run("airflow", "plugins", "--output", "json"))

    assert "airflow-provider-voiceinfra" in {row["package_name"] for row in providers}
    assert "voiceinfra" in {row["name"] for row in plugins}


def test_a_dag_calls_in_the_sandbox_and_the_command_line_shows_the_call(bare: Bare, sandbox: str) -> None:
    (bare.home / "dags" / "bare.py").write_text(DAG)
    bare.env["AIRFLOW_CONN_VOICEINFRA_DEFAULT"] = connection_json(
        sandbox, "secret", agent_id="agent_a", from_number="+14155550199"
    )
    bare.run("airflow", "dags", "test", "bare")
    [call] = json.loads(bare.run("airflow", "voiceinfra", "calls", "--output", "json"))

    assert re.fullmatch(r"\+1415\*+0100", call["to_number"])
