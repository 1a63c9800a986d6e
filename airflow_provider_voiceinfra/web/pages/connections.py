"""Which connections of type ``voiceinfra`` there are, as far as the API server can see."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_voiceinfra.connection import CONN_TYPE, DEFAULT_CONN_ID

_PREFIX = "AIRFLOW_CONN_"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Connections:
    """The ids of all connections that could be found.

    :param conn_ids: the default one first, whether it exists or not.
    :param defined: those of them that Airflow is known to have.
    :param is_complete: whether Airflow's metadata database could be asked.
    """

    conn_ids: list[str]
    defined: frozenset[str]
    is_complete: bool


def find_connections(known: Iterable[str]) -> Connections:
    """Return the ids of all connections; those in a secrets backend cannot be listed.

    :param known: ids that are known otherwise, such as from calls.
    """
    stored = _stored()
    certain = {DEFAULT_CONN_ID, *known, *(stored or ())}
    # A variable's name is in capitals, whatever the id is that it is looked up for.
    capitals = {conn_id.upper() for conn_id in certain}
    variables = {name for name in _variables() if name not in capitals}
    found = certain | {name.lower() for name in variables}
    defined = {conn_id for conn_id in found if _PREFIX + conn_id.upper() in os.environ} | set(stored or ())
    return Connections(
        conn_ids=[DEFAULT_CONN_ID, *sorted(found - {DEFAULT_CONN_ID})],
        defined=frozenset(defined),
        is_complete=stored is not None,
    )


def _stored() -> list[str] | None:
    """Return those in Airflow's metadata database; ``None`` if it cannot be asked."""
    from airflow import settings
    from airflow.models.connection import Connection  # the stored ones; airflow.sdk's cannot be listed
    from airflow.utils.session import create_session
    from sqlalchemy import make_url, select

    try:
        url = make_url(settings.SQL_ALCHEMY_CONN or "")
        if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).is_file()):
            return None  # to ask would create the file, empty
        with create_session() as session:
            query = select(Connection.conn_id).where(Connection.conn_type == CONN_TYPE)
            return [str(conn_id) for conn_id in session.scalars(query)]
    except Exception as error:  # noqa: BLE001  whatever keeps Airflow's own database from answering
        log.warning("Airflow's connections cannot be listed: %s", type(error).__name__)
        return None


def _variables() -> Iterator[str]:
    """Yield what comes after the prefix in the names of environment variables that define connections."""
    for name, value in os.environ.items():
        if name.startswith(_PREFIX) and _is_ours(value):
            yield name.removeprefix(_PREFIX)


def _is_ours(value: str) -> bool:
    text = value.lstrip()
    if not text.startswith("{"):
        return text.partition(":")[0].lower() == CONN_TYPE
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return CONN_TYPE in text  # most likely, and the page then says what is wrong with it
    return isinstance(found, dict) and found.get("conn_type") == CONN_TYPE
