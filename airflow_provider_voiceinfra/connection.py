"""What an Airflow connection of type ``voiceinfra`` means; reads the object it is given, looks nothing up."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_voiceinfra.api.base_url import DEFAULT_BASE_URL, base_url
from airflow_provider_voiceinfra.calls import OutboundCall, check_agent, check_number
from airflow_provider_voiceinfra.exceptions import ConfigurationError, InvalidCallError
from airflow_provider_voiceinfra.masking import quoted

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.rules.rule_set import Rules

CONN_TYPE = "voiceinfra"
DEFAULT_CONN_ID = "voiceinfra_default"
DEFAULT_TIMEOUT = 30.0
MAX_TIMEOUT = 300.0
# A secret is all that keeps a stranger from making calls look completed, and Airflow's logs hide none of
# fewer than five characters.
LEAST_SECRET_LENGTH = 16
_ACCOUNT_DIGITS = 32
# The scheme is for connection URIs, which have no other place for it.
SCHEME = "scheme"
RULES = ("calling_window", "call_cap", "opt_out", "exempt_numbers", "require_consent")
_OF_THE_API = ("webhook_secret", "agent_id", "from_number", "timeout", "max_calls_per_second", "account")
EXTRAS = (*_OF_THE_API, *RULES, SCHEME)
# What people call extras that are not near enough to their names.
_OTHER_NAMES = {
    **dict.fromkeys(("secret", "signing_secret", "hmac_secret"), "webhook_secret"),
    "agent": "agent_id",
    **dict.fromkeys(("from", "caller_id", "phone_number"), "from_number"),
    **dict.fromkeys(("window", "calling_hours"), "calling_window"),
    **dict.fromkeys(("cap", "frequency_cap"), "call_cap"),
    **dict.fromkeys(("rate", "rate_limit", "calls_per_second"), "max_calls_per_second"),
}
# What the forms of earlier versions of Airflow put before the name of an extra.
_PREFIX = f"extra__{CONN_TYPE}__"


def _no_rules() -> Rules:
    # Imported late: a DAG file that is parsed needs none of them.
    from airflow_provider_voiceinfra.rules.rule_set import Rules

    return Rules()


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
    :param account_name: what connections of one account name alike if their API keys differ.
    :param rules: what must hold before anybody is called through it, besides what the deployment asks for.
    :param unknown_extras: names of extras that mean nothing here.
    """

    conn_id: str
    api_key: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    agent_id: str | None = None
    from_number: str | None = field(default=None, repr=False)
    timeout: float = DEFAULT_TIMEOUT
    max_calls_per_second: float | None = None
    account_name: str | None = None
    unknown_extras: tuple[str, ...] = ()
    rules: Rules = field(default_factory=_no_rules)

    @property
    def account(self) -> str | None:
        """What identifies an account of the vendor: connections of one account share completions."""
        return _account(self.account_name, self.api_key)

    def faulty_defaults(self) -> list[InvalidCallError]:
        """Return why calls that name no agent and no caller ID of their own would be refused, if they would.

        That there is no default is no fault: each task may name its own.
        """
        faults = []
        for name, value in (("agent_id", self.agent_id), ("from_number", self.from_number)):
            try:
                if value is not None:
                    check_agent(value) if name == "agent_id" else check_number(name, value)
            except InvalidCallError as fault:
                faults.append(_hinted(fault, value))
        return faults

    def completed(self, call: OutboundCall) -> OutboundCall:
        """Return a call with the connection's agent and caller ID where it names none, checked.

        :raises InvalidCallError: naming the field that is wrong, and the connection if the value is its own.
        """
        for fault in self.faulty_defaults():
            if not getattr(call, fault.field):
                raise self.own(fault)
        return call.with_defaults(agent_id=self.agent_id, from_number=self.from_number).validated()

    def own(self, fault: InvalidCallError) -> InvalidCallError:
        """Return a fault of ``faulty_defaults`` for somebody who has not named the connection."""
        return InvalidCallError(fault.field, f"of connection {self.conn_id!r}: {fault.rule}")

    @classmethod
    def from_airflow(cls, conn: Any) -> VoiceInfraConnection:
        """Read an Airflow connection.

        :raises ConfigurationError: naming the connection, the field and the remedy.
        """
        where = f"Connection {conn.conn_id!r}"
        extra = _extras(where, conn)
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
            base_url=base_url(
                where,
                scheme=_plain(where, extra, SCHEME),
                host=_text(conn.host),
                port=conn.port,
                path=_text(conn.schema),
            ),
            webhook_secrets=webhook_secrets(conn),
            agent_id=_plain(where, extra, "agent_id"),
            from_number=_plain(where, extra, "from_number"),
            timeout=DEFAULT_TIMEOUT if timeout is None else timeout,
            max_calls_per_second=_number(where, extra, "max_calls_per_second"),
            account_name=_plain(where, extra, "account"),
            unknown_extras=tuple(_unknown(where, extra)),
            rules=_rules(where, extra),
        )


