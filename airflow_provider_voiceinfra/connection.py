"""What an Airflow connection of type ``voiceinfra`` means; reads the object it is given, looks nothing up."""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from airflow_provider_voiceinfra.exceptions import ConfigurationError

CONN_TYPE = "voiceinfra"
DEFAULT_CONN_ID = "voiceinfra_default"
DEFAULT_BASE_URL = "https://api.voiceinfra.ai/v1"
DEFAULT_TIMEOUT = 30.0
MAX_TIMEOUT = 300.0
# A secret is all that keeps a stranger from making calls look completed, and Airflow's logs hide none of
# fewer than five characters.
LEAST_SECRET_LENGTH = 16
_ACCOUNT_DIGITS = 32


class AirflowConnection(Protocol):
    """The parts of an Airflow connection that are read here."""

    conn_id: Any
    host: Any
    port: Any
    password: Any

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """The extras as a mapping."""
        ...


@dataclass(frozen=True)
class VoiceInfraConnection:
    """The values of one connection, checked.

    :param conn_id: the connection's id, for messages.
    :param api_key: sent as ``X-API-Key``.
    :param base_url: where the API is, without a slash at the end.
    :param webhook_secrets: the secrets that webhooks may be signed with; several while rotating.
    :param agent_id: the agent for calls that name none.
    :param from_number: the caller ID for calls that name none.
    :param timeout: how long one request may take as a whole, from connecting to the end of the answer, in
        seconds.
    :param max_calls_per_second: never send faster than this; ``None`` leaves it to the API's 429.
    :param account: what tells the vendor's accounts apart: connections of one account share completions.
    """

    conn_id: str
    api_key: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    agent_id: str | None = None
    from_number: str | None = field(default=None, repr=False)
    timeout: float = DEFAULT_TIMEOUT
    max_calls_per_second: float | None = None
    account: str | None = None

    @classmethod
    def from_airflow(cls, conn: AirflowConnection) -> VoiceInfraConnection:
        """Read an Airflow connection.

        :raises ConfigurationError: naming the connection, the field and the remedy.
        """
        where = f"Connection {conn.conn_id!r}"
        extra = conn.extra_dejson
        api_key = _text(conn.password)
        if api_key is None:
            raise ConfigurationError(f"{where}: the API key is missing; put it into the field 'API key'.")
        if not (api_key.isascii() and api_key.isprintable()):
            raise ConfigurationError(
                f"{where}: the API key has characters that a header cannot carry; copy it again from the "
                "vendor's dashboard."
            )
        timeout = _number(where, extra, "timeout", most=MAX_TIMEOUT)
        return cls(
            conn_id=str(conn.conn_id),
            api_key=api_key,
            base_url=_base_url(where, _text(conn.host), conn.port),
            webhook_secrets=webhook_secrets(conn),
            agent_id=_text(extra.get("agent_id")),
            from_number=_text(extra.get("from_number")),
            timeout=DEFAULT_TIMEOUT if timeout is None else timeout,
            max_calls_per_second=_number(where, extra, "max_calls_per_second"),
            account=account_of(conn),
        )


def webhook_secrets(conn: AirflowConnection) -> tuple[str, ...]:
    """Return the webhook secrets of a connection; none if there are none."""
    # Extras are often written as JSON by hand, where a secret of digits becomes a number.
    return tuple((_text(conn.extra_dejson.get("webhook_secret")) or "").split())


def account_of(conn: AirflowConnection) -> str | None:
    """Return what tells the account of a connection from others: its extra ``account``, or else its API key.

    Two connections are one account if both name the same ``account``, or if neither names one and both hold
    the same API key. The key itself cannot be worked out from what is returned.
    """
    named = _text(conn.extra_dejson.get("account"))
    if named is not None:
        return f"name:{hashlib.sha256(named.encode('utf-8', 'replace')).hexdigest()[:_ACCOUNT_DIGITS]}"
    api_key = _text(conn.password)
    if api_key is None:
        return None
    return f"key:{hashlib.sha256(api_key.encode('utf-8', 'replace')).hexdigest()[:_ACCOUNT_DIGITS]}"


def _text(value: object) -> str | None:
    return (str(value).strip() or None) if value is not None else None


def _number(where: str, extra: Mapping[str, Any], name: str, *, most: float = math.inf) -> float | None:
    value = extra.get(name)
    if value in (None, ""):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number <= most or math.isinf(number):
        bound = f" and at most {most:g}" if math.isfinite(most) else ""
        raise ConfigurationError(f"{where}: extra {name!r} must be a number above 0{bound}, not {value!r}.")
    return number


def _base_url(where: str, host: str | None, port: object) -> str:
    if host is None:
        return DEFAULT_BASE_URL
    url = (host if "://" in host else f"https://{host}").rstrip("/")
    try:
        parts = urlsplit(url)
        hostname, own_port = parts.hostname, parts.port
    except ValueError:
        # The reason quotes the URL, in which somebody may have put a login.
        raise ConfigurationError(
            f"{where}: the API base URL cannot be read; it must look like {DEFAULT_BASE_URL}."
        ) from None
    if parts.scheme not in ("https", "http") or not hostname:
        raise ConfigurationError(
            f"{where}: the API base URL must look like {DEFAULT_BASE_URL}; leave it empty for that default."
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{where}: the API base URL must hold neither a login nor a query; the API key has its own field."
        )
    if parts.scheme == "http" and not _is_loopback(hostname):
        raise ConfigurationError(
            f"{where}: a plain-http API base URL would send the API key in clear; use https. "
            "Plain http is taken for loopback addresses only."
        )
    if port and own_port is None:
        bracketed = f"[{hostname}]" if ":" in hostname else hostname
        return f"{parts.scheme}://{bracketed}:{port}{parts.path}"
    return url


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False
