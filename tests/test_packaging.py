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
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "airflow_provider_voiceinfra"
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
    assert {"Makefile", "pyproject.toml", "README.md", "CONTRIBUTING.md", "LICENSE"} <= names(unpacked)
    assert "scripts/harness/postgres.py" in wanted
    for page in ("README.md", "CONTRIBUTING.md"):
        links = [link for link in LINK.findall((unpacked / page).read_text()) if "://" not in link]
        assert [link for link in links if not (unpacked / link).exists()] == []


def test_what_an_index_shows_leads_into_the_repository_of_that_version(unpacked: Path) -> None:
    described = message_from_string((unpacked / "PKG-INFO").read_text())
    urls = dict(url.split(", ", 1) for url in described.get_all("Project-URL", []))
    owner_and_name = urls["Repository"].removeprefix("https://github.com/")
    version = described["Version"]
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
    strays = ["notes/tests/contacts.csv", "old/docs/draft.md", "old/README.md", f"build/lib/{PACKAGE}/old.py"]
    for stray in (*strays, "contacts.csv"):
        (root / stray).parent.mkdir(parents=True, exist_ok=True)
        (root / stray).write_text("+14155550100\n")

    found = sdist(root, tmp_path / "sdist")
    [wheel] = WheelBuilder(str(root)).build(directory=str(tmp_path / "wheel"), versions=["standard"])

    assert names(found) == {"PKG-INFO", "pyproject.toml", "README.md", "LICENSE", f"{PACKAGE}/__init__.py"}
    packed = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert packed == [f"{PACKAGE}/__init__.py"]


@pytest.mark.integration
def test_its_tests_can_be_run_from_it(unpacked: Path) -> None:
    env = {name: value for name, value in os.environ.items() if "AIRFLOW" not in name and "COV" not in name}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only", "tests"],
        cwd=unpacked,
        env={**env, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )

    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert "tests/test_packaging.py::test_its_tests_can_be_run_from_it" in ran.stdout
    assert int(re.findall(r"(\d+) tests? collected", ran.stdout)[-1]) > 1000
