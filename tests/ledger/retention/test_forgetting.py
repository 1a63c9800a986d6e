"""Whoever is forgotten is in no byte of the ledger, is not called again, and is missing in no count."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import String, select, text, type_coerce, update

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import CallNotAllowedError, LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger, conversion
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry, attempt_key
from airflow_provider_voiceinfra.ledger.database.schema import (
    calls,
    completions,
    contacts,
    deliveries,
    suppressions,
)
from airflow_provider_voiceinfra.ledger.lists.values import CallFilter, Direction
from airflow_provider_voiceinfra.ledger.records import CallOrigin, CallState
from airflow_provider_voiceinfra.ledger.retention import batches, forgetting
from airflow_provider_voiceinfra.ledger.retention.forgetting import Findings
from airflow_provider_voiceinfra.ledger.retention.written import REMAINS, WrittenNumber
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from airflow_provider_voiceinfra.ledger.webhooks.records import Recorded
from airflow_provider_voiceinfra.rules.recipient import Recipient
from airflow_provider_voiceinfra.rules.rule_set import Rules, RuleSet
from tests.ledger.conftest import ON_POSTGRES
from tests.ledger.database.test_encryption import KEY, opened, raw_bytes
from tests.ledger.examples import CONN_ID, claim, completed, execute, purge_all, running, stored
from tests.support.completions import completion_body, keep_delivery, record

NUMBER, OTHER, OWN = "+14155550123", "+14155550124", "+14155550101"
NATIONAL, NAME, SAID = "(415) 555-0123", "Zebulon Quartermain", "the blue giraffe answered"
TASK = CallOrigin("dag", "run", "task", -1, 1)


def forget(ledger: CallLedger, number: str = NUMBER) -> int:
    """Have a number forgotten as the command does it, without pauses."""
    ledger.forgetting.suppress(number)
    return sum(ledger.forgetting.forget(number, pause=lambda seconds: None))


def call_to(number: str = NUMBER, **fields: Any) -> OutboundCall:
    return OutboundCall(number, agent_id="agent_demo", from_number=OWN, **fields)


def body(call_id: str, **fields: Any) -> bytes:
    numbers = {"agent_id": "agent_demo", "from_number": OWN, "to_number": NUMBER, "duration_seconds": 42}
    return completion_body(call_id, **{**numbers, **fields})


WHOLE = body(
    "call_1",
    transcript=f"Agent: is it {NATIONAL}? {SAID}",
    summary=NAME,
    extracted_data={"name": NAME, "phone": 14155550123},
    recording_url="https://recordings.example.com/14155550123.mp3",
)


def fill(ledger: CallLedger) -> None:
    """Have the number in every place of a ledger where it can be, and somebody else beside it."""
    called = call_to(first_message=NAME, variables={"phone": NATIONAL})
    entry = claim(ledger, f"key of {NUMBER}", called, origin=TASK, recipient=Recipient(None, None, NAME))
    ledger.accept(entry, "call_1")
    record(ledger, WHOLE)
    record(ledger, body("call_1", transcript=f"another one of {NAME}"))  # which is kept as it came
    ledger.refuse(claim(ledger, "key 2", call_to()), "invalid", f"the API did not like {NUMBER}")
    record(ledger, body("call_in", from_number=NUMBER, to_number=OWN, transcript=SAID))
    keep_delivery(ledger, f"not JSON: 415.555.0123 {SAID}".encode(), conn_id=CONN_ID, reason="not_json")
    ledger.suppressions.add([Suppression(NUMBER, "sales", f"{NAME} asked", "webhook", "call_1")])
    ledger.campaigns.take("c", conn_id=CONN_ID, origin=TASK)
    them = [
        ContactEntry(0, 1, NUMBER, call_to().to_request(), None, consent=NAME),
        ContactEntry(0, 2, "somebody", call_to(OTHER).to_request(), None, consent="form"),
        ContactEntry(0, 3, NATIONAL, None, None, "invalid", "cannot be called"),
    ]
    ledger.campaigns.load_contacts("c", them, loaded_by="run", runner=running(ledger))
    origin = CallOrigin("dag", "run", "task", -1, 1, "c", NUMBER, 1, 1)
    ledger.accept(claim(ledger, attempt_key("c", NUMBER, 1), call_to(), origin=origin), "call_c")
    fill_with_others(ledger)


def fill_with_others(ledger: CallLedger) -> None:
    """Have calls of somebody else, some of which speak of the number."""
    mentioned = call_to(OTHER, variables={"spouse": NATIONAL})
    ledger.accept(claim(ledger, "other 1", mentioned, origin=TASK), "call_2")
    record(ledger, body("call_2", to_number=OTHER, transcript=f"my wife has {NATIONAL}, ask her", score=7))
    ledger.accept(claim(ledger, "other 2", call_to(OTHER)), "call_3")
    record(ledger, body("call_3", to_number=OTHER, transcript="nothing of note"))
    keep_delivery(ledger, b"somebody else's", conn_id=CONN_ID, reason="not_json")
    ledger.suppressions.add([Suppression(OTHER, "sales", f"said {NATIONAL} instead")])


SHOWN = (NUMBER, NUMBER[2:], NATIONAL, "415.555.0123", NAME, SAID)


def seen(ledger: CallLedger) -> list[str]:
    """Return what of the person can be seen in the raw bytes of a plain ledger."""
    raw = raw_bytes(ledger)
    hexadecimal = [one.encode().hex().encode() for one in SHOWN]
    return [one for one, hexed in zip(SHOWN, hexadecimal, strict=True) if one.encode() in raw or hexed in raw]


def read(ledger: CallLedger) -> str:
    """Return all that an encrypted ledger holds, decrypted."""
    tables = (calls, completions, deliveries, contacts, suppressions)
    return repr([ledger._database.rows(select(table)) for table in tables])


def figures(ledger: CallLedger) -> list[Any]:
    """Return what pages count."""
    own = frozenset({OWN})
    wanted = [CallFilter(), *(CallFilter(direction=way, own_numbers=own) for way in Direction)]
    counted = [ledger.lists.call_statistics(one) for one in wanted]
    return [(one.calls, one.outcomes, one.durations, one.mean_duration, one.hours) for one in counted]


def test_nothing_of_the_person_is_in_the_raw_bytes_and_counts_are_what_they_were(ledger_url: str) -> None:
    ledger = opened(ledger_url)
    fill(ledger)
    before = figures(ledger)
    assert seen(ledger) == list(SHOWN)
    forget(ledger)
    ledger.forgetting.compact()
    assert seen(ledger) == []
    assert not WrittenNumber(NUMBER).is_in(read(ledger))
    assert figures(ledger) == before


def test_nothing_of_the_person_is_under_the_encryption_either(ledger_url: str) -> None:
    ledger = opened(ledger_url, KEY)
    fill(ledger)
    held = read(ledger)
    assert all(one in held for one in SHOWN)
    forget(ledger)
    held = read(ledger)
    assert [one for one in SHOWN if one in held] == []


def test_rows_of_an_earlier_version_are_forgotten_as_well(ledger_url: str) -> None:
    ledger = opened(ledger_url)
    fill(ledger)
    for table in (calls, completions):
        execute(ledger, update(table).values(to_number_hash=None, from_number_hash=None))
    ledger = opened(ledger_url, KEY)
    forget(ledger)
    held = read(ledger)
    assert [one for one in SHOWN if one in held] == []
    ledger.forgetting.compact()
    assert seen(ledger) == []


def test_what_stays_of_a_call_leads_to_nobody(ledger: CallLedger) -> None:
    fill(ledger)
    before = stored(ledger, f"key of {NUMBER}")
    forget(ledger)
    entry = stored(ledger, f"key of {NUMBER}")
    assert (entry.state, entry.call_id, entry.claimed_at) == (
        CallState.ACCEPTED,
        "call_1",
        before.claimed_at,
    )
    assert entry.from_number == OWN
    assert entry.purged_at is not None
    assert (entry.to_number, entry.request, entry.idempotency_key, entry.consent) == (None,) * 4
    [[digest]] = ledger._database.rows(
        select(type_coerce(calls.c.to_number_hash, String)).where(calls.c.call_id == "call_1")
    )
    assert digest is None
    assert ledger.lists.page_of_calls(CallFilter(digits="0123")).calls == []
    kept = completed(ledger).record().payload
    assert kept == {
        "event": "call.completed",
        "call_id": "call_1",
        "agent_id": "agent_demo",
        "from_number": OWN,
        "call_outcome": "answered",
        "duration_seconds": 42,
    }
    assert completed(ledger, "call_in").to_number == OWN  # by which it is known as inbound
    assert completed(ledger, "call_in").from_number is None


def test_others_are_left_as_they_were_but_for_the_number(ledger: CallLedger) -> None:
    fill(ledger)
    forget(ledger)
    assert completed(ledger, "call_2").record().payload["transcript"] == f"my wife has ({REMAINS}, ask her"
    assert completed(ledger, "call_2").record().payload["score"] == 7
    assert stored(ledger, "other 1").to_number == OTHER
    assert stored(ledger, "other 1").request is None
    whole = body("call_3", to_number=OTHER, transcript="nothing of note")
    assert completed(ledger, "call_3").body == whole
    assert stored(ledger, "other 2").request == call_to(OTHER).to_request()
    assert [kept.body for kept in ledger.deliveries.kept()] == [b"somebody else's"]
    assert [one.contact_key for one in ledger.campaigns.all_contacts("c")] == ["somebody"]
    [theirs] = ledger.suppressions.of_number(OTHER)
    assert (theirs.number, theirs.reason) == (OTHER, f"said ({REMAINS} instead")


def test_the_person_is_not_called_again_by_any_way(ledger: CallLedger) -> None:
    fill(ledger)
    forget(ledger)
    found = ledger.suppressions.of_number(NUMBER)
    assert {(one.number, one.conn_id, one.reason, one.added_by) for one in found} == {
        (None, None, "forgotten", None),
        (None, "sales", "forgotten", None),
    }
    for conn_id in (CONN_ID, "another"):
        with pytest.raises(CallNotAllowedError) as caught:
            ledger.claim(f"new {conn_id}", call_to(), conn_id=conn_id)
        assert caught.value.code == CallNotAllowedError.SUPPRESSED
    # A task that is cleared finds its call, and dials nobody.
    entry, won = ledger.claim(f"key of {NUMBER}", call_to(first_message=NAME), conn_id=CONN_ID)
    assert (entry.call_id, won) == ("call_1", False)


def test_suppression_that_would_end_is_not_enough(ledger: CallLedger) -> None:
    soon = datetime.now(timezone.utc) + timedelta(days=1)
    ledger.suppressions.add([Suppression(NUMBER, ends_at=soon)])
    assert ledger.forgetting.suppress(NUMBER)
    assert not ledger.forgetting.suppress(NUMBER)
    forget(ledger)
    assert {one.ends_at for one in ledger.suppressions.of_number(NUMBER)} == {None, soon}


@pytest.mark.parametrize("again", [WHOLE, body("call_1", transcript=f"something else of {NAME}")])
def test_webhook_that_comes_again_brings_nothing_back(ledger: CallLedger, again: bytes) -> None:
    fill(ledger)
    forget(ledger)
    kept = len(ledger.deliveries.kept())
    assert record(ledger, again) is Recorded.DUPLICATE
    assert len(ledger.deliveries.kept()) == kept
    assert NAME not in read(ledger)


def test_record_that_comes_later_is_found_by_its_own_number(ledger: CallLedger) -> None:
    ledger.accept(claim(ledger, "key", call_to()), "call_1")
    assert ledger.forgetting.find(NUMBER).awaited == 1
    forget(ledger)
    assert record(ledger, WHOLE) is Recorded.NEW
    assert forget(ledger) == 1
    assert NAME not in read(ledger)


def test_call_that_was_purged_loses_its_hash(ledger: CallLedger) -> None:
    ledger.accept(claim(ledger, "key", call_to()), "call_1")
    purge_all(ledger)
    purged_at = stored(ledger, "key").purged_at
    assert ledger.forgetting.find(NUMBER).theirs == {"calls": 1}
    forget(ledger)
    assert ledger.forgetting.find(NUMBER).rows == 0
    assert stored(ledger, "key").purged_at == purged_at


def test_answer_of_a_call_that_is_being_placed_still_settles_it(ledger: CallLedger) -> None:
    entry = claim(ledger, "key", call_to())
    forget(ledger)
    settled = ledger.accept(entry, "call_1")
    assert (settled.state, settled.to_number) == (CallState.ACCEPTED, None)


def test_findings_say_where_else_it_is(ledger: CallLedger) -> None:
    fill(ledger)
    exempt = RuleSet(deployment=Rules.parse({"exempt_numbers": [NUMBER]}))
    ledger.claim("exempt", call_to(OTHER), conn_id=CONN_ID, rules=exempt)
    found = ledger.forgetting.find(NUMBER)
    assert found.theirs == {"calls": 3, "completions": 2, "deliveries": 2, "contacts": 2, "suppressions": 1}
    assert found.others == {"calls": 1, "completions": 1, "suppressions": 1}
    assert found.tasks == {TASK.task}
    assert found.campaigns == {"c"}
    assert len(found.rules) == 1
    assert found.awaited == 1  # call_c
    assert forget(ledger) == found.rows + 1  # the suppression that was added
    left = ledger.forgetting.find(NUMBER)
    assert left == Findings(rules=found.rules)


def test_looking_changes_nothing(ledger: CallLedger) -> None:
    fill(ledger)
    before = read(ledger)
    ledger.forgetting.find(NUMBER)
    assert read(ledger) == before


def test_what_was_stopped_goes_on_where_it_was(ledger: CallLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "AT_ONCE", 1)
    fill(ledger)
    total = ledger.forgetting.find(NUMBER).rows + 1
    ledger.forgetting.suppress(NUMBER)
    for stopped in range(total):
        assert next(ledger.forgetting.forget(NUMBER, pause=lambda seconds: None)) == 1
        assert ledger.forgetting.find(NUMBER).rows == total - stopped - 1
    assert forget(ledger) == 0
    assert not WrittenNumber(NUMBER).is_in(read(ledger))


def test_record_is_found_by_its_call_if_it_names_no_number(
    ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "AT_ONCE", 1)
    ledger.accept(claim(ledger, "key", call_to()), "call_1")
    record(ledger, body("call_1", to_number=None, transcript=SAID))
    keep_delivery(ledger, SAID.encode(), conn_id=CONN_ID, reason="other_event_field", call_id="call_1")
    while ledger.forgetting.find(NUMBER).rows:  # each time, it is killed after the first step
        next(ledger.forgetting.forget(NUMBER, pause=lambda seconds: None))
    assert SAID not in read(ledger)


def test_webhooks_are_stored_between_two_steps(ledger: CallLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "AT_ONCE", 1)
    fill(ledger)
    stored_between: list[Recorded] = []

    def store(_: float) -> None:
        call_id = f"between_{len(stored_between)}"
        stored_between.append(record(ledger, body(call_id, to_number=OTHER)))

    ledger.forgetting.suppress(NUMBER)
    assert sum(ledger.forgetting.forget(NUMBER, pause=store)) > 5
    assert set(stored_between) == {Recorded.NEW}


def test_caller_id_is_known_as_ones_own(ledger: CallLedger) -> None:
    fill(ledger)
    assert ledger.forgetting.is_own(OWN)
    assert not ledger.forgetting.is_own(NUMBER)


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_file_that_is_read_all_the_time_is_not_said_to_be_clean(
    ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger)
    with ledger._database.reading() as reader:
        reader.execute(select(calls)).all()
        with ledger._database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout = 1")
        with pytest.raises(LedgerUnavailableError):
            ledger.forgetting.compact()
    assert ledger.forgetting.compact() == []


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_what_was_deleted_without_being_overwritten_goes_as_well(ledger: CallLedger) -> None:
    ledger.check()
    careless = sqlite3.connect(str(ledger._database.engine.url.database), isolation_level=None)
    careless.execute("PRAGMA secure_delete = OFF")
    row = f"'x', 'c', 'r', CAST('{SAID}' AS BLOB), '2026-01-01 00:00:00'"
    careless.execute(
        f"INSERT INTO voiceinfra_deliveries (digest, conn_id, reason, body, received_at) VALUES ({row})"
    )
    careless.execute("DELETE FROM voiceinfra_deliveries")
    careless.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    careless.close()
    assert seen(ledger) == [SAID]
    ledger.forgetting.compact()
    assert seen(ledger) == []


@ON_POSTGRES
def test_tables_that_may_hold_the_bytes_are_named(ledger: CallLedger) -> None:
    names = ledger.forgetting.compact()
    assert "voiceinfra_calls" in names
    execute(ledger, text("SELECT 1"))
    with ledger._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"VACUUM (FULL) {', '.join(names)}")


def test_number_in_json_with_escapes_is_found(ledger: CallLedger) -> None:
    ledger.accept(claim(ledger, "key", call_to(OTHER)), "call_1")
    raw = body("call_1", to_number=OTHER, said="X").replace(b'"X"', b'"\\u002b1415\\u0035550123"')
    assert json.loads(raw)["said"] == NUMBER
    record(ledger, raw)
    forget(ledger)
    assert completed(ledger).record().payload["said"] == REMAINS


def test_every_table_with_personal_data_is_looked_through() -> None:
    looked_at = {kind.table.name for kind in forgetting._KINDS}
    assert looked_at == {table.name for table in conversion._TABLES}
