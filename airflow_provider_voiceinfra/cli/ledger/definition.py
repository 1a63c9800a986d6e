"""The commands that change the ledger as a whole, as data for Airflow's parser; light, too."""

from __future__ import annotations

from airflow.cli.cli_config import ARG_YES, GroupCommand

from airflow_provider_voiceinfra.cli import values
from airflow_provider_voiceinfra.cli.building import arg, command, flag

_PURGE = command(
    "ledger.purge.purge",
    "Delete the personal data of old calls",
    arg(
        "--older-than",
        metavar="AGE",
        help="An age such as 90d; default: [voiceinfra] retention_days",
        type=values.age,
    ),
    arg(
        "--transcripts-older-than",
        metavar="AGE",
        help="Also take out of younger records what was said, once they are older than this, such as 14d",
        type=values.age,
    ),
    arg("--conn-id", help="Only what went through this connection; default: through any"),
    ARG_YES,
    name="purge",
    description=(
        "Deletes completion records and kept deliveries, and empties calls of numbers and texts. What "
        "remains of a call is what keeps it from being dialled again. Cannot be undone."
    ),
)
_FORGET = command(
    "ledger.forget.forget",
    "Take out all that the ledger has about one number, and have it called no more",
    arg("number", metavar="NUMBER", help="In E.164 form such as +14155550100", type=values.e164),
    flag("--dry-run", "Only say what there is; reads the whole ledger"),
    flag("--delete-xcoms", "Also delete the XComs that speak of the number, in the runs that called it"),
    ARG_YES,
    name="forget",
    description=(
        "Says what there is, asks, suppresses the number for all connections, and takes out whatever speaks "
        "of it, some rows at a time; calls and webhooks go on. What remains of a call leads to nobody. Says "
        "what it cannot reach. Can be stopped at any moment and run again. Cannot be undone."
    ),
)
_QUARANTINE = command(
    "ledger.quarantine.quarantine",
    "After a restore from a backup: have nobody called whom the ledger has forgotten",
    arg(
        "--since",
        metavar="MOMENT",
        help="The moment of the backup: an age such as 24h, or a time (UTC if it names no zone)",
        type=values.since,
    ),
    arg(
        "--until",
        metavar="MOMENT",
        help="When the restored ledger was in use; default: now",
        type=values.since,
    ),
    flag("--release", "End those that are in force"),
    name="quarantine",
    description=(
        "Refuses new calls of tasks that may have called between the backup and the restore, and of "
        "campaigns begun before, until --release. Without arguments, says which quarantines are in force."
    ),
)
_ENCRYPT = command(
    "ledger.encryption.encrypt",
    "Encrypt what the ledger holds unencrypted, while it is used",
    flag("--status", "Only say how many rows there are left; reads the whole ledger"),
    flag("--vacuum", "Write a SQLite file anew afterwards, without remains; nothing is stored meanwhile"),
    name="encrypt",
    description=(
        "Encrypts rows that were stored before there was a [core] fernet_key, some at a time; calls and "
        "webhooks go on. Can be stopped at any moment and run again. With [voiceinfra] encrypt_ledger off, "
        "it decrypts them."
    ),
)
_ROTATE_KEY = command(
    "ledger.encryption.rotate_key",
    "Wrap the ledger's keys by the first key of [core] fernet_key",
    flag("--data", "Also make a new data key, and encrypt every row anew under it"),
    name="rotate-key",
    description=(
        "Run it while [core] fernet_key names the new key before the former one, as for `airflow "
        "rotate-fernet-key`. Takes a moment; with --data as long as there are rows. Can be stopped at any "
        "moment and run again."
    ),
)
_DB = GroupCommand(
    name="db",
    help="Manage the ledger's database",
    subcommands=(
        command("ledger.db.upgrade", "Create the ledger's tables, or bring them up to date", name="upgrade"),
    ),
)

LEDGER_COMMANDS = (_PURGE, _FORGET, _QUARANTINE, _ENCRYPT, _ROTATE_KEY, _DB)
