"""``airflow voiceinfra campaigns`` and ``campaign``: how far each is; cancels one, or takes that back."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from airflow_provider_voiceinfra.campaigns.progress import Obstacle, WaitingFor
from airflow_provider_voiceinfra.campaigns.reporting.status import (
    OBSTACLE_WORDS,
    OUTCOME_WORDS,
    WAITING_WORDS,
    CampaignStatus,
    overview,
)
from airflow_provider_voiceinfra.cli.known import no_campaign
from airflow_provider_voiceinfra.cli.output import cell, moment, print_document, print_rows
from airflow_provider_voiceinfra.cli.running import command, complain, say
from airflow_provider_voiceinfra.deployment import open_ledger
from airflow_provider_voiceinfra.dialling.clocks import utc_now
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry

_TABLE = ("campaign_id", "state", "dag_id", "run_id", "contacts", "done", "outcomes", "started_at")
_LISTED = (*_TABLE, "conn_id", "task_id", "map_index", "seen_at", "cancelled_at", "finished_at")


@command
def list_campaigns(args: Namespace) -> bool:
    """List campaigns, newest first."""
    documents = [overview(_status(entry), {}) for entry in open_ledger().lists.campaigns(limit=args.limit)]
    rows = [{name: document[name] for name in _LISTED} for document in documents]
    if _is_for_people(args):
        rows = [{**row, "outcomes": _in_short(row["outcomes"], OUTCOME_WORDS)} for row in rows]
    print_rows(rows, args.output, _TABLE)
    return True


@command
def campaign(args: Namespace) -> bool:
    """Show one campaign, cancel it, or take its cancellation back."""
    if args.cancel and args.resume:
        return complain("--cancel and --resume contradict each other; nothing was changed.")
    ledger = open_ledger()
    entry = ledger.campaigns.get(args.campaign)
    if entry is None:
        return complain(no_campaign(ledger, args.campaign))
    if args.cancel or args.resume:
        return _change(ledger, entry, args)
    # A campaign says nothing of itself before its contacts are loaded; how many there are so far is known.
    counts = {} if entry.progress else ledger.campaigns.count_contacts(entry.campaign_id)
    document = overview(_status(entry), counts)
    print_document(_in_words(document) if _is_for_people(args) else document, args.output)
    return True


def _change(ledger: CallLedger, entry: CampaignEntry, args: Namespace) -> bool:
    """Cancel a campaign, or take its cancellation back; say what is now to be done."""
    change = ledger.campaigns.cancel if args.cancel else ledger.campaigns.uncancel
    changed = change(entry.campaign_id)
    entry = ledger.campaigns.get(entry.campaign_id) or entry
    status = _status(entry)
    if changed and args.resume:
        text = f"The cancellation is taken back. {status.after_resuming()}"
    elif changed:
        text = f"Cancelled. {status.meaning()}"
    elif entry.cancelled_at is not None:
        text = f"Nothing to do: it is cancelled since {moment(entry.cancelled_at)}. {status.meaning()}"
    else:
        text = f"Nothing to do: it is not cancelled. {status.meaning()}"
    if _is_for_people(args):
        say(cell(text))
    else:
        document = {"campaign_id": entry.campaign_id, "changed": changed, "state": status.state.value}
        print_document({**document, "message": text}, args.output)
    return True


def _status(entry: CampaignEntry) -> CampaignStatus:
    return CampaignStatus(entry, utc_now())


def _in_words(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a campaign's document for people, without those that say nothing."""
    fields = {
        "campaign": document["campaign_id"],
        "state": document["state"],
        "which means": document["meaning"],
        "DAG": document["dag_id"],
        "run": document["run_id"],
        "task": document["task_id"],
        "connection": document["conn_id"],
        "started": document["started_at"],
        "last seen": document["seen_at"],
        "cancelled": document["cancelled_at"],
        "finished": document["finished_at"],
        "contacts done": _share(document["done"], document["contacts"]),
        "outcomes": _in_short(document["outcomes"], OUTCOME_WORDS),
        "calls placed": document["calls_placed"],
        "rate": _rate(document),
        "lines": _lines(document),
        "waiting": "; ".join(
            f"{number} {WAITING_WORDS[WaitingFor(why)]}" for why, number in document["waiting"].items()
        ),
        "next call": document["next_at"],
        "expected end": document["expected_end"],
        "in the way": OBSTACLE_WORDS[Obstacle(document["obstacle"])] if document["obstacle"] else None,
        "rows left out": _in_short(document["skipped"]),
        **{f"refusal {number}": _refusal(one) for number, one in enumerate(document["refusals"], 1)},
        "result file": (document["summary"] or {}).get("results_path"),
    }
    return {name: value for name, value in fields.items() if value not in (None, "")}


def _share(done: int, contacts: int | None) -> str:
    if not contacts:
        return f"{done} of {contacts if contacts is not None else 'an unknown number'}"
    return f"{done} of {contacts} ({100 * done // contacts} %)"


def _rate(document: Mapping[str, Any]) -> str | None:
    rate, allowed, limit = (document[name] for name in ("rate", "allowed_rate", "limit"))
    if rate is None:
        return None
    known = f"the API's limit seems to be {limit:.2f}" if limit is not None else "no limit was met so far"
    return f"{rate:.2f} calls per second, of {allowed:.2f} that are allowed at present; {known}"


def _lines(document: Mapping[str, Any]) -> str | None:
    active, most = document["active"], document["max_active_calls"]
    return None if active is None else f"{active} of {most} in use"


def _refusal(refusal: Mapping[str, Any]) -> str:
    return f"{refusal['at']} {refusal['to_number']} {refusal['code']}: {refusal['message']}"


def _in_short(numbers: Mapping[str, int], words: Mapping[str, str] | None = None) -> str:
    return ", ".join(
        f"{(words or {}).get(name, name)} {number}"
        for name, number in sorted(numbers.items(), key=lambda item: -item[1])
    )


def _is_for_people(args: Namespace) -> bool:
    return args.output in ("table", "plain")
