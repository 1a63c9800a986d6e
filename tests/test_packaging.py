"""What is published holds all that its own tests and pages need, and nothing that merely lay about."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from importlib.metadata import requires
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.support.building import COMMIT_TIME, ROOT, build, digests

PACKAGE = "airflow_provider_voiceinfra"
VENDOR = f"{PACKAGE}/web/static/vendor"
LINK = re.compile(r"\]\(\s*<?([^)\s>#]+)[^)]*\)")
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")


def sdist(root: Path, folder: Path) -> Path:
    """Build a source distribution, and return the folder into which it was unpacked."""
    [made] = SdistBuilder(str(root)).build(directory=str(folder), versions=["standard"])
    with tarfile.open(made) as archive:
        archive.extractall(folder, filter="data")
    return folder / Path(made).name.removesuffix(".tar.gz")


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sdist(ROOT, tmp_path_factory.mktemp("sdist"))


def sources(*folders: str) -> set[str]:
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts}


def test_it_holds_the_whole_repository_and_what_its_pages_link_to(unpacked: Path) -> None:
    folders = [PACKAGE, "benchmarks", "constraints", "dags_examples", "docs", "scripts", "tests"]
    wanted = sources(*folders) - sources("benchmarks/results")

    assert wanted - names(unpacked) == set()
    pages = {"README.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"}
    assert {"Makefile", "pyproject.toml", ".github/workflows/ci.yml", *pages} <= names(unpacked)
    assert "scripts/harness/postgres.py" in wanted
    for page in ("README.md", "CONTRIBUTING.md"):
        links = [link for link in LINK.findall((unpacked / page).read_text()) if "://" not in link]
        assert [link for link in links if not (unpacked / link).exists()] == []


def test_what_an_index_shows_leads_into_the_repository_of_that_version(unpacked: Path) -> None:
    described = message_from_string((unpacked / "PKG-INFO").read_text())
    urls = dict(url.split(", ", 1) for url in described.get_all("Project-URL", []))
    owner_and_name = urls["Repository"].removeprefix("https://github.com/")
    version = f"v{described['Version']}"  # as it is tagged
    pages = f"https://github.com/{owner_and_name}/blob/{version}/"
    pictures = f"https://raw.githubusercontent.com/{owner_and_name}/{version}/"
    shown, written = str(described.get_payload()), (ROOT / "README.md").read_text()

    leads_to = [link.removeprefix(pages) for link in LINK.findall(PICTURE.sub("", shown))]
    assert leads_to == LINK.findall(PICTURE.sub("", written))
    assert [picture.removeprefix(pictures) for picture in PICTURE.findall(shown)] == PICTURE.findall(written)
    assert len(PICTURE.findall(shown)) > 1
    assert [link for link in leads_to if "://" not in link and not (ROOT / link).exists()] == []
    relative = [link for link in LINK.findall(shown) if "://" not in link]
    assert relative == []
    elsewhere = [urls[name] for name in urls if not urls[name].startswith(urls["Repository"])]
    assert elsewhere == []


def test_it_holds_nothing_that_merely_lies_about(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    (root / PACKAGE).mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", f"{PACKAGE}/__init__.py"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / VENDOR, root / VENDOR)
    strays = ["notes/tests/contacts.csv", "old/docs/draft.md", "old/README.md", f"build/lib/{PACKAGE}/old.py"]
    for stray in (*strays, "contacts.csv"):
        (root / stray).parent.mkdir(parents=True, exist_ok=True)
        (root / stray).write_text("+14155550100\n")

    found = sdist(root, tmp_path / "sdist")
    [wheel] = WheelBuilder(str(root)).build(directory=str(tmp_path / "wheel"), versions=["standard"])

    code = {f"{PACKAGE}/__init__.py", *sources(VENDOR)}
    assert names(found) == {"PKG-INFO", "pyproject.toml", "README.md", "LICENSE", *code}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == code


def test_two_builds_of_one_commit_are_the_same_bytes(unpacked: Path, tmp_path: Path) -> None:
    # The other is of a copy: later files, in another order, that nobody else may read, in another time zone.
    copy = tmp_path / "copy"
    for path in sorted((path for path in unpacked.rglob("*") if path.is_file()), reverse=True):
        target = copy / path.relative_to(unpacked)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(path.stat().st_mode & 0o700)

    first = build(ROOT, tmp_path / "first", PYTHONHASHSEED="1")
    second = build(copy, tmp_path / "second", umask=0o077, PYTHONHASHSEED="2", TZ="Asia/Tokyo")

    assert digests(first) == digests(second)


def test_the_time_of_the_commit_is_that_of_each_file(tmp_path: Path) -> None:
    built = build(ROOT, tmp_path / "dist")

    with zipfile.ZipFile(built["wheel"]) as wheel:
        assert {entry.date_time for entry in wheel.infolist()} == {(2026, 1, 1, 0, 0, 0)}
    with tarfile.open(built["sdist"]) as sdist:
        assert {entry.mtime for entry in sdist.getmembers()} == {int(COMMIT_TIME)}


def bounds(texts: list[str]) -> dict[str, SpecifierSet]:
    parsed = (Requirement(text) for text in texts)
    return {one.name: one.specifier for one in parsed if one.marker is None}


def upper(specifiers: SpecifierSet) -> set[str]:
    return {one.version.removesuffix(".0") for one in specifiers if one.operator.startswith("<")}


def test_bounds_are_those_of_airflow() -> None:
    airflow = bounds(requires("apache-airflow-core") or [])
    ours = bounds(SdistBuilder(str(ROOT)).metadata.core.dependencies)
    capped = {name: upper(specifiers) for name, specifiers in ours.items() if upper(specifiers)}

    assert [name for name, specifiers in ours.items() if ">=" not in str(specifiers)] == []
    # Any other would keep an installation from following Airflow's constraints one day.
    assert capped == {name: upper(airflow[name]) for name in capped}


def run_from(folder: Path, *arguments: str) -> str:
    """Run pytest on what was unpacked, and return what it printed."""
    env = {name: value for name, value in os.environ.items() if "AIRFLOW" not in name and "COV" not in name}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**env, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    return ran.stdout


@pytest.mark.integration
def test_its_tests_are_all_found_in_it(unpacked: Path) -> None:
    found = run_from(unpacked, "--collect-only", "tests")

    assert "tests/test_packaging.py::test_its_tests_are_all_found_in_it" in found
    assert int(re.findall(r"(\d+) tests? collected", found)[-1]) > 1000


@pytest.mark.integration
def test_its_tests_pass_from_it(unpacked: Path) -> None:
    # Some of each kind, on the ledger's two databases too; `make test-sdist` runs all that are quick.
    files = ("test_docs.py", "test_layers.py", "test_masking.py", "ledger/test_store.py")
    ran = run_from(unpacked, *(f"tests/{name}" for name in files))

    assert int(re.findall(r"(\d+) passed", ran)[-1]) > 100
