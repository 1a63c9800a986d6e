"""Tests the receiver from outside, as the vendor sees it: whether it is there, and what becomes of a webhook.

Prints nothing, and never shows a secret, a signature or what a server that may be anybody's answered.
"""

from __future__ import annotations

import ipaddress
import json
import math
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow_provider_voiceinfra import __version__
from airflow_provider_voiceinfra.connection import VoiceInfraConnection
from airflow_provider_voiceinfra.diagnosis.findings import TYPE_A_SECRET, Finding, Verdict
from airflow_provider_voiceinfra.webhooks import signing

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger

SERVICE = "voiceinfra"
TEST_EVENT = "voiceinfra.doctor"
MOUNT = "/voiceinfra"
TIMEOUT = 20.0  # s: for a request as a whole
_ADDRESS = "receiver address"
_SET_BASE_URL = (
    "Set [api] base_url to the https address under which the internet reaches this Airflow, and restart it. "
    "If webhooks are taken at another address, that one is tested by `airflow voiceinfra doctor "
    "--receiver-url https://...`, without /webhooks/... at its end."
)
_MOST_BYTES = 65_536  # of an answer that may come from anywhere
_MOST_DELIVERIES = 1000  # more cannot have come between the answer and the look into the ledger


def default_address() -> str:
    """Return where the plugin mounts the receiver, by this process's configuration."""
    from airflow.sdk.configuration import conf

    port = conf.get("api", "port", fallback="8080")
    return (_base_url() or f"http://localhost:{port}") + MOUNT


def webhook_url(address: str, conn_id: str) -> str:
    """Return where the vendor sends a connection's webhooks.

    :param address: where the receiver is mounted.
    """
    return f"{address}/webhooks/{quote(conn_id, safe='')}"


def check_default_address() -> Finding:
    """Look whether the vendor could use the address that this process's configuration gives."""
    if not _base_url():
        found = "[api] base_url is not set, so the address is a guess"
        return Finding(_ADDRESS, Verdict.WARNING, found, _SET_BASE_URL)
    return check_address(default_address())