class WebhookSecrets(tuple[str, ...]):
    """The secrets that webhooks of one connection may be signed with.

    :param account: the connection's account, for whose calls they count; ``None`` if that is not known.
    :param opt_out: what in a record says that the person must not be called again, as the user wrote it.
    """

    account: str | None = None
    opt_out: str | None = None


def webhook_secrets(conn: Any) -> WebhookSecrets:
    """Return the webhook secrets of a connection; none if there are none.

    :raises ConfigurationError: if they cannot be read; the message quotes none.
    """
    where = f"Connection {conn.conn_id!r}"
    value = _extras(where, conn).get("webhook_secret")
    found: list[str] = []
    for item in value if isinstance(value, list) else [value]:
        # Extras are often written as JSON by hand, where a secret of digits becomes a number.
        if item is not None and not _is_plain(item):
            raise ConfigurationError(
                f"{where}: extra 'webhook_secret' must be text, or a list of texts while rotating, and has "
                f"a JSON {_kind(item)}."
            )
        found += (_text(item) or "").split()
    secrets = WebhookSecrets(found)
    secrets.account = account_of(conn)
    opt_out = _extras(where, conn).get("opt_out")
    secrets.opt_out = opt_out if opt_out is None else str(opt_out)
    return secrets


def _hinted(fault: InvalidCallError, value: object) -> InvalidCallError:
    """Return why a default is refused, and what has become of the plus sign if that is all that it lacks."""
    if not re.fullmatch(_LACKS_PLUS, str(value), re.ASCII):
        return fault
    return InvalidCallError(fault.field, f"{fault.rule}. In a connection URI a plain + is a space: write %2B")


def _extras(where: str, conn: Any) -> dict[str, Any]:
    try:
        # Not by extra_dejson alone: it takes what is no JSON for no extras at all.
        found = json.loads(conn.extra) if isinstance(conn.extra, str) and conn.extra.strip() else None
    except ValueError:
        raise ConfigurationError(f"{where}: the extras are not JSON; {_EXTRAS_RULE}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigurationError(f"{where}: the extras are a JSON {_kind(found)}; {_EXTRAS_RULE}")
    # This way Airflow also learns what to hide in logs.
    return dict(conn.extra_dejson)


_LACKS_PLUS = r"[1-9]\d{6,14}"
_EXTRAS_RULE = 'they must be a JSON object such as {"webhook_secret": "...", "agent_id": "..."}.'
_KINDS = {dict: "object", list: "list", str: "text", bool: "boolean", int: "number", float: "number"}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "null")


def _unknown(where: str, extra: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of extras that mean nothing here.

    :raises ConfigurationError: if one is another spelling of an extra that is not set: the limit or the
        secret that is meant would be missing.
    """
    for name, value in extra.items():
        if name in EXTRAS or value in (None, ""):
            continue
        meant = meant_by(name)
        if meant is not None and extra.get(meant) in (None, ""):
            raise ConfigurationError(f"{where}: there is no extra {quoted(name)}; rename it to {meant!r}.")
        yield name


def meant_by(name: str) -> str | None:
    """Return which extra, or which rule, is meant by a name that is none; ``None`` if that is not clear."""
    from difflib import get_close_matches  # seldom needed, and slow to load

    plain = name.removeprefix(_PREFIX).strip().lower().replace("-", "_").replace(" ", "_")
    return _OTHER_NAMES.get(plain) or next(iter(get_close_matches(plain, EXTRAS, n=1, cutoff=0.8)), None)


def account_of(conn: Any) -> str | None:
    """Return what identifies the account of a connection: its extra ``account``, or else its API key.

    Two connections are one account if both name the same ``account``, or if neither names one and both hold
    the same API key. The key itself cannot be worked out from what is returned.

    :raises ConfigurationError: if the extras cannot be read.
    """
    where = f"Connection {conn.conn_id!r}"
    return _account(_plain(where, _extras(where, conn), "account"), _text(conn.password))


def _account(name: str | None, api_key: str | None) -> str | None:
    kind, text = ("name", name) if name is not None else ("key", api_key)
    if not text:
        return None
    return f"{kind}:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:_ACCOUNT_DIGITS]}"


def _rules(where: str, extra: Mapping[str, Any]) -> Rules:
    from airflow_provider_voiceinfra.rules.rule_set import Rules

    try:
        return Rules.parse(extra)
    except InvalidCallError as fault:
        raise ConfigurationError(f"{where}: extra {fault.field!r} {fault.rule}.") from fault


def _text(value: object) -> str | None:
    return (str(value).strip() or None) if value is not None else None


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def _plain(where: str, extra: Mapping[str, Any], name: str) -> str | None:
    value = extra.get(name)
    if value is not None and not _is_plain(value):
        raise ConfigurationError(f"{where}: extra {name!r} must be text, not a JSON {_kind(value)}.")
    return _text(value)


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
        raise ConfigurationError(
            f"{where}: extra {name!r} must be a number above 0{bound}, not {quoted(value)}."
        )
    return number
