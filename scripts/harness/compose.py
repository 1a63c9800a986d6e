"""Reads a Compose file, as far as it says which processes there are and what they are given."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import yaml


@dataclass(frozen=True)
class Service:
    """One service.

    :param restarts: whether it is started again when it has ended.
    """

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    replicas: int = 1
    restarts: bool = False


def read_environment(path: Path) -> dict[str, str]:
    """Return the variables of an environment file, as they are written."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def read_services(file: Path, secrets: Mapping[str, str]) -> dict[str, Service]:
    """Return the services of a Compose file by their names.

    :param secrets: what ``${NAME}`` is filled in from; ``.env`` in production.
    :raises KeyError: if the file needs a secret that is not there.
    """
    services = yaml.safe_load(file.read_text())["services"]
    return {name: _service(file.parent, given, secrets) for name, given in services.items()}


def _service(folder: Path, given: Mapping[str, Any], secrets: Mapping[str, str]) -> Service:
    variables: dict[str, str] = {}
    for name in given.get("env_file", []):
        variables |= read_environment(folder / name)
    variables |= given.get("environment", {})
    return Service(
        shlex.split(Template(given.get("command", "")).substitute(secrets)),
        {name: Template(value).substitute(secrets) for name, value in variables.items()},
        given.get("deploy", {}).get("replicas", 1),
        given.get("restart", "no") != "no",
    )
