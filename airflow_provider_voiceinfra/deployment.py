"""Where this Airflow deployment keeps things: its ledger, and its connections of type ``voiceinfra``.

The layers above ask here, and hand plain values down; nothing below looks anything up.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_voiceinfra.connection import CONN_TYPE, VoiceInfraConnection, meant_by, webhook_secrets
from airflow_provider_voiceinfra.exceptions import ConfigurationError, InvalidCallError
from airflow_provider_voiceinfra.ledger.database.pools import SHARED, Pool
from airflow_provider_voiceinfra.masking import is_number_and_no_id, quoted
from airflow_provider_voiceinfra.settings import (
    SECTION,
    Settings,
    fernet_keys,
    load_settings,
    unknown_options,
)

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger
    from airflow_provider_voiceinfra.ledger.records import CallOrigin
    from airflow_provider_voiceinfra.rules.opt_out import OptOut
    from airflow_provider_voiceinfra.rules.rule_set import Rules

log = logging.getLogger(__name__)

VARIABLE_PREFIX = "AIRFLOW_CONN_"
"""What the name of each environment variable that defines a connection begins with."""


def load() -> None:
    """Load the code that the ledger and lookups of connections take, from disk; nothing is opened."""
    import airflow.models.connection
    import airflow.sdk.execution_time.supervisor  # noqa: F401

    import airflow_provider_voiceinfra.ledger.store  # noqa: F401


def open_ledger(pool: Pool = SHARED) -> CallLedger:
    """Return the ledger that ``[voiceinfra] sql_alchemy_conn`` names; nothing is connected yet.

    :param pool: the connections to use; if not set, those that most of this process shares.
    :raises ConfigurationError: if the setting cannot be used.
    """
    return ledger_of(load_settings(), pool)


def ledger_of(settings: Settings, pool: Pool = SHARED) -> CallLedger:
    """Return the ledger of a deployment, encrypted with Airflow's Fernet key as its settings want it.

    :param pool: the connections to use; if not set, those that most of this process shares.
    :raises ConfigurationError: if a setting cannot be used.
    """
    # SQLAlchemy is loaded here, when a task runs, and not when a DAG file is parsed.
    from airflow_provider_voiceinfra.ledger import CallLedger
    from airflow_provider_voiceinfra.ledger.database.keys import Encryption

    encryption = Encryption(fernet_keys(), settings.encrypt_ledger)
    return CallLedger(settings.sql_alchemy_conn, pool, encryption=encryption)


def deployment_rules() -> Rules:
    """Return what must hold before anybody is called through any connection.

    :raises ConfigurationError: naming the setting that is wrong, and the remedy.
    """
    from airflow_provider_voiceinfra.rules.rule_set import NAMES, Rules

    settings = load_settings()
    for name in unknown_options():
        # Nobody would notice a rule that does not count.
        meant = meant_by(name)
        if meant in NAMES and not getattr(settings, meant):
            raise ConfigurationError(
                f"[{SECTION}] has no option {quoted(name)}; rename it to {meant!r} "
                f"(AIRFLOW__{SECTION.upper()}__{meant.upper()})."
            )
    try:
        return Rules.parse({name: getattr(settings, name) for name in NAMES})
    except InvalidCallError as fault:
        raise ConfigurationError(f"[{SECTION}] {fault.field} {fault.rule}.") from fault


def opt_outs(conn_id: str, spec: object = None, *, everywhere: str | None = None) -> tuple[OptOut, ...]:
    """Return what in a record of a connection says that the person must not be called again.

    Of a connection whose own is wrong, only that of the deployment counts, and an error is logged: no call is
    placed through such a connection, either, and its records can be looked through once it is fixed.

    :param spec: the connection's own, as the user wrote it.
    :param everywhere: that of the deployment; if not set, it is looked up.
    :raises ConfigurationError: if that of the deployment is wrong.
    """
    from airflow_provider_voiceinfra.rules.opt_out import OptOut

    everywhere = load_settings().opt_out if everywhere is None else everywhere
    found = []
    try:
        found = [OptOut.parse(everywhere)] if everywhere else []
    except InvalidCallError as fault:
        raise ConfigurationError(f"[{SECTION}] {fault.field} {fault.rule}.") from fault
    try:
        found += [OptOut.parse(spec)] if spec not in (None, "") else []
    except InvalidCallError as fault:
        log.error(
            "Connection %r: extra %r %s. Nobody who opts out in its calls is suppressed until that is fixed; "
            "then run `airflow voiceinfra suppress --from-records --since ...`.",
            conn_id,
            fault.field,
            fault.rule,
        )
    return tuple(found)


def origin_of(context: Any) -> CallOrigin:
    """Return the origin of what a task does in Airflow's context."""
    # Loaded when a task runs: what it defines costs a DAG file more than all else of ours.
    from airflow_provider_voiceinfra.ledger.records import CallOrigin

    return CallOrigin.of_task(context["ti"], context.get("dag_run"))


def airflow_connection(conn_id: str) -> Any:
    """Return an Airflow connection, after having its webhook secrets masked in this process's logs.

    :raises AirflowNotFoundException: if there is none of this id.
    :raises ConfigurationError: if it is of another type.
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.log import mask_secret

    if is_number_and_no_id(conn_id):
        raise ConfigurationError(
            f"voiceinfra_conn_id: {quoted(conn_id)} is a phone number; give the id of a connection of type "
            f"{CONN_TYPE!r}."
        )
    conn = BaseHook.get_connection(conn_id)
    if conn.conn_type and conn.conn_type != CONN_TYPE:
        raise ConfigurationError(
            f"Connection {conn_id!r} is of type {conn.conn_type!r}; one of type {CONN_TYPE!r} is needed."
        )
    # Airflow masks the field as a whole; of several secrets in it each can turn up alone.
    with suppress(ConfigurationError):  # raised by who asks for them
        for secret in webhook_secrets(conn):
            mask_secret(secret)
    return conn


def read_connection(conn_id: str) -> VoiceInfraConnection:
    """Return the checked values of an Airflow connection.

    :raises AirflowNotFoundException: if there is none of this id.
    :raises ConfigurationError: naming the field that is wrong, and the remedy.
    """
    return VoiceInfraConnection.from_airflow(airflow_connection(conn_id))


def secrets_backends() -> Iterator[Any]:
    """Yield where Airflow looks for connections, in its order, and its metadata database if there is one."""
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    loaded = ensure_secrets_backend_loaded()
    yield from loaded
    if not any(type(backend).__name__ == "MetastoreBackend" for backend in loaded) and has_metadata():
        from airflow.secrets.metastore import MetastoreBackend

        yield MetastoreBackend()


def has_metadata() -> bool:
    """Return whether this process was given Airflow's metadata database, not just the default's file name."""
    from airflow.configuration import conf
    from sqlalchemy import make_url

    url = make_url(conf.get_mandatory_value("database", "sql_alchemy_conn"))
    if url.get_backend_name() != "sqlite":
        return True
    return bool(url.database) and Path(str(url.database)).is_file()
