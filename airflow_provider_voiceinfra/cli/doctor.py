"""``airflow voiceinfra doctor``: prints what ``diagnosis`` finds, as it finds it."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator

from airflow_provider_voiceinfra.cli.output import cell, print_rows
from airflow_provider_voiceinfra.cli.running import command, say
from airflow_provider_voiceinfra.diagnosis import Finding, Verdict, diagnose

_WIDTH = max(len(verdict.value) for verdict in Verdict)


@command
def doctor(args: Namespace) -> bool:
    """Test the whole way from the API key to a recorded webhook."""
    findings = diagnose(args.conn_id, receiver_url=args.receiver_url)
    if args.output == "table":
        seen = list(_told(findings))
    else:
        seen = list(findings)
        print_rows([finding.to_dict() for finding in seen], args.output)
    return not any(finding.verdict is Verdict.FAILED for finding in seen)


def _told(findings: Iterator[Finding]) -> Iterator[Finding]:
    # One line after the other: a table could only be drawn when the slowest check is over.
    for finding in findings:
        say(f"{finding.verdict.value:<{_WIDTH}}  {finding.name}: {cell(finding.found)}")
        if finding.remedy:
            say(f"{'':<{_WIDTH}}  -> {cell(finding.remedy)}")
        sys.stdout.flush()
        yield finding
