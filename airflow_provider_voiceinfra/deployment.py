"""Where this Airflow deployment keeps things: its ledger, and its connections of type ``voiceinfra``.

The layers above ask here, and hand plain values down; nothing below looks anything up.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_voiceinfra.connection import CONN_TYPE, VoiceInfraConnection, webhook_secrets
from airflow_provider_voiceinfra.exceptions import ConfigurationError
from airflow_provider_voiceinfra.ledger.pools import SHARED, Pool
from airflow_provider_voiceinfra.settings import load_settings

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger


def open_ledger(pool: Pool = SHARED) -> CallLedger:
    """Return the ledger that ``[voiceinfra] sql_alchemy_conn`` names; nothing is connected yet.

    :param pool: the connections to use; if not set, those that most of this process shares.
    :raises ConfigurationError: if the setting cannot be used.
    """
    # SQLAlchemy is loaded here, when a task runs, and not when a DAG file is parsed.
    from airflow_provider_voiceinfra.ledger import CallLedger

    return CallLedger(load_settings().sql_alchemy_conn, pool)


def airflow_connection(conn_id: str) -> Any:
    """Return an Airflow connection, after having its webhook secrets masked in this process's logs.

    :raises AirflowNotFoundException: if there is none of this id.
    :raises ConfigurationError: if it is of another type.
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.log import mask_secret

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
