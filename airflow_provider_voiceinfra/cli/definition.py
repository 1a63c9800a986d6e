"""The commands of ``airflow voiceinfra``, as data for Airflow's parser; light: every command loads it."""

from __future__ import annotations

from airflow.cli.cli_config import ARG_OUTPUT, CLICommand, GroupCommand

from airflow_provider_voiceinfra.cli import values
from airflow_provider_voiceinfra.cli.building import arg, command, flag
from airflow_provider_voiceinfra.cli.ledger.definition import LEDGER_COMMANDS

# The ledger's ``CallState``, which is not imported for the sake of SQLAlchemy; a test holds them equal.
CALL_STATES = ("claimed", "accepted", "refused", "unknown")


_SHOW_NUMBERS = flag("--show-numbers", "Show phone numbers in full; otherwise their middle is hidden")
_TRANSCRIPT = flag("--include-transcript", "Show the transcript too; otherwise it is left out")

_LIMIT = arg("--limit", help="How many at most (default: 100)", type=values.row_count, default=100)


_DOCTOR = command(
    "doctor.doctor",
    "Test the whole way from the API key to a recorded webhook, without calling anybody",
    arg("--conn-id", help="The connection to test", default="voiceinfra_default"),
    arg(
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
_CALLS = command(
    "calls.list_calls",
    "List calls, newest first",
    arg("--conn-id", help="Only calls through this connection"),
    arg("--state", help="Only calls in this state", choices=CALL_STATES),
    arg("--dag-id", help="Only calls of this DAG"),
    arg("--run-id", help="Only calls of this DAG run"),
    arg(
        "--to-number",
        help="Only calls to this number, in E.164 form such as +14155550100",
        type=values.e164,
    ),
    arg(
        "--since",
        help="Only calls since then: an age such as 30m, 24h or 7d, or a time (UTC if it names no zone)",
        type=values.since,
    ),
    _LIMIT,
    _SHOW_NUMBERS,
    ARG_OUTPUT,
)
_CALL = command(
    "calls.show_call",
    "Show one call and how it went",
    arg("call", metavar="ID", help="The call_id, the idempotency key, or its key_hash"),
    _SHOW_NUMBERS,
    _TRANSCRIPT,
    ARG_OUTPUT,
    name="call",
)
_CAMPAIGNS = command("campaigns.list_campaigns", "List campaigns, newest first", _LIMIT, ARG_OUTPUT)
_CAMPAIGN = command(
    "campaigns.campaign",
    "Show how far a campaign is; stop it from dialling, or have it go on",
    arg("campaign", metavar="ID", help="The campaign's id, as `campaigns` lists it"),
    flag("--cancel", "Dial nobody else; calls under way go on, and then the task ends as failed"),
    flag("--resume", "Take a cancellation back; if the task has ended by then, clear it"),
    ARG_OUTPUT,
    name="campaign",
)
_DELIVERIES = command(
    "deliveries.deliveries",
    "List, show and replay signed webhooks that could not be used when they came",
    arg("--show", metavar="ID", help="Show the body of this one", type=values.delivery_id),
    arg(
        "--replay",
        metavar="ID|all",
        help="Try to record this one, or all that are open, as completions",
        type=values.delivery_ids,
        nargs=1,
    ),
    flag("--include-replayed", "List those that are done with, too"),
    _LIMIT,
    _SHOW_NUMBERS,
    _TRANSCRIPT,
    ARG_OUTPUT,
)
_AUDIT = command(
    "audit.audit",
    "Prove from the ledger that calls were allowed, or name those that were not",
    arg(
        "--since",
        help="The first moment: an age such as 24h or 7d, or a time (UTC if it names no zone)",
        type=values.since,
        required=True,
    ),
    arg("--until", help="The first moment that is left out; default: now", type=values.since),
    arg("--conn-id", help="Only calls through this connection"),
    arg("--dag-id", help="Only calls of this DAG"),
    arg("--campaign", metavar="ID", help="Only calls of this campaign"),
    arg("--csv", metavar="FILE", help="Write a line for every dial, with all that was looked at"),
    arg(
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
_SUPPRESS = command(
    "rules.suppressions.suppress",
    "Have numbers called no more: one, those of a file, or of those who opted out in their calls",
    arg("number", nargs="?", metavar="NUMBER", help="In E.164 form such as +14155550100", type=values.e164),
    arg("--file", metavar="FILE", help="CSV, JSONL or text; a number that cannot be read refuses all of it"),
    flag(
        "--from-records",
        "Look through the completion records since --since for what opt_out says now, and suppress their "
        "numbers for all connections",
    ),
    arg(
        "--since",
        metavar="MOMENT",
        help="With --from-records: an age such as 24h or 7d, or a time (UTC if it names no zone)",
        type=values.since,
    ),
    arg("--conn-id", help="Only for this connection; with --from-records, only its records"),
    arg("--reason", metavar="TEXT", help="Why, for people"),
    arg(
        "--until",
        metavar="MOMENT",
        help="When it ends by itself: a span from now on such as 30d, or a time (UTC if it names no zone); "
        "default: never",
        type=values.until,
    ),
    arg("--default-region", metavar="CC", help="With --file: the country of numbers without a country code"),
    name="suppress",
)
_UNSUPPRESS = command(
    "rules.suppressions.unsuppress",
    "End suppressions, by their number or id; they stay in the ledger as proof",
    arg("number", nargs="?", metavar="NUMBER", help="In E.164 form such as +14155550100", type=values.e164),
    arg("--id", metavar="ID", help="Only this one, as `suppressions` lists it", type=values.suppression_id),
    arg("--conn-id", help="Of a number, only what is for this connection alone"),
    name="unsuppress",
)
_SUPPRESSIONS = command(
    "rules.suppressions.suppressions",
    "List the numbers that must not be called, newest first",
    arg("--number", help="Only this number, in E.164 form such as +14155550100", type=values.e164),
    arg("--conn-id", help="Only what counts for calls through this connection"),
    flag("--all", "List those that are over or were removed, too"),
    _LIMIT,
    _SHOW_NUMBERS,
    ARG_OUTPUT,
    name="suppressions",
)


def get_commands() -> list[CLICommand]:
    """Return the command group; the code behind a command is loaded when it is run."""
    return [
        GroupCommand(
            name="voiceinfra",
            help="Look after VoiceInfra phone calls",
            subcommands=(
                _DOCTOR,
                _CALLS,
                _CALL,
                _CAMPAIGNS,
                _CAMPAIGN,
                _DELIVERIES,
                _AUDIT,
                _SUPPRESS,
                _UNSUPPRESS,
                _SUPPRESSIONS,
                *LEDGER_COMMANDS,
            ),
        )
    ]
