"""The commands of ``airflow voiceinfra``, as data for Airflow's parser; light: every command loads it."""

from __future__ import annotations

from typing import Any

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ARG_VERBOSE,
    ARG_YES,
    ActionCommand,
    Arg,
    CLICommand,
    GroupCommand,
    lazy_load_command,
)

from airflow_provider_voiceinfra.cli import values

_CODE = "airflow_provider_voiceinfra.cli"
# The ledger's ``CallState``, which is not imported for the sake of SQLAlchemy; a test holds them equal.
CALL_STATES = ("claimed", "accepted", "refused", "unknown")


def _arg(*flags: str, help: str, **options: Any) -> Arg:
    # Airflow takes help for markup, in which [api] is a style and is not shown.
    return Arg(flags, help=help.replace("[", r"\["), **options)


_SHOW_NUMBERS = _arg(
    "--show-numbers",
    help="Show phone numbers in full; otherwise their middle is hidden",
    action="store_true",
)
_TRANSCRIPT = _arg(
    "--include-transcript", help="Show the transcript too; otherwise it is left out", action="store_true"
)

_DOCTOR = ActionCommand(
    name="doctor",
    help="Test the whole way from the API key to a recorded webhook, without calling anybody",
    description=(
        "Tests the connection, the API key, the ledger, and that a signed webhook sent to the receiver "
        "arrives in this ledger. Places no call. Exit code 1 if something failed."
    ),
    func=lazy_load_command(f"{_CODE}.doctor.doctor"),
    args=(
        _arg("--conn-id", help="The connection to test", default="voiceinfra_default"),
        _arg(
            "--receiver-url",
            help="Where the receiver is; default: /voiceinfra under [api] base_url. "
            "Give the public address to test what the vendor uses",
        ),
        ARG_OUTPUT,
        ARG_VERBOSE,
    ),
)
_CALLS = ActionCommand(
    name="calls",
    help="List calls, newest first",
    func=lazy_load_command(f"{_CODE}.calls.list_calls"),
    args=(
        _arg("--conn-id", help="Only calls through this connection"),
        _arg("--state", help="Only calls in this state", choices=CALL_STATES),
        _arg("--dag-id", help="Only calls of this DAG"),
        _arg("--run-id", help="Only calls of this DAG run"),
        _arg(
            "--to-number",
            help="Only calls to this number, in E.164 form such as +14155550100",
            type=values.e164,
        ),
        _arg(
            "--since",
            help="Only calls since then: an age such as 30m, 24h or 7d, or a time (UTC if it names no zone)",
            type=values.since,
        ),
        _arg("--limit", help="How many at most (default: 100)", type=values.row_count, default=100),
        _SHOW_NUMBERS,
        ARG_OUTPUT,
        ARG_VERBOSE,
    ),
)
_CALL = ActionCommand(
    name="call",
    help="Show one call and how it went",
    func=lazy_load_command(f"{_CODE}.calls.show_call"),
    args=(
        _arg("call", metavar="ID", help="The call_id, the idempotency key, or its key_hash"),
        _SHOW_NUMBERS,
        _TRANSCRIPT,
        ARG_OUTPUT,
        ARG_VERBOSE,
    ),
)
_CAMPAIGNS = ActionCommand(
    name="campaigns",
    help="List campaigns, newest first",
    func=lazy_load_command(f"{_CODE}.campaigns.list_campaigns"),
    args=(
        _arg("--limit", help="How many at most (default: 100)", type=values.row_count, default=100),
        ARG_OUTPUT,
        ARG_VERBOSE,
    ),
)
_CAMPAIGN = ActionCommand(
    name="campaign",
    help="Show how far a campaign is; stop it from dialling, or have it go on",
    func=lazy_load_command(f"{_CODE}.campaigns.campaign"),
    args=(
        _arg("campaign", metavar="ID", help="The campaign's id, as `campaigns` lists it"),
        _arg(
            "--cancel",
            help="Dial nobody else; calls under way go on, and then the task ends as failed",
            action="store_true",
        ),
        _arg(
            "--resume",
            help="Take a cancellation back; if the task has ended by then, clear it",
            action="store_true",
        ),
        ARG_OUTPUT,
        ARG_VERBOSE,
    ),
)
_DELIVERIES = ActionCommand(
    name="deliveries",
    help="List, show and replay signed webhooks that could not be used when they came",
    func=lazy_load_command(f"{_CODE}.deliveries.deliveries"),
    args=(
        _arg("--show", metavar="ID", help="Show the body of this one", type=values.delivery_id),
        _arg(
            "--replay",
            metavar="ID|all",
            help="Try to record this one, or all that are open, as completions",
            type=values.delivery_ids,
            nargs=1,
        ),
        _arg("--include-replayed", help="List those that are done with, too", action="store_true"),
        _arg("--limit", help="How many at most (default: 100)", type=values.row_count, default=100),
        _SHOW_NUMBERS,
        _TRANSCRIPT,
        ARG_OUTPUT,
        ARG_VERBOSE,
    ),
)
_PURGE = ActionCommand(
    name="purge",
    help="Delete the personal data of old calls",
    description=(
        "Deletes completion records and kept deliveries, and empties calls of numbers and texts. What "
        "remains of a call is what keeps it from being dialled again. Cannot be undone."
    ),
    func=lazy_load_command(f"{_CODE}.purge.purge"),
    args=(
        _arg(
            "--older-than",
            metavar="AGE",
            help="An age such as 90d; default: [voiceinfra] retention_days",
            type=values.age,
        ),
        ARG_YES,
        ARG_VERBOSE,
    ),
)
_DB = GroupCommand(
    name="db",
    help="Manage the ledger's database",
    subcommands=(
        ActionCommand(
            name="upgrade",
            help="Create the ledger's tables, or bring them up to date",
            func=lazy_load_command(f"{_CODE}.db.upgrade"),
            args=(ARG_VERBOSE,),
        ),
    ),
)


def get_commands() -> list[CLICommand]:
    """Return the command group; the code behind a command is loaded when it is run."""
    return [
        GroupCommand(
            name="voiceinfra",
            help="Look after VoiceInfra phone calls",
            subcommands=(_DOCTOR, _CALLS, _CALL, _CAMPAIGNS, _CAMPAIGN, _DELIVERIES, _PURGE, _DB),
        )
    ]
