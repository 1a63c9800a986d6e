"""What a connection test answers: whether calls could be placed, and a sentence for whoever set it up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_provider_voiceinfra.api.base_url import DEFAULT_BASE_URL
from airflow_provider_voiceinfra.api.unreachable import causes
from airflow_provider_voiceinfra.connection import LEAST_SECRET_LENGTH, VoiceInfraConnection
from airflow_provider_voiceinfra.deployment import deployment_rules
from airflow_provider_voiceinfra.exceptions import (
    ApiUnreachableError,
    CallNotPlacedError,
    CallOutcomeUnknownError,
    ConfigurationError,
    NotFoundError,
    RateLimitedError,
    UnauthorizedError,
    VoiceInfraError,
)
from airflow_provider_voiceinfra.masking import mask_numbers_in

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.api.client import ApiClient

# What Airflow shows in place of a secret. A client may send it back: for what is saved, or the Test button,
# Airflow puts the stored secret in its place again, but not for a test that is queued.
MASK = "***"

StatusAndMessage = tuple[bool, str]
"""What Airflow's Test button shows."""


def judge(connection: VoiceInfraConnection, client: Callable[[], ApiClient]) -> StatusAndMessage:
    """Try the key of a connection without placing a call.

    A request that lacks every required field can only be refused: with 400 or 422 for a good key, with 401
    for a bad one.

    :param client: makes the client; not asked for one if there is no key to try.
    :return: whether calls could be placed, and a sentence for the user, free of secrets.
    """
    if connection.api_key == MASK:
        return False, (
            f"The API key is {MASK!r}, which Airflow shows in place of a key, so nothing was sent. Give the "
            "key itself."
        )
    try:
        code = client().probe()
    except VoiceInfraError as error:
        return False, _refusal(connection, error)
    if code is None:
        return False, _not_the_api(connection, "refused an empty request as the API would")
    return True, _acceptance(connection)


def judge_with_defaults(
    connection: VoiceInfraConnection, client: Callable[[], ApiClient]
) -> StatusAndMessage:
    """Try the key of a connection, and look at what calls take from it, without placing one.

    :return: as from ``judge``; ``False`` too if calls that rely on the connection would be refused.
    """
    works, sentence = judge(connection, client)
    faults = connection.faulty_defaults()
    notes = [f"The connection's {fault} Calls that name none of their own fail." for fault in faults]
    missing = missing_defaults(connection)
    if missing:
        notes.append(f"{missing[0].upper()}{missing[1:]}.")
    if connection.unknown_extras:
        notes.append(f"Ignored: {unknown_extras(connection)}.")
    refusal = _faulty_rules()
    if refusal:
        notes.append(f"{refusal} Until that is corrected, nobody is called.")
    return works and not faults and not refusal, " ".join([sentence, *notes])


def _faulty_rules() -> str:
    """Return what is wrong with the rules that hold for every connection; empty if nothing is."""
    try:
        deployment_rules()
    except ConfigurationError as error:
        return str(error)
    return ""


def missing_defaults(connection: VoiceInfraConnection) -> str:
    """Return which of agent and caller ID each task has to name by itself; empty if none."""
    names = [name for name in ("agent_id", "from_number") if getattr(connection, name) is None]
    return f"no {' and no '.join(names)} is set, so each task has to name its own" if names else ""


def unknown_extras(connection: VoiceInfraConnection) -> str:
    """Return the names of extras that mean nothing, for people."""
    listed = ", ".join(repr(name[:50]) for name in connection.unknown_extras[:10])
    return f"unknown extra{'s' if len(connection.unknown_extras) > 1 else ''} {mask_numbers_in(listed)}"


def short_secret(connection: VoiceInfraConnection) -> str:
    """Return that a webhook secret is too short, and how many there are if that may be the reason."""
    short = f"shorter than {LEAST_SECRET_LENGTH} characters and could be guessed"
    number = len(connection.webhook_secrets)
    if number == 1:
        return f"the webhook secret is {short}"
    return (
        f"there are {number} webhook secrets, and one is {short}; if you meant one secret, it holds a blank: "
        "in a connection URI a plain + is one, so write %2B there"
    )


def _acceptance(connection: VoiceInfraConnection) -> str:
    accepted, secrets = f"The API key is accepted at {connection.base_url}", connection.webhook_secrets
    remedy = "Set a long random one, here and in the VoiceInfra dashboard."
    unverified = "completions cannot be verified, so no task will learn how a call went."
    if not secrets:
        problem = f"But the webhook secret is missing: {unverified} {remedy}"
    elif MASK in secrets:
        problem = (
            f"But the webhook secret is {MASK!r}, which Airflow shows in place of a secret: {unverified} "
            "Give the secret itself."
        )
    elif min(map(len, secrets)) < LEAST_SECRET_LENGTH:
        problem = f"But {short_secret(connection)}. {remedy}"
    else:
        are_set = "a webhook secret is" if len(secrets) == 1 else f"{len(secrets)} webhook secrets are"
        return f"{accepted}, and {are_set} set."
    return f"{accepted}, so calls can be placed. {problem}"


def _refusal(connection: VoiceInfraConnection, error: VoiceInfraError) -> str:
    if isinstance(error, RateLimitedError):
        return (
            "The API is there, but the account's rate limit is met (429), so the key was not tried. Test "
            "again in a minute."
        )
    if isinstance(error, CallOutcomeUnknownError):
        return _failure(connection, error)
    if isinstance(error, NotFoundError):
        return (
            f"There is no VoiceInfra API at {connection.base_url} (404). The base URL ends in /v1; leave it "
            f"empty for {DEFAULT_BASE_URL}."
        )
    if isinstance(error, UnauthorizedError):
        return (
            f"The API key is not accepted (401) at {connection.base_url}. Compare the field 'API key' with "
            "the VoiceInfra dashboard, where it may have been revoked."
        )
    if isinstance(error, CallNotPlacedError) and not isinstance(error, ApiUnreachableError):
        return _not_the_api(connection, f"answered HTTP {error.http_status}")
    return str(error)


def _not_the_api(connection: VoiceInfraConnection, did: str) -> str:
    return (
        f"{connection.base_url} {did}, but not in the words of the VoiceInfra API. The base URL leads "
        f"somewhere else (it ends in /v1; leave it empty for {DEFAULT_BASE_URL}), or a gateway stands in the "
        "way."
    )


def _failure(connection: VoiceInfraConnection, error: CallOutcomeUnknownError) -> str:
    if error.http_status is not None:
        what = f"{connection.base_url} failed (HTTP {error.http_status})"
    elif any(isinstance(cause, TimeoutError) for cause in causes(error)):
        what = f"{connection.base_url} took the request, but gave no answer in {connection.timeout:g} s"
    else:
        what = f"{connection.base_url} took the request, but broke the connection off without an answer"
    return (
        f"{what}, so the key could not be tested (nobody is called by a test). Try again; if this stays, "
        "check the base URL, and gateways on the way to it."
    )
