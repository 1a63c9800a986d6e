"""What is published names each licence in it and holds its text; the vendored scripts are the listed ones."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import sbom
from hatchling.builders.wheel import WheelBuilder

from tests.support.building import ROOT

VENDOR = ROOT / "airflow_provider_voiceinfra" / "web" / "static" / "vendor"
ROW = re.compile(r"^\| (?:in )?`(\S+)` \| \[(\S+)\]\(\S+\)[^|]* \| (\S+) \| (.+): `(\S+)` \|$", re.MULTILINE)
IDS = {"Zero-Clause BSD": "0BSD", "MIT": "MIT"}
BEGINNINGS = {"0BSD": "Zero-Clause BSD", "MIT": "The MIT License (MIT)"}


def rows() -> list[dict[str, str]]:
    """Return the vendored packages of the page that lists them."""
    found = ROW.findall((VENDOR / "README.md").read_text())
    return [
        {"file": file, "package": package, "version": version, "licence": IDS[licence], "text": text}
        for file, package, version, licence, text in found
    ]


def bill() -> dict[str, Any]:
    return dict(json.loads(sbom.VENDORED.read_text()))


def full_name(component: dict[str, Any]) -> str:
    return "/".join(part for part in (component.get("group"), component["name"]) if part)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = str(tmp_path_factory.mktemp("wheel"))
    [made] = WheelBuilder(str(ROOT)).build(directory=folder, versions=["standard"])
    return zipfile.ZipFile(made)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_string(wheel.read(name).decode())


def held(wheel: zipfile.ZipFile, name: str) -> str:
    """Return the text of a file in the wheel's ``.dist-info``."""
    [path] = [path for path in wheel.namelist() if path.endswith(f".dist-info/{name}")]
    return wheel.read(path).decode()


def test_each_script_is_in_the_list_and_nothing_else_is() -> None:
    assert {row["file"] for row in rows()} == {path.name for path in VENDOR.glob("*.js")}
    assert {row["text"] for row in rows()} == {path.name for path in VENDOR.glob("*.LICENSE.txt")}


def test_each_library_that_a_script_was_built_with_is_in_the_list() -> None:
    names = {f"{row['package']} {row['version']}".lower() for row in rows()}
    banners = [
        re.sub(r" v(?=\d)", " ", banner).lower()
        for path in VENDOR.glob("*.js")
        for banner in re.findall(r"/\*!\s+\* (\S+ v[\d.]+)", path.read_text())
    ]

    assert len(banners) == 2
    assert set(banners) <= names


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["package"])
def test_each_licence_has_its_text(row: dict[str, str]) -> None:
    assert (VENDOR / row["text"]).read_text().startswith(BEGINNINGS[row["licence"]])


def test_metadata_names_all_licences(metadata: Message) -> None:
    named = metadata["License-Expression"].split(" AND ")

    assert sorted(named) == sorted({"Apache-2.0", *(row["licence"] for row in rows())})


def test_metadata_names_all_texts_and_the_wheel_holds_them(wheel: zipfile.ZipFile, metadata: Message) -> None:
    texts = [ROOT / "LICENSE", *VENDOR.glob("*.LICENSE.txt")]
    listed = metadata.get_all("License-File", [])

    assert sorted(listed) == sorted(str(path.relative_to(ROOT)) for path in texts)
    for path in texts:
        assert held(wheel, f"licenses/{path.relative_to(ROOT)}") == path.read_text()


def test_bill_of_materials_says_what_the_list_says(wheel: zipfile.ZipFile) -> None:
    said = [
        (full_name(part), part["version"], [entry["license"]["id"] for entry in part["licenses"]])
        for part in bill()["components"]
    ]

    assert said == [(row["package"], row["version"], [row["licence"]]) for row in rows()]
    assert held(wheel, "sboms/vendored.cdx.json") == sbom.VENDORED.read_text()


def test_scripts_are_the_ones_that_were_taken() -> None:
    known = {
        Path(part["evidence"]["occurrences"][0]["location"]).name: part["hashes"][0]["content"]
        for part in bill()["components"]
        if "hashes" in part
    }

    assert known == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.glob("*.js")}


def test_bill_of_a_release_joins_the_environment_and_the_scripts() -> None:
    environment = {
        "bomFormat": "CycloneDX",
        "metadata": {"component": {"bom-ref": "root", "name": sbom.NAME, "type": "library"}},
        "components": [{"bom-ref": "rich", "name": "rich"}, {"bom-ref": "own", "name": sbom.NAME}],
        "dependencies": [{"ref": "root", "dependsOn": ["rich"]}, {"ref": "rich"}],
    }

    joined = sbom.completed(environment, bill(), "1.2.3")
    edges = {edge["ref"]: edge.get("dependsOn", []) for edge in joined["dependencies"]}

    assert joined["metadata"]["component"]["purl"] == "pkg:pypi/airflow-provider-voiceinfra@1.2.3"
    assert {full_name(part) for part in joined["components"]} == {"rich", *(row["package"] for row in rows())}
    assert edges["pkg:npm/chart.js@4.6.1"] == ["pkg:npm/%40kurkle/color@0.3.2"]
    assert {ref.partition("@")[0] for ref in edges["root"]} == {
        "rich", "pkg:npm/htmx.org", "pkg:npm/idiomorph", "pkg:npm/chart.js"
    }  # fmt: skip
    assert set(edges) == {"root", *(part["bom-ref"] for part in joined["components"])}
