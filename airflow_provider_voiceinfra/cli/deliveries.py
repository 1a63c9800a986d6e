"""``airflow voiceinfra deliveries``: signed webhooks that could not be used, and their second chance."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from airflow_provider_voiceinfra.cli.output import moment, print_document, print_rows, privacy_of
from airflow_provider_voiceinfra.cli.running import command, complain
from airflow_provider_voiceinfra.deployment import open_ledger
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.rules.suppressions import PATIENCE
from airflow_provider_voiceinfra.ledger.webhooks.records import KeptDelivery
from airflow_provider_voiceinfra.masking import Privacy
from airflow_provider_voiceinfra.web.receiver.secrets import find_opt_outs
from airflow_provider_voiceinfra.webhooks.reasons import in_words
from airflow_provider_voiceinfra.webhooks.receiving import Outcome, replay

_ALL = 1_000_000_000
_TABLE = ("id", "received_at", "conn_id", "event", "meaning", "bytes", "replayed_at")
_REPLAYED = ("id", "result", "call_id", "meaning")


@command
def deliveries(args: Namespace) -> bool:
    """List, show or replay kept deliveries."""
    ledger = open_ledger()
    if args.show is not None:
        return _show(ledger, args)
    if args.replay is not None:
        return _replay(ledger, args)
    kept = ledger.deliveries.kept(include_replayed=args.include_replayed, limit=args.limit)
    privacy = privacy_of(args)
    print_rows([_row(delivery, privacy) for delivery in kept], args.output, _TABLE)
    return True


def _show(ledger: CallLedger, args: Namespace) -> bool:
    delivery = ledger.deliveries.get(args.show)
    if delivery is None:
        return complain(f"there is no delivery {args.show}.")
    privacy = privacy_of(args)
    print_document({**_row(delivery, privacy), "body": _body(delivery.body, privacy)}, args.output)
    return True


def _replay(ledger: CallLedger, args: Namespace) -> bool:
    (wanted,) = args.replay
    if wanted is None:
        chosen = list(reversed(ledger.deliveries.kept(limit=_ALL)))  # in the order in which they came
    else:
        delivery = ledger.deliveries.get(wanted)
        if delivery is None:
            return complain(f"there is no delivery {wanted}.")
        chosen = [delivery]
    rows: list[dict[str, Any]] = []
    suppressed: set[str] = set()
    opt_outs = {conn_id: find_opt_outs(conn_id) for conn_id in {one.conn_id for one in chosen}}
    for delivery in chosen:
        receipt = replay(delivery, ledger, opt_outs[delivery.conn_id])
        result = {"id": delivery.id, "result": receipt.outcome.value, "call_id": receipt.call_id}
        rows.append({**result, **_why(receipt.reason)})
        suppressed |= {*receipt.suppressed}
    print_rows(rows, args.output, _REPLAYED)
    if suppressed and not ledger.suppressions.await_last_requests(sorted(suppressed), patience=PATIENCE):
        return complain("a call to somebody who opted out is being placed at this moment; it is the last.")
    return all(row["result"] != Outcome.KEPT.value for row in rows)


def _row(delivery: KeptDelivery, privacy: Privacy) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "received_at": moment(delivery.received_at),
        "conn_id": delivery.conn_id,
        "event": privacy.text(delivery.event),
        **_why(delivery.reason),
        "bytes": len(delivery.body),
        "replayed_at": moment(delivery.replayed_at),
    }


def _why(reason: str | None) -> dict[str, str | None]:
    return {"reason": reason, "meaning": in_words(reason) if reason else None}


def _body(body: bytes, privacy: Privacy) -> Any:
    try:
        content = json.loads(body, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        return privacy.record(content)
    if privacy.include_transcript:
        return privacy.text(body.decode("utf-8", "replace"))
    # What is not an object has no fields, so a transcript in it could not be left out.
    return f"({len(body)} bytes that are not a JSON object; --include-transcript shows them)"
