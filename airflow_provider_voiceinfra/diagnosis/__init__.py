"""Tests a deployment from the API key to a recorded webhook; calls nobody, prints nothing, names no secret.

Each check is a function that returns a ``Finding``. ``diagnose`` runs them in an order in which each can
build on what was found before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from airflow_provider_voiceinfra.connection import DEFAULT_CONN_ID
from airflow_provider_voiceinfra.diagnosis import inside, outside
from airflow_provider_voiceinfra.diagnosis.findings import Finding, Verdict

__all__ = ["Finding", "Verdict", "diagnose"]


def diagnose(
    conn_id: str = DEFAULT_CONN_ID,
    *,
    receiver_url: str | None = None,
    patience: float = math.inf,
) -> Iterator[Finding]:
    """Run every check that can be run, one after the other.

    :param conn_id: the connection to test.
    :param receiver_url: where the receiver is mounted; if not set, ``/voiceinfra`` under ``[api] base_url``.
    :param patience: how long to wait for each answer at most, in seconds.
    """
    found, connection = inside.check_connection(conn_id)
    yield found
    if connection:
        yield inside.check_defaults(connection)
        yield inside.check_api_key(connection, patience=patience)
    else:
        yield _skipped("API key", "no usable connection")
    found, settings = inside.check_settings()
    yield found
    ledger = None
    if settings:
        found, ledger = inside.check_ledger(settings)
        yield found
    else:
        yield _skipped("ledger", "no usable settings")
    if settings:
        yield inside.check_rules(connection)
    if connection and settings:
        yield inside.check_webhook_secret(connection, settings)
    address = (receiver_url or outside.default_address()).rstrip("/").removesuffix("/health")
    yield outside.check_address(address) if receiver_url else outside.check_default_address()
    found = outside.check_receiver(address, patience=patience)
    yield found
    if connection and ledger and found.verdict is not Verdict.FAILED:
        yield from outside.check_deliveries(connection, address, ledger, patience=patience)
    else:
        yield _skipped("test delivery", "it needs a connection, a ledger and a receiver")


def _skipped(name: str, why: str) -> Finding:
    return Finding(name, Verdict.SKIPPED, why)
