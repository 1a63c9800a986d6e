"""On PostgreSQL no process stops the others: neither one that is paused nor one that locks a table."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import psutil
import pytest
from harness.pgbouncer import PgBouncer
from sqlalchemy import Connection, create_engine, make_url, text

from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database import connect, migrate, postgres
from airflow_provider_voiceinfra.ledger.database.connect import Database, database
from airflow_provider_voiceinfra.ledger.database.pools import Pool
from airflow_provider_voiceinfra.ledger.records import Recorded
from tests.ledger.conftest import with_driver
from tests.ledger.examples import CALL, CONN_ID, claim, complete

Wait = Callable[[Callable[[], bool]], None]

PURGE_ALL = datetime(2100, 1, 1, tzinfo=timezone.utc)


@pytest.fixture(params=["psycopg", "psycopg2", "psycopg, pooled", "psycopg2, pooled"])
def url(request: pytest.FixtureRequest, postgres_database: str, pooled_url: Callable[[str], str]) -> str:
    """Return the URL of an empty database, with each driver, directly and through a pooler."""
    driver, _, pooled = request.param.partition(", ")
    return pooled_url(driver) if pooled else with_driver(postgres_database, driver)


@pytest.fixture
def direct(postgres_database: str) -> Iterator[Connection]:
    """Return a connection to the same database that is none of the ledger's."""
    engine = create_engine(postgres_database)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@contextmanager
def paused(url: str, begin: str, table: str, wait_until: Wait) -> Iterator[subprocess.Popen[str]]:
    """Run a process that is paused right after a statement, before its commit."""
    argv = [sys.executable, "-m", "tests.ledger.paused_process", url, begin, table]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        wait_until(
            lambda: (
                process.poll() is not None or psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
            )
        )
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def in_time(action: Callable[[], object]) -> object:
    """Return what an action returns; if it waits for ever, fail instead."""
    future: Future[object] = Future()

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:  # noqa: BLE001
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result(timeout=60)


