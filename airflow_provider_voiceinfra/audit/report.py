"""What an audit says: totals, offenders, and a file with a line for each dial; safe for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from airflow_provider_voiceinfra.audit.verdicts import CODES, Verdict
from airflow_provider_voiceinfra.campaigns.reporting.replacing import replacing
from airflow_provider_voiceinfra.campaigns.reporting.result_files import spreadsheet_cell
from airflow_provider_voiceinfra.masking import Privacy

COLUMNS = (
    "dialled_at",
    "local_times",
    "to_number",
    "call_id",
    "key_hash",
    "state",
    "dial",
    "conn_id",
    "dag_id",
    "run_id",
    "task_id",
    "map_index",
    "campaign_id",
    "verdict",
    "codes",
    "broken_rules",
    "not_judged",
    "rules_id",
    "rules",
    "calls_before",
    "timezone",
    "region",
    "consent",
)
"""The columns of the file."""
FIRST, LAST = "first", "last"
"""Which dial of a call it is."""


class Totals:
    """Counts verdicts, and keeps the first offenders.

    :param kept: how many offenders are kept at most.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self.dials = self.offending = self.open = 0
        self.offenders: list[Verdict] = []
        self._codes: Counter[str] = Counter()
        self._unjudged: Counter[tuple[str, str]] = Counter()

    def add(self, verdict: Verdict) -> None:
        """Count a verdict."""
        self.dials += 1
        self.open += bool(verdict.unjudged)
        self._codes.update({finding.code for finding in verdict.findings})
        self._unjudged.update((code, why.value) for code, why in verdict.unjudged)
        if verdict.findings:
            self.offending += 1
            if len(self.offenders) < self._kept:
                self.offenders.append(verdict)

    def to_dict(self) -> dict[str, Any]:
        """Return the totals as plain JSON values."""
        why: dict[str, dict[str, int]] = {}
        for (code, reason), number in sorted(self._unjudged.items()):
            why.setdefault(code, {})[reason] = number
        return {
            "dials": self.dials,
            "offending": self.offending,
            "offending_by_code": {code: self._codes[code] for code in CODES},
            "not_judged": self.open,
            "not_judged_by_code": why,
        }


def offender(verdict: Verdict, privacy: Privacy) -> dict[str, Any]:
    """Return a dial that broke a rule, as plain JSON values."""
    row = line(verdict, privacy)
    shown = {name: row[name] for name in COLUMNS[: COLUMNS.index("verdict")]}
    findings = [{"code": one.code, "rule": one.rule} for one in verdict.findings]
    return {**shown, "local_times": _local(verdict), "broken": findings}


def line(verdict: Verdict, privacy: Privacy) -> dict[str, Any]:
    """Return the values of a dial's line, by ``COLUMNS``."""
    call = verdict.call
    values = {
        **{name: getattr(call, name, None) for name in COLUMNS},
        "dialled_at": moment(verdict.at),
        "local_times": "; ".join(f"{zone} {local}" for zone, local in _local(verdict).items()),
        "to_number": privacy.number(call.to_number),
        "dial": FIRST if verdict.is_first else LAST,
        "verdict": _verdict(verdict),
        "codes": ", ".join(dict.fromkeys(one.code for one in verdict.findings)),
        "broken_rules": "; ".join(one.rule for one in verdict.findings),
        "not_judged": ", ".join(f"{code}: {why.value}" for code, why in verdict.unjudged),
        "rules": " | ".join(verdict.rules),
        "calls_before": " | ".join(verdict.calls_before),
        "consent": privacy.text(call.consent),
    }
    return {name: values[name] for name in COLUMNS}


def moment(when: datetime | None) -> str | None:
    """Return a moment with its milliseconds: some count from closing time on."""
    return when.isoformat(timespec="milliseconds") if when else None


def _verdict(verdict: Verdict) -> str:
    if verdict.findings:
        return "broke a rule"
    return "not judged by all rules" if verdict.unjudged else "allowed"


def _local(verdict: Verdict) -> dict[str, str | None]:
    return {zone: moment(local) for zone, local in verdict.local.items()}


@contextmanager
def csv_file(path: str, privacy: Privacy) -> Iterator[Callable[[Verdict], None]]:
    """Open a file that takes one verdict after the other; it is there once all are written.

    :raises OSError: if it cannot be written.
    """
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
        writer = csv.writer(text)
        writer.writerow(COLUMNS)

        def write(verdict: Verdict) -> None:
            writer.writerow([spreadsheet_cell(value) for value in line(verdict, privacy).values()])

        yield write
        text.flush()
        text.detach()
