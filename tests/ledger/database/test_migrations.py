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
from sqlalchemy import Connection, MetaData, Table, create_engine, inspect, select, text
from sqlalchemy.exc import IntegrityError

from airflow_provider_voiceinfra import ledger as ledger_package
from airflow_provider_voiceinfra.exceptions import LedgerError, LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.connect import Database
from airflow_provider_voiceinfra.ledger.database.migrate import current_revision
from airflow_provider_voiceinfra.ledger.database.schema import HEAD_REVISION, VERSION_TABLE, calls, metadata
from airflow_provider_voiceinfra.ledger.lists.values import CallFilter
from airflow_provider_voiceinfra.ledger.rows import new_claim, number_end
from tests.ledger.examples import CALL, CONN_ID, FIRST_TRY, claim, complete

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
    engine = create_engine(url)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names


def test_migrations_build_what_the_schema_says(ledger: CallLedger, ledger_url: str) -> None:
    ledger.upgrade()
    engine = create_engine(ledger_url)
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_head_revision_is_the_newest_migration() -> None:
    scripts = ScriptDirectory.from_config(config())
    assert scripts.get_heads() == [HEAD_REVISION]
    assert all(
        (SCRIPTS / "versions" / Path(script.path).name).exists() for script in scripts.walk_revisions()
    )


def test_upgrade_says_whether_anything_had_to_be_done(ledger: CallLedger) -> None:
    assert ledger.upgrade() is True
    assert ledger.upgrade() is False


def test_first_use_creates_the_tables(ledger: CallLedger, ledger_url: str) -> None:
    assert tables(ledger_url) == set()
    assert ledger.check() == HEAD_REVISION
    assert tables(ledger_url) == {*metadata.tables, VERSION_TABLE}


def test_processes_that_start_together_migrate_once(ledger_url: str) -> None:
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER, ledger_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for starter in starters:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("go\n")
        starter.stdin.flush()
    said = [starter.communicate(timeout=60)[0].strip() for starter in starters]
    assert sorted(said) == ["False"] * 7 + ["True"]
    assert [starter.returncode for starter in starters] == [0] * 8
    with Database(ledger_url).reading() as connection:
        assert connection.execute(text("SELECT value FROM voiceinfra_counters")).scalars().all() == [0]


def test_newer_schema_is_refused_with_what_to_do(ledger: CallLedger, ledger_url: str) -> None:
    claim(ledger)
    with Database(ledger_url).writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    old_version = Database(ledger_url)  # as a process of an older version would open it
    with pytest.raises(
        LedgerError, match="install the newer airflow-provider-voiceinfra everywhere"
    ) as caught:
        old_version.upgrade()
    assert not isinstance(caught.value, LedgerUnavailableError)
    assert HEAD_REVISION in str(caught.value)
    with pytest.raises(LedgerError, match="does not know"), old_version.reading():
        pass
    assert tables(ledger_url) == {*metadata.tables, VERSION_TABLE}


def test_downgrade_removes_what_was_made(ledger: CallLedger, ledger_url: str) -> None:
    ledger.upgrade()
    downgrading = config()
    with Database(ledger_url).engine.begin() as connection:
        downgrading.attributes["connection"] = connection
        command.downgrade(downgrading, "base")
        assert current_revision(connection) is None
    assert tables(ledger_url) <= {VERSION_TABLE}
    assert Database(ledger_url).upgrade() is True


def move(url: str, revision: str, *, up: bool) -> None:
    """Bring a schema to some revision."""
    moving = config()
    with Database(url).engine.begin() as connection:
        moving.attributes["connection"] = connection
        (command.upgrade if up else command.downgrade)(moving, revision)


def table(name: str, connection: Connection) -> Table:
    """Return a table as it is in the database, which may be of an older version than the schema."""
    return Table(f"voiceinfra_{name}", MetaData(), autoload_with=connection)


def insert_as_of_then(url: str, rows: list[dict[str, Any]], without: set[str]) -> None:
    """Insert calls as a version did that did not know some columns yet."""
    with Database(url).engine.begin() as connection:
        found = table("calls", connection)
        assert {column.name for column in calls.c} - {column.name for column in found.c} == without
        known = [{name: value for name, value in row.items() if name not in without} for row in rows]
        # Their types are those of today's schema, which turns moments into what is stored.
        types = {column.name: column.type for column in calls.c}
        for column in found.c:
            column.type = types[column.name]
        connection.execute(found.insert(), [{"answered_at": None, **row} for row in known])


def three_calls() -> list[dict[str, Any]]:
    """Return a claimed call, an accepted one, and another claimed one."""
    rows = [new_claim(f"key {number}", CALL.to_request(), CONN_ID, FIRST_TRY) for number in range(3)]
    rows[1] |= {"state": "accepted", "call_id": "call_1", "answered_at": rows[1]["claimed_at"]}
    return rows


OF_CAMPAIGNS = {"position", "attempt"}
OF_LISTS = {"to_number_end"}
OF_ACCOUNTS = {"account", "sent_after", "sent_at"}
WITHOUT_ACCOUNT: dict[str, Any] = dict.fromkeys(OF_ACCOUNTS)


@pytest.mark.parametrize(
    ("revision", "without"),
    [
        ("0001", OF_CAMPAIGNS | OF_LISTS | OF_ACCOUNTS),
        ("0002", OF_LISTS | OF_ACCOUNTS),
        ("0003", OF_ACCOUNTS),
    ],
    ids=["0001", "0002", "0003"],
)
def test_upgrade_keeps_every_call(ledger_url: str, revision: str, without: set[str]) -> None:
    move(ledger_url, revision, up=True)
    rows = three_calls()
    insert_as_of_then(ledger_url, rows, without)
    ledger = CallLedger(ledger_url)
    complete(ledger, "call_1")
    entry = ledger.call_by_id("call_1")
    assert entry is not None
    assert (entry.key_hash, entry.origin) == (rows[1]["key_hash"], FIRST_TRY)
    for number, row in enumerate(rows):
        again, won = ledger.claim(f"key {number}", CALL, conn_id=CONN_ID, origin=FIRST_TRY)
        assert (again.token, won) == (row["token"], False)


