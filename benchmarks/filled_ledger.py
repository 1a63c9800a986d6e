"""A ledger as it stands after a hundred nights of outreach; for ``bench_pages.py``.

Most calls are reminders and surveys, each night a campaign of its own; the others are placed by mapped tasks,
and a few by hand. One DAG had another name in the first nights. Eight calls once went through a connection,
and came from a DAG, that nobody uses any more.
Everything is made up from one seed, so that two ledgers of a size are alike but for the date.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from sqlalchemy import func, insert, select, text, update  # noqa: E402

from airflow_provider_voiceinfra.campaigns.reporting.results import Tally  # noqa: E402
from airflow_provider_voiceinfra.ledger import CallLedger  # noqa: E402
from airflow_provider_voiceinfra.ledger.database.connect import database  # noqa: E402
from airflow_provider_voiceinfra.ledger.database.keys import NO_ENCRYPTION, Encryption  # noqa: E402
from airflow_provider_voiceinfra.ledger.database.schema import (  # noqa: E402
    calls,
    campaigns,
    completions,
    contacts,
    counters,
    deliveries,
)
from airflow_provider_voiceinfra.ledger.records import CallOrigin  # noqa: E402
from airflow_provider_voiceinfra.ledger.rows import new_claim  # noqa: E402

NIGHTS = 100
NIGHT = timedelta(hours=3)
RARE = 8
LOST = "call_0"  # the first of all
_AT_ONCE = 5000
# Of a hundred calls: how many, their DAG, their connection, and whether they are a campaign's.
KINDS = (
    (50, "reminders", "voiceinfra_default", True),
    (30, "surveys", "voiceinfra_surveys", True),
    (15, "invoices", "voiceinfra_default", False),
    (4, "follow_up", "voiceinfra_backup", False),
    (1, None, "voiceinfra_test", False),
)
RETIRED = ("retired", "voiceinfra_old")
# The name of the DAG "invoices" in the first nights, and how many they were.
RENAMED, RENAMED_AFTER = "billing", NIGHTS * 2 // 5
_MIX = [kind[1:] for kind in KINDS for _ in range(kind[0])]
# Numbers that are kept free for fiction.
_NUMBERS = [f"+1{area}55501{line:02d}" for area in range(200, 1000) for line in range(100)]
_SAID = "Agent: Hello, this is an automated call. Is this a good moment?\nCaller: Yes, go ahead.\n"


def night_of(number: int, now: datetime) -> datetime:
    """Return when a night begins; 0 is the oldest, and the last one is this one."""
    return now - NIGHT - timedelta(days=NIGHTS - 1 - number)


def campaign_of(dag: str, night: int) -> str:
    """Return the id of a night's campaign."""
    return f"{dag}/{night:03d}"


def run_of(night: int) -> str:
    """Return the id of a night's DAG runs."""
    return f"scheduled__{night:03d}"


