"""What is personal is encrypted with Airflow's Fernet key, and read by nobody who lacks it."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from harness.postgres import find_binaries
from sqlalchemy import String, delete, insert, make_url, select, type_coerce

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import ConfigurationError, LedgerError, LedgerKeyError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.database import connect
from airflow_provider_voiceinfra.ledger.database.connect import Database
from airflow_provider_voiceinfra.ledger.database.keyring import MARK, Keyring
from airflow_provider_voiceinfra.ledger.database.keys import CURRENT, Encryption
from airflow_provider_voiceinfra.ledger.database.schema import (
    calls,
    completions,
    deliveries,
    metadata,
    suppressions,
)
from airflow_provider_voiceinfra.ledger.database.schema import keys as stored_keys
from airflow_provider_voiceinfra.ledger.lists.values import CallFilter, Direction
from airflow_provider_voiceinfra.rules.recipient import Recipient
from tests.ledger.database.test_migrations import move
from tests.ledger.examples import CONN_ID, FIRST_TRY, body, claim, complete, execute, running, unknown
from tests.support.completions import keep_delivery, record
from tests.support.ledgers import forget_ledger

KEY, OTHER_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()
WITH_KEY = Encryption((KEY,))
NAME, SAID, CONSENT = "Zebulon Quartermain", "the blue giraffe answered", "form signed by Zebulon"
NUMBERS = ("+14155550123", "+14155550124", "+14155550125", "+14155550126")
CALLER_ID = "+14155550101"


def opened(url: str, *fernet_keys: str, is_wanted: bool = True) -> CallLedger:
    """Return a ledger as a process that has just begun opens it."""
    forget_ledger(str(make_url(url).database))
    return CallLedger(url, encryption=Encryption(fernet_keys, is_wanted))


def fill(ledger: CallLedger) -> None:
    """Have one of each into a ledger that is personal."""
    called = OutboundCall(NUMBERS[0], agent_id="agent_demo", from_number=CALLER_ID, first_message=NAME)
    entry = claim(ledger, f"key of {NUMBERS[0]}", called, recipient=Recipient(None, None, CONSENT))
    ledger.accept(entry, "call_1")
    complete(ledger, "call_1", to_number=NUMBERS[0], transcript=SAID, summary=NAME)
    refused = claim(ledger, "key 2", OutboundCall(NUMBERS[1], agent_id="agent_demo", from_number=CALLER_ID))
    ledger.refuse(refused, "invalid", f"the API did not like {NAME}")
    keep_delivery(ledger, f"not JSON: {SAID}".encode(), conn_id=CONN_ID, reason="not_json")
    ledger.campaigns.take("c", conn_id=CONN_ID, origin=FIRST_TRY)
    request = OutboundCall(NUMBERS[2], agent_id="agent_demo", first_message=f"Hello {NAME}").to_request()
    contact = ContactEntry(0, 1, NUMBERS[2], request, None, consent=CONSENT)
    ledger.campaigns.load_contacts("c", [contact], loaded_by="run", runner=running(ledger))
    moment = datetime.now(timezone.utc)
    suppressed = {"number_hash": NUMBERS[3], "number": NUMBERS[3], "reason": NAME, "source": "cli"}
    execute(ledger, insert(suppressions).values(**suppressed, created_at=moment))


def raw_bytes(ledger: CallLedger) -> bytes:
    """Return all that is on the disk of a SQLite ledger, or in a dump of one on PostgreSQL."""
    url = make_url(ledger._database.url)
    if url.get_backend_name() == "sqlite":
        return b"".join(path.read_bytes() for path in Path(str(url.database)).parent.glob("ledger.db*"))
    binaries = find_binaries()
    assert binaries is not None
    place = [f"--host={url.host}", f"--port={url.port}", f"--username={url.username}", str(url.database)]
    program = (binaries / "initdb").resolve().with_name("pg_dump")
    run = subprocess.run([program, "--inserts", *place], capture_output=True, check=True)
    return run.stdout


def forms(text: str) -> list[bytes]:
    """Return what a text looks like as it is, in hexadecimal digits, and within base64, at each offset."""
    plain = text.encode()
    found = [plain, plain.hex().encode(), plain.hex().upper().encode()]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        # The characters at both ends are also made of what stands beside the text.
        found += [encode(bytes(offset) + plain)[offset + 2 : -4] for offset in range(3)]
    return found


def shown(raw: bytes) -> list[str]:
    """Return what of the personal texts can be seen in raw bytes."""
    personal = (NAME, SAID, CONSENT, CALLER_ID, *NUMBERS)
    return [text for text in personal if any(form in raw for form in forms(text))]


def test_nothing_personal_is_in_the_raw_bytes(ledger_url: str) -> None:
    ledger = opened(ledger_url, KEY)
    fill(ledger)
    raw = raw_bytes(ledger)
    assert b"call_1" in raw
    assert shown(raw) == []


def test_what_would_be_seen_of_a_plain_ledger_is_everything(ledger_url: str) -> None:
    ledger = opened(ledger_url)
    fill(ledger)
    assert shown(raw_bytes(ledger)) == [NAME, SAID, CONSENT, CALLER_ID, *NUMBERS]


def test_each_value_is_read_as_it_was_written(ledger_url: str) -> None:
    fill(opened(ledger_url, KEY))
    ledger = opened(ledger_url, KEY)
    entry = ledger.call_by_key(f"key of {NUMBERS[0]}")
    assert entry is not None
    assert entry.request is not None
    assert (entry.to_number, entry.request["first_message"], entry.consent) == (NUMBERS[0], NAME, CONSENT)
    found = ledger.completion("call_1")
    assert found is not None
    assert found.record().payload["transcript"] == SAID
    [kept] = ledger.deliveries.kept()
    assert kept.body == f"not JSON: {SAID}".encode()
    [listed] = ledger.deliveries.listed([CONN_ID])
    assert listed.size == len(kept.body)
    [contact] = ledger.campaigns.all_contacts("c")
    assert (contact.contact_key, contact.consent) == (NUMBERS[2], CONSENT)
    assert [call.to_number for call in ledger.calls(to_number=NUMBERS[0])] == [NUMBERS[0]]


def test_completions_are_matched_by_their_numbers(ledger_url: str) -> None:
    ledger = opened(ledger_url, KEY)
    fill(ledger)
    since = datetime(2026, 1, 1, tzinfo=timezone.utc)
    for match in ({"to_number": NUMBERS[0]}, {"from_number": CALLER_ID, "to_number": NUMBERS[0]}):
        found = ledger.find_completion(match, since=since)
        assert found is not None
        assert found.call_id == "call_1"
    assert ledger.find_completion({"to_number": NUMBERS[1]}, since=since) is None


def test_lost_answer_is_adopted(ledger_url: str) -> None:
    ledger = opened(ledger_url, KEY)
    entry = unknown(ledger)
    complete(ledger, "call_9")
    assert ledger.adopt(entry).call_id == "call_9"


def test_same_webhook_is_known_again(ledger_url: str) -> None:
    ledger = opened(ledger_url, KEY)
    once = body("call_1")
    assert [record(ledger, once).value for _ in range(2)] == ["new", "duplicate"]


def test_inbound_calls_are_found_by_the_own_number(ledger_url: str) -> None:
    ledger = opened(ledger_url, KEY)
    claim(ledger)
    complete(ledger, "call_in", from_number=NUMBERS[1], to_number=CALLER_ID)
    own = ledger.lists.own_numbers()
    assert own == {CALLER_ID}
    wanted = CallFilter(direction=Direction.INBOUND, own_numbers=own)
    assert [call.party for call in ledger.lists.page_of_calls(wanted).calls] == [NUMBERS[1]]
    # Before 0006, rows had no hash.
    execute(ledger, completions.update().values(to_number_hash=None))
    assert ledger.lists.page_of_calls(wanted).calls == []  # it is encrypted, so nobody can know
    plain = opened(ledger_url, KEY, is_wanted=False)
    execute(plain, completions.update().values(to_number=CALLER_ID))
    assert [call.party for call in ledger.lists.page_of_calls(wanted).calls] == [NUMBERS[1]]


@pytest.mark.parametrize(
    ("fernet_keys", "message"),
    [
        pytest.param(
            (), r"is encrypted, and this process has no Fernet key. Set \[core\] fernet_key", id="no"
        ),
        pytest.param((OTHER_KEY,), r"another Fernet key than this process has. Set \[core\]", id="wrong"),
        pytest.param(("abc",), r"\[core\] fernet_key is no Fernet key", id="none"),
    ],
)
def test_process_without_the_key_is_refused_with_what_to_do(
    ledger_url: str, fernet_keys: tuple[str, ...], message: str
) -> None:
    fill(opened(ledger_url, KEY))
    ledger = opened(ledger_url, *fernet_keys)
    for action in (ledger.check, lambda: claim(ledger, "key 3"), lambda: complete(ledger, "call_3")):
        with pytest.raises(LedgerKeyError, match=message) as caught:
            action()
        assert isinstance(caught.value, ConfigurationError)
        assert isinstance(caught.value, LedgerError)
        assert not any(key in str(caught.value) for key in fernet_keys)


def test_key_is_not_shown() -> None:
    assert KEY not in repr(Encryption((KEY,)))


def test_former_key_may_be_listed_behind_the_new_one(ledger_url: str) -> None:
    fill(opened(ledger_url, KEY))
    assert opened(ledger_url, OTHER_KEY, KEY).completion("call_1") is not None


def test_without_a_key_everything_is_plain(ledger_url: str) -> None:
    ledger = opened(ledger_url)
    fill(ledger)
    with ledger._database.reading() as connection:
        stored = select(type_coerce(calls.c.to_number, String)).where(calls.c.call_id == "call_1")
        assert connection.execute(stored).scalar_one() == NUMBERS[0]
        assert {row.name for row in connection.execute(select(stored_keys))} == {"index"}


@pytest.mark.parametrize("text", ["~vi1:", "~vi1:12345678:abc", "~vi1:--------:abc"])
def test_plain_value_that_looks_encrypted_is_kept_as_it_is(ledger_url: str, text: str) -> None:
    for fernet_keys in ((), (KEY,)):
        ledger = opened(ledger_url, *fernet_keys)
        key = f"{text}{len(fernet_keys)}"
        claim(ledger, key)
        keep_delivery(ledger, key.encode(), conn_id=CONN_ID, reason="not_json")
        entry = ledger.call_by_key(key)
        assert entry is not None
        assert entry.idempotency_key == key
        [listed] = ledger.deliveries.listed([CONN_ID], limit=1)
        [kept] = ledger.deliveries.kept(limit=1)
        assert kept.body == key.encode()
        assert fernet_keys == () or listed.size == len(key)


def test_encrypted_columns_cannot_be_compared_in_sql() -> None:
    for column in (calls.c.to_number, deliveries.c.body):
        with pytest.raises(TypeError, match="compare its hash"):
            column == column  # noqa: B015
        assert column.is_not(None) is not None


def test_processes_that_wrap_at_the_same_moment_use_the_same_keys(ledger_url: str) -> None:
    forget_ledger(str(make_url(ledger_url).database))
    Database(ledger_url).rows(select(stored_keys))  # migrated
    together = threading.Barrier(4)

    def use(number: int) -> None:
        database = Database(ledger_url, encryption=WITH_KEY)
        together.wait()
        with database.writing() as connection:
            moment = datetime.now(timezone.utc)
            row = {"conn_id": CONN_ID, "body": b"%d" % number, "digest": str(number), "reason": "not_json"}
            connection.execute(insert(deliveries).values(**row, received_at=moment))
        database.engine.dispose()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))
    ledger = opened(ledger_url, KEY)
    assert sorted(kept.body for kept in ledger.deliveries.kept()) == [b"0", b"1", b"2", b"3"]
    names = [row.name for row in ledger._database.rows(select(stored_keys))]
    assert len(names) == 4  # the index key, one data key, which that is, and that nothing else is stored


def test_process_that_was_open_before_reads_what_is_encrypted_since(ledger_url: str) -> None:
    former = Database(ledger_url, encryption=WITH_KEY)
    former.rows(select(stored_keys))
    former._take_keys(Keyring(former.keyring.index_key))  # as before the keys were wrapped
    fill(opened(ledger_url, KEY))
    [[number]] = former.rows(select(calls.c.to_number).where(calls.c.call_id == "call_1"))
    assert number == NUMBERS[0]


def test_process_reads_the_keys_anew_after_a_while(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    former = Database(ledger_url)
    former.rows(select(stored_keys))
    fill(opened(ledger_url, KEY))
    former.rows(select(stored_keys))  # it is not asked each time
    monkeypatch.setattr(connect, "KEYS_AGE", -1.0)
    with pytest.raises(LedgerKeyError, match="no Fernet key"):
        former.rows(select(stored_keys))


def test_value_under_a_key_that_is_gone_is_named(ledger_url: str) -> None:
    ledger = opened(ledger_url, KEY)
    fill(ledger)
    execute(ledger, delete(stored_keys).where(stored_keys.c.name != "index"))
    with pytest.raises(LedgerKeyError, match="table of keys does not have"):
        opened(ledger_url, KEY).completion("call_1")


def test_damaged_value_is_named(ledger_url: str) -> None:
    ledger = opened(ledger_url, KEY)
    fill(ledger)
    execute(ledger, completions.update().values(to_number=None, body=json.dumps({}).encode()))
    [[name]] = ledger._database.rows(select(stored_keys.c.value).where(stored_keys.c.name == CURRENT))
    damaged = f"{MARK}{name}:".encode() + bytes(40)
    plain = opened(ledger_url, KEY, is_wanted=False)
    statement = "UPDATE voiceinfra_completions SET body = " + (
        f"X'{damaged.hex()}'" if "sqlite" in ledger_url else f"decode('{damaged.hex()}', 'hex')"
    )
    with plain._database.writing() as connection:
        connection.exec_driver_sql(statement)
    with pytest.raises(LedgerKeyError, match="is damaged"):
        plain.completion("call_1")


def test_downgrade_of_an_encrypted_ledger_is_refused(ledger_url: str) -> None:
    fill(opened(ledger_url, KEY))
    with pytest.raises(LedgerError, match="encrypt_ledger to False, run `airflow voiceinfra encrypt`"):
        move(ledger_url, "0005", up=False)
    assert opened(ledger_url, KEY).completion("call_1") is not None


def test_every_table_with_personal_data_is_known_to_the_conversion() -> None:
    from airflow_provider_voiceinfra.ledger.conversion import _TABLES

    names = {"calls", "completions", "deliveries", "contacts", "suppressions", "rules"}
    assert {table.name.removeprefix("voiceinfra_") for table in _TABLES} == names
    assert len(metadata.tables) == 11


def test_process_that_was_paused_before_its_transaction_reads_the_keys_first(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(ledger_url, encryption=WITH_KEY)
    database.rows(select(stored_keys))
    begin = database._begin

    def paused(*args: Any) -> Any:
        begun = begin(*args)
        monkeypatch.setattr(database, "_begin", begin)
        database._keys_read_at = float("-inf")  # as if a long time had passed
        return begun

    monkeypatch.setattr(database, "_begin", paused)
    with database.writing():
        assert database._keys_read_at > 0
    database.engine.dispose()