class TestPausedProcess:
    def test_webhooks_go_on_while_one_that_stores_another_is_paused(self, url: str, wait_until: Wait) -> None:
        """It holds the counter that every webhook counts up, and that the receiver's health check tries."""
        ledger = CallLedger(url)
        ledger.check()
        with paused(url, "UPDATE", "counters", wait_until) as process:
            assert in_time(lambda: complete(ledger, "call_1")) is Recorded.NEW
            assert in_time(ledger.check)
            process.send_signal(signal.SIGCONT)
            said, _ = process.communicate(timeout=60)
        # What it could not commit it does not take for stored, so the vendor is asked to send it again.
        assert said.startswith("unavailable: The ledger's database cannot be used")
        assert ledger.completion("call_paused") is None
        assert complete(ledger, "call_paused") is Recorded.NEW

    def test_claim_goes_on_while_another_of_the_same_key_is_paused(self, url: str, wait_until: Wait) -> None:
        ledger = CallLedger(url)
        ledger.check()
        with paused(url, "INSERT", "calls", wait_until) as process:
            entry, won = in_time(lambda: ledger.claim("key", CALL, conn_id=CONN_ID))  # type: ignore[misc]
            assert won  # type: ignore[has-type]
            process.send_signal(signal.SIGCONT)
            said, _ = process.communicate(timeout=60)
        assert said.startswith("unavailable:")  # so it does not dial
        assert ledger.call_by_key("key") == entry  # type: ignore[has-type]

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
    @pytest.fixture
    def locked(self, direct: Connection) -> Callable[[str], None]:
        def locked(table: str) -> None:
            direct.execute(text(f"LOCK TABLE voiceinfra_{table} IN ACCESS EXCLUSIVE MODE"))

        return locked

    def test_who_needs_a_locked_table_is_told_so_instead_of_waiting_for_ever(
        self,
        url: str,
        locked: Callable[[str], None],
        direct: Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(postgres, "LOCK_TIMEOUT", 0.2)
        ledger = CallLedger(url)
        ledger.check()
        for table in ("counters", "calls", "completions"):
            locked(table)
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

    def test_part_of_a_process_may_wait_for_less_long(self, url: str, locked: Callable[[str], None]) -> None:
        ledger = CallLedger(url, Pool("receiver", lock_timeout=0.2))
        ledger.check()
        locked("counters")
        with pytest.raises(LedgerUnavailableError, match="lock timeout"):
            in_time(lambda: complete(ledger, "call_1"))

    def test_who_may_not_wait_for_long_does_not_wait_for_a_migration_either(
        self, url: str, direct: Connection
    ) -> None:
        direct.execute(text(f"SELECT pg_advisory_xact_lock({migrate._POSTGRES_LOCK})"))
        ledger = CallLedger(url, Pool("receiver", lock_timeout=0.2))
        with ThreadPoolExecutor(4) as pool:
            for waiting in [pool.submit(ledger.check) for _ in range(4)]:
                with pytest.raises(LedgerUnavailableError, match=r"lock timeout|being upgraded"):
                    waiting.result(timeout=60)
        direct.rollback()
        assert ledger.check()

    def test_purge_waits_as_long_as_it_needs(
        self, url: str, direct: Connection, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
    ) -> None:
        ledger = CallLedger(url)
        claim(ledger)
        monkeypatch.setattr(postgres, "LOCK_TIMEOUT", 0.05)
        monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT", 0.05)
        direct.execute(text("LOCK TABLE voiceinfra_calls IN EXCLUSIVE MODE"))
        watching = create_engine(direct.engine.url)
        with ThreadPoolExecutor(1) as pool, watching.connect() as watcher:
            purging = pool.submit(ledger.purge, PURGE_ALL)
            wait_until(lambda: waits_for(watcher) > timedelta(seconds=0.2) or purging.done())
            direct.rollback()
            assert purging.result(timeout=60).calls == 1
        watching.dispose()

    def test_migration_waits_as_long_as_it_needs(
        self, url: str, direct: Connection, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
    ) -> None:
        monkeypatch.setattr(postgres, "LOCK_TIMEOUT", 0.05)
        monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT", 0.05)
        direct.execute(text(f"SELECT pg_advisory_xact_lock({migrate._POSTGRES_LOCK})"))
        watching = create_engine(direct.engine.url)
        with ThreadPoolExecutor(1) as pool, watching.connect() as watcher:
            upgrading = pool.submit(CallLedger(url).upgrade)
            wait_until(lambda: waits_for(watcher) > timedelta(seconds=0.2) or upgrading.done())
            direct.rollback()
            assert upgrading.result(timeout=60) is True
        watching.dispose()


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
        with opened.engine.connect() as connection:
            assert limits(connection) == ["0", "0", "0"]

    def test_part_of_a_process_may_have_its_own(self, url: str) -> None:
        opened = database(url, Pool("pages", lock_timeout=2, read_timeout=20))
        with opened.reading() as connection:
            assert limits(connection) == ["30min", "2s", "20s"]

    def test_server_that_is_gone_is_noticed(self, postgres_ledger_url: str) -> None:
        engine = database(postgres_ledger_url).engine
        with engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert raw
            used = (
                raw.get_dsn_parameters() if engine.dialect.driver == "psycopg2" else raw.info.get_parameters()
            )
        wanted = {
            "keepalives": "1",
            "keepalives_idle": "10",
            "tcp_user_timeout": "20000",
            "connect_timeout": "10",
        }
        assert {name: used.get(name) for name in wanted} == wanted

    def test_what_the_url_says_of_it_counts(self, postgres_ledger_url: str) -> None:
        url = make_url(postgres_ledger_url).update_query_dict(
            {"keepalives_idle": "7", "connect_timeout": "3"}
        )
        engine = Database(url.render_as_string(hide_password=False)).engine
        with engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert raw
            used = (
                raw.get_dsn_parameters() if engine.dialect.driver == "psycopg2" else raw.info.get_parameters()
            )
        engine.dispose()
        assert (used["keepalives_idle"], used["connect_timeout"]) == ("7", "3")


class TestPools:
    def test_one_part_of_a_process_cannot_use_up_the_connections_of_another(self, ledger_url: str) -> None:
        receiver = Pool("receiver", connections=1, wait=0.05)
        ledger, shared = CallLedger(ledger_url, receiver), CallLedger(ledger_url)
        ledger.check()
        with database(ledger_url, receiver).reading():
            with pytest.raises(LedgerUnavailableError):
                ledger.call_by_key("key")
            assert shared.call_by_key("key") is None
        assert ledger.call_by_key("key") is None

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
    keys = [f"key {number}" for number in range(800)]
    with ThreadPoolExecutor(10) as pool:
        won = list(pool.map(lambda key: ledger.claim(key, CALL, conn_id=CONN_ID)[1], keys))
    assert all(won)
    assert len(ledger.calls(limit=1000)) == 800
