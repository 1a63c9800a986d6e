"""Finds who opted out in calls whose records are stored, by what ``opt_out`` says now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CompletionEntry
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression, SuppressionSource
from airflow_provider_voiceinfra.rules.opt_out import OptOut, whose
from airflow_provider_voiceinfra.web.receiver.secrets import find_opt_outs

_AT_ONCE = 100  # records, each of which may have many kilobytes
REASON = "the person opted out in a call; found in its record later"


class Looked(NamedTuple):
    """What a look through records came to.

    :param records: how many there were.
    :param found: the suppressions that they ask for.
    :param unset: whether ``opt_out`` is set for none of them.
    :param unseen: the fields that ``opt_out`` names and none of them has.
    """

    records: int
    found: list[Suppression]
    unset: bool
    unseen: list[str]


def opted_out(ledger: CallLedger, since: datetime, conn_id: str | None) -> Looked:
    """Look through records for people who opted out.

    :param since: only records that came since then.
    :param conn_id: only records of this connection.
    :raises ConfigurationError: if ``opt_out`` of the deployment or of a connection cannot be read.
    """
    records = 0
    found: dict[str, Suppression] = {}
    said: dict[str, tuple[OptOut, ...]] = {}
    named: set[str] = set()
    seen: set[str] = set()
    for entry in _records(ledger, since):
        if conn_id not in (None, entry.conn_id):
            continue
        records += 1
        if entry.conn_id not in said:
            said[entry.conn_id] = find_opt_outs(entry.conn_id)
        rules = said[entry.conn_id]
        record = entry.record() if rules else None
        if record is None:
            continue
        named.update(*(one.names for one in rules))
        seen.update(*(one.names_in(record.payload) for one in rules))
        if any(one.is_in(record.payload) for one in rules):
            call = ledger.call_by_id(entry.call_id)
            for number in whose(record, call.to_number if call else None):
                found.setdefault(number, _suppression(number, entry.call_id))
    return Looked(records, list(found.values()), not any(said.values()), sorted(named - seen))


def _records(ledger: CallLedger, since: datetime) -> Iterator[CompletionEntry]:
    """Yield completions with their bodies, some at a time, each time in a transaction of its own."""
    after = ledger.sequence_before(since)
    while listed := ledger.completions_after(after, limit=_AT_ONCE):
        after = listed[-1].sequence
        # One may have been purged meanwhile.
        yield from ledger.completions([entry.call_id for entry in listed]).values()


def _suppression(number: str, call_id: str) -> Suppression:
    return Suppression(number, reason=REASON, source=SuppressionSource.WEBHOOK.value, added_by=call_id)
