"""What Airflow is told about the package: valid, complete, and equal to what the code does."""

from __future__ import annotations

import dataclasses
import importlib
import json
import warnings
from importlib.resources import files
from typing import Any

import jsonschema
from airflow.providers_manager import ProvidersManager
from airflow.sdk.configuration import conf
from airflow.sdk.log import redact  # type: ignore[attr-defined]

from airflow_provider_voiceinfra import __version__, connection
from airflow_provider_voiceinfra.get_provider_info import get_provider_info
from airflow_provider_voiceinfra.settings import SECTION, Settings
from tests.support.imports import loaded_by

INFO = get_provider_info()
OPTIONS: dict[str, dict[str, Any]] = INFO["config"][SECTION]["options"]
(FORM,) = INFO["connection-types"]


def test_it_is_plain_json_that_fits_the_schema_of_airflow_and_has_the_version() -> None:
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())

    jsonschema.validate(INFO, schema)
    assert json.loads(json.dumps(INFO)) == INFO
    assert INFO["versions"] == [__version__]


def test_options_and_their_defaults_are_those_of_the_settings() -> None:
    kinds = {str: "string", bool: "boolean", int: "integer", float: "float"}
    defaults = dataclasses.asdict(Settings(sql_alchemy_conn=""))

    assert {name: (option["type"], option["default"]) for name, option in OPTIONS.items()} == {
        name: (kinds[type(default)], str(default)) for name, default in defaults.items()
    }
    # Airflow reads ..._CMD and ..._SECRET for sensitive options alone.
    assert [name for name, option in OPTIONS.items() if option.get("sensitive")] == ["sql_alchemy_conn"]
    assert conf.getfloat(SECTION, "poll_interval") == Settings.poll_interval


def test_every_option_and_field_is_explained() -> None:
    fields = FORM["conn-fields"]
    texts = [option["description"] for option in [*OPTIONS.values(), *fields.values()]]

    assert all(text.endswith(".") and len(text) > 20 for text in texts)
    assert {len(field["label"]) > 0 for field in fields.values()} == {True}


def test_the_form_shares_extras_limits_and_defaults_with_the_connection() -> None:
    timeout = FORM["conn-fields"]["timeout"]["schema"]

    # The scheme is for connection URIs alone.
    assert {*FORM["conn-fields"], connection.SCHEME} == set(connection.EXTRAS)
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
    secret = "of-many-words-and-no-meaning"

    assert secret not in str(redact({"webhook_secret": secret}))
    assert FORM["conn-fields"]["webhook_secret"]["schema"]["format"] == "password"


def test_all_that_is_listed_exists() -> None:
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for module in INFO[kind][0]["python-modules"]:
            importlib.import_module(module)
    for path in (*INFO["extra-links"], *INFO["cli"], FORM["hook-class-name"]):
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))
    # The plugin has an entry point of its own; in both places Airflow would load it twice, as an error.
    assert "plugins" not in INFO


def test_airflow_accepts_the_form_and_the_link() -> None:
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
    assert set(INFO["extra-links"]) <= set(manager.extra_links_class_names)


def test_the_commands_load_nothing_heavy() -> None:
    commands = "from airflow_provider_voiceinfra.cli.definition import get_commands; get_commands()"
    before, after = loaded_by("import airflow.cli.cli_config", [commands])

    assert {name for name in after - before if "voiceinfra" not in name} == set()
