"""Which connections of type ``voiceinfra`` there are, as far as the API server can see."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

from airflow_provider_voiceinfra.connection import CONN_TYPE, DEFAULT_CONN_ID

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger

_PREFIX = "AIRFLOW_CONN_"

log = logging.getLogger(__name__)


def all_connections(ledger: CallLedger) -> list[str]:
    """Return the ids of all connections: stored, in the environment, those that called, and the default."""
    found = {*_stored(), *_in_environment(), *ledger.known_connections()} - {DEFAULT_CONN_ID}
    return [DEFAULT_CONN_ID, *sorted(found)]


def _stored() -> list[str]:
    """Return those in Airflow's metadata database."""
    from airflow.models.connection import Connection  # the stored ones; airflow.sdk's cannot be listed
    from airflow.utils.session import create_session
    from sqlalchemy import select
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with create_session() as session:
            query = select(Connection.conn_id).where(Connection.conn_type == CONN_TYPE)
            return [str(conn_id) for conn_id in session.scalars(query)]
    except SQLAlchemyError as error:
        log.warning("Airflow's connections cannot be listed: %s", type(error).__name__)
        return []


def _in_environment() -> list[str]:
    return [
        name.removeprefix(_PREFIX).lower()
        for name, value in os.environ.items()
        if name.startswith(_PREFIX) and _is_ours(value)
    ]


def _is_ours(value: str) -> bool:
    if value.startswith(f"{CONN_TYPE}:"):
        return True
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("conn_type") == CONN_TYPE
