"""Tests what this process can see by itself: its connection, its settings, the API and the ledger."""

from __future__ import annotations

import math
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_voiceinfra.connection import (
    CONN_TYPE,
    EXTRAS,
    LEAST_SECRET_LENGTH,
    VoiceInfraConnection,
)
from airflow_provider_voiceinfra.deployment import ledger_of
from airflow_provider_voiceinfra.diagnosis.findings import TYPE_A_SECRET, Finding, Verdict
from airflow_provider_voiceinfra.exceptions import (
    ConfigurationError,
    InvalidCallError,
    LedgerError,
    LedgerKeyError,
    VoiceInfraError,
)
from airflow_provider_voiceinfra.hooks.connection_test import missing_defaults, short_secret, unknown_extras
from airflow_provider_voiceinfra.settings import Settings, load_settings
from airflow_provider_voiceinfra.teams import read_connection

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger
    from airflow_provider_voiceinfra.rules.rule_set import Rules


def check_connection(conn_id: str) -> tuple[Finding, VoiceInfraConnection | None]:
    """Look whether the connection exists and is well formed."""
    from airflow.sdk.exceptions import AirflowNotFoundException

    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    try:
        connection = read_connection(conn_id)
    except AirflowNotFoundException:
        if variable in os.environ:
            # Airflow then says "not found", as if it were not there at all.
            found = f"{variable} is set and cannot be read"
            remedy = "It must be a JSON object or a URI; see docs/connection.md for an example."
        else:
            found = f"there is no connection {conn_id!r}"
            remedy = (
                f"Add one of type {CONN_TYPE!r} in Admin > Connections, with `airflow connections add`, or "
                "as an environment variable AIRFLOW_CONN_.... Another one is tested by `airflow voiceinfra "
                "doctor --conn-id`."
            )
    except ConfigurationError as error:
        found, remedy = str(error), "Correct the field that is named."
    except Exception as error:  # noqa: BLE001  whatever a secrets backend or a wrong key raises
        found = f"it cannot be read ({type(error).__name__})"
        remedy = (
            "Airflow itself cannot read it. Look whether [core] fernet_key is the one that saved it, "
            "and at the secrets backend, if there is one."
        )
    else:
        return _well_formed(connection), connection
    return Finding("connection", Verdict.FAILED, found, remedy), None


def _well_formed(connection: VoiceInfraConnection) -> Finding:
    found = f"{connection.conn_id!r} is well formed; the API is at {connection.base_url}"
    if not connection.unknown_extras:
        return Finding("connection", Verdict.OK, found)
    found = f"{found}; it has {unknown_extras(connection)}, which nothing reads"
    remedy = f"Remove what is not meant, or name it as one of {', '.join(EXTRAS)}."
    return Finding("connection", Verdict.WARNING, found, remedy)


def check_defaults(connection: VoiceInfraConnection) -> Finding:
    """Look whether a call that names no agent and no caller ID would be refused, and if so why."""
    name, faults, missing = "defaults", connection.faulty_defaults(), missing_defaults(connection)
    if faults:
        found = "; ".join([*map(str, faults), *([missing] if missing else [])])
        remedy = "Correct it on the connection: each call that names none of its own is refused."
        return Finding(name, Verdict.FAILED, found, remedy)
    return Finding(name, Verdict.OK, missing or "agent and caller ID are set, and well formed")


def check_api_key(connection: VoiceInfraConnection, *, patience: float = math.inf) -> Finding:
    """Ask the API whether it knows the key, with a request that can place no call.

    :param patience: how long to wait for its answer at most, in seconds.
    """
    from airflow_provider_voiceinfra.api.client import ApiClient
    from airflow_provider_voiceinfra.hooks.connection_test import judge

    asked = replace(connection, timeout=min(connection.timeout, patience))
    try:
        works, message = judge(asked, lambda: ApiClient(asked))
    except VoiceInfraError as error:
        works, message = False, str(error)
    if works:
        return Finding("API key", Verdict.OK, message)
    return Finding("API key", Verdict.FAILED, message, "Correct the connection; calls fail until this works.")


def check_settings() -> tuple[Finding, Settings | None]:
    """Read the section ``[voiceinfra]``; a SQLite ledger with workers on other machines is found here."""
    try:
        settings = load_settings()
    except ConfigurationError as error:
        remedy = "Correct the setting that is named, in airflow.cfg or as AIRFLOW__VOICEINFRA__..."
        return Finding("settings", Verdict.FAILED, str(error), remedy), None
    if settings.allow_unsigned_webhooks:
        found = "allow_unsigned_webhooks is on: who finds the URL can make calls look completed"
        remedy = "Turn it off as soon as every connection has a webhook secret."
        return Finding("settings", Verdict.WARNING, found, remedy), settings
    return Finding("settings", Verdict.OK, "section [voiceinfra] is well formed"), settings


