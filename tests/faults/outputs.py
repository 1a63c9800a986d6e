"""What people see in the end: summaries, result files, the campaigns' page, and logs without secrets."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow_provider_voiceinfra.campaigns.reporting.status import CampaignStatus, overview
from airflow_provider_voiceinfra.dialling.clocks import utc_now
from tests.faults.plan import FROM_NUMBER, Campaign
from tests.faults.stage import Stage

SKIPPED = {"invalid", "duplicate", "do_not_call", "withdrawn"}
SUMMED = ("answered", "voicemail", "failed", "refused", "unknown", "expired", "cancelled")


def at_first(stage: Stage) -> list[str]:
    """Check what each campaign left when it first came to its end."""
    found: list[str] = []
    for event in stage.events("summary"):
        expired = event["summary"].get("expired")
        if event["end"] == "finished" and expired:
            found.append(f"forgotten: {event['worker']} ended with {expired} contacts that nobody called")
    for campaign in stage.plan.campaigns:
        found += _file(stage, campaign)
    return found


def in_the_end(stage: Stage) -> list[str]:
    """Check everything against the vendor's log, once all has been told and each task was cleared."""
    found: list[str] = []
    for campaign in stage.plan.campaigns:
        found += _file(stage, campaign)
        found += _against_the_log(stage, campaign)
    return found + list(_logs(stage))


def read_results(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a result file.

    :raises ValueError: if it cannot be read.
    """
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    if ".csv" in path.name:
        lines = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        if any(None in line or None in line.values() for line in lines):
            raise ValueError("a line has too many or too few cells")
        return lines
    return [json.loads(line) for line in text.splitlines()]


def _path(stage: Stage, campaign: Campaign) -> Path:
    return stage.results / f"{campaign.campaign_id}-{campaign.results}"


def _file(stage: Stage, campaign: Campaign) -> Iterator[str]:
    """The file can be read, has a line for each contact, and says what the newest summary says."""
    entry = stage.ledger.campaigns.get(campaign.campaign_id)
    if entry is None or entry.summary is None:
        return
    try:
        lines = read_results(_path(stage, campaign))
    except (ValueError, OSError, EOFError, csv.Error) as error:
        yield f"result file ruined: it cannot be read: {type(error).__name__}"
        return
    known = {row["id"] for rows in campaign.lists for row in rows}
    keys = Counter(str(line.get("contact_key")) for line in lines if line.get("contact_key"))
    twice = sorted(key for key, number in keys.items() if number > 1 or key not in known)
    if len(lines) != entry.summary["contacts"] or twice:
        counted = f"{len(lines)} lines for {entry.summary['contacts']} contacts"
        yield f"result file ruined: {counted}, wrong or repeated: {twice}"
    outcomes = Counter(str(line.get("outcome")) for line in lines)
    for name in SUMMED:
        if outcomes[name] != entry.summary[name]:
            yield f"result file stale: {outcomes[name]} {name}, and the summary says {entry.summary[name]}"


def _against_the_log(stage: Stage, campaign: Campaign) -> Iterator[str]:
    entry = stage.ledger.campaigns.get(campaign.campaign_id)
    if entry is None or entry.summary is None:
        yield f"no summary: {campaign.campaign_id}"
        return
    try:
        lines = read_results(_path(stage, campaign))
    except (ValueError, OSError, EOFError, csv.Error):
        return  # told already
    read_at = max(event["at"] for event in stage.events("reading_results"))
    acks = [ack for ack in stage.vendor.deliveries.acks if ack.genuine]
    in_time = {ack.call_id for ack in acks if ack.at < read_at}
    for line in lines:
        yield from _line(stage, line, in_time, {ack.call_id for ack in acks})
    rung = [one for row in _rows(campaign) for one in stage.vendor.of_mark(row["mark"])]
    stored = [one for one in rung if stage.ledger.call_by_id(one.call_id) is not None]
    if len(stored) != entry.summary["attempts"]:
        yield f"summary wrong: {entry.summary['attempts']} attempts, of which the ledger has {len(stored)}"
    shown = overview(
        CampaignStatus(entry, utc_now()), stage.ledger.campaigns.count_contacts(campaign.campaign_id)
    )
    outcomes = {name: number for name in SUMMED if (number := entry.summary[name])}
    if shown["outcomes"] != outcomes or shown["calls_placed"] != entry.summary["attempts"]:
        yield f"page wrong: it shows {shown['outcomes']}, and the summary says {outcomes}"


def _rows(campaign: Campaign) -> list[dict[str, str]]:
    return list({row["mark"]: row for rows in campaign.lists for row in rows}.values())


def _line(stage: Stage, line: dict[str, Any], in_time: set[str], acked: set[str]) -> Iterator[str]:
    mark, outcome, call_id = str(line["contact_key"]), line["outcome"], line["call_id"]
    rung = stage.vendor.of_mark(mark)
    if call_id:
        own = next((one for one in rung if one.call_id == call_id), None)
        if own is None:
            yield f"wrong call: the results give {mark} the call {call_id}, which is not its own"
        elif call_id in in_time and outcome != own.outcome:
            yield f"results wrong: {mark} is {outcome}, and its call ended as {own.outcome}"
        elif call_id not in acked and outcome != "unknown":
            yield f"results wrong: {mark} is {outcome}, and nobody has told how its call ended"
    elif outcome in ("answered", "voicemail", "failed"):
        yield f"results wrong: {mark} is {outcome} without a call"
    elif outcome == "expired":
        yield f"forgotten: {mark} is expired, and there is no deadline"
    if rung and outcome in ("refused", *SKIPPED) and not call_id:
        yield f"results wrong: {mark} is {outcome}, and was called {len(rung)} times"
    stored = [one for one in rung if stage.ledger.call_by_id(one.call_id) is not None]
    if int(line["attempts"]) != len(stored):
        yield f"results wrong: {line['attempts']} attempts for {mark}, of which the ledger has {len(stored)}"


def _logs(stage: Stage) -> Iterator[str]:
    """No number, API key or secret is in a log of the package's."""
    numbers = {key.to for key in stage.plan.keys} | {FROM_NUMBER}
    numbers |= {row["to_number"] for campaign in stage.plan.campaigns for row in _rows(campaign)}
    private = {number[1:]: "a number" for number in numbers}
    for account in stage.plan.accounts:
        private |= {account.api_key: "an API key", account.secret: "a webhook secret"}
    texts = {path.name: path.read_text(errors="replace") for path in sorted(stage.folder.glob("*.log"))}
    texts |= _database_log(stage)
    for name, text in texts.items():
        for value, what in private.items():
            if value in text:
                line = next(line for line in text.splitlines() if value in line)
                yield f"leak: {name} holds {what}: {line.replace(value, '<...>')[:300]}"


def _database_log(stage: Stage) -> dict[str, str]:
    """Return what PostgreSQL logged in this run, if the driver leaves values out of its statements."""
    if stage.server is None or stage.ledger._database.engine.driver != "psycopg":
        return {}
    return {"PostgreSQL's log": stage.server.log()[stage.server_logged :]}
