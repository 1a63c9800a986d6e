"""``airflow voiceinfra audit``: proves that calls were allowed, or names those that were not."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timezone
from typing import Any

from airflow_provider_voiceinfra.audit.auditing import Audit, Wanted
from airflow_provider_voiceinfra.audit.report import Totals, csv_file, offender
from airflow_provider_voiceinfra.audit.verdicts import Verdict
from airflow_provider_voiceinfra.cli.known import is_connection, is_dag, no_campaign
from airflow_provider_voiceinfra.cli.output import print_document, print_rows, privacy_of
from airflow_provider_voiceinfra.cli.running import command, complain, say
from airflow_provider_voiceinfra.deployment import open_ledger
from airflow_provider_voiceinfra.ledger import CallLedger

_TABLE = ("dialled_at", "local_times", "to_number", "call_id", "of", "code", "rule")


@command
def audit(args: Namespace) -> bool:
    """Judge all calls that are asked for, and say what was found."""
    until = args.until or datetime.now(timezone.utc)
    if until <= args.since:
        return complain("--until is not after --since, so there is nothing to judge.")
    ledger = open_ledger()
    unknown = _unknown(ledger, args)
    if unknown:
        return complain(unknown)
    wanted = Wanted(args.since, until, args.conn_id, args.dag_id, args.campaign)
    privacy, totals = privacy_of(args), Totals(args.limit)
    lines: AbstractContextManager[Callable[[Verdict], object]]
    lines = csv_file(args.csv, privacy) if args.csv else nullcontext(lambda verdict: None)
    try:
        with lines as write:
            for verdict in Audit(ledger.history, wanted).verdicts():
                totals.add(verdict)
                write(verdict)
    except OSError as error:
        if not args.csv or isinstance(error, BrokenPipeError):
            raise
        return complain(f"--csv: {args.csv} cannot be written: {error.strerror or error}.")
    _show(totals, [offender(one, privacy) for one in totals.offenders], args.output)
    if totals.offending:
        return complain(f"{totals.offending} of {totals.dials} dials broke a rule that was in force.")
    return True


def _unknown(ledger: CallLedger, args: Namespace) -> str:
    """Return what is wrong with the options that choose calls; empty if nothing is."""
    if args.conn_id is not None and not is_connection(ledger, args.conn_id):
        return f"--conn-id: there is no connection {args.conn_id!r}, and no call went through one."
    if args.dag_id is not None and not is_dag(ledger, args.dag_id):
        return f"--dag-id: the ledger has no call of a DAG {args.dag_id!r}."
    if args.campaign is not None and ledger.campaigns.get(args.campaign) is None:
        return f"--campaign: {no_campaign(ledger, args.campaign)}"
    return ""


def _show(totals: Totals, offenders: list[dict[str, Any]], output: str) -> None:
    document = totals.to_dict()
    if output in ("json", "yaml"):
        print_document({**document, "offenders": offenders}, output)
        return
    print_document({**document, "not_judged_by_code": _in_short(document["not_judged_by_code"])}, output)
    if offenders:
        print_rows([_row(one) for one in offenders], output, _TABLE)
    if totals.offending > len(offenders):
        say(f"Only {len(offenders)} of {totals.offending} are listed; --limit lists more, --csv all.")


def _in_short(unjudged: dict[str, dict[str, int]]) -> dict[str, str]:
    return {
        code: ", ".join(f"{why} {number}" for why, number in numbers.items())
        for code, numbers in unjudged.items()
    }


def _row(found: dict[str, Any]) -> dict[str, Any]:
    parts = [found[name] for name in ("campaign_id", "dag_id", "run_id", "task_id") if found[name]]
    return {
        "dialled_at": found["dialled_at"],
        "local_times": "; ".join(f"{zone} {local}" for zone, local in found["local_times"].items()),
        "to_number": found["to_number"],
        "call_id": found["call_id"] or found["key_hash"],
        "of": " / ".join(parts) or found["conn_id"],
        "code": ", ".join(one["code"] for one in found["broken"]),
        "rule": "; ".join(one["rule"] for one in found["broken"]),
    }
