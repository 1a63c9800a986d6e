"""``airflow voiceinfra purge``: deletes personal data on request, and only then."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime, timedelta, timezone

from airflow_provider_voiceinfra.cli.ledger.agreeing import refusal
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
    if args.transcripts_older_than is not None and args.transcripts_older_than >= age:
        return complain("--transcripts-older-than takes an age below that of the rest; nothing was deleted.")
    now = datetime.now(timezone.utc)
    try:
        before = now - age
    except OverflowError:
        return complain("nothing can be that old.")
    texts = None if args.transcripts_older_than is None else now - args.transcripts_older_than
    say(_announcement(before, age, args.conn_id, texts))
    if not args.yes and (why := refusal()):
        return complain(f"{why}; nothing was deleted.")
    ledger = open_ledger()
    if args.conn_id is not None and args.conn_id not in ledger.lists.known_connections():
        say(f"NOTE: nothing in the ledger went through connection {args.conn_id!r}.")
    gone = ledger.purge(before, conn_id=args.conn_id, transcripts_before=texts)
    say(
        f"Done: {gone.calls} calls emptied, {gone.completions} completion records, {gone.deliveries} kept "
        f"deliveries and {gone.contacts} contacts of campaigns deleted."
    )
    say(
        f"{gone.suppressions} suppressions that were over were deleted, and {gone.transcripts} younger "
        "records lost what was said."
    )
    return True


def _retention() -> timedelta:
    days = load_settings().retention_days
    if not days:
        raise ConfigurationError(
            "no age is given: use --older-than, for example 90d, or set [voiceinfra] retention_days."
        )
    return timedelta(days=days)


def _announcement(before: datetime, age: timedelta, conn_id: str | None, texts: datetime | None) -> str:
    through = "" if conn_id is None else f" that went through connection {conn_id!r}"
    lines = [
        f"Of everything before {before.isoformat(timespec='seconds')}{through}:",
        "- completion records, with transcripts and summaries, will be deleted;",
        "- kept deliveries will be deleted, replayed or not;",
        "- contacts of campaigns that were last run before then will be deleted; one that goes on loads "
        "its contacts anew;",
        "- suppressions that are over will be deleted; those in force stay;",
        "- calls will lose phone numbers, request, idempotency key (its hash stays), contact and error text.",
        "What stays of a call is its call_id, its state and its task, so that it is never dialled again.",
    ]
    if texts is not None:
        lines.append(
            f"Records before {texts.isoformat(timespec='seconds')} will lose transcript, summary, recording "
            "and whatever the agent extracted; numbers, outcome, duration and times stay."
        )
    if age < _YOUNG:
        lines.append(
            "WARNING: a task that still waits for such a call, or is retried, will not find how it went, and "
            "an unknown call can no longer be matched with its completion."
        )
    return "\n".join(lines)
