"""``airflow voiceinfra purge``: deletes personal data on request, and only then."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime, timedelta, timezone

from airflow_provider_voiceinfra.cli.running import command, complain, say
from airflow_provider_voiceinfra.deployment import open_ledger
from airflow_provider_voiceinfra.exceptions import ConfigurationError
from airflow_provider_voiceinfra.settings import load_settings

# Calls this young may still be waited for: by a campaign that redials, or by a task that is retried.
_YOUNG = timedelta(days=7)


@command
def purge(args: Namespace) -> bool:
    """Delete what is older than an age, after having said what that is."""
    age = args.older_than or _retention()
    try:
        before = datetime.now(timezone.utc) - age
    except OverflowError:
        return complain("nothing can be that old.")
    say(_announcement(before, age))
    if not (args.yes or _agreed()):
        return complain("cancelled; nothing was deleted.")
    gone = open_ledger().purge(before)
    say(
        f"Done: {gone.calls} calls emptied, {gone.completions} completion records, {gone.deliveries} kept "
        f"deliveries and {gone.contacts} contacts of campaigns deleted."
    )
    return True


def _retention() -> timedelta:
    days = load_settings().retention_days
    if not days:
        raise ConfigurationError(
            "no age is given: use --older-than, for example 90d, or set [voiceinfra] retention_days."
        )
    return timedelta(days=days)


def _announcement(before: datetime, age: timedelta) -> str:
    lines = [
        f"Of everything before {before.isoformat(timespec='seconds')}:",
        "- completion records, with transcripts and summaries, will be deleted;",
        "- kept deliveries will be deleted, replayed or not;",
        "- contacts of campaigns that were last run before then will be deleted; one that goes on loads "
        "its contacts anew;",
        "- calls will lose phone numbers, request, idempotency key (its hash stays), contact and error text.",
        "What stays of a call is its call_id, its state and its task, so that it is never dialled again.",
    ]
    if age < _YOUNG:
        lines.append(
            "WARNING: a task that still waits for such a call, or is retried, will not find how it went, and "
            "an unknown call can no longer be matched with its completion."
        )
    return "\n".join(lines)


def _agreed() -> bool:
    try:
        return input("This cannot be undone. Proceed? (y/n) ").strip().lower() == "y"
    except EOFError:  # no terminal: only --yes counts as an answer
        return False
