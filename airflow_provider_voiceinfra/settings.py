"""The ``[voiceinfra]`` section of Airflow's configuration, read when it is needed and never at import."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from airflow_provider_voiceinfra.exceptions import ConfigurationError
from airflow_provider_voiceinfra.masking import quoted

SECTION = "voiceinfra"
# Executors that run tasks on the scheduler's own machine, where a SQLite file is the same for everyone.
LOCAL_EXECUTORS = frozenset({"LocalExecutor", "SequentialExecutor", "DebugExecutor"})

_BOOLEANS = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}
# Of each kind of setting: what it is called, and what reads it.
_KINDS: dict[type, tuple[str, Callable[[str], Any]]] = {
    float: ("a number", float),
    int: ("a whole number", int),
    bool: ("True or False", lambda text: _BOOLEANS[text.lower()]),
    str: ("text", str),
}


@dataclass(frozen=True)
class Settings:
    """The settings of one Airflow deployment.

    :param sql_alchemy_conn: URL of the ledger's database.
    :param poll_interval: seconds between two looks of a watcher at the ledger.
    :param allow_unsigned_webhooks: whether a connection without a webhook secret takes any webhook.
    :param max_webhook_bytes: largest body of a webhook, in bytes.
    :param calling_window: when anybody may be called, such as ``08:00-20:00``; empty for always. This and the
        next four hold for every connection, see ``rules.rule_set``.
    :param call_cap: how often one number may be called, such as ``3/24h``; empty for no cap.
    :param opt_out: which field of a record says that a person must not be called again.
    :param exempt_numbers: numbers to which neither window nor caps apply, separated by spaces.
    :param require_consent: whether nobody is called without a reference to their consent.
    :param encrypt_ledger: whether what is personal is encrypted in the ledger, if Airflow has a Fernet key.
    :param retention_days: age in days at which ``airflow voiceinfra purge`` deletes; 0 keeps everything.
    """

    sql_alchemy_conn: str = field(repr=False)
    poll_interval: float = 2.0
    allow_unsigned_webhooks: bool = False
    max_webhook_bytes: int = 1_048_576
    retention_days: int = 0
    calling_window: str = ""
    call_cap: str = ""
    opt_out: str = ""
    exempt_numbers: str = field(default="", repr=False)
    require_consent: bool = False
    encrypt_ledger: bool = True


def load_settings() -> Settings:
    """Read the settings of this process.

    :raises ConfigurationError: naming the setting that is wrong and the remedy.
    """
    # Airflow is imported when the settings are read: importing this module must cost a DAG file nothing.
    from airflow.sdk.configuration import conf

    # The output of a _CMD ends in a newline.
    url = str(conf.get(SECTION, "sql_alchemy_conn", fallback="") or "").strip()
    url = url or f"sqlite:///{_airflow_home() / 'voiceinfra.db'}"
    _refuse_sqlite_across_machines(url, conf.get("core", "executor", fallback="LocalExecutor"))
    others = [setting for setting in fields(Settings) if setting.name != "sql_alchemy_conn"]
    settings = Settings(url, **{setting.name: _value(conf, setting) for setting in others})
    for name in ("poll_interval", "max_webhook_bytes"):
        if not 0 < getattr(settings, name) < math.inf:
            raise ConfigurationError(f"[{SECTION}] {name} must be above 0, not {getattr(settings, name)}.")
    if settings.retention_days < 0:
        raise ConfigurationError(
            f"[{SECTION}] retention_days must be 0 or more, not {settings.retention_days}."
        )
    return settings


def unknown_options() -> list[str]:
    """Return the names of the section that are no settings, as in the file and the environment."""
    from airflow.sdk.configuration import conf

    known = {setting.name for setting in fields(Settings)}
    known |= {f"{name}{suffix}" for name in known for suffix in ("_cmd", "_secret")}
    # Names alone: to read the values would run the commands that give some of them.
    prefix = f"AIRFLOW__{SECTION.upper()}__"
    given = {name.removeprefix(prefix).lower() for name in os.environ if name.startswith(prefix)}
    given |= set(conf.options(SECTION)) if conf.has_section(SECTION) else set()
    return sorted(given - known)


def fernet_keys() -> tuple[str, ...]:
    """Return the keys of ``[core] fernet_key``, the one that encrypts first; none if it is not set."""
    from airflow.sdk.configuration import conf

    text = str(conf.get("core", "fernet_key", fallback="") or "").strip()
    # Where no key was ever made, what stands for it in Airflow's defaults is left as it is.
    return () if text == "{FERNET_KEY}" else tuple(filter(None, (key.strip() for key in text.split(","))))


def _value(conf: Any, setting: Field[Any]) -> Any:
    # Airflow's own conversions raise errors that no public class covers.
    text = str(conf.get(SECTION, setting.name, fallback="") or "").strip()
    kind, convert = _KINDS[type(setting.default)]
    try:
        return convert(text) if text else setting.default
    except (ValueError, LookupError):
        raise ConfigurationError(
            f"[{SECTION}] {setting.name} must be {kind}, not {quoted(text)} "
            f"(AIRFLOW__{SECTION.upper()}__{setting.name.upper()})."
        ) from None  # the reason quotes the value


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
