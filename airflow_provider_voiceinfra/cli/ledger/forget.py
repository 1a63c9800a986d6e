"""``airflow voiceinfra forget``: takes out all that the ledger has about one number; calls nobody."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass

from airflow_provider_voiceinfra.cli.ledger.agreeing import refusal
from airflow_provider_voiceinfra.cli.ledger.xcoms import (
    HeldXCom,
    Run,
    XComsUnavailableError,
    delete_xcoms,
    find_xcoms,
    in_words,
)
from airflow_provider_voiceinfra.cli.output import cell
from airflow_provider_voiceinfra.cli.running import command, complain, say
from airflow_provider_voiceinfra.deployment import open_ledger
from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from airflow_provider_voiceinfra.ledger.retention.forgetting import Findings
from airflow_provider_voiceinfra.ledger.rules.suppressions import PATIENCE
from airflow_provider_voiceinfra.masking import mask_number

_THEIRS = {
    "calls": "calls lose number, request, idempotency key (its hash stays), contact and texts",
    "completions": "completion records lose the number and all that was said; outcome and times stay",
    "deliveries": "kept deliveries that speak of the number are deleted",
    "contacts": "contacts of campaigns are deleted",
    "suppressions": "suppressions lose the number and the reason, and go on counting",
}
_OTHERS = {
    "calls": "calls to others speak of it: those texts, or the request, are emptied",
    "completions": "records of others speak of it: it is taken out of them",
    "contacts": "contacts of others speak of it: it is taken out of them",
    "suppressions": "suppressions of others speak of it: it is taken out of their reasons",
}


@dataclass(frozen=True)
class _Places:
    """Where the number is, or may be, besides the ledger.

    :param xcoms: ``None`` if Airflow's database cannot be asked, for the reason ``unasked``.
    """

    campaigns: list[CampaignEntry]
    runs: set[Run]
    xcoms: list[HeldXCom] | None
    unasked: str = ""


@command
def forget(args: Namespace) -> bool:
    """Say what there is about a number, ask, and take it out."""
    ledger, number = open_ledger(), args.number
    if ledger.forgetting.is_own(number):
        return complain(
            f"calls were placed from {mask_number(number)}: it is a caller ID of yours, and of nearly every "
            "record in this ledger. Nothing was changed."
        )
    found = ledger.forgetting.find(number)
    places = _places(ledger, found, number)
    _announce(number, found, dry_run=args.dry_run)
    if args.dry_run:
        _say_what_is_beyond(places, found, deleted=None)
        return True
    if not args.yes and (why := refusal()):
        return complain(f"{why}; nothing was changed.")
    is_settled = _suppress(ledger, number)
    deleted, are_gone = _delete_xcoms(places) if args.delete_xcoms else (None, True)
    rows = sum(ledger.forgetting.forget(number))
    say(f"{rows} rows of the ledger were changed or deleted.")
    _compact(ledger)
    _say_what_is_beyond(places, found, deleted)
    return _is_whole(ledger, number) and is_settled and are_gone


def _places(ledger: CallLedger, found: Findings, number: str) -> _Places:
    campaigns = [entry for name in sorted(found.campaigns) if (entry := ledger.campaigns.get(name))]
    tasks = [*found.tasks, *(entry.task for entry in campaigns)]
    runs = {(task.dag_id, task.run_id) for task in tasks if task.dag_id and task.run_id}
    try:
        return _Places(campaigns, runs, find_xcoms(runs, number))
    except XComsUnavailableError as error:
        return _Places(campaigns, runs, None, str(error))


def _announce(number: str, found: Findings, *, dry_run: bool) -> None:
    say(f"Of {mask_number(number)} the ledger has {found.rows} rows{':' if found.rows else '.'}")
    for counts, texts in ((found.theirs, _THEIRS), (found.others, _OTHERS)):
        for name, text in texts.items():
            if counts[name]:
                say(f"- {counts[name]} {text};")
    to_be = "would be" if dry_run else "will be"
    say(f"The number {to_be} suppressed for all connections, by its hash, if it is not so already.")
    if found.awaited:
        say(
            f"NOTE: {found.awaited} calls to it have no record so far. Run this again once they are over: a "
            "record that comes later is stored like any other."
        )


def _suppress(ledger: CallLedger, number: str) -> bool:
    """Have the number called no more; return whether no request can leave any more."""
    is_new = ledger.forgetting.suppress(number)
    say("The number is suppressed now." if is_new else "The number was suppressed already.")
    if ledger.suppressions.await_last_requests([number], patience=PATIENCE):
        return True
    return complain("a call to it is being placed at this moment, and may ring. Run this again after it.")


def _delete_xcoms(places: _Places) -> tuple[int | None, bool]:
    """Delete what was found; return how many, and whether all are gone."""
    if places.xcoms is None:
        return None, complain(f"XComs cannot be deleted from here: {places.unasked}.")
    try:
        return delete_xcoms(places.xcoms), True
    except XComsUnavailableError as error:
        return None, complain(f"not all XComs could be deleted ({error}). Run this again.")


def _compact(ledger: CallLedger) -> None:
    """Have the files hold nothing of it, or say how."""
    try:
        tables = ledger.forgetting.compact()
    except LedgerUnavailableError as error:
        say(
            "The ledger's file was too busy to be written anew, and may hold the bytes of what was deleted "
            f"until `airflow voiceinfra encrypt --vacuum` has run ({error})"
        )
        return
    if tables:
        say(
            "PostgreSQL's files hold the bytes of what was deleted until they are written anew, which keeps "
            f"all others out meanwhile: VACUUM (FULL) {', '.join(tables)};"
        )


def _say_what_is_beyond(places: _Places, found: Findings, deleted: int | None) -> None:
    say("This command does not reach:")
    for line in _beyond(places, found, deleted):
        say(cell(f"- {line}"))


def _beyond(places: _Places, found: Findings, deleted: int | None) -> Iterator[str]:
    for entry in places.campaigns:
        path = (entry.summary or {}).get("results_path") or "results_path of its task, if it has one"
        yield f"result file of campaign {entry.campaign_id} (DAG {entry.dag_id}, run {entry.run_id}): {path}"
    if deleted is not None:
        yield f"XComs behind a custom backend; {deleted} in Airflow's database were deleted"
    elif places.xcoms is None:
        for dag_id, run_id in sorted(places.runs):
            yield f"XComs that may hold the number: DAG {dag_id}, run {run_id}"
        yield f"which XComs they are was not looked up ({places.unasked})"
    else:
        for line in in_words(places.xcoms):
            yield f"XComs that speak of the number, deleted by --delete-xcoms: {line}"
    for dag_id, run_id in sorted(places.runs):
        yield f"params and conf of the run: DAG {dag_id}, run {run_id}"
    for rules_id in sorted(found.rules):
        yield (
            f"rules {rules_id}, which name it as exempt and prove why calls were allowed: once changed they "
            "prove nothing. Take it out of exempt_numbers for those to come"
        )
    yield "your lists of contacts and of numbers not to be called, files of `audit --csv`, exports of pages"
    yield "Airflow's logs, in which numbers are masked"
    yield "the vendor's own recordings, transcripts and logs, and those of the telephone carriers"
    yield "backups and replicas of the ledger, and its database's write-ahead logs elsewhere"


def _is_whole(ledger: CallLedger, number: str) -> bool:
    left = ledger.forgetting.find(number).rows
    if left:
        return complain(f"{left} rows came meanwhile. Run this again.")
    say("Done: a last look found nothing of it in the ledger.")
    return True
