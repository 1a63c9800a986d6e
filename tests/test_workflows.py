"""The workflows of the repository run what the Makefile has, with no more permissions than they need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.building import ROOT

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
PYTHONS = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
MAY_PUBLISH = {"attest", "publish"}


def workflow(path: Path) -> dict[Any, Any]:
    return dict(yaml.safe_load(path.read_text()))


def jobs() -> Iterator[Any]:
    for path in WORKFLOWS:
        for name, job in workflow(path)["jobs"].items():
            yield pytest.param(name, job, id=f"{path.stem}-{name}")


def steps(key: str) -> list[str]:
    found = (job for path in WORKFLOWS for job in workflow(path)["jobs"].values())
    return [str(step[key]) for job in found for step in job.get("steps", []) if key in step]


def matrix(text: str) -> list[str]:
    return re.findall(r"\d\.\d+-\d\.\d+", text)


def test_there_are_all_three() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "faults", "release"]


def test_each_target_that_they_make_is_there() -> None:
    made = {word for run in steps("run") for word in re.findall(r"\bmake ([a-z-]+)", run)}

    assert made - TARGETS == set()
    expected = {"test-matrix", "test-server", "test-lowest", "dist", "test-dist", "test-sdist", "audit"}
    assert {*expected, "faults-long"} <= made


def test_oldest_and_newest_airflow_are_both_tested_with_a_real_server() -> None:
    ran = (ROOT / ".ci" / "run").read_text()
    makefile = (ROOT / "Makefile").read_text()
    [oldest] = re.findall(r"^oldest=(\S+)$", ran, re.MULTILINE)
    pinned = sorted(path.stem for path in (ROOT / "constraints").glob("airflow-*.txt"))

    assert f"airflow-{oldest.partition('-')[2]}" == pinned[0]
    assert 'make test-server MATRIX="$oldest"' in ran
    assert f"constraints/{pinned[-1]}.txt test," in makefile
    assert ran.splitlines()[-1] == "make test"


def test_combinations_are_those_of_the_makefile() -> None:
    [line] = re.findall(r"^MATRIX \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert workflow(FOLDER / "ci.yml")["jobs"]["matrix"]["strategy"]["matrix"]["combination"] == matrix(line)


def test_each_python_of_the_metadata_is_tested() -> None:
    # What `.ci/run` tests is the first that the Makefile prefers.
    makefile = (ROOT / "Makefile").read_text()
    [preferred] = re.findall(r"^PREFERRED = (\S+)", makefile, re.MULTILINE)
    combinations = workflow(FOLDER / "ci.yml")["jobs"]["matrix"]["strategy"]["matrix"]["combination"]

    assert {preferred, *(combination.partition("-")[0] for combination in combinations)} == set(PYTHONS)


@pytest.mark.parametrize(("name", "job"), list(jobs()))
def test_job_asks_for_what_it_needs_alone(name: str, job: dict[str, Any]) -> None:
    granted = {scope for scope, access in job["permissions"].items() if access == "write"}

    assert ("id-token" in granted) == (name in MAY_PUBLISH)
    assert ("contents" in granted) == (name == "announce")
    assert "uses" in job or job["timeout-minutes"] > 0


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_nothing_is_granted_to_all_jobs_and_no_password_is_used(path: Path) -> None:
    assert workflow(path)["permissions"] == {}
    assert "secrets." not in path.read_text()


def test_a_checkout_leaves_no_credentials_behind() -> None:
    found = [
        step.get("with", {}).get("persist-credentials")
        for path in WORKFLOWS
        for job in workflow(path)["jobs"].values()
        for step in job.get("steps", [])
        if step.get("uses", "").startswith("actions/checkout@")
    ]

    assert len(found) > 3
    assert set(found) == {False}


def test_nothing_that_others_write_is_pasted_into_a_command() -> None:
    assert [run for run in steps("run") if "${{" in run] == []


def test_each_action_is_named_with_a_version() -> None:
    assert [used for used in steps("uses") if not re.fullmatch(r"[\w./-]+@(release/)?v\d+", used)] == []
