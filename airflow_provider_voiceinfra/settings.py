"""The ``[voiceinfra]`` section of Airflow's configuration, read when it is needed and never at import."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from airflow_provider_voiceinfra.exceptions import ConfigurationError
from airflow_provider_voiceinfra.masking import quoted

SECTION = "voiceinfra"
# Executors that run tasks on the scheduler's own machine, where a SQLite file is the same for everyone.
LOCAL_EXECUTORS = frozenset({"LocalExecutor", "SequentialExecutor", "DebugExecutor"})

_KINDS: dict[type, str] = {float: "a number", int: "a whole number", bool: "True or False"}
_BOOLEANS = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}

Value = TypeVar("Value")


@dataclass(frozen=True)
class Settings:
    """The settings of one Airflow deployment.

    :param sql_alchemy_conn: URL of the ledger's database.
    :param poll_interval: seconds between two looks of a watcher at the ledger.
    :param allow_unsigned_webhooks: whether a connection without a webhook secret takes any webhook.
    :param max_webhook_bytes: largest body of a webhook, in bytes.
    :param retention_days: age in days at which ``airflow voiceinfra purge`` deletes; 0 keeps everything.
    """

    sql_alchemy_conn: str = field(repr=False)
    poll_interval: float = 2.0
    allow_unsigned_webhooks: bool = False
    max_webhook_bytes: int = 1_048_576
    retention_days: int = 0


def load_settings() -> Settings:
    """Read the settings of this process.

    :raises ConfigurationError: naming the setting that is wrong and the remedy.
    """
    # Airflow is imported when the settings are read: importing this module must cost a DAG file nothing.
    from airflow.sdk.configuration import conf

    url = str(
        conf.get(SECTION, "sql_alchemy_conn", fallback="") or ""
    ).strip()  # a _CMD's output ends in a newline
    url = url or f"sqlite:///{_airflow_home() / 'voiceinfra.db'}"
    _refuse_sqlite_across_machines(url, conf.get("core", "executor", fallback="LocalExecutor"))
    settings = Settings(
        sql_alchemy_conn=url,
        poll_interval=_value(conf, "poll_interval", float, Settings.poll_interval),
        allow_unsigned_webhooks=_value(
            conf, "allow_unsigned_webhooks", _boolean, Settings.allow_unsigned_webhooks
        ),
        max_webhook_bytes=_value(conf, "max_webhook_bytes", int, Settings.max_webhook_bytes),
        retention_days=_value(conf, "retention_days", int, Settings.retention_days),
    )
    for name in ("poll_interval", "max_webhook_bytes"):
        if not 0 < getattr(settings, name) < math.inf:
            raise ConfigurationError(f"[{SECTION}] {name} must be above 0, not {getattr(settings, name)}.")
    if settings.retention_days < 0:
        raise ConfigurationError(
            f"[{SECTION}] retention_days must be 0 or more, not {settings.retention_days}."
        )
    return settings


def _value(conf: Any, name: str, convert: Callable[[str], Value], default: Value) -> Value:
    # Airflow's own conversions raise errors that no public class covers.
    text = str(conf.get(SECTION, name, fallback="") or "").strip()
    try:
        return convert(text) if text else default
    except ValueError:
        raise ConfigurationError(
            f"[{SECTION}] {name} must be {_KINDS[type(default)]}, not {quoted(text)} "
            f"(AIRFLOW__{SECTION.upper()}__{name.upper()})."
        ) from None  # the reason quotes the value


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(text)
    return _BOOLEANS[text.lower()]


def _airflow_home() -> Path:
    home = Path(os.path.expandvars(os.environ.get("AIRFLOW_HOME", "~/airflow"))).expanduser()
    if not home.is_absolute():
        raise ConfigurationError(
            f"AIRFLOW_HOME is the relative path {str(home)!r}, under which each working directory would have "
            f"a ledger of its own. Make it absolute, or set [{SECTION}] sql_alchemy_conn."
        )
    return home


def _refuse_sqlite_across_machines(url: str, executors: str) -> None:
    if not url.startswith("sqlite"):
        return
    # [core] executor may name several, each as a short name, a module path, or "alias:module.path"; and
    # several such lists, for several teams: "LocalExecutor;team=CeleryExecutor".
    names = {re.split(r"[=:.]", name)[-1].strip() for name in re.split(r"[,;]", executors)}
    remote = sorted(names - LOCAL_EXECUTORS - {""})
    if remote:
        raise ConfigurationError(
            f"The ledger is a SQLite file, but {', '.join(remote)} runs tasks on other machines, which would "
            f"each see a ledger of their own. Set [{SECTION}] sql_alchemy_conn "
            "(AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN) to a PostgreSQL URL that every worker, the triggerer "
            "and the API server can reach."
        )
