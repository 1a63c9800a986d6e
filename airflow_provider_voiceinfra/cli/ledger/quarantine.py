"""``airflow voiceinfra quarantine``: has nobody called whom a restored ledger has forgotten; calls nobody."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime, timezone

from airflow_provider_voiceinfra.cli.output import moment
from airflow_provider_voiceinfra.cli.running import command, complain, say
from airflow_provider_voiceinfra.deployment import open_ledger
from airflow_provider_voiceinfra.ledger.rules.quarantines import Quarantine

_NONE = "No quarantine is in force."


@command
def quarantine(args: Namespace) -> bool:
    """Begin a quarantine, end those in force, or say which there are."""
    if args.release and (args.since or args.until):
        return complain("--release ends all that are in force; give it alone. Nothing was changed.")
    if args.until and not args.since:
        return complain("--until goes with --since, the moment of the backup. Nothing was changed.")
    ledger = open_ledger()
    if args.release:
        ended = ledger.quarantines.release()
        number = "1 quarantine was" if len(ended) == 1 else f"{len(ended)} quarantines were"
        say(f"{number} released. Clear the tasks that were refused." if ended else _NONE)
        return True
    if args.since:
        until = args.until or datetime.now(timezone.utc)
        if until <= args.since:
            return complain("--until has to be after --since. Nothing was changed.")
        say(_in_words(ledger.quarantines.begin(args.since, until)))
        return True
    active = ledger.quarantines.active()
    for one in active:
        say(_in_words(one))
    if not active:
        say(_NONE)
    return True


def _in_words(one: Quarantine) -> str:
    return (
        f"Quarantine {one.id}: what was called between {moment(one.since)} and {moment(one.until)} is not in "
        "the ledger. Tasks that may have called then are refused new calls (quarantined), as are campaigns "
        "begun before. Look into these tasks, then run `airflow voiceinfra quarantine --release`."
    )
