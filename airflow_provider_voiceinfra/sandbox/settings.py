"""Every setting of the sandbox, its default and its rule, for options and run-time changes alike."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_voiceinfra.sandbox.faults import Fault

SIGNATURE_FORMS = ("hex", "HEX", "sha256=hex", "sha256=HEX")
RETRY_AFTER_FORMS = ("seconds", "date", "none")
WEBHOOK_ORDERS = ("kept", "reversed", "shuffled")
TIME_FORMS = ("milliseconds", "seconds", "offset")


class SettingError(ValueError):
    """A setting has a value that it cannot take; the message names both and the rule."""


def is_loopback(url: str) -> bool:
    """Return whether an ``http`` or ``https`` URL can only lead to this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https"):
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _number(low: float, high: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise SettingError(f"must be a number from {low:g} to {high:g}")
        return float(value)

    return check


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise SettingError(f"must be a whole number from {low} to {high}")
        return value

    return check


def _choice(*choices: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in choices:
            raise SettingError(f"must be one of {', '.join(choices)}")
        return str(value)

    return check


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise SettingError("must be true or false")
    return value


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) and word for word in value):
        raise SettingError("must be a list of non-empty strings")
    return tuple(value)


def _fault_names(value: Any) -> tuple[str, ...]:
    names, known = _words(value), [fault.value for fault in Fault]
    for name in names:
        if name not in known:
            raise SettingError(f"{name!r} is no fault; known are {', '.join(known)}")
    return names


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise SettingError("must be a non-empty string")
    return value


def _webhook_url(value: Any) -> str:
    if value in (None, ""):
        return ""
    if not isinstance(value, str) or not is_loopback(value):
        raise SettingError(
            "must be an http(s) URL on 127.0.0.1, ::1 or localhost: nothing else is ever contacted"
        )
    return value


def _setting(default: Any, check: Callable[[Any], Any], text: str) -> Any:
    return field(default=default, metadata={"check": check, "help": text})


@dataclass(frozen=True)
class Settings:
    """What the sandbox does; each name is an option (``--call-seconds``) and a key of ``PATCH settings``."""

    api_keys: tuple[str, ...] = _setting(
        ("vk_sandbox_key",), _words, "API keys that are accepted; none at all revokes every key"
    )
    agents: tuple[str, ...] = _setting(
        (),
        _words,
        "agent ids that exist; if none is given, all do but those that start with unknown or inactive",
    )
    from_numbers: tuple[str, ...] = _setting(
        (), _words, "numbers of the account, E.164; if none is given, any from_number is taken"
    )
    rate_limit: float = _setting(0.0, _number(0, 1e6), "requests per second before a 429; 0 is no limit")
    rate_burst: int = _setting(
        0,
        _whole(0, 1_000_000),
        "requests that may come at once under the rate limit; 0 is one second's worth",
    )
    retry_after: str = _setting(
        "seconds", _choice(*RETRY_AFTER_FORMS), "how a 429 says when to come again: seconds, date or none"
    )
    latency_ms: float = _setting(0.0, _number(0, 600_000), "wait before every answer, in milliseconds")
    fault_numbers: bool = _setting(True, _switch, "let the last two digits 90-99 of to_number choose a fault")
    fault_rate: float = _setting(0.0, _number(0, 1), "share of requests that meet a random fault, 0 to 1")
    faults: tuple[str, ...] = _setting((), _fault_names, "the faults that --fault-rate picks from")
    seed: int = _setting(0, _whole(0, 2**31), "seed of everything random, so that a run can be repeated")
    call_seconds: float = _setting(2.0, _number(0, 86_400), "length of a call, in seconds")
    call_seconds_jitter: float = _setting(
        0.0,
        _number(0, 86_400),
        "longest addition to a call's length, in seconds; the same for the same number",
    )
    webhook_url: str = _setting(
        "", _webhook_url, "where webhooks go, loopback only; if not set, none are sent"
    )
    webhook_secret: str = _setting("sandbox-webhook-secret", _text, "secret that webhooks are signed with")
    signature_form: str = _setting(
        "hex", _choice(*SIGNATURE_FORMS), "how the signature is written: hex, HEX, sha256=hex or sha256=HEX"
    )
    webhook_times: str = _setting(
        "milliseconds",
        _choice(*TIME_FORMS),
        "how times are written: milliseconds (...00.123Z), seconds (...00Z) or offset (...00.123+00:00)",
    )
    extracted_field: str = _setting(
        "extracted_data",
        _text,
        "name of the webhook's field with extracted data, which the vendor leaves open",
    )
    webhook_retry_first: float = _setting(
        0.5,
        _number(0.001, 3_600),
        "wait before a failed delivery is repeated, in seconds; it doubles each time",
    )
    webhook_max_tries: int = _setting(12, _whole(1, 100), "attempts per delivery")
    webhook_timeout: float = _setting(5.0, _number(0.05, 300), "longest wait for the receiver, in seconds")
    webhook_hold: bool = _setting(
        False,
        _switch,
        "keep webhooks back until this is switched off again, then send them in --webhook-order",
    )
    webhook_order: str = _setting(
        "kept", _choice(*WEBHOOK_ORDERS), "order of webhooks that were held: kept, reversed or shuffled"
    )
    webhook_late_seconds: float = _setting(
        30.0, _number(0, 86_400), "extra wait of the fault webhook_late, in seconds"
    )
    recording_delay_seconds: float = _setting(
        0.5, _number(0, 86_400), "time from the end of a call until its recording can be loaded, in seconds"
    )

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """Return a copy with some settings changed; the values are as they come from JSON.

        :raises SettingError: naming the setting, if a name is unknown or a value breaks its rule.
        """
        checks = {setting.name: setting.metadata["check"] for setting in fields(self)}
        checked = {}
        for name, value in changes.items():
            if name not in checks:
                raise SettingError(f"{name}: no such setting; known are {', '.join(checks)}")
            try:
                checked[name] = checks[name](value)
            except SettingError as error:
                raise SettingError(f"{name}: {error}") from None
        return replace(self, **checked)
