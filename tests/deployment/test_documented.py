"""The files of the documented deployment agree with each other, with the page, and with Airflow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.configuration import conf
from harness.compose import read_environment, read_services

from airflow_provider_voiceinfra.get_provider_info import get_provider_info
from tests.deployment.conftest import FOLDER, IMPATIENT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deployment.md").read_text()
SETTINGS = read_environment(FOLDER / "airflow.env")
RECEIVER = read_environment(FOLDER / "receiver.env")
SECRETS = read_environment(FOLDER / "example.env")
# Secrets and addresses; everything else is a choice, which the page explains.
PLACES = re.compile(r"(FERNET_KEY|SECRET_KEY|JWT_SECRET|_CONN|_URL|RESULT_BACKEND|CONN_VOICEINFRA_DEFAULT)$")
CHOICES = {name: value for name, value in SETTINGS.items() if not PLACES.search(name)}

# Known to Airflow, with a default that is drawn, or none.
NO_DEFAULT = {"secret_key", "jwt_secret", "fernet_key", "base_url"}
NO_DEFAULT |= {"execution_api_server_url", "result_backend"}


def values() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "values.yaml").read_text()))


def test_page_has_the_settings_that_are_started() -> None:
    rows = re.findall(r"^\| `(AIRFLOW__\w+)` \| `(\S+)` \|", PAGE, flags=re.MULTILINE)
    assert dict(rows) == CHOICES


def test_helm_has_the_settings_that_are_started() -> None:
    found = {entry["name"]: entry["value"] for entry in values()["env"]}
    assert found | {"AIRFLOW__CORE__EXECUTOR": values()["executor"]} == CHOICES


@pytest.mark.integration  # as all that needs the provider of Celery
@pytest.mark.deployment
@pytest.mark.parametrize("name", [*SETTINGS, *IMPATIENT])
def test_airflow_or_this_package_knows_each_setting(name: str) -> None:
    if not name.startswith("AIRFLOW__"):
        return
    section, option = name.removeprefix("AIRFLOW__").lower().split("__")
    ours = get_provider_info()["config"]["voiceinfra"]["options"]
    # Whatever it holds is passed to the broker's client.
    known = option in ours if section == "voiceinfra" else section == "celery_broker_transport_options"
    assert known or conf.get_default_value(section, option) is not None or option in NO_DEFAULT, name


def test_every_secret_is_used_and_every_used_one_is_to_be_filled_in() -> None:
    texts = [(FOLDER / name).read_text() for name in ("airflow.env", "receiver.env", "compose.yaml")]
    used = {name for text in texts for name in re.findall(r"\$\{(\w+)\}", text)} - {"NAME"}
    assert used == set(SECRETS)


def test_receiver_has_what_the_others_have_and_no_more() -> None:
    assert set(RECEIVER) < set(SETTINGS)
    assert {name for name, value in RECEIVER.items() if SETTINGS[name] != value} == {
        "AIRFLOW_CONN_VOICEINFRA_DEFAULT"  # without the API key
    }
    assert "API_KEY" not in str(RECEIVER)


def test_kubernetes_starts_the_same_receiver() -> None:
    deployment, service = yaml.safe_load_all((FOLDER / "receiver.yaml").read_text())
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    composed = read_services(FOLDER / "compose.yaml", dict.fromkeys(SECRETS, ""))["receiver"]

    assert sorted(container["args"]) == sorted(composed.command)
    assert deployment["spec"]["replicas"] == composed.replicas
    assert {entry["name"] for entry in container["env"]} == set(RECEIVER)
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]


def test_kubernetes_has_what_is_no_choice_from_secrets() -> None:
    names = {entry["envName"] for entry in values()["secret"]}
    assert names == {"AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", "AIRFLOW_CONN_VOICEINFRA_DEFAULT"}
    assert values()["workers"]["replicas"] == 2


def test_one_version_of_airflow_is_named() -> None:
    constraints = (ROOT / "constraints" / "airflow-3.3.txt").read_text()
    [pinned] = re.findall(r"^apache-airflow==(\S+)$", constraints, re.MULTILINE)
    [image] = re.findall(r"^FROM apache/airflow:([\d.]+)-", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    assert {image, values()["airflowVersion"], values()["images"]["airflow"]["tag"]} == {pinned}


def test_page_names_each_file() -> None:
    files = [path.name for path in FOLDER.iterdir() if path.is_file() and path.suffix != ".whl"]
    assert [name for name in files if f"`{name}`" not in PAGE] == []
