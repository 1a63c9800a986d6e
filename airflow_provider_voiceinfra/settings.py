"""The ``[voiceinfra]`` section of Airflow's configuration, read when it is needed and never at import."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from airflow_provider_voiceinfra.exceptions import ConfigurationError

SECTION = "voiceinfra"
# Executors that run tasks on the scheduler's own machine, where a SQLite file is the same for everyone.
LOCAL_EXECUTORS = frozenset({"LocalExecutor", "SequentialExecutor", "DebugExecutor"})


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
    from airflow.sdk.exceptions import AirflowException

    url = conf.get(SECTION, "sql_alchemy_conn", fallback="").strip()  # a _CMD's output ends in a newline
    url = url or f"sqlite:///{_airflow_home() / 'voiceinfra.db'}"
    _refuse_sqlite_across_machines(url, conf.get("core", "executor", fallback="LocalExecutor"))
    try:
        settings = Settings(
            sql_alchemy_conn=url,
            poll_interval=conf.getfloat(SECTION, "poll_interval", fallback=2.0),
            allow_unsigned_webhooks=conf.getboolean(SECTION, "allow_unsigned_webhooks", fallback=False),
            max_webhook_bytes=conf.getint(SECTION, "max_webhook_bytes", fallback=1_048_576),
            retention_days=conf.getint(SECTION, "retention_days", fallback=0),
        )
    # Which of these an unreadable value raises differs between Airflow's releases; each names the option.
    except (ValueError, AirflowException) as exc:
        raise ConfigurationError(f"Section [{SECTION}] of the Airflow configuration: {exc}") from exc
    for name in ("poll_interval", "max_webhook_bytes"):
        if not 0 < getattr(settings, name) < math.inf:
            raise ConfigurationError(f"[{SECTION}] {name} must be above 0, not {getattr(settings, name)}.")
    if settings.retention_days < 0:
        raise ConfigurationError(
            f"[{SECTION}] retention_days must be 0 or more, not {settings.retention_days}."
        )
    return settings


def _airflow_home() -> Path:
    return Path(os.path.expandvars(os.environ.get("AIRFLOW_HOME", "~/airflow"))).expanduser()


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
