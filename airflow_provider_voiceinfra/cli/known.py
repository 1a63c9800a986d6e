"""Whether there is what an option names: nothing found of what is misspelt would pass for a good answer."""

from __future__ import annotations

from difflib import get_close_matches

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.web.receiver.secrets import ConnectionsUnavailableError, find_secrets

# An id that was mistyped is looked for among so many, and so many that may have been meant are named.
_SEARCHED = 1000
_NAMED = 5


def is_connection(ledger: CallLedger, conn_id: str) -> bool:
    """Return whether calls went through a connection, or Airflow has it.

    :raises ConnectionsUnavailableError: if Airflow cannot say.
    """
    if conn_id in ledger.lists.known_connections():
        return True
    try:
        return find_secrets(conn_id) is not None
    except ConnectionsUnavailableError as error:
        raise ConnectionsUnavailableError(
            f"whether there is a connection {conn_id!r} cannot be said just now: {error}. Nothing was done; "
            "try again, or leave --conn-id out for all connections."
        ) from error


def is_dag(ledger: CallLedger, dag_id: str) -> bool:
    """Return whether the ledger has calls or campaigns of a DAG."""
    lists = ledger.lists
    return dag_id in lists.known_dags() or dag_id in {dag for dag, _ in lists.campaign_sources()}


def no_campaign(ledger: CallLedger, wanted: str) -> str:
    """Return that there is no such campaign, with those that may have been meant."""
    known = [entry.campaign_id for entry in ledger.lists.campaigns(limit=_SEARCHED)]
    text = f"there is no campaign {wanted!r}"
    if not known:
        return f"{text}; the ledger knows none at all."
    part = wanted.strip().lower()
    alike = [id_ for id_ in known if part and part in id_.lower()]
    alike = alike or get_close_matches(wanted, known, n=_NAMED)
    named = ", ".join(repr(id_) for id_ in (alike or known)[:_NAMED])
    return f"{text}. {'Those that are alike' if alike else 'The newest'}: {named}."
