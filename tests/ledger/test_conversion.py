"""Rows are encrypted, decrypted and put under another key while processes go on, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from itertools import islice

import pytest
from sqlalchemy import String, insert, select, text, type_coerce, update

from airflow_provider_voiceinfra.exceptions import CallNotAllowedError, LedgerKeyError
from airflow_provider_voiceinfra.ledger import CallLedger, conversion
from airflow_provider_voiceinfra.ledger.database.connect import Database
from airflow_provider_voiceinfra.ledger.database.keys import Encryption, data_key_ids, read_keys
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions, deliveries, suppressions
from airflow_provider_voiceinfra.ledger.database.schema import keys as stored_keys
from airflow_provider_voiceinfra.ledger.lists.values import CallFilter, Direction
from tests.ledger.database.test_encryption import (
    CALLER_ID,
    KEY,
    NUMBERS,
    OTHER_KEY,
    fill,
    opened,
    raw_bytes,
    shown,
)
from tests.ledger.database.test_migrations import move
from tests.ledger.examples import CALL, CONN_ID, body, claim, complete, execute, purge_all, unknown
from tests.support.completions import record

AT_ONCE = 4
MANY = 10


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "AT_ONCE", AT_ONCE)


def rewrite(ledger: CallLedger) -> int:
    """Rewrite all rows without pauses; return how many needed it."""
    return sum(ledger.encryption.rewrite(pause=lambda seconds: None))


def let_grace_pass(ledger: CallLedger) -> None:
    """Have it be long ago that the newest data key was made, or that encryption ended."""
    long_ago = datetime(2026, 1, 1, tzinfo=timezone.utc)
    execute(ledger, update(stored_keys).where(stored_keys.c.name == "data").values(created_at=long_ago))


def key_ids(ledger: CallLedger) -> set[str]:
    """Return the ids of the data keys that there are."""
    with ledger._database.reading() as connection:
        return data_key_ids(read_keys(connection))


def as_before_0006(ledger: CallLedger) -> None:
    """Have the rows look as those of an earlier version do."""
    for table in (calls, completions):
        execute(ledger, update(table).values({name: None for name in ("to_number_hash", "from_number_hash")}))


def place_many(ledger: CallLedger, prefix: str = "call") -> None:
    for number in range(MANY):
        ledger.accept(claim(ledger, f"{prefix} {number}"), f"{prefix}_{number}")
        complete(ledger, f"{prefix}_{number}", transcript=f"said {number}")


def transcripts(ledger: CallLedger, prefix: str = "call") -> list[str]:
    found = ledger.completions([f"{prefix}_{number}" for number in range(MANY)])
    return [str(found[f"{prefix}_{number}"].record().payload["transcript"]) for number in range(MANY)]


SAID = [f"said {number}" for number in range(MANY)]


def test_what_is_there_is_encrypted_and_nothing_of_it_is_left(ledger_url: str) -> None:
    plain = opened(ledger_url)
    fill(plain)
    place_many(plain, "other")
    as_before_0006(plain)
    ledger = opened(ledger_url, KEY)
    assert ledger.encryption.rows_left() == MANY * 2 + 6
    assert rewrite(ledger) == MANY * 2 + 6
    assert ledger.encryption.rows_left() == 0
    assert rewrite(ledger) == 0
    ledger.encryption.compact()
    assert shown(raw_bytes(ledger)) == []
    assert transcripts(ledger, "other") == SAID
    assert [call.to_number for call in ledger.calls(to_number=NUMBERS[0])] == [NUMBERS[0]]
    with ledger._database.reading() as connection:
        for table in (calls, completions):
            lacking = select(table).where(table.c.to_number_hash.is_(None), table.c.to_number.is_not(None))
            assert connection.execute(lacking).first() is None


def test_rows_of_an_earlier_version_are_found_until_they_are_converted(ledger_url: str) -> None:
    plain = opened(ledger_url)
    entry = unknown(plain)
    complete(plain, "call_1")
    complete(plain, "call_in", from_number=NUMBERS[1], to_number=CALLER_ID)
    as_before_0006(plain)
    wanted = CallFilter(direction=Direction.INBOUND, own_numbers=frozenset({CALLER_ID}))
    since = datetime(2026, 1, 1, tzinfo=timezone.utc)
    ledger = opened(ledger_url, KEY)
    for is_converted in (False, True):
        if is_converted:
            rewrite(ledger)
        assert len(ledger.calls(to_number=CALL.to_number)) == 1
        assert [call.call_id for call in ledger.lists.page_of_calls(wanted).calls] == ["call_in"]
        found = ledger.find_completion({"from_number": NUMBERS[1], "to_number": CALLER_ID}, since=since)
        assert found is not None
        assert ledger.candidates(entry) == ["call_1"]
        assert ledger.lists.own_numbers() == {CALLER_ID}


def test_half_converted_ledger_is_read_and_gone_on_with(ledger_url: str) -> None:
    plain = opened(ledger_url)
    place_many(plain)
    ledger = opened(ledger_url, KEY)
    assert list(islice(ledger.encryption.rewrite(pause=lambda seconds: None), 2)) == [AT_ONCE, AT_ONCE]
    for again in (ledger, opened(ledger_url, KEY)):
        assert transcripts(again) == SAID
        assert again.encryption.rows_left() == MANY * 2 - 2 * AT_ONCE
    with pytest.raises(LedgerKeyError, match="no Fernet key"):
        opened(ledger_url).check()
    assert rewrite(opened(ledger_url, KEY)) == MANY * 2 - 2 * AT_ONCE


def test_ledger_counts_as_whole_once_no_process_can_write_as_before(ledger_url: str) -> None:
    place_many(opened(ledger_url))
    ledger = opened(ledger_url, KEY)
    assert not ledger.encryption.state().is_whole
    rewrite(ledger)
    state = ledger.encryption.state()
    assert (state.is_encrypted, state.is_whole, state.ends_at is not None) == (True, False, True)
    let_grace_pass(ledger)
    assert ledger.encryption.state().ends_at is None
    rewrite(ledger)
    assert ledger.encryption.state() == conversion.EncryptionState(True, is_whole=True, ends_at=None)


def test_ledger_that_was_encrypted_from_the_start_is_whole(ledger_url: str) -> None:
    assert opened(ledger_url, KEY).encryption.state().is_whole
    assert opened(ledger_url, KEY).encryption.rows_left() == 0


def test_fernet_key_is_rotated_without_rewriting_rows(ledger_url: str) -> None:
    place_many(opened(ledger_url, KEY))
    ledger = opened(ledger_url, OTHER_KEY, KEY)
    before = key_ids(ledger)
    ledger.encryption.rotate()
    assert key_ids(ledger) == before
    assert transcripts(opened(ledger_url, OTHER_KEY)) == SAID
    with pytest.raises(LedgerKeyError, match="another Fernet key"):
        opened(ledger_url, KEY).check()


def test_rotation_without_a_key_is_refused(ledger_url: str) -> None:
    with pytest.raises(LedgerKeyError, match=r"Set \[core\] fernet_key"):
        opened(ledger_url).encryption.rotate()
    with pytest.raises(LedgerKeyError, match="encrypt_ledger"):
        opened(ledger_url, KEY, is_wanted=False).encryption.rotate()


def test_rotation_to_another_data_key_goes_on_where_it_was(ledger_url: str) -> None:
    ledger = opened(ledger_url, KEY)
    place_many(ledger)
    [former] = key_ids(ledger)
    ledger.encryption.rotate(data_key=True)
    list(islice(ledger.encryption.rewrite(pause=lambda seconds: None), 1))  # and then it was killed
    again = opened(ledger_url, KEY)
    again.encryption.rotate(data_key=True)
    assert len(key_ids(again)) == 2
    assert rewrite(again) == MANY * 2 - AT_ONCE
    assert former in key_ids(again)  # somebody may still write under it
    let_grace_pass(again)
    rewrite(again)
    assert former not in key_ids(again)
    assert len(key_ids(again)) == 1
    assert transcripts(again) == transcripts(ledger) == SAID  # whoever was open before reads it, too


def test_former_data_key_stays_as_long_as_a_row_is_under_it(ledger_url: str) -> None:
    former = opened(ledger_url, KEY)
    place_many(former)
    ledger = opened(ledger_url, KEY)
    ledger.encryption.rotate(data_key=True)
    ledger._database.reload_keys()
    rewrite(ledger)
    late = Database(ledger_url, encryption=Encryption((KEY,)))
    late.rows(select(stored_keys))
    late._take_keys(former._database.keyring)  # it has not noticed so far
    with late.writing() as connection:
        row = {"conn_id": CONN_ID, "digest": "late", "reason": "not_json", "body": b"late"}
        connection.execute(insert(deliveries).values(**row, received_at=datetime.now(timezone.utc)))
    let_grace_pass(ledger)
    assert rewrite(ledger) == 1
    assert len(key_ids(ledger)) == 1
    assert [kept.body for kept in opened(ledger_url, KEY).deliveries.kept()] == [b"late"]


def test_rotation_while_others_write_and_read_loses_nothing(ledger_url: str) -> None:
    ledger = opened(ledger_url, KEY)
    place_many(ledger, "before")
    over = threading.Event()

    def write(prefix: str) -> None:
        place_many(opened_beside, prefix)

    def read() -> int:
        times = 0
        while not over.is_set():
            assert transcripts(opened_beside, "before") == SAID
            times += 1
        return times

    opened_beside = CallLedger(ledger_url, encryption=Encryption((KEY, OTHER_KEY)))
    with ThreadPoolExecutor(4) as pool:
        reading = pool.submit(read)
        writing = [pool.submit(write, f"beside{number}") for number in range(2)]
        for _ in range(2):
            ledger.encryption.rotate(data_key=True)
            rewrite(ledger)
            let_grace_pass(ledger)
            rewrite(ledger)
        for one in writing:
            one.result()
        over.set()
        assert reading.result() > 0
    rewrite(ledger)
    fresh = opened(ledger_url, KEY)
    for prefix in ("before", "beside0", "beside1"):
        assert transcripts(fresh, prefix) == SAID
    assert fresh.encryption.rows_left() == 0


def test_row_that_is_purged_meanwhile_stays_purged(ledger_url: str) -> None:
    plain = opened(ledger_url)
    place_many(plain)
    ledger = opened(ledger_url, KEY)
    rewriting = ledger.encryption.rewrite(pause=lambda seconds: None)
    next(rewriting)
    purge_all(ledger)
    list(rewriting)
    [[number]] = ledger._database.rows(
        select(type_coerce(calls.c.to_number, String)).where(calls.c.call_id == "call_9")
    )
    assert number is None
    [[digest]] = ledger._database.rows(select(calls.c.to_number_hash).where(calls.c.call_id == "call_9"))
    assert digest is not None  # by which calls are counted


def test_number_that_is_forgotten_stays_suppressed(ledger_url: str) -> None:
    plain = opened(ledger_url)
    row = {"number_hash": NUMBERS[0], "number": None, "reason": "asked for it", "source": "cli"}
    execute(plain, insert(suppressions).values(**row, created_at=datetime.now(timezone.utc)))
    ledger = opened(ledger_url, KEY)
    assert rewrite(ledger) == 1
    with pytest.raises(CallNotAllowedError, match="asked for it"):
        claim(ledger, call=replace(CALL, to_number=NUMBERS[0]))


def test_encryption_is_switched_off_and_the_ledger_needs_no_key_any_more(ledger_url: str) -> None:
    ledger = opened(ledger_url, KEY)
    place_many(ledger)
    off = opened(ledger_url, KEY, is_wanted=False)
    complete(off, "call_plain")
    assert off.encryption.rows_left() == MANY * 2
    assert rewrite(off) == MANY * 2
    let_grace_pass(off)
    rewrite(off)
    assert not off.encryption.state().is_encrypted
    plain = opened(ledger_url)
    assert transcripts(plain) == SAID
    assert key_ids(plain) == set()
    move(ledger_url, "0005", up=False)
    with Database(ledger_url).engine.connect() as connection:
        stored = connection.execute(text("SELECT to_number FROM voiceinfra_calls")).scalars().all()
    assert stored == [CALL.to_number] * MANY


def test_encryption_that_was_switched_off_is_switched_on_again(ledger_url: str) -> None:
    place_many(opened(ledger_url, KEY))
    rewrite(opened(ledger_url, KEY, is_wanted=False))
    ledger = opened(ledger_url, KEY)
    assert rewrite(ledger) == MANY * 2
    assert transcripts(ledger) == SAID
    ledger.encryption.compact()
    assert shown(raw_bytes(ledger)) == []


def test_others_have_the_database_as_long_as_a_step_took(ledger_url: str) -> None:
    place_many(opened(ledger_url))
    pauses: list[float] = []
    steps = list(opened(ledger_url, KEY).encryption.rewrite(pause=pauses.append))
    assert len(pauses) == len(steps)
    assert min(pauses) > 0


def test_webhooks_are_stored_between_two_steps(ledger_url: str) -> None:
    place_many(opened(ledger_url))
    ledger = opened(ledger_url, KEY)
    stored: list[str] = []

    def store(_: float) -> None:
        stored.append(record(ledger, body(f"between_{len(stored)}")).value)

    assert sum(ledger.encryption.rewrite(pause=store)) == MANY * 2
    assert set(stored) == {"new"}


REWRITER = """
import sys
from airflow_provider_voiceinfra.ledger import CallLedger, conversion
from airflow_provider_voiceinfra.ledger.database.keys import Encryption

