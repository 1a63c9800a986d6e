"""On PostgreSQL no process stops the others: neither one that is paused nor one that locks a table."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import psutil
import pytest
from harness.pgbouncer import PgBouncer
from sqlalchemy import Connection, create_engine, text

from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database import connect, migrate, postgres
from airflow_provider_voiceinfra.ledger.database.connect import Database, database
from airflow_provider_voiceinfra.ledger.database.pools import Pool
from airflow_provider_voiceinfra.ledger.webhooks.records import Recorded
from tests.ledger.conftest import with_driver
from tests.ledger.examples import claim, complete, purge_all
from tests.support.waiting import until

Result = TypeVar("Result")
HOLD_MIGRATIONS = text(f"SELECT pg_advisory_xact_lock({migrate._POSTGRES_LOCK})")


@pytest.fixture(params=["psycopg", "psycopg2", "psycopg, pooled"])
def url(request: pytest.FixtureRequest, postgres_database: str, pooled_url: Callable[[str], str]) -> str:
    """Return the URL of an empty database, with each driver, and with one through a pooler."""
    driver, _, pooled = request.param.partition(", ")
    return pooled_url(driver) if pooled else with_driver(postgres_database, driver)


@pytest.fixture
def ledger(url: str) -> CallLedger:
    ledger = CallLedger(url)
    ledger.check()
    return ledger


@pytest.fixture
def direct(postgres_database: str) -> Iterator[Connection]:
    """Return a connection to the same database that is none of the ledger's."""
    engine = create_engine(postgres_database)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@contextmanager