def check_address(address: str) -> Finding:
    """Look whether the vendor could use an address at all."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        remedy = "It looks like https://airflow.example.com/voiceinfra."
        return Finding(_ADDRESS, Verdict.FAILED, f"{address!r} is not an address", remedy)
    if _is_local(parts.hostname or ""):
        problem = "is one of this machine or of a private network"
    elif parts.scheme == "http":
        problem = "is plain http"
    else:
        return Finding(_ADDRESS, Verdict.OK, f"{address}; the vendor sends to {address}/webhooks/<conn_id>")
    found = f"the vendor needs a public https address, and {address} {problem}"
    return Finding(_ADDRESS, Verdict.WARNING, found, _SET_BASE_URL)


def check_receiver(address: str, *, patience: float = math.inf) -> Finding:
    """Ask the receiver for its health, and make sure that it is the receiver who answers.

    :param address: where it is mounted.
    :param patience: how long to wait for its answer at most, in seconds.
    """
    name = "receiver"
    try:
        status, body = _exchange("GET", f"{address}/health", patience)
    except Exception as error:  # noqa: BLE001  # nobody can list what an answer without sense may raise
        return Finding(name, *_not_reached(address, error))
    answer = _json_object(body)
    verdict, remedy = Verdict.FAILED, ""
    if answer.get("service") != SERVICE:
        # Airflow's own page answers 200 with HTML for every path that it does not know.
        found = (
            f"{address}/health is answered {status}, but not by the receiver: the plugin is not mounted here"
        )
        remedy = (
            "Install this package where the API server runs and restart it; `airflow plugins` must list "
            "voiceinfra. The address ends in /voiceinfra, with nothing behind it; if [api] base_url has a "
            "path, that comes before it. A stand-alone receiver has an address of its own, which "
            "`airflow voiceinfra doctor --receiver-url` tests."
        )
    elif status != 200:
        found = f"the receiver answers {status}: it is there, and says that it cannot work"
        remedy = "Look into its log; most often it cannot write to the ledger."
    elif answer.get("version") != __version__:
        verdict = Verdict.WARNING
        found = f"the receiver answers, and is of another version than the one installed here, {__version__}"
        remedy = "Install the same version everywhere, and restart what was running meanwhile."
    else:
        verdict, found = Verdict.OK, f"the receiver answers at {address}/health"
    return Finding(name, verdict, found, remedy)


def check_deliveries(
    connection: VoiceInfraConnection, address: str, ledger: CallLedger, *, patience: float = math.inf
) -> Iterator[Finding]:
    """Send a test webhook signed with each of the connection's secrets.

    :param address: where the receiver is mounted.
    :param ledger: where the webhook should arrive.
    :param patience: how long to wait for each answer at most, in seconds.
    """
    secrets = connection.webhook_secrets
    if not secrets:
        found = "there is no webhook secret to sign it with"
        yield Finding("test delivery", Verdict.SKIPPED, found, TYPE_A_SECRET)
    for number, secret in enumerate(secrets, start=1):
        name = "test delivery" if len(secrets) == 1 else f"test delivery, secret {number} of {len(secrets)}"
        yield Finding(name, *_deliver(connection.conn_id, secret, address, ledger, patience))


def _deliver(
    conn_id: str, secret: str, address: str, ledger: CallLedger, patience: float
) -> tuple[Verdict, str, str]:
    """Send a signed webhook that is no completion, and look for it in the ledger."""
    event = {"event": TEST_EVENT, "id": uuid.uuid4().hex, "sent_at": datetime.now(timezone.utc).isoformat()}
    body = json.dumps(event).encode()
    headers = {
        "Content-Type": "application/json",
        signing.EVENT_HEADER: TEST_EVENT,
        signing.SIGNATURE_HEADER: signing.sign(secret, body),
    }
    url = webhook_url(address, conn_id)
    try:
        status, _ = _exchange("POST", url, patience, data=body, headers=headers)
    except Exception as error:  # noqa: BLE001  # nobody can list what an answer without sense may raise
        return _not_reached(url, error)
    if status != 200:
        found, remedy = _REFUSALS.get(status, _OTHER_REFUSAL)
        return Verdict.FAILED, f"the receiver answers {status}: {found}", remedy
    for listed in ledger.deliveries.listed([conn_id], limit=_MOST_DELIVERIES):
        kept = ledger.deliveries.get(listed.id) if listed.size == len(body) else None
        if kept is not None and kept.body == body:
            ledger.deliveries.mark_replayed(kept.id)  # so that nobody wonders what it is
            return Verdict.OK, "a signed webhook arrived in this ledger", ""
    return (
        Verdict.FAILED,
        "the receiver took a signed webhook, but it is not in this ledger: it writes to another one",
        "Give the receiver and this process the same [voiceinfra] sql_alchemy_conn. A SQLite file must be "
        "the same file of the same machine.",
    )


_REFUSALS = {
    401: (
        "it does not know the connection, or has another secret for it",
        "The receiver must find the same connection: one that is an environment variable here must be one "
        "there. After a change of the secret, wait 10 seconds, for which it remembers the old one.",
    ),
    404: (
        "there is no receiver at this path",
        "Compare the address with where the receiver is mounted; a proxy may forward /health alone.",
    ),
    405: (
        "a POST is not taken at this path",
        "Compare the address with where the receiver is mounted; a proxy may let only GET through.",
    ),
    413: ("the test is larger than it takes", "Raise [voiceinfra] max_webhook_bytes where it runs."),
    503: (
        "it cannot write to its ledger",
        "Look into its log; it needs the same [voiceinfra] sql_alchemy_conn as this process.",
    ),
}
_OTHER_REFUSAL = (
    "that is not an answer of the receiver, or not one that it should give",
    "Look into the log of the receiver and of every proxy before it; a webhook must get through without a "
    "login or a redirect.",
)


def _base_url() -> str:
    from airflow.sdk.configuration import conf

    return (conf.get("api", "base_url", fallback="") or "").strip().rstrip("/")


def _exchange(method: str, url: str, patience: float, **options: Any) -> tuple[int, bytes]:
    from airflow_provider_voiceinfra.api.transport import Session, read

    # A vendor follows no redirect with a POST, so neither does this.
    with (
        Session() as session,
        session.request(
            method, url, timeout=min(TIMEOUT, patience), allow_redirects=False, stream=True, **options
        ) as response,
    ):
        return response.status_code, read(response, _MOST_BYTES)


def _not_reached(url: str, error: Exception) -> tuple[Verdict, str, str]:
    return (
        Verdict.FAILED,
        f"{url} cannot be reached from this machine ({type(error).__name__})",
        "Start the API server or the stand-alone receiver. If it runs, this machine may merely not be let "
        "out to its own public address, as in many networks: then only a webhook of the vendor's can show "
        "whether it is reached. A receiver at another address is tested by `airflow voiceinfra doctor "
        "--receiver-url`.",
    )


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _is_local(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return not ipaddress.ip_address(hostname).is_global
    except ValueError:
        return False