def check_rules(connection: VoiceInfraConnection | None) -> Finding:
    """Read the rules that hold for every connection, and name those that are set there and for this one."""
    from airflow_provider_voiceinfra.deployment import deployment_rules
    from airflow_provider_voiceinfra.rules.words import rules_in_words

    try:
        everywhere = deployment_rules()
    except ConfigurationError as error:
        remedy = (
            "Nobody can be called until this works. Correct the setting that is named, in airflow.cfg or as "
            "AIRFLOW__VOICEINFRA__..."
        )
        return Finding("rules", Verdict.FAILED, str(error), remedy)
    places = {"every connection": everywhere}
    if connection is not None:
        places[f"{connection.conn_id!r}"] = connection.rules
    for place, of in places.items():
        if lacking := check_calendars(place, of):
            return lacking
    names = {place: ", ".join(rule.name for rule in rules_in_words(of)) for place, of in places.items()}
    found = "; ".join(f"for {place}: {of or 'none'}" for place, of in names.items())
    return Finding("rules", Verdict.OK, found)


def check_calendars(place: str, rules: Rules) -> Finding | None:
    """Load the calendars of holidays that a window names; return what is wrong with them, if anything.

    :param place: what the rules hold for, for people.
    """
    try:
        if rules.calling_window:
            rules.calling_window.load_calendars()
    except InvalidCallError as fault:
        remedy = (
            "Where this is so, calls fail. Correct the calling window, or install what is missing wherever "
            "calls are placed, and here."
        )
        return Finding("rules", Verdict.FAILED, f"for {place}: {fault.field} {fault.rule}", remedy)
    return None


def check_ledger(settings: Settings) -> tuple[Finding, CallLedger | None]:
    """Open the ledger, write to it, and undo that."""
    try:
        ledger = ledger_of(settings)
        revision = ledger.check()
        state, is_on = ledger.encryption.state(), ledger.encryption.is_on
        quarantined = ledger.quarantines.active()
    except LedgerKeyError as error:
        remedy = "Nothing can be called, and no webhook is stored, until this process has the ledger's key."
        return Finding("ledger", Verdict.FAILED, str(error), remedy), None
    except (ConfigurationError, LedgerError) as error:
        remedy = (
            "Nothing can be called until this works. Correct [voiceinfra] sql_alchemy_conn or the database."
        )
        return Finding("ledger", Verdict.FAILED, str(error), remedy), None
    found = f"{_place(settings.sql_alchemy_conn)} can be written, schema {revision}"
    if settings.sql_alchemy_conn.startswith("sqlite"):
        found += "; as a file it serves one machine only"
    if quarantined:
        since = min(one.since for one in quarantined)
        found += f"; it was restored to its state of {since:%Y-%m-%d %H:%M} UTC, and who may have called "
        found += "meanwhile is refused"
        remedy = "Find out who called since, then run `airflow voiceinfra quarantine --release`."
        return Finding("ledger", Verdict.WARNING, found, remedy), ledger
    if is_on != state.is_encrypted or not state.is_whole:
        found += f"; new values are {'encrypted' if is_on else 'plain'}, and older ones may not be"
        remedy = "Run `airflow voiceinfra encrypt`, with --status to see how many there are."
        return Finding("ledger", Verdict.WARNING, found, remedy), ledger
    found += "; encrypted" if is_on else "; not encrypted"
    return Finding("ledger", Verdict.OK, found), ledger


def check_webhook_secret(connection: VoiceInfraConnection, settings: Settings) -> Finding:
    """Look whether webhooks of this connection can be verified."""
    secrets = connection.webhook_secrets
    verdict, remedy = Verdict.WARNING, ""
    if not secrets and settings.allow_unsigned_webhooks:
        found = "none is set, and unsigned webhooks are taken"
        remedy = "Type a secret into the vendor's dashboard and the same one into the connection."
    elif not secrets:
        verdict, remedy = Verdict.FAILED, TYPE_A_SECRET
        found = "none is set, so every webhook is answered 401 and no call will ever be known to be over"
    elif len(secrets) > 1 and _holds_plus(connection.conn_id):
        found = f"a + in the connection's URI is a space, so there are {len(secrets)} secrets"
        remedy = "If it belongs to the secret, write it %2B; if several are meant, write %20 between them."
    elif min(map(len, secrets)) < LEAST_SECRET_LENGTH:
        found = short_secret(connection)
        remedy = "Replace what is too short by a long random one, here and in the vendor's dashboard."
    else:
        verdict = Verdict.OK
        found = "one is set" if len(secrets) == 1 else f"{len(secrets)} are set, as while rotating"
    return Finding("webhook secret", verdict, found, remedy)


def _holds_plus(conn_id: str) -> bool:
    """Return whether a connection is a URI in this process's environment whose secret has a plain plus."""
    uri = os.environ.get(f"AIRFLOW_CONN_{conn_id.upper()}", "")
    return re.search(r"[?&]webhook_secret=[^&]*\+", uri) is not None


def _place(url: str) -> str:
    """Return where a database is without what its URL may hold of logins."""
    from sqlalchemy import make_url

    parsed = make_url(url)
    place = "/".join(part for part in (parsed.host, parsed.database) if part)
    return f"{parsed.get_backend_name()} {place or '(in memory)'}"
