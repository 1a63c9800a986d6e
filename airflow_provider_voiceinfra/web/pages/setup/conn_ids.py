"""The ids of the connections of type ``voiceinfra`` that there are, and of those that a visitor may read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import HTTPException

from airflow_provider_voiceinfra import deployment, teams
from airflow_provider_voiceinfra.connection import CONN_TYPE, DEFAULT_CONN_ID
from airflow_provider_voiceinfra.ledger.lists.values import NO_CONNECTION
from airflow_provider_voiceinfra.web.receiver.secrets import stored_names

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.web.pages.scope import Scope
    from airflow_provider_voiceinfra.web.pages.visitors import Visitor


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


def conn_ids_of(scope: Scope, wanted: Set[str] = frozenset()) -> ConnIds:
    """Return the ids of all connections that there is any trace of.

    :param wanted: ids that are known otherwise.
    """
    # Of a secrets backend's connections, those are found that a webhook or a call has named.
    rejected = {one.conn_id for one in scope.ledger.deliveries.rejections()} - {NO_CONNECTION}
    return find_conn_ids({*scope.ledger.lists.known_connections(), *rejected, *wanted})


def readable_of(visitor: Visitor, every: ConnIds) -> list[str]:
    """Return those connections that a visitor may read.

    :raises HTTPException: 403, if there is none.
    """
    allowed = visitor.readable_connections(every.conn_ids)
    if not allowed:
        raise HTTPException(
            403,
            "This page is about connections of type voiceinfra, and your Airflow account may read none of "
            "them. It needs the permission to read connections, which an administrator of Airflow can give; "
            "in the simple auth manager, the roles op and admin have it.",
        )
    return [conn_id for conn_id in every.conn_ids if conn_id in allowed]


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
