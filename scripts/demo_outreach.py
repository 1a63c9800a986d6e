"""What the demo's outreach came to: a table of every contact, compared with the sandbox's audit log.

The results are what the campaign says it did. The audit log is what the API was really asked, and which
phones would have rung. Nothing here talks to a server.
"""

from __future__ import annotations

import csv
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from airflow_provider_voiceinfra.masking import mask_number, mask_numbers_in

MAX_ACTIVE_CALLS = 8
REDIAL_AFTER = timedelta(seconds=6)
CALLS = ("answered", "voicemail", "failed")
SKIPPED = ("invalid", "duplicate", "do_not_call")
# The width of the column that tells why a row was skipped.
WIDTH = 58
# What the sandbox does wrong on purpose, by the last two digits of a number.
TRICKS = {
    "cut_after": "the connection broke before the answer came; the webhook showed that the phone had rung",
    "webhook_thrice": "the webhook came three times; the call counts once",
    "webhook_early": "the webhook came before the answer to the request",
    "webhook_bad_signature": "a webhook with a wrong signature was rejected; then the right one came",
}


@dataclass(frozen=True)
class Row:
    """A row of the contacts, and what became of it.

    :param written: the phone number as the contacts have it.
    :param result: its line of the results; empty if there is none.
    """

    number: int
    written: str
    result: Mapping[str, str]

    @property
    def outcome(self) -> str:
        """How it ended, or why the row was skipped."""
        return self.result.get("outcome", "")

    @property
    def attempts(self) -> int:
        """How many calls were placed."""
        return int(self.result.get("attempts") or 0)

    @property
    def shown(self) -> str:
        """The phone number, as it may be shown."""
        if self.result.get("to_number"):
            return mask_number(self.result["to_number"])
        return mask_numbers_in(self.written) or "(none)"


def read_rows(contacts: Path, results: Path) -> list[Row]:
    """Return the rows of the contacts, each with its line of the results."""
    with results.open(newline="", encoding="utf-8") as file:
        lines = {int(line["row"]): line for line in csv.DictReader(file)}
    with contacts.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        return [Row(reader.line_num, row["to_number"], lines.get(reader.line_num, {})) for row in reader]


def table(rows: Sequence[Row]) -> str:
    """Return one line for each contact, for people to read."""
    lines = [f"{'row':>4}  {'number':<14} {'outcome':<12} {'calls':>5}  {'seconds':>7}  why", "-" * 107]
    for row in rows:
        calls, seconds = row.attempts or "", row.result.get("duration_seconds", "")
        why = textwrap.wrap(row.result.get("reason", ""), WIDTH) or [""]
        start = f"{row.number:>4}  {row.shown:<14} {row.outcome:<12} {calls:>5}  {seconds:>7}  "
        lines += [
            f"{start if not index else ' ' * len(start)}{part}".rstrip() for index, part in enumerate(why)
        ]
    return "\n".join(lines)


def summary_text(rows: Sequence[Row], summary: Mapping[str, Any]) -> str:
    """Return the summary that the campaign has put into XCom, in sentences."""
    again = sum(row.attempts > 1 for row in rows)
    left_out = f"{summary['invalid']} invalid, {summary['duplicates']} duplicates, {summary['do_not_call']}"
    return (
        f"{summary['contacts']} rows: {summary['placed']} people were called, {left_out} on the "
        f"do-not-call list.\n{summary['answered']} answered, {summary['voicemail']} voicemail, "
        f"{summary['failed']} failed, {summary['unknown']} unknown; {again} were called a second time, so "
        f"{summary['attempts']} calls in all."
    )


