"""What belongs to which team where ``[core] multi_team`` is on; without it, every answer here is "no team".

Airflow gives a task the connections of its team. Where nobody's task runs, in the API server, in a receiver
on its own and in a command, a connection of a team is found only by who asks for that team; this module does.
The ledger knows a connection by its id alone, so one id must not stand for two connections.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Collection
from typing import Any

from airflow_provider_voiceinfra import deployment
from airflow_provider_voiceinfra.connection import CONN_TYPE, VoiceInfraConnection, webhook_secrets
from airflow_provider_voiceinfra.exceptions import ConfigurationError

# Airflow's name for a variable that defines a connection of a team: AIRFLOW_CONN__<TEAM>___<CONN_ID>.
_OF_A_TEAM = f"{deployment.VARIABLE_PREFIX}_"
_BEFORE_ID = "___"


def are_used() -> bool:
    """Return whether this deployment has teams."""
    from airflow.configuration import conf

    return bool(conf.getboolean("core", "multi_team", fallback=False))


def split_variable(name: str) -> tuple[str | None, str]:
    """Return the team and the id, both in capitals, that the name of a connection's variable stands for."""
    if name.startswith(_OF_A_TEAM) and _BEFORE_ID in name and are_used():
        team, _, conn_id = name.removeprefix(_OF_A_TEAM).partition(_BEFORE_ID)
        return team, conn_id
    return None, name.removeprefix(deployment.VARIABLE_PREFIX)


def in_variables(conn_id: str) -> set[str | None]:
    """Return whose variables define a connection: teams, in capitals, and ``None`` for everybody's."""
    capitals = conn_id.upper()
    found: set[str | None] = {None} if f"{deployment.VARIABLE_PREFIX}{capitals}" in os.environ else set()
    if are_used():
        ours = (name for name in os.environ if name.startswith(_OF_A_TEAM))
        found |= {team for team, of in map(split_variable, ours) if team and of == capitals}
    return found


def only_connection(conn_id: str, shared: Any = None) -> Any:
    """Return the one connection of this id, whoever it belongs to; ``None`` if there is none.

    :param shared: the one that belongs to no team, if there is one.
    :raises ConfigurationError: if there are several, with different webhook secrets.
    """
    if split_variable(f"{deployment.VARIABLE_PREFIX}{conn_id.upper()}")[0] is not None:
        return None  # the variable of a team under another name, which Airflow 3.2 takes for everybody's
    found = {} if shared is None else {webhook_secrets(shared): shared}
    for team in _teams_for(conn_id):
        conn = _connection_of(team, conn_id)
        if conn and conn.conn_type in (None, "", CONN_TYPE):
            found.setdefault(webhook_secrets(conn), conn)
    if len(found) > 1:
        raise ConfigurationError(
            f"Connection {conn_id!r}: several teams have a connection of this id, with different webhook "
            "secrets, and neither a webhook nor the ledger says which one is meant. Give each an id of its "
            "own."
        )
    return next(iter(found.values()), None)


def read_connection(conn_id: str) -> VoiceInfraConnection:
    """Return the checked values of a connection, whoever it belongs to; for commands and pages.

    :raises AirflowNotFoundException: if there is none of this id.
    :raises ConfigurationError: naming the field that is wrong, and the remedy.
    """
    from airflow.sdk.exceptions import AirflowNotFoundException

    if not are_used():
        return deployment.read_connection(conn_id)
    try:
        shared = deployment.airflow_connection(conn_id)
    except AirflowNotFoundException:
        shared = None
    found = only_connection(conn_id, shared)
    return VoiceInfraConnection.from_airflow(found) if found else deployment.read_connection(conn_id)


def of_connections(conn_ids: Collection[str]) -> dict[str, set[str | None]]:
    """Return whose connections are, as far as is known without reading them; ``None`` is everybody."""
    from airflow.models.connection import Connection

    stored = Connection.get_conn_id_to_team_name_mapping(list(conn_ids))
    by_capitals = {name.upper(): name for name in _names()}
    owners: dict[str, set[str | None]] = {}
    for conn_id in conn_ids:
        variables = {by_capitals.get(team, team) if team else None for team in in_variables(conn_id)}
        owners[conn_id] = variables | ({stored[conn_id]} if conn_id in stored else set()) or {None}
    return owners


def of_dags(dag_ids: Collection[str]) -> dict[str, set[str | None]]:
    """Return whose DAGs are; ``None`` is everybody."""
    from airflow.models.dag import DagModel

    owners = DagModel.get_dag_id_to_team_name_mapping(list(dag_ids))
    return {dag_id: {owners.get(dag_id)} for dag_id in dag_ids}


def _names() -> set[str]:
    """Return all teams; none if this process was given no metadata database, which alone knows them."""
    if not deployment.has_metadata():
        return set()
    from airflow.models.team import Team

    return set(Team.get_all_team_names())


def _teams_for(conn_id: str) -> list[str]:
    if not are_used():
        return []
    names = {name.upper(): name for name in _names()}
    names.update({team: team for team in in_variables(conn_id) if team and team not in names})
    return sorted(names.values())


def _connection_of(team: str, conn_id: str) -> Any:
    from airflow.sdk.log import mask_secret

    for backend in deployment.secrets_backends():
        # One written before there were teams has no connection of one.
        parameters = inspect.signature(backend.get_connection).parameters.values()
        if any(one.name == "team_name" or one.kind is one.VAR_KEYWORD for one in parameters):
            conn = backend.get_connection(conn_id=conn_id, team_name=team)
            if conn:
                for secret in filter(None, (conn.password, *webhook_secrets(conn))):
                    mask_secret(secret)
                return conn
    return None
