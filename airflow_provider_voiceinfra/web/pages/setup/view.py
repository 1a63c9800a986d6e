"""What the page /ui/setup says of a connection, of a rejected webhook, and of one that was kept."""

from __future__ import annotations

import json
from dataclasses import dataclass

from airflow_provider_voiceinfra.connection import DEFAULT_CONN_ID
from airflow_provider_voiceinfra.deployment import deployment_rules
from airflow_provider_voiceinfra.diagnosis import Finding, Verdict
from airflow_provider_voiceinfra.diagnosis.inside import (
    check_calendars,
    check_connection,
    check_ledger,
    check_rules,
    check_settings,
    check_webhook_secret,
)
from airflow_provider_voiceinfra.diagnosis.outside import (
    check_default_address,
    default_address,
    webhook_url,
)
from airflow_provider_voiceinfra.exceptions import ConfigurationError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.lists.values import NO_CONNECTION, LastRejection
from airflow_provider_voiceinfra.ledger.records import CompletionEntry
from airflow_provider_voiceinfra.ledger.webhooks.records import KeptDelivery
from airflow_provider_voiceinfra.rules.words import RuleInWords, rules_in_words
from airflow_provider_voiceinfra.settings import Settings
from airflow_provider_voiceinfra.web.pages.setup.conn_ids import ConnIds
from airflow_provider_voiceinfra.web.pages.visitors import Visitor
from airflow_provider_voiceinfra.webhooks.reasons import RejectionReason

_REMEDIES: dict[str, str] = {
    RejectionReason.NO_SECRET: (
        "Type a long random secret into the vendor's dashboard, and the same one into the field "
        "'Webhook secret' of this connection."
    ),
    RejectionReason.MISSING_SIGNATURE: (
        "The vendor signs each webhook once a secret is set in its dashboard. If one is set there, somebody "
        "else sent this, or a proxy took the signature away."
    ),
    RejectionReason.MALFORMED_SIGNATURE: (
        "The vendor's signatures look otherwise: somebody else sent this, or a proxy changed its header."
    ),
    RejectionReason.WRONG_SIGNATURE: (
        "The secret in the vendor's dashboard and the one of this connection differ, or something on the way "
        "changed the body. While you rotate the secret, put both into the connection."
    ),
    RejectionReason.TOO_LARGE: (
        "If it was the vendor's, raise [voiceinfra] max_webhook_bytes and restart the API server."
    ),
}
_FOR_UNKNOWN = (
    "If that looks like a connection of yours, correct the webhook URL in the vendor's dashboard: it ends in "
    "the connection's id."
)
_NO_DEFAULT = (
    "there is none of this id, and none is needed as long as every task names its connection, and every "
    "webhook URL in the vendor's dashboard ends in one"
)
_MOST_SHOWN = 100_000  # characters of a body
_MOST_INDENTED = 20_000  # characters; indenting may make the text many times as long


@dataclass(frozen=True)
class ConnectionView:
    """One connection.

    :param element: what its elements are called, since ids of connections may hold anything.
    :param webhook_url: for the vendor's dashboard.
    :param findings: what can be seen without sending anything.
    :param rules: what is set for it; ``None`` if it cannot be read.
    :param last: its newest completion.
    :param rejection: the last webhook that was rejected.
    :param may_edit: whether the visitor may test it.
    """

    conn_id: str
    element: str
    webhook_url: str
    findings: list[Finding]
    rules: list[RuleInWords] | None
    last: CompletionEntry | None
    rejection: LastRejection | None
    may_edit: bool

    @property
    def rejection_remedy(self) -> str | None:
        """What to do about the webhook that was rejected."""
        return _REMEDIES.get(self.rejection.reason) if self.rejection else None

    @property
    def works_since(self) -> bool:
        """Whether a webhook was verified after the last that was rejected."""
        last, rejection = self.last, self.rejection
        return last is not None and rejection is not None and last.received_at > rejection.rejected_at


def findings_of_all() -> tuple[list[Finding], Settings | None]:
    """Look at what all connections share, without sending anything; return usable settings, too."""
    found, settings = check_settings()
    findings = [found]
    if settings:
        findings.append(check_ledger(settings)[0])
        faulty = check_rules(None)
        findings += [faulty] if faulty.verdict is Verdict.FAILED else []
    return [*findings, check_default_address()], settings


def rules_of_all() -> list[RuleInWords] | None:
    """Return the rules that hold for every connection; ``None`` if they cannot be read."""
    try:
        return rules_in_words(deployment_rules())
    except ConfigurationError:
        return None


def views_of(
    visitor: Visitor,
    conn_ids: list[str],
    every: ConnIds,
    settings: Settings | None,
    ledger: CallLedger | None,
) -> list[ConnectionView]:
    """Return what there is to say of connections.

    :param visitor: who looks.
    :param conn_ids: those that they may read.
    :param every: all that there are.
    :param ledger: ``None`` if it cannot be used at present.
    """
    rejected = {one.conn_id: one for one in ledger.deliveries.rejections()} if ledger else {}
    address = default_address()
    seen = {conn_id: _seen(conn_id, every, settings) for conn_id in conn_ids}
    return [
        ConnectionView(
            conn_id=conn_id,
            element=f"c{number}",
            webhook_url=webhook_url(address, conn_id),
            findings=seen[conn_id][0],
            rules=seen[conn_id][1],
            last=ledger.lists.last_completion(conn_id) if ledger else None,
            rejection=rejected.get(conn_id),
            may_edit=visitor.may_edit_connection(conn_id),
        )
        for number, conn_id in enumerate(conn_ids)
    ]


def stray_of(ledger: CallLedger) -> tuple[LastRejection, str] | None:
    """Return the last webhook for a connection that does not exist, and what to do about it."""
    found = next((one for one in ledger.deliveries.rejections() if one.conn_id == NO_CONNECTION), None)
    return (found, _FOR_UNKNOWN) if found else None


def _seen(
    conn_id: str, every: ConnIds, settings: Settings | None
) -> tuple[list[Finding], list[RuleInWords] | None]:
    """Return what can be said of a connection without sending anything, and its rules."""
    found, connection = check_connection(conn_id)
    if connection is None:
        if conn_id == DEFAULT_CONN_ID and every.defined and conn_id not in every.defined:
            found = Finding("connection", Verdict.SKIPPED, _NO_DEFAULT)
        return [found], None
    findings = [found, check_webhook_secret(connection, settings)] if settings else [found]
    lacking = check_calendars(f"{conn_id!r}", connection.rules)
    findings += [lacking] if lacking else []
    return findings, rules_in_words(connection.rules)


def body_of(delivery: KeptDelivery) -> str:
    """Return a kept delivery's body as people can read it."""
    try:
        content = json.loads(delivery.body, parse_constant=str)
        text = json.dumps(content, ensure_ascii=False)
        if len(text) <= _MOST_INDENTED:
            text = json.dumps(content, ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        text = delivery.body.decode("utf-8", "replace")
    text = text.encode("utf-8", "backslashreplace").decode()  # half a pair of surrogates is no text
    if len(text) <= _MOST_SHOWN:
        return text
    rest = f"(this is not all; `airflow voiceinfra deliveries --show {delivery.id}` shows the rest)"
    return f"{text[:_MOST_SHOWN]}\n\n{rest}"
