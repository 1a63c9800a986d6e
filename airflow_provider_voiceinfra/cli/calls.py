"""``airflow voiceinfra calls`` and ``call``: what the ledger knows; nothing here changes it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from airflow_provider_voiceinfra.cli.output import moment, print_document, print_rows, privacy_of
from airflow_provider_voiceinfra.cli.running import command, complain
from airflow_provider_voiceinfra.deployment import open_ledger
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, CompletionEntry
from airflow_provider_voiceinfra.masking import Privacy

_TABLE = (
    "claimed_at",
    "state",
    "call_id",
    "outcome",
    "to_number",
    "conn_id",
    "dag_id",
    "run_id",
    "task_id",
    "error_code",
)


@command
def list_calls(args: Namespace) -> bool:
    """List calls, newest first."""
    ledger = open_ledger()
    entries = ledger.calls(
        conn_id=args.conn_id,
        state=CallState(args.state) if args.state else None,
        dag_id=args.dag_id,
        run_id=args.run_id,
        to_number=args.to_number,
        since=args.since,
        limit=args.limit,
    )
    ended = ledger.completions([entry.call_id for entry in entries if entry.call_id], with_body=False)
    privacy = privacy_of(args)
    print_rows([_row(entry, ended, privacy) for entry in entries], args.output, _TABLE)
    return True


@command
def show_call(args: Namespace) -> bool:
    """Show one call, by its ``call_id``, its idempotency key or that key's hash, and its completion."""
    ledger = open_ledger()
    entry = ledger.call_by_id(args.call) or ledger.call_by_key(args.call) or ledger.call_by_hash(args.call)
    call_id = (entry.call_id if entry else args.call) or ""
    completion = ledger.completion(call_id) if call_id else None
    if entry is None and completion is None:
        return complain("there is neither a call nor a completion with this call_id or idempotency key.")
    privacy = privacy_of(args)
    ended = {completion.call_id: completion} if completion else {}
    shown: dict[str, Any] = {"call": None, "completion": None, "possible_call_ids": []}
    if entry is not None:
        shown["call"] = _row(entry, ended, privacy)
        if entry.state is CallState.UNKNOWN:  # whose completions could be its own, for a person to judge
            shown["possible_call_ids"] = ledger.candidates(entry)
    if completion is not None:
        record = completion.record().to_dict(include_transcript=privacy.include_transcript)
        shown["completion"] = privacy.record(record)
    print_document(shown, args.output)
    return True


def _row(entry: CallEntry, ended: Mapping[str, CompletionEntry], privacy: Privacy) -> dict[str, Any]:
    completion = ended.get(entry.call_id or "")
    origin = entry.origin
    return {
        "claimed_at": moment(entry.claimed_at),
        "state": entry.state.value,
        "call_id": entry.call_id,
        "outcome": completion.call_outcome if completion else None,
        "to_number": privacy.number(entry.to_number),
        "from_number": privacy.number(entry.from_number),
        "agent_id": entry.agent_id,
        "conn_id": entry.conn_id,
        "dag_id": origin.dag_id,
        "run_id": origin.run_id,
        "task_id": origin.task_id,
        "map_index": origin.map_index,
        "try_number": origin.try_number,
        "campaign_id": origin.campaign_id,
        "contact_key": privacy.text(origin.contact_key),
        "idempotency_key": privacy.text(entry.idempotency_key),
        "key_hash": entry.key_hash,  # a key with a number in it is shown masked, and no command takes that
        "dials": entry.dials,
        "redials": entry.redials,
        "adopted": entry.adopted,
        "error_code": entry.error_code,
        "error_message": privacy.text(entry.error_message),
        "answered_at": moment(entry.answered_at),
        "ended_at": moment(completion.ended_at) if completion else None,
        "purged_at": moment(entry.purged_at),
    }