def fill(url: str, size: int, now: datetime, encryption: Encryption = NO_ENCRYPTION) -> float:
    """Fill an empty ledger with so many calls; return how many seconds it took."""
    began = time.perf_counter()
    ledger = CallLedger(url, encryption=encryption)
    ledger.check()
    engine = database(url, encryption=encryption).engine
    random_ = random.Random(1)
    rows = _rows(size, now, random_)
    with engine.connect() as connection:
        # Built at the end, in a fraction of the time.
        indexes = [*calls.indexes, *completions.indexes]
        for index in indexes:
            index.drop(connection)
        sequence = 0
        while batch := list(itertools.islice(rows, _AT_ONCE)):
            ends = [end for _, end in batch if end]
            for end in ends:
                end["sequence"] = sequence = sequence + 1
                end |= {f"{name}_hash": end[name] for name in ("from_number", "to_number")}
            connection.execute(insert(calls), [call for call, _ in batch])
            connection.execute(insert(completions), ends)
            connection.commit()
        for index in indexes:
            index.create(connection)
        connection.execute(update(counters).values(value=sequence))
        connection.execute(insert(campaigns), list(_campaigns(size, now)))
        connection.execute(insert(contacts), list(_contacts(size // NIGHTS // 2)))
        connection.execute(insert(deliveries), list(_deliveries(now)))
        connection.commit()
    if engine.dialect.name == "postgresql":
        # As its autovacuum does by itself within a minute or two.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    for conn_id in {kind[2] for kind in KINDS}:
        ledger.deliveries.note_rejection(conn_id, "the signature does not fit")
    return time.perf_counter() - began


def size_of(url: str) -> int:
    """Return how many calls a ledger has."""
    CallLedger(url).upgrade()
    with database(url).reading() as connection:
        return int(connection.execute(select(func.count()).select_from(calls)).scalar_one())


def _rows(
    size: int, now: datetime, random_: random.Random
) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    each = size // NIGHTS
    for number in range(each * NIGHTS):
        night, place = divmod(number, each)
        moment = night_of(night, now) + NIGHT * (place / each)
        dag, conn_id, is_campaign = (*RETIRED, False) if number < RARE else random_.choice(_MIX)
        if dag == "invoices" and night < RENAMED_AFTER:
            dag = RENAMED
        origin = CallOrigin(
            dag_id=dag,
            run_id=dag and run_of(night),
            task_id=dag and "call",
            map_index=None if dag is None else -1 if is_campaign else place,
            try_number=dag and 1,
            campaign_id=campaign_of(dag, night) if dag and is_campaign else None,
            contact_key=str(place) if is_campaign else None,
            position=place + 1 if is_campaign else None,
            attempt=1 if is_campaign else None,
        )
        request = {
            "to_number": random_.choice(_NUMBERS),
            "agent_id": "agent_demo",
            "from_number": "+12025550100",
            "first_message": "Hello, this is an automated call. Is this a good moment?",
            "variables": {"city": "Springfield", "appointment": f"10:{place % 60:02d}"},
        }
        call = new_claim(f"key {number}", request, conn_id, origin)
        call |= {"claimed_at": moment, "renewed_at": moment}
        yield _settled(call, number, place > each * 0.99 and night == NIGHTS - 1, random_)


def _settled(
    call: dict[str, Any], number: int, is_last: bool, random_: random.Random
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    fate = random_.random()
    if fate < 0.015 and number >= RARE:
        is_refused = fate < 0.01
        state, code = ("refused", "rate_limited") if is_refused else ("unknown", "answer_lost")
        return call | {"state": state, "error_code": code, "error_message": "429"}, None
    if is_last and fate < 0.1:
        return call, None  # still claimed
    answered_at = call["claimed_at"] + timedelta(milliseconds=80)
    call |= {"state": "accepted", "call_id": f"call_{number}", "answered_at": answered_at}
    if fate > 0.995 or (is_last and fate > 0.3):
        return call, None  # open
    outcome = random_.choices(("answered", "voicemail", "failed"), (70, 20, 10))[0]
    lasted = {"answered": int(random_.lognormvariate(4, 0.7)), "voicemail": random_.randint(8, 30)}
    return call, _end(call, outcome, lasted.get(outcome, 0))


def _end(call: dict[str, Any], outcome: str, lasted: int) -> dict[str, Any]:
    ended_at = call["answered_at"] + timedelta(seconds=lasted + 5)
    end = {name: call[name] for name in ("call_id", "conn_id", "agent_id", "from_number", "to_number")}
    payload = {
        **end,
        "event": "call.completed",
        "call_outcome": outcome,
        "duration_seconds": lasted,
        "start_time": call["answered_at"].isoformat(),
        "end_time": ended_at.isoformat(),
        "transcript": _SAID * 6 if outcome == "answered" else "",
        "summary": "The caller was reached, confirmed the details and had no further questions.",
    }
    return {
        **end,
        "call_outcome": outcome,
        "duration_seconds": lasted,
        "started_at": call["answered_at"],
        "ended_at": ended_at,
        "received_at": ended_at + timedelta(milliseconds=300),
        "body": json.dumps(payload).encode(),
    }


def _campaigns(size: int, now: datetime) -> Iterator[dict[str, Any]]:
    for night in range(NIGHTS):
        for share, dag, conn_id, is_campaign in KINDS:
            if dag is None or not is_campaign:
                continue
            each = size // NIGHTS * share // 100
            began, is_over = night_of(night, now), night < NIGHTS - 1
            progress = {"contacts": each, "done": each, "outcomes": {"answered": each}, "placed": each}
            summary = {**Tally().summary(), "contacts": each, "answered": each, "attempts": each}
            yield {
                "campaign_id": campaign_of(dag, night),
                "conn_id": conn_id,
                "dag_id": dag,
                "run_id": run_of(night),
                "task_id": "call",
                "map_index": -1,
                "runner": None if is_over else "0" * 32,
                "runner_seen_at": began + NIGHT,
                "loads": 1,
                "loaded_by": "run",
                "created_at": began,
                "finished_at": began + NIGHT if is_over else None,
                "progress": json.dumps(progress),
                "summary": json.dumps(summary) if is_over else None,
            }


def _contacts(number: int) -> Iterator[dict[str, Any]]:
    for position in range(1, number + 1):
        yield {
            "campaign_id": campaign_of("reminders", NIGHTS - 1),
            "position": position,
            "contact_hash": f"{position:064d}",
            "load_number": 1,
            "row_number": position,
            "contact_key": str(position),
            "request": json.dumps({"to_number": _NUMBERS[position % len(_NUMBERS)]}).encode(),
            "skipped": "invalid" if position % 50 == 0 else None,
        }


def _deliveries(now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(1000):
        yield {
            "digest": f"{number:064d}",
            "conn_id": "voiceinfra_default",
            "reason": "it is not a JSON object",
            "event": "call.completed",
            "body": b"[]" * 500,
            "received_at": now - timedelta(minutes=number),
        }


if __name__ == "__main__":
    print(f"{fill(sys.argv[1], int(sys.argv[2]), datetime.now(timezone.utc)):.0f} s")
