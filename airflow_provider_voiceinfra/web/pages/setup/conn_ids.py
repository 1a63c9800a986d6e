"""The ids of the connections of type ``voiceinfra`` that there are, as far as the API server can see."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from airflow_provider_voiceinfra import deployment, teams
from airflow_provider_voiceinfra.connection import CONN_TYPE, DEFAULT_CONN_ID
from airflow_provider_voiceinfra.web.receiver.secrets import stored_names


@dataclass(frozen=True)
class ConnIds:
    """The ids of all connections that could be found.

    :param conn_ids: the default one first, whether it exists or not.
    :param defined: those of them that Airflow is known to have.
    :param is_complete: whether Airflow's metadata database could be asked.
    """

    conn_ids: list[str]
    defined: frozenset[str]
    is_complete: bool


def find_conn_ids(known: Iterable[str]) -> ConnIds:
    """Return the ids of all connections; those in a secrets backend cannot be listed.

    :param known: ids that are known otherwise, such as from calls.
    """
    stored = stored_names()
    certain = {DEFAULT_CONN_ID, *known, *(stored or ())}
    # A variable's name is in capitals, whatever the id is that it is looked up for.
    capitals = {conn_id.upper() for conn_id in certain}
    variables = {name for name in _variables() if name not in capitals}
    found = certain | {name.lower() for name in variables}
    defined = {conn_id for conn_id in found if teams.in_variables(conn_id)} | set(stored or ())
    return ConnIds(
        conn_ids=[DEFAULT_CONN_ID, *sorted(found - {DEFAULT_CONN_ID})],
        defined=frozenset(defined),
        is_complete=stored is not None,
    )


def _variables() -> Iterator[str]:
    """Yield the ids, in capitals, in the names of environment variables that define connections."""
    for name, value in os.environ.items():
        if name.startswith(deployment.VARIABLE_PREFIX) and _is_ours(value):
            yield teams.split_variable(name)[1]


def _is_ours(value: str) -> bool:
    text = value.lstrip()
    if not text.startswith("{"):
        return text.partition(":")[0].lower() == CONN_TYPE
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return CONN_TYPE in text  # most likely, and the page then says what is wrong with it
    return isinstance(found, dict) and found.get("conn_type") == CONN_TYPE