def tricks(audit: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the sandbox did wrong on purpose, for people to read."""
    refused = sum(request["status"] == 429 for request in audit["requests"])
    if refused:
        yield f"{refused} times the API said 429, too fast; the campaign slowed down and called them later."
    for call in audit["calls"]:
        if call["fault"] in TRICKS:
            yield f"{mask_number(call['to_number'])}: {TRICKS[call['fault']]}."


def disagreements(
    rows: Sequence[Row], summary: Mapping[str, Any], do_not_call: Sequence[str], audit: Mapping[str, Any]
) -> list[str]:
    """Compare what the campaign says with the audit log; return what differs, nothing if all is well.

    :param do_not_call: numbers in E.164 form.
    """
    calls: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for call in audit["calls"]:
        calls[call["to_number"]].append(call)
    found = [
        text for row in rows for text in _row_differs(row, calls.get(row.result.get("to_number", ""), []))
    ]
    called = {row.result["to_number"] for row in rows if row.attempts}
    found += [
        f"{mask_number(number)} was called and is in no row" for number in calls if number not in called
    ]
    found += [
        f"{mask_number(number)} is on the do-not-call list" for number in do_not_call if number in calls
    ]
    found += [text for of_one in calls.values() for text in _redialled_too_soon(of_one)]
    delivered = {delivery["call_id"] for delivery in audit["deliveries"] if delivery["delivered"]}
    found += [
        f"no webhook of {c['call_id']} was taken" for c in audit["calls"] if c["call_id"] not in delivered
    ]
    if (most := _most_at_once(audit["calls"])) > MAX_ACTIVE_CALLS:
        found.append(f"{most} people were on the phone at once, and {MAX_ACTIVE_CALLS} are allowed")
    return found + _summary_differs(rows, summary, audit)


def _row_differs(row: Row, calls: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    name = f"row {row.number} ({row.shown})"
    if row.outcome in SKIPPED:
        if row.attempts or row.result["call_id"]:
            yield f"{name} was skipped as {row.outcome}, and has a call"
        return
    last = calls[-1] if calls else {}
    said = (row.attempts, row.outcome, row.result.get("call_id"))
    true = (len(calls), last.get("call_outcome"), last.get("call_id"))
    if said != true:
        yield f"{name}: the results say {said}, the audit log {true}"


def _redialled_too_soon(calls: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for before, call in pairwise(calls):
        wait = _moment(call) - _moment(before) - timedelta(seconds=before["seconds"])
        if before["call_outcome"] == "answered" or wait < REDIAL_AFTER:
            yield f"{mask_number(call['to_number'])} was called again too soon, or for no reason"


def _most_at_once(calls: Sequence[Mapping[str, Any]]) -> int:
    # An early webhook ends its call before its time.
    timed = [(_moment(call), call["seconds"]) for call in calls if call["fault"] != "webhook_early"]
    changes = [(start, 1) for start, _ in timed]
    changes += [(start + timedelta(seconds=seconds), -1) for start, seconds in timed]
    now = most = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def _moment(call: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(call["time"])


def _summary_differs(rows: Sequence[Row], summary: Mapping[str, Any], audit: Mapping[str, Any]) -> list[str]:
    outcomes = Counter(row.outcome for row in rows)
    expected = {
        "contacts": len(rows),
        "attempts": len(audit["calls"]),
        "placed": len({call["to_number"] for call in audit["calls"]}),
        "duplicates": outcomes["duplicate"],
        **{name: outcomes[name] for name in (*CALLS, "invalid", "do_not_call")},
    }
    return [
        f"the summary says {name}: {summary[name]}, and it is {value}"
        for name, value in expected.items()
        if summary[name] != value
    ]


def read_numbers(path: Path) -> list[str]:
    """Return the numbers of a text file, one a line, without blanks."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return ["".join(line.split()) for line in lines if line.strip() and not line.startswith("#")]


def progress_line(progress: Mapping[str, Any]) -> str:
    """Return how far a campaign is, for people to read."""
    done, contacts = progress["done"], progress["contacts"]
    bar = "#" * round(20 * done / max(contacts, 1))
    waiting = progress["waiting"]
    parts = [
        f"{done:>2} of {contacts} done",
        f"{progress['active']} on the phone",
        f"{waiting.get('redial', 0)} to be called again",
        f"{progress['rate']:.1f} calls/s",
    ]
    if progress["obstacle"]:
        parts.append(f"held up by: {progress['obstacle']}")
    return f"|{bar:.<20}| {', '.join(parts)}"
