"""The tables are what the schema says, are made once however many start together, and are never mistaken."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, Table, inspect, select, text
from sqlalchemy.exc import IntegrityError

from airflow_provider_voiceinfra import ledger as ledger_package
from airflow_provider_voiceinfra.exceptions import LedgerError, LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.connect import Database
from airflow_provider_voiceinfra.ledger.database.migrate import current_revision
from airflow_provider_voiceinfra.ledger.database.schema import (
    HEAD_REVISION,
    VERSION_TABLE,
    calls,
    counters,
    metadata,
)
from airflow_provider_voiceinfra.ledger.lists.values import CallFilter
from airflow_provider_voiceinfra.ledger.rows import new_claim, number_end
from tests.ledger.examples import CALL, CONN_ID, FIRST_TRY, claim, complete, execute

SCRIPTS = Path(ledger_package.__path__[0]) / "database" / "migrations"

STARTER = """
import sys
from airflow_provider_voiceinfra.ledger import CallLedger
# All that is heavy is loaded now.
from airflow_provider_voiceinfra.ledger.database.migrate import current_revision
print("ready", flush=True)
sys.stdin.readline()
print(CallLedger(sys.argv[1]).upgrade(), flush=True)
"""


@pytest.fixture
def ledger_url(untouched_url: str) -> str:
    return untouched_url


def config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    return config


def tables(url: str) -> set[str]:
    return set(inspect(Database(url).engine).get_table_names())


def test_migrations_build_what_the_schema_says(ledger: CallLedger, ledger_url: str) -> None:
    ledger.upgrade()
    with Database(ledger_url).engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_head_revision_is_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(config()).get_heads() == [HEAD_REVISION]


@pytest.mark.parametrize("use", ["upgrade", "check"])
def test_first_use_creates_the_tables(ledger: CallLedger, ledger_url: str, use: str) -> None:
    assert tables(ledger_url) == set()
    assert getattr(ledger, use)() == (True if use == "upgrade" else HEAD_REVISION)
    assert tables(ledger_url) == {*metadata.tables, VERSION_TABLE}
    assert ledger.upgrade() is False


def test_processes_that_start_together_migrate_once(ledger_url: str) -> None:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    starters = [subprocess.Popen([sys.executable, "-c", STARTER, ledger_url], **pipes) for _ in range(4)]
    assert [starter.stdout.readline() for starter in starters if starter.stdout] == ["ready\n"] * 4
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("go\n")
        starter.stdin.flush()
    said = [starter.communicate(timeout=60)[0].strip() for starter in starters]
    assert sorted(said) == ["False"] * 3 + ["True"]
    assert [starter.returncode for starter in starters] == [0] * 4
    assert [tuple(row) for row in Database(ledger_url).rows(select(counters.c.value))] == [(0,)]


def test_threads_of_one_process_migrate_ledgers_of_their_own(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path / f'{number}.db'}" for number in range(4)]
    with ThreadPoolExecutor(len(urls)) as pool:
        assert all(pool.map(lambda url: Database(url).upgrade(), urls))
    assert [Database(url).upgrade() for url in urls] == [False] * len(urls)


def test_newer_schema_is_refused_with_what_to_do(ledger: CallLedger, ledger_url: str) -> None:
    claim(ledger)
    execute(ledger, text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    old_version = Database(ledger_url)  # as a process of an older version would open it
    with pytest.raises(LedgerError, match="install the newer airflow-provider-voiceinfra ev") as caught:
        old_version.upgrade()
    assert not isinstance(caught.value, LedgerUnavailableError)
    assert HEAD_REVISION in str(caught.value)
    with pytest.raises(LedgerError, match="does not know"), old_version.reading():
        pass
    assert tables(ledger_url) == {*metadata.tables, VERSION_TABLE}


def test_downgrade_removes_what_was_made(ledger: CallLedger, ledger_url: str) -> None:
    ledger.upgrade()
    move(ledger_url, "base", up=False)
    assert tables(ledger_url) <= {VERSION_TABLE}
    assert Database(ledger_url).upgrade() is True


def move(url: str, revision: str, *, up: bool) -> None:
    """Bring a schema to some revision."""
    moving = config()
    with Database(url).engine.begin() as connection:
        moving.attributes["connection"] = connection
        (command.upgrade if up else command.downgrade)(moving, revision)


def insert_as_of_then(url: str, rows: list[dict[str, Any]], without: set[str]) -> None:
    """Insert calls as a version did that did not know some columns yet."""
    without = without | OF_ENCRYPTION
    with Database(url).engine.begin() as connection:
        found = Table("voiceinfra_calls", MetaData(), autoload_with=connection)
        assert {column.name for column in calls.c} - {column.name for column in found.c} == without
        known = [{name: value for name, value in row.items() if name not in without} for row in rows]
        # Their types are those of today's schema, which turns moments into what is stored.
        types = {column.name: column.type for column in calls.c}
        for column in found.c:
            column.type = types[column.name]
        connection.execute(found.insert(), [{"answered_at": None, **row} for row in known])


def claimed(*numbers: str | None) -> list[dict[str, Any]]:
    """Return the rows of claimed calls to some numbers."""
    rows = [new_claim(f"key {at}", CALL.to_request(), CONN_ID, FIRST_TRY) for at in range(len(numbers))]
    return [{**row, "to_number": number} for row, number in zip(rows, numbers, strict=True)]


OF_CAMPAIGNS = {"position", "attempt"}
OF_LISTS = {"to_number_end"}
OF_ACCOUNTS = {"account", "sent_after", "sent_at"}
OF_RULES = {
    "to_number_hash",
    "dialled_at",
    "rules_id",
    "timezone",
    "region",
    "consent",
    "allowed_from",
}
OF_ENCRYPTION = {"from_number_hash"}
WITHOUT_ACCOUNT: dict[str, Any] = dict.fromkeys(OF_ACCOUNTS)


@pytest.mark.parametrize(
    ("revision", "without"),
    [
        pytest.param("0001", OF_CAMPAIGNS | OF_LISTS | OF_ACCOUNTS | OF_RULES, id="0001"),
        pytest.param("0002", OF_LISTS | OF_ACCOUNTS | OF_RULES, id="0002"),
        pytest.param("0003", OF_ACCOUNTS | OF_RULES, id="0003"),
        pytest.param("0004", OF_RULES, id="0004"),
    ],
)
def test_upgrade_keeps_every_call(ledger_url: str, revision: str, without: set[str]) -> None:
    move(ledger_url, revision, up=True)
    rows = claimed(*[CALL.to_number] * 3)
    rows[1] |= {"state": "accepted", "call_id": "call_1", "answered_at": rows[1]["claimed_at"]}
    insert_as_of_then(ledger_url, rows, without)
    ledger = CallLedger(ledger_url)
    complete(ledger, "call_1")
    entry = ledger.call_by_id("call_1")
    assert entry is not None
    assert (entry.key_hash, entry.origin) == (rows[1]["key_hash"], FIRST_TRY)
    for number, row in enumerate(rows):
        again, won = ledger.claim(f"key {number}", CALL, conn_id=CONN_ID, origin=FIRST_TRY)
        assert (again.token, won) == (row["token"], False)


NUMBERS = ["+14155550123", "+12065550199", "100", "", None]
"""Whole ones, what an older version may have taken for one, and that of a call that was purged."""


def test_upgrade_to_lists_finds_the_calls_of_before_by_their_digits(ledger_url: str) -> None:
    move(ledger_url, "0002", up=True)
    insert_as_of_then(ledger_url, claimed(*NUMBERS), OF_LISTS | OF_ACCOUNTS | OF_RULES)
    ledger = CallLedger(ledger_url)
    for digits, number in (("0123", "+14155550123"), ("2065550199", "+12065550199"), ("100", "100")):
        found = ledger.lists.page_of_calls(CallFilter(digits=digits)).calls
        assert [call.to_number for call in found] == [number]
    assert len(ledger.lists.page_of_calls(CallFilter()).calls) == len(NUMBERS)
    # They are what a claim of today would store.
    stored = ledger._database.rows(select(calls.c.to_number, calls.c.to_number_end))
    today = {number: number_end(number) for number in NUMBERS}
    assert {row.to_number: row.to_number_end or None for row in stored} == today


def shape(url: str) -> dict[str, Any]:
    """Return the columns and the indexes of each table."""
    found = inspect(Database(url).engine)
    return {
        name: (
            {column["name"] for column in found.get_columns(name)},
            {index["name"]: index["column_names"] for index in found.get_indexes(name)},
        )
        for name in found.get_table_names()
        if name != VERSION_TABLE
    }


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004", "0005", "0006"])
def test_downgrade_leaves_the_version_before_with_every_call(ledger_url: str, revision: str) -> None:
    move(ledger_url, revision, up=True)
    before = shape(ledger_url)
    ledger = CallLedger(ledger_url)
    origin = replace(FIRST_TRY, campaign_id="c", position=1, attempt=1)
    entry = ledger.accept(claim(ledger, origin=origin), "call_1")
    complete(ledger, "call_1")
    campaign = ledger.campaigns.take("c", conn_id=CONN_ID, origin=origin)
    ledger.deliveries.note_rejection(CONN_ID, "the signature does not fit")
    move(ledger_url, revision, up=False)
    assert shape(ledger_url) == before
    columns = before["voiceinfra_calls"][0] - {"key_hash"}
    double = "INSERT INTO voiceinfra_calls (key_hash, {0}) SELECT 'x', {0} FROM voiceinfra_calls"
    with Database(ledger_url).engine.begin() as connection, pytest.raises(IntegrityError, match="call_id"):
        connection.execute(text(double.format(", ".join(columns))))
    assert Database(ledger_url).upgrade() is True
    if revision == "0001":
        origin = replace(origin, position=None, attempt=None)
    lost: dict[str, Any] = {**WITHOUT_ACCOUNT} if revision < "0004" else {}
    lost |= {} if revision >= "0005" else {"dialled_at": entry.renewed_at}
    assert ledger.call_by_key("key") == replace(entry, origin=origin, **lost)
    assert ledger.campaigns.get("c") == (None if revision == "0001" else campaign)
    assert ledger.completion("call_1") is not None
    assert [call.call_id for call in ledger.lists.page_of_calls(CallFilter(digits="0100")).calls] == [
        "call_1"
    ]
    assert (ledger.deliveries.rejections() == []) == (revision < "0003")
    test_migrations_build_what_the_schema_says(ledger, ledger_url)


def test_migration_that_fails_leaves_nothing_behind(ledger_url: str) -> None:
    # A table in its way makes the first migration fail half-way.
    engine = Database(ledger_url).engine
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE voiceinfra_deliveries (id INTEGER)"))
    with pytest.raises(LedgerUnavailableError, match="voiceinfra_deliveries"):
        CallLedger(ledger_url).check()
    assert tables(ledger_url) == {"voiceinfra_deliveries"}
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE voiceinfra_deliveries"))
    assert CallLedger(ledger_url).check() == HEAD_REVISION


def test_sqlite_file_is_in_wal_mode_with_full_durability(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    CallLedger(url).check()
    # The first use of a ledger that is up to date does not wait for writers.
    with Database(url).writing(), Database(url).reading() as connection:
        assert current_revision(connection) == HEAD_REVISION
        for name, value in (("journal_mode", "wal"), ("synchronous", 2), ("busy_timeout", 30_000)):
            assert connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() == value


def test_switch_to_wal_is_waited_for(tmp_path: Path) -> None:
    # SQLite refuses the switch at once while another connection writes, and does not mind the busy time-out.
    path = tmp_path / "ledger.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("CREATE TABLE other (id INTEGER)")
    writer.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        upgrading = pool.submit(CallLedger(f"sqlite:///{path}").upgrade)
        with pytest.raises(FutureTimeout):
            upgrading.result(timeout=0.3)  # it cannot have ended, however long one waits
        writer.execute("COMMIT")
        assert upgrading.result() is True
    writer.close()
