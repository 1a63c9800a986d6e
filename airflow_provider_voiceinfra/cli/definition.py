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


def _flag(name: str, help: str) -> Arg:
    return _arg(name, help=help, action="store_true")


_SHOW_NUMBERS = _flag("--show-numbers", "Show phone numbers in full; otherwise their middle is hidden")
_TRANSCRIPT = _flag("--include-transcript", "Show the transcript too; otherwise it is left out")

_LIMIT = _arg("--limit", help="How many at most (default: 100)", type=values.row_count, default=100)


def _command(
    code: str, help: str, *args: Arg, name: str = "", description: str | None = None
) -> ActionCommand:
    """Return a command.

    :param code: the function that runs it, as ``module.function``; the command is named as the module.
    """
    return ActionCommand(
        name=name or code.partition(".")[0],
        help=help,
        description=description,
        func=lazy_load_command(f"{_CODE}.{code}"),
        args=(*args, ARG_VERBOSE),
    )


_DOCTOR = _command(
    "doctor.doctor",
    "Test the whole way from the API key to a recorded webhook, without calling anybody",
    _arg("--conn-id", help="The connection to test", default="voiceinfra_default"),
    _arg(
        "--receiver-url",
        help="Where the receiver is; default: /voiceinfra under [api] base_url. "
        "Give the public address to test what the vendor uses",
    ),
    ARG_OUTPUT,
    description=(
        "Tests the connection, the API key, the ledger, and that a signed webhook sent to the receiver "
        "arrives in this ledger. Places no call. Exit code 1 if something failed."
    ),
)
_CALLS = _command(
    "calls.list_calls",
    "List calls, newest first",
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
    _LIMIT,
    _SHOW_NUMBERS,
    ARG_OUTPUT,
)
_CALL = _command(
    "calls.show_call",
    "Show one call and how it went",
    _arg("call", metavar="ID", help="The call_id, the idempotency key, or its key_hash"),
    _SHOW_NUMBERS,
    _TRANSCRIPT,
    ARG_OUTPUT,
    name="call",
)
_CAMPAIGNS = _command("campaigns.list_campaigns", "List campaigns, newest first", _LIMIT, ARG_OUTPUT)
_CAMPAIGN = _command(
    "campaigns.campaign",
    "Show how far a campaign is; stop it from dialling, or have it go on",
    _arg("campaign", metavar="ID", help="The campaign's id, as `campaigns` lists it"),
    _flag("--cancel", "Dial nobody else; calls under way go on, and then the task ends as failed"),
    _flag("--resume", "Take a cancellation back; if the task has ended by then, clear it"),
    ARG_OUTPUT,
    name="campaign",
)
_DELIVERIES = _command(
    "deliveries.deliveries",
    "List, show and replay signed webhooks that could not be used when they came",
    _arg("--show", metavar="ID", help="Show the body of this one", type=values.delivery_id),
    _arg(
        "--replay",
        metavar="ID|all",
        help="Try to record this one, or all that are open, as completions",
        type=values.delivery_ids,
        nargs=1,
    ),
    _flag("--include-replayed", "List those that are done with, too"),
    _LIMIT,
    _SHOW_NUMBERS,
    _TRANSCRIPT,
    ARG_OUTPUT,
)
_AUDIT = _command(
    "audit.audit",
    "Prove from the ledger that calls were allowed, or name those that were not",
    _arg(
        "--since",
        help="The first moment: an age such as 24h or 7d, or a time (UTC if it names no zone)",
        type=values.since,
        required=True,
    ),
    _arg("--until", help="The first moment that is left out; default: now", type=values.since),
    _arg("--conn-id", help="Only calls through this connection"),
    _arg("--dag-id", help="Only calls of this DAG"),
    _arg("--campaign", metavar="ID", help="Only calls of this campaign"),
    _arg("--csv", metavar="FILE", help="Write a line for every dial, with all that was looked at"),
    _arg(
        "--limit",
        help="How many that broke a rule to list at most (default: 100)",
        type=values.row_count,
        default=100,
    ),
    _SHOW_NUMBERS,
    ARG_OUTPUT,
    description=(
        "Recomputes for each call that may have rung which rules were in force and whether they allowed it, "
        "by code of its own. Exit code 1 if a call broke one."
    ),
)
_PURGE = _command(
    "purge.purge",
    "Delete the personal data of old calls",
    _arg(
        "--older-than",
        metavar="AGE",
        help="An age such as 90d; default: [voiceinfra] retention_days",
        type=values.age,
    ),
    ARG_YES,
    description=(
        "Deletes completion records and kept deliveries, and empties calls of numbers and texts. What "
        "remains of a call is what keeps it from being dialled again. Cannot be undone."
    ),
)
_DB = GroupCommand(
    name="db",
    help="Manage the ledger's database",
    subcommands=(
        _command("db.upgrade", "Create the ledger's tables, or bring them up to date", name="upgrade"),
    ),
)


def get_commands() -> list[CLICommand]:
    """Return the command group; the code behind a command is loaded when it is run."""
    return [
        GroupCommand(
            name="voiceinfra",
            help="Look after VoiceInfra phone calls",
            subcommands=(_DOCTOR, _CALLS, _CALL, _CAMPAIGNS, _CAMPAIGN, _DELIVERIES, _AUDIT, _PURGE, _DB),
        )
    ]
