"""What the page /ui/setup tells of a connection, of a rejected webhook, and of one that was kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from airflow_provider_voiceinfra.diagnosis import Finding, Verdict
from airflow_provider_voiceinfra.diagnosis.deployment import (
    check_connection,
    check_settings,
    check_webhook_secret,
)
from airflow_provider_voiceinfra.diagnosis.receiver import check_address, default_address
from airflow_provider_voiceinfra.ledger.entries import KeptDelivery
from airflow_provider_voiceinfra.ledger.listed import Rejection
from airflow_provider_voiceinfra.receiving import Rejection as Reason
from airflow_provider_voiceinfra.web.pages.scope import Scope
from airflow_provider_voiceinfra.web.webhook import TOO_LARGE

_REMEDIES = {
    Reason.NO_SECRET.value: (
        "Type a long random secret into the vendor's dashboard, and the same one into the field "
        "'Webhook secret' of this connection."
    ),
    Reason.MISSING_SIGNATURE.value: (
        "The vendor signs each webhook once a secret is set in its dashboard. If one is set there, somebody "
        "else sent this, or a proxy took the signature away."
    ),
    Reason.MALFORMED_SIGNATURE.value: (
        "The vendor's signatures look otherwise: somebody else sent this, or a proxy changed its header."
    ),
    Reason.WRONG_SIGNATURE.value: (
        "The secret in the vendor's dashboard and the one of this connection differ, or something on the way "
        "changed the body. While you rotate the secret, put both into the connection."
    ),
    TOO_LARGE: "If it was the vendor's, raise [voiceinfra] max_webhook_bytes and restart the API server.",
}
_FOR_UNKNOWN = (
    "If that looks like a connection of yours, correct the webhook URL in the vendor's dashboard: it ends in "
    "the connection's id."
)


@dataclass(frozen=True)
class ConnectionView:
    """One connection.

    :param element: what its elements are called, since ids of connections may hold anything.
    :param webhook_url: for the vendor's dashboard.
    :param url_problem: why the vendor cannot use that address as it stands; ``None`` if it can.
    :param findings: what can be seen without sending anything.
    :param last_received: when its newest completion came.
    :param rejection: the last webhook that was not believed.
    :param may_edit: whether the visitor may test it.
    """

    conn_id: str
    element: str
    webhook_url: str
    url_problem: str | None
    findings: list[Finding]
    last_received: datetime | None
    last_call_id: str | None
    rejection: Rejection | None
    rejection_remedy: str | None
    may_edit: bool


def views_of(scope: Scope, conn_ids: list[str]) -> list[ConnectionView]:
    """Return what there is to tell of connections."""
    rejected = {one.conn_id: one for one in scope.ledger.rejections()}
    return [
        _view(scope, conn_id, f"c{number}", rejected.get(conn_id)) for number, conn_id in enumerate(conn_ids)
    ]


def stray_of(scope: Scope) -> tuple[Rejection, str] | None:
    """Return the last webhook for a connection that does not exist, and what to do about it."""
    found = next((one for one in scope.ledger.rejections() if not one.conn_id), None)
    return (found, _FOR_UNKNOWN) if found else None


def _view(scope: Scope, conn_id: str, element: str, rejection: Rejection | None) -> ConnectionView:
    address = default_address()
    last = scope.ledger.last_completion(conn_id)
    return ConnectionView(
        conn_id=conn_id,
        element=element,
        webhook_url=f"{address}/webhooks/{quote(conn_id, safe='')}",
        url_problem=_problem_of(address),
        findings=_findings(conn_id),
        last_received=last.received_at if last else None,
        last_call_id=last.call_id if last else None,
        rejection=rejection,
        rejection_remedy=_REMEDIES.get(rejection.reason) if rejection else None,
        may_edit=scope.visitor.may_edit_connection(conn_id),
    )


def _problem_of(address: str) -> str | None:
    if check_address(address).verdict is Verdict.OK:
        return None
    return (
        "The vendor needs a public https address, and by its [api] base_url this Airflow has none. Set "
        "base_url to the address under which the internet reaches this Airflow, or put that address in the "
        "place of the beginning of this one."
    )


def _findings(conn_id: str) -> list[Finding]:
    found, connection = check_connection(conn_id)
    settings_found, settings = check_settings()
    findings = [found, settings_found]
    if connection and settings:
        findings.append(check_webhook_secret(connection, settings))
    return findings


def body_of(delivery: KeptDelivery) -> str:
    """Return a kept delivery's body as people can read it."""
    try:
        content = json.loads(delivery.body, parse_constant=str)
    except (ValueError, RecursionError):
        return delivery.body.decode("utf-8", "replace")
    try:
        return json.dumps(content, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return delivery.body.decode("utf-8", "replace")