def paused(url: str, begin: str, table: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that is paused right after a statement, before its commit."""
    argv = [sys.executable, "-m", "tests.ledger.paused_process", url, begin, table]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: process.poll() is not None or psutil.Process(process.pid).status() == "stopped")
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def in_time(action: Callable[[], Result]) -> Result:
    """Return what an action returns; if it waits for ever, fail instead."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(action).result(timeout=60)
    finally:
        pool.shutdown(wait=False)


def goes_on(process: subprocess.Popen[str]) -> str:
    """Let a paused process go on, and return what it says."""
    process.send_signal(signal.SIGCONT)
    return process.communicate(timeout=60)[0]


class TestPausedProcess:
    def test_webhooks_go_on_while_storing_another_is_paused(self, ledger: CallLedger, url: str) -> None:
        """It holds the counter that every webhook counts up, and that the receiver's health check tries."""
        with paused(url, "UPDATE", "counters") as process:
            assert in_time(lambda: complete(ledger, "call_1")) is Recorded.NEW
            assert in_time(ledger.check)
            # What it could not commit it does not take for stored, so the vendor is asked to send it again.
            assert goes_on(process).startswith("unavailable: The ledger's database cannot be used")
        assert ledger.completion("call_paused") is None
        assert complete(ledger, "call_paused") is Recorded.NEW

    def test_claim_goes_on_while_another_of_its_key_is_paused(self, ledger: CallLedger, url: str) -> None:
        with paused(url, "INSERT", "calls") as process:
            entry = in_time(lambda: claim(ledger))
            assert goes_on(process).startswith("unavailable:")  # so it does not dial
        assert ledger.call_by_key("key") == entry

    def test_migration_that_is_paused_does_not_keep_the_others_waiting(
        self, url: str, direct: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(migrate, "_IDLE_TIMEOUT", 0.5)
        run = migrate._run_alembic

        def stand_still(connection: Connection) -> None:
            monkeypatch.setattr(migrate, "_run_alembic", run)
            monkeypatch.setattr(migrate, "_IDLE_TIMEOUT", 60.0)
            assert in_time(CallLedger(url).check)
            run(connection)

        monkeypatch.setattr(migrate, "_run_alembic", stand_still)
        with pytest.raises(LedgerUnavailableError):
            Database(url).upgrade()


class TestLockedTables:
    @pytest.mark.parametrize("of_pool", [True, False])
    def test_who_needs_a_locked_table_is_told_so_instead_of_waiting_for_ever(
        self, ledger: CallLedger, direct: Connection, of_pool: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if of_pool:  # a part of a process may wait for less long
            ledger = ledger.with_pool(Pool("receiver", lock_timeout=0.1))
            ledger.check()
        else:
            monkeypatch.setattr(postgres, "LOCK_TIMEOUT", 0.1)
        for table in ("counters", "calls", "completions"):
            direct.execute(text(f"LOCK TABLE voiceinfra_{table} IN ACCESS EXCLUSIVE MODE"))
        uses: list[Callable[[], object]] = [
            ledger.check,
            lambda: complete(ledger, "call_1"),
            lambda: claim(ledger),
            lambda: ledger.call_by_key("key"),
            lambda: ledger.completion("call_1"),
        ]
        for use in uses:
            with pytest.raises(LedgerUnavailableError, match="lock timeout"):
                in_time(use)
        direct.rollback()
        assert ledger.call_by_key("key") is None
        assert complete(ledger, "call_1") is Recorded.NEW

    def test_who_may_not_wait_does_not_wait_for_a_migration(self, url: str, direct: Connection) -> None:
        direct.execute(HOLD_MIGRATIONS)
        ledger = CallLedger(url, Pool("receiver", lock_timeout=0.2))
        with ThreadPoolExecutor(4) as pool:
            for waiting in [pool.submit(ledger.check) for _ in range(4)]:
                with pytest.raises(LedgerUnavailableError, match=r"lock timeout|being upgraded"):
                    waiting.result(timeout=60)
        direct.rollback()
        assert ledger.check()

    @pytest.mark.parametrize("waiting", ["purge", "migration"])
    def test_who_may_takes_as_long_as_it_needs(
        self, url: str, direct: Connection, waiting: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ledger = CallLedger(url)
        if waiting == "purge":
            claim(ledger)
            direct.execute(text("LOCK TABLE voiceinfra_calls IN EXCLUSIVE MODE"))
        else:
            direct.execute(HOLD_MIGRATIONS)
        monkeypatch.setattr(postgres, "LOCK_TIMEOUT", 0.05)
        monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT", 0.05)
        with ThreadPoolExecutor(1) as pool, direct.engine.connect() as watcher:
            done = pool.submit(lambda: purge_all(ledger).calls if waiting == "purge" else ledger.upgrade())
            until(lambda: waits_for(watcher) > timedelta(seconds=0.2) or done.done())
            direct.rollback()
            assert done.result(timeout=60)


def waits_for(connection: Connection) -> timedelta:
    """Return for how long some session has been waiting for a lock."""
    query = (
        "SELECT coalesce(max(clock_timestamp() - query_start), interval '0') FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    waited: timedelta = connection.execute(text(query)).scalar_one()
    connection.commit()
    return waited


NAMES = ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout")


def limits(connection: Connection) -> list[str]:
    return [str(connection.exec_driver_sql(f"SHOW {name}").scalar_one()) for name in NAMES]


def parameters(url: str) -> dict[str, str]:
    """Return what the driver passes on to the server's library."""
    with database(url).engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        return dict(raw.get_dsn_parameters() if "psycopg2" in url else raw.info.get_parameters())


class TestLimits:
    def test_each_transaction_has_them_and_the_session_has_none(self, url: str, pgbouncer: PgBouncer) -> None:
        """A pooler gives the session to others, who may be no part of this package."""
        opened = database(url)
        for _ in range(3):
            with opened.writing() as connection:
                assert limits(connection) == ["5s", "20s", "1min"]
            with opened.reading() as connection:
                assert limits(connection) == ["30min", "20s", "0"]  # a long read is not cut
            with opened.writing(unhurried=True) as connection:
                assert limits(connection) == ["5s", "0", "0"]
        with database(url, Pool("pages", lock_timeout=2, read_timeout=20)).reading() as connection:
            assert limits(connection) == ["30min", "2s", "20s"]  # a part of a process may have its own
        with opened.engine.connect() as connection:
            assert limits(connection) == ["0", "0", "0"]

    def test_server_that_is_gone_is_noticed(self, postgres_ledger_url: str) -> None:
        used = parameters(postgres_ledger_url)
        assert (used["keepalives"], used["keepalives_idle"]) == ("1", "10")
        assert (used["tcp_user_timeout"], used["connect_timeout"]) == ("20000", "10")
        # What the URL says of it counts.
        used = parameters(f"{postgres_ledger_url}?keepalives_idle=7&connect_timeout=3")
        assert (used["keepalives_idle"], used["connect_timeout"]) == ("7", "3")


class TestPools:
    def test_pool_is_shared_by_those_who_name_it(self, ledger_url: str) -> None:
        assert database(ledger_url, Pool("pages")) is database(ledger_url, Pool("pages"))
        assert database(ledger_url, Pool("pages")) is not database(ledger_url)

    def test_sqlite_waits_for_as_long_as_the_pool_says(
        self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = f"sqlite:///{tmp_path_factory.mktemp('pools') / 'ledger.db'}"
        for pool, expected in ((Pool(), connect.BUSY_TIMEOUT), (Pool("receiver", lock_timeout=2.5), 2.5)):
            with database(url, pool).reading() as connection:
                timeout = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
            assert timeout == expected * 1000


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_pooler_in_transaction_mode_serves_many_claims(pooled_url: Callable[[str], str], driver: str) -> None:
    """psycopg prepares a statement that it has seen some times, in a session that the next one is not in."""
    ledger = CallLedger(pooled_url(driver))
    ledger.check()
    with ThreadPoolExecutor(10) as pool:
        assert len(list(pool.map(lambda number: claim(ledger, f"key {number}"), range(300)))) == 300
    assert len(ledger.calls(limit=1000)) == 300
