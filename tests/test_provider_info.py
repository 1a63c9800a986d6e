"""What Airflow is told about the package: valid, complete, and equal to what the code does."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from airflow.providers_manager import ProvidersManager

from airflow_provider_voiceinfra import __version__, connection
from airflow_provider_voiceinfra.get_provider_info import get_provider_info
from airflow_provider_voiceinfra.settings import SECTION, Settings

INFO = get_provider_info()
OPTIONS: dict[str, dict[str, Any]] = INFO["config"][SECTION]["options"]
(FORM,) = INFO["connection-types"]


def test_it_fits_the_schema_of_airflow() -> None:
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())

    jsonschema.validate(INFO, schema)


def test_it_is_plain_json() -> None:
    assert json.loads(json.dumps(INFO)) == INFO


def test_the_version_is_the_package_s() -> None:
    assert INFO["versions"] == [__version__]


def test_each_call_returns_the_same() -> None:
    assert get_provider_info() == INFO


def test_options_and_settings_are_the_same_set() -> None:
    assert set(OPTIONS) == set(Settings.__dataclass_fields__)


@pytest.mark.parametrize("name", sorted(set(OPTIONS) - {"sql_alchemy_conn"}))
def test_default_of_an_option_is_that_of_the_settings(name: str) -> None:
    default = getattr(Settings(sql_alchemy_conn=""), name)
    kinds = {bool: "boolean", int: "integer", float: "float"}

    assert OPTIONS[name]["default"] == str(default)
    assert OPTIONS[name]["type"] == kinds[type(default)]


def test_only_the_database_url_is_sensitive() -> None:
    # Airflow reads ..._CMD and ..._SECRET for sensitive options alone.
    assert [name for name, option in OPTIONS.items() if option.get("sensitive")] == ["sql_alchemy_conn"]
    assert OPTIONS["sql_alchemy_conn"]["default"] == ""


def test_every_option_and_field_is_explained() -> None:
    fields = FORM["conn-fields"]
    texts = [option["description"] for option in [*OPTIONS.values(), *fields.values()]]

    assert all(text.endswith(".") and len(text) > 20 for text in texts)
    assert {len(field["label"]) > 0 for field in fields.values()} == {True}


def test_the_form_has_the_extras_that_a_connection_reads() -> None:
    # The scheme is for connection URIs alone.
    assert {*FORM["conn-fields"], "account", connection.SCHEME} == set(connection.EXTRAS)


def test_the_form_shares_its_limits_and_defaults_with_the_connection() -> None:
    timeout = FORM["conn-fields"]["timeout"]["schema"]

    assert timeout["default"] == connection.DEFAULT_TIMEOUT
    assert timeout["maximum"] == connection.MAX_TIMEOUT
    assert FORM["connection-type"] == connection.CONN_TYPE
    assert FORM["ui-field-behaviour"]["placeholders"]["host"] == connection.DEFAULT_BASE_URL  # type: ignore[attr-defined]


def test_the_port_is_asked_for() -> None:
    # Airflow 3.3 refuses to test a saved connection without a port, and a form cannot preset one.
    behaviour = FORM["ui-field-behaviour"]
    assert behaviour["hidden-fields"] == ["login", "schema"]
    assert "enter 443" in behaviour["relabeling"]["port"]
    assert "Bad Request" in behaviour["placeholders"]["port"]


def test_the_secret_s_name_makes_airflow_mask_it() -> None:
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    secret = "of-many-words-and-no-meaning"

    assert secret not in str(redact({"webhook_secret": secret}))
    assert FORM["conn-fields"]["webhook_secret"]["schema"]["format"] == "password"


@pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
def test_listed_modules_can_be_imported(kind: str) -> None:
    (entry,) = INFO[kind]

    for module in entry["python-modules"]:
        importlib.import_module(module)


@pytest.mark.parametrize("path", [*INFO["extra-links"], *INFO["cli"], FORM["hook-class-name"]])
def test_listed_objects_exist(path: str) -> None:
    module, _, name = path.rpartition(".")

    assert callable(getattr(importlib.import_module(module), name))


def test_the_plugin_is_not_listed() -> None:
    # It has an entry point of its own; in both places Airflow would load it twice and call that an error.
    assert "plugins" not in INFO


def test_nothing_is_imported_but_the_version() -> None:
    # Airflow reads this while it is being imported itself, in every process.
    module = importlib.import_module("airflow_provider_voiceinfra.get_provider_info")
    tree = ast.parse(Path(str(module.__file__)).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert imported == {"__future__", "typing", "airflow_provider_voiceinfra"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]


def test_airflow_accepts_the_form() -> None:
    manager = ProvidersManager()
    manager.initialize_providers_hooks()

    assert manager.field_behaviours["voiceinfra"]["hidden_fields"] == ["login", "schema"]
    prefix = "extra__voiceinfra__"
    widgets = {name for name in manager.connection_form_widgets if name.startswith(prefix)}
    assert widgets == {prefix + name for name in FORM["conn-fields"]}
    # The registry itself was moved to another class in Airflow 3.3, which still has this door.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hook = manager.hooks["voiceinfra"]
    assert hook is not None
    assert (hook.hook_name, hook.hook_class_name) == ("VoiceInfra", FORM["hook-class-name"])


def test_airflow_knows_the_defaults_of_the_options() -> None:
    from airflow.sdk.configuration import conf

    assert conf.getfloat(SECTION, "poll_interval") == Settings(sql_alchemy_conn="").poll_interval


def test_the_extra_link_is_registered() -> None:
    link = "airflow_provider_voiceinfra.links.voiceinfra.VoiceInfraRecordingLink"

    assert link in ProvidersManager().extra_links_class_names


def test_the_commands_load_nothing_heavy() -> None:
    code = (
        "import sys, airflow.cli.cli_config\n"
        "before = set(sys.modules)\n"
        "from airflow_provider_voiceinfra.cli.definition import get_commands; get_commands()\n"
        "print(sorted(name for name in set(sys.modules) - before if 'voiceinfra' not in name))\n"
    )
    seen = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )

    assert seen.stdout.splitlines()[-1] == "[]"