conversion.AT_ONCE = 4
ledger = CallLedger(sys.argv[1], encryption=Encryption((sys.argv[2],)))
ledger.encryption.rotate(data_key=True)
waiting = lambda seconds: (print("between two steps", flush=True), sys.stdin.readline())
print(sum(ledger.encryption.rewrite(pause=waiting)), flush=True)
"""


def test_rotation_that_is_killed_is_gone_on_with_by_the_next_process(ledger_url: str) -> None:
    ledger = opened(ledger_url, KEY)
    place_many(ledger)
    command = [sys.executable, "-c", REWRITER, ledger_url, KEY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "between two steps\n"
        process.kill()
    assert transcripts(ledger) == SAID
    next_one = subprocess.run(command, input="\n" * MANY, capture_output=True, text=True, check=True)
    assert next_one.stdout.splitlines()[-1] == str(MANY * 2 - AT_ONCE)
    assert len(key_ids(ledger)) == 2
    assert transcripts(ledger) == SAID


WRAPPER = """
import sys
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.keys import Encryption
from airflow_provider_voiceinfra.ledger.webhooks.records import Arrival

ledger = CallLedger(sys.argv[1], encryption=Encryption((sys.argv[2],)))
print("ready", flush=True)
sys.stdin.readline()
ledger.take_in([Arrival(sys.argv[3].encode(), "conn", reason="not_json")])
"""


def test_processes_that_wrap_the_keys_together_have_the_same(ledger_url: str) -> None:
    bodies = ["first", "second", "third"]
    commands = [[sys.executable, "-c", WRAPPER, ledger_url, KEY, body] for body in bodies]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for command in commands
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    for process in processes:
        process.communicate()
    ledger = opened(ledger_url, KEY)
    assert sorted(kept.body.decode() for kept in ledger.deliveries.kept()) == bodies
    assert len(key_ids(ledger)) == 1


def test_two_that_rotate_at_the_same_time_come_to_an_end(ledger_url: str) -> None:
    ledger = opened(ledger_url, KEY)
    place_many(ledger)
    beside = CallLedger(ledger_url, encryption=Encryption((KEY, OTHER_KEY)))
    ledger.encryption.rotate(data_key=True)
    rewriting = ledger.encryption.rewrite(pause=lambda seconds: None)
    next(rewriting)
    rewrite(beside)
    let_grace_pass(beside)
    rewrite(beside)
    beside.encryption.rotate(data_key=True)
    rewrite(beside)
    ledger._database.reload_keys()  # as it does within a minute
    assert sum(rewriting) == 0
    assert transcripts(opened(ledger_url, KEY)) == SAID
