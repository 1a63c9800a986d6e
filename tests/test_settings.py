"""The section [voiceinfra] is read when it is needed, and each wrong value is named."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from airflow_provider_voiceinfra.exceptions import ConfigurationError
from airflow_provider_voiceinfra.settings import Settings, fernet_keys, load_settings

Configure = Callable[..., None]

URL = "postgresql://user:hunter2@database.example/ledger"


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Configure:
    def configure(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"AIRFLOW__VOICEINFRA__{name.upper()}", value)

    return configure


def test_defaults_need_no_configuration() -> None:
    url = f"sqlite:///{os.environ['AIRFLOW_HOME']}/voiceinfra.db"
    assert load_settings() == Settings(url, 2.0, False, 1_048_576, 0)


def test_airflow_home_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BASE", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_HOME", "$BASE/home")
    assert load_settings().sql_alchemy_conn == f"sqlite:///{tmp_path}/home/voiceinfra.db"
    monkeypatch.delenv("AIRFLOW_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings().sql_alchemy_conn == f"sqlite:///{tmp_path}/airflow/voiceinfra.db"


def test_ledger_under_a_relative_airflow_home_is_refused(
    monkeypatch: pytest.MonkeyPatch, configure: Configure
) -> None:
    """Each working directory would have a ledger of its own, and one key would ring in each."""
    monkeypatch.setenv("AIRFLOW_HOME", "airflow")
    with pytest.raises(ConfigurationError, match="AIRFLOW_HOME is the relative path 'airflow'"):
        load_settings()
    configure(sql_alchemy_conn=URL)
    assert load_settings().sql_alchemy_conn == URL


def test_each_setting_is_read_from_the_environment(configure: Configure) -> None:
    expected = Settings(URL, 0.5, allow_unsigned_webhooks=True, max_webhook_bytes=1000, retention_days=30)
    configure(**{name: str(value) for name, value in asdict(expected).items()})
    assert load_settings() == expected
    assert "hunter2" not in repr(expected)


@pytest.mark.parametrize(
    ("text", "keys"),
    [("", ()), (" new ", ("new",)), ("new,former", ("new", "former")), ("{FERNET_KEY}", ())],
    ids=["none", "one", "two", "none was ever made"],
)
def test_fernet_keys_are_those_of_airflow(
    monkeypatch: pytest.MonkeyPatch, text: str, keys: tuple[str, ...]
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", text)
    assert fernet_keys() == keys


def test_ledger_is_encrypted_if_nothing_else_is_set(configure: Configure) -> None:
    assert load_settings().encrypt_ledger is True
    configure(encrypt_ledger="False")
    assert load_settings().encrypt_ledger is False


def test_output_of_a_command_may_end_in_a_newline() -> None:
    # A process of its own, since Airflow learns which settings are secret from the provider's metadata once.
    code = (
        "from airflow_provider_voiceinfra.settings import load_settings\n"
        "print(repr(load_settings().sql_alchemy_conn))"
    )
    environment = {**os.environ, "AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN_CMD": f"echo {URL}"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == repr(URL)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("poll_interval", "0", "poll_interval must be above 0, not 0.0"),
        ("poll_interval", "-1", "poll_interval must be above 0"),
        ("poll_interval", "nan", "poll_interval must be above 0"),
        ("poll_interval", "inf", "poll_interval must be above 0"),
        ("poll_interval", "often", "poll_interval must be a number, not 'often'"),
        ("max_webhook_bytes", "0", "max_webhook_bytes must be above 0"),
        ("max_webhook_bytes", "1.5", "max_webhook_bytes must be a whole number"),
        ("retention_days", "-1", "retention_days must be 0 or more, not -1"),
        ("retention_days", "ever", "retention_days must be a whole number"),
        ("allow_unsigned_webhooks", "perhaps", "allow_unsigned_webhooks must be True or False"),
    ],
)
def test_bad_value_is_refused_by_name(configure: Configure, name: str, value: str, message: str) -> None:
    configure(**{name: value})
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert message in str(caught.value)
    assert "voiceinfra" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("calling_windows", "calling_window"),
        ("call_caps", "call_cap"),
        ("cap", "call_cap"),
        ("optout", "opt_out"),
    ],
)
def test_misspelt_rule_is_refused_since_nobody_would_notice_that_it_does_not_count(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    from airflow_provider_voiceinfra.deployment import deployment_rules

    monkeypatch.setenv(f"AIRFLOW__VOICEINFRA__{name.upper()}", "08:00-20:00")
    with pytest.raises(ConfigurationError, match=f"has no option '{name}'; rename it to '{meant}'"):
        deployment_rules()


def test_option_of_another_version_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_voiceinfra.deployment import deployment_rules

    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SOMETHING_NEW", "1")
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__CALL_CAP_CMD", "echo 3/24h")
    deployment_rules()


@pytest.mark.parametrize(
    ("executor", "culprit"),
    [
        ("CeleryExecutor", "CeleryExecutor"),
        ("LocalExecutor,KubernetesExecutor", "KubernetesExecutor"),
        ("LocalExecutor, alias:my.own.RemoteExecutor", "RemoteExecutor"),
        ("airflow.providers.edge3.executors.EdgeExecutor", "EdgeExecutor"),
        ("LocalExecutor;team=CeleryExecutor", "CeleryExecutor"),
    ],
)
def test_sqlite_is_refused_where_workers_are_on_other_machines(
    monkeypatch: pytest.MonkeyPatch,
    configure: Configure,
    executor: str,
    culprit: str,
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"The ledger is a SQLite file, but {culprit} runs tasks")
    assert "AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN" in str(caught.value)
    configure(sql_alchemy_conn=URL)
    assert load_settings().sql_alchemy_conn == URL


@pytest.mark.parametrize(
    "executor",
    [
        "LocalExecutor",
        "LocalExecutor,",
        "alias:LocalExecutor",
        "airflow.executors.local_executor.LocalExecutor",
        "LocalExecutor; team=LocalExecutor",
    ],
)
def test_sqlite_is_fine_where_workers_are_local(monkeypatch: pytest.MonkeyPatch, executor: str) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    assert load_settings().sql_alchemy_conn.startswith("sqlite:")