def test_downgrade_from_campaigns_keeps_every_call(ledger: CallLedger, ledger_url: str) -> None:
    origin = replace(FIRST_TRY, campaign_id="c", position=1, attempt=1)
    entry = ledger.accept(claim(ledger, origin=origin), "call_1")
    complete(ledger, "call_1")
    move(ledger_url, "0001", up=False)
    assert "voiceinfra_contacts" not in tables(ledger_url)
    engine = create_engine(ledger_url)
    columns = {column["name"] for column in inspect(engine).get_columns("voiceinfra_calls")}
    assert columns == {column.name for column in calls.c} - OF_CAMPAIGNS - OF_LISTS - OF_ACCOUNTS
    double = "INSERT INTO voiceinfra_calls (key_hash, {0}) SELECT 'x', {0} FROM voiceinfra_calls"
    with engine.begin() as connection, pytest.raises(IntegrityError, match="call_id"):
        connection.execute(text(double.format(", ".join(columns - {"key_hash"}))))
    engine.dispose()
    upgraded = Database(ledger_url)
    assert upgraded.upgrade() is True
    before = replace(entry, origin=replace(origin, position=None, attempt=None))
    assert ledger.call_by_key("key") == replace(before, **WITHOUT_ACCOUNT)
    assert ledger.completion("call_1") is not None
    test_migrations_build_what_the_schema_says(ledger, ledger_url)


NUMBERS = ["+14155550123", "+12065550199", "100", "", None]
"""Whole ones, what an older version may have taken for one, and that of a call that was purged."""


def of_numbers() -> list[dict[str, Any]]:
    return [
        {**new_claim(f"key {at}", CALL.to_request(), CONN_ID, FIRST_TRY), "to_number": number}
        for at, number in enumerate(NUMBERS)
    ]


def test_upgrade_to_lists_finds_the_calls_of_before_by_their_digits(ledger_url: str) -> None:
    move(ledger_url, "0002", up=True)
    insert_as_of_then(ledger_url, of_numbers(), OF_LISTS | OF_ACCOUNTS)
    ledger = CallLedger(ledger_url)
    for digits, number in (("0123", "+14155550123"), ("2065550199", "+12065550199"), ("100", "100")):
        found = ledger.lists.page_of_calls(CallFilter(digits=digits)).calls
        assert [call.to_number for call in found] == [number]
    assert len(ledger.lists.page_of_calls(CallFilter()).calls) == len(NUMBERS)
    # They are what a claim of today would store.
    with Database(ledger_url).reading() as connection:
        stored = connection.execute(select(calls.c.to_number, calls.c.to_number_end)).all()
    today = {number: number_end(number) for number in NUMBERS}
    assert {number: end or None for number, end in stored} == today


def indexes(url: str) -> dict[str, dict[str | None, list[str | None]]]:
    """Return the columns of each index, by table."""
    engine = create_engine(url)
    found = inspect(engine)
    names = [name for name in found.get_table_names() if name.startswith("voiceinfra_")]
    each = {name: {one["name"]: one["column_names"] for one in found.get_indexes(name)} for name in names}
    engine.dispose()
    return each


def test_downgrade_from_lists_leaves_the_version_before_with_every_row(ledger_url: str) -> None:
    move(ledger_url, "0002", up=True)
    fresh = indexes(ledger_url)
    ledger = CallLedger(ledger_url)
    origin = replace(FIRST_TRY, campaign_id="c", position=1, attempt=1)
    entry = ledger.accept(claim(ledger, origin=origin), "call_1")
    complete(ledger, "call_1")
    campaign = ledger.campaigns.take("c", conn_id=CONN_ID, origin=origin)
    ledger.deliveries.note_rejection(CONN_ID, "the signature does not fit")
    move(ledger_url, "0002", up=False)
    assert indexes(ledger_url) == fresh
    assert Database(ledger_url).upgrade() is True
    before = replace(entry, **WITHOUT_ACCOUNT)
    assert (ledger.call_by_key("key"), ledger.campaigns.get("c")) == (before, campaign)
    assert ledger.completion("call_1") is not None
    assert [call.call_id for call in ledger.lists.page_of_calls(CallFilter(digits="0100")).calls] == [
        "call_1"
    ]
    assert ledger.deliveries.rejections() == []
    test_migrations_build_what_the_schema_says(ledger, ledger_url)


def test_migration_that_fails_leaves_nothing_behind(ledger_url: str) -> None:
    # A table in its way makes the first migration fail half-way.
    engine = create_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE voiceinfra_deliveries (id INTEGER)"))
    with pytest.raises(LedgerUnavailableError, match="voiceinfra_deliveries"):
        CallLedger(ledger_url).check()
    assert tables(ledger_url) == {"voiceinfra_deliveries"}
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE voiceinfra_deliveries"))
    engine.dispose()
    assert CallLedger(ledger_url).check() == HEAD_REVISION


def test_sqlite_file_is_in_wal_mode_with_full_durability(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    CallLedger(url).check()
    with Database(url).reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 30_000


def test_first_use_of_a_ledger_that_is_up_to_date_does_not_wait_for_writers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    CallLedger(url).check()
    with Database(url).writing(), Database(url).reading() as connection:
        assert current_revision(connection) == HEAD_REVISION


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
