"""``airflow voiceinfra suppress``, ``unsuppress``, ``suppressions``: who must not be called; calls nobody."""

from __future__ import annotations

import getpass
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from airflow_provider_voiceinfra.campaigns.contacts.do_not_call import sort_out
from airflow_provider_voiceinfra.campaigns.contacts.phone_numbers import NumberReader
from airflow_provider_voiceinfra.cli.known import is_connection
from airflow_provider_voiceinfra.cli.output import cell, moment, print_rows, privacy_of
from airflow_provider_voiceinfra.cli.rules.opted_out import opted_out
from airflow_provider_voiceinfra.cli.running import command, complain, say
from airflow_provider_voiceinfra.deployment import open_ledger
from airflow_provider_voiceinfra.dialling.clocks import utc_now
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.rules.suppressions import (
    PATIENCE,
    Suppression,
    SuppressionSource,
)
from airflow_provider_voiceinfra.masking import Privacy, mask_number

_TABLE = ("id", "number", "conn_id", "reason", "source", "added_by", "created_at", "ends_at")
_OVER = ("in_force", "removed_at")


@command
def suppressions(args: Namespace) -> bool:
    """List suppressions, newest first."""
    ledger = open_ledger()
    if args.number is not None:
        found = ledger.suppressions.of_number(args.number, only_in_force=not args.all)
        if args.conn_id is not None:
            found = [one for one in found if one.conn_id in (None, args.conn_id)]
        found = found[: args.limit]
    else:
        conn_ids = None if args.conn_id is None else [args.conn_id]
        found = ledger.suppressions.page(conn_ids=conn_ids, limit=args.limit, only_in_force=not args.all)
    privacy = privacy_of(args)
    rows = [_row(one, privacy) for one in found]
    if args.output in ("table", "plain"):
        rows = [{**row, "conn_id": row["conn_id"] or "(all)"} for row in rows]
    print_rows(rows, args.output, (*_TABLE, *_OVER) if args.all else _TABLE)
    return True


def _row(one: Suppression, privacy: Privacy) -> dict[str, Any]:
    return {
        "id": one.id,
        "number": privacy.number(one.number),
        "conn_id": one.conn_id,
        "reason": privacy.text(one.reason),
        "source": one.source,
        "added_by": privacy.text(one.added_by),
        "created_at": moment(one.created_at),
        "ends_at": moment(one.ends_at),
        "removed_at": moment(one.removed_at),
        "in_force": one.is_in_force(utc_now()),
    }


@command
def suppress(args: Namespace) -> bool:
    """Have one number, those of a file, or those of people who opted out called no more."""
    if sum((args.number is not None, args.file is not None, args.from_records)) != 1:
        return complain("give one of a number, --file and --from-records; nothing was changed.")
    if args.from_records != (args.since is not None):
        return complain("--from-records and --since belong together, such as --from-records --since 7d.")
    ledger = open_ledger()
    if args.conn_id is not None and not is_connection(ledger, args.conn_id):
        return complain(
            f"there is no connection {args.conn_id!r}, and no call went through one; nothing was changed. "
            "Correct its id, or leave --conn-id out for all connections."
        )
    if args.from_records:
        return _from_records(ledger, args)
    return _file(ledger, args) if args.file is not None else _number(ledger, args)


def _number(ledger: CallLedger, args: Namespace) -> bool:
    added = ledger.suppressions.add(_wanted([args.number], args, SuppressionSource.CLI))
    number, ends = mask_number(args.number), f" until {moment(args.until)}" if args.until else ""
    stands = "is suppressed now" if added else "was suppressed already"
    say(cell(f"{number} {stands}, for {_for(args)}{ends}."))
    return _is_settled(ledger, [args.number])


def _file(ledger: CallLedger, args: Namespace) -> bool:
    found = sort_out(args.file, NumberReader(args.default_region, "--default-region"), "--file")
    if found.faulty:
        for fault in found.faults:
            complain(cell(fault))
        return complain(
            f"{found.faulty} of the numbers cannot be read, so nothing was changed: none of them could be "
            "kept from being called. Correct or remove them, and run this again."
        )
    numbers = [f"+{number}" for number in found.numbers]
    added = ledger.suppressions.add(_wanted(numbers, args, SuppressionSource.FILE))
    say(
        f"{added} numbers are suppressed now, for {_for(args)}; {len(numbers) - added} of the {len(numbers)} "
        "in the file were already."
    )
    return _is_settled(ledger, numbers)


def _from_records(ledger: CallLedger, args: Namespace) -> bool:
    looked = opted_out(ledger, args.since, args.conn_id)
    added = ledger.suppressions.add(looked.found)
    say(
        f"{looked.records} records were looked at; {len(looked.found)} numbers are of people who opted out, "
        f"{added} of them are suppressed now, the others were already."
    )
    if looked.records and looked.unset:
        say("WARNING: opt_out is not set for any of those records, so nobody could be found in them.")
    for name in looked.unseen:
        say(
            f"WARNING: no record of those has the field {cell(name)}, which opt_out names. Correct it there, "
            "unless your agents extract it from few calls, or what was said has been purged."
        )
    return _is_settled(ledger, [str(one.number) for one in looked.found])


def _wanted(numbers: Sequence[str], args: Namespace, source: SuppressionSource) -> Iterator[Suppression]:
    who = _who()
    for number in numbers:
        yield Suppression(number, args.conn_id, args.reason, source.value, who, args.until)


def _who() -> str | None:
    try:
        return getpass.getuser()[:255]
    except (KeyError, OSError, ImportError):  # a container may run under a user without a name
        return None


def _for(args: Namespace) -> str:
    return "all connections" if args.conn_id is None else f"connection {args.conn_id!r}"


def _is_settled(ledger: CallLedger, numbers: Sequence[str]) -> bool:
    """Wait until no request to these numbers can leave any more, and return whether that is so."""
    if not numbers or ledger.suppressions.await_last_requests(numbers, patience=PATIENCE):
        say("No request leaves any more.")
        return True
    whose = "it" if len(numbers) == 1 else "one of them"
    return complain(f"a call to {whose} is being placed at this moment, and may ring. It is the last one.")


@command
def unsuppress(args: Namespace) -> bool:
    """End the suppressions of a number, or one by its id."""
    if (args.number is None) == (args.id is None):
        return complain("give either a number or --id; nothing was changed.")
    suppressions = open_ledger().suppressions
    if args.id is not None:
        if suppressions.remove([args.id]):
            say(f"Suppression {args.id} has ended.")
            return True
        return complain(f"no suppression {args.id} is in force; `airflow voiceinfra suppressions` lists all.")
    found = suppressions.of_number(args.number)
    ended = [one for one in found if args.conn_id is None or one.conn_id == args.conn_id]
    number = mask_number(args.number)
    if not ended:
        place = "" if args.conn_id is None else f" for connection {args.conn_id!r} alone"
        return complain(f"{number} is not suppressed{place}.")
    suppressions.remove([one.id for one in ended])
    for one in ended:
        place = "all connections" if one.conn_id is None else f"connection {one.conn_id!r}"
        say(cell(f"{number} is not suppressed for {place} any more (suppression {one.id})."))
    if len(ended) < len(found):
        say("It still is for others: `airflow voiceinfra suppressions --number` lists them.")
    return True
