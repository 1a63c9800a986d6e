"""A ledger that cannot be used says so, loses nothing, survives forks, and forgets people but never calls."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import create_engine, exc, text

from airflow_provider_voiceinfra.exceptions import ConfigurationError, LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.database import connect
from airflow_provider_voiceinfra.ledger.database.connect import Database, database
from airflow_provider_voiceinfra.ledger.database.pools import Pool
from airflow_provider_voiceinfra.ledger.database.schema import HEAD_REVISION, UtcDateTime, calls
from airflow_provider_voiceinfra.ledger.lists.values import CallFilter
from airflow_provider_voiceinfra.ledger.records import CallOrigin, CallState
from airflow_provider_voiceinfra.ledger.retention.purging import Purged
from airflow_provider_voiceinfra.ledger.rows import now
from airflow_provider_voiceinfra.ledger.webhooks.records import Recorded
from tests.ledger.conftest import ON_POSTGRES
from tests.ledger.examples import (
    CALL,
    CONN_ID,
    FIRST_TRY,
    campaign,
    claim,
    complete,
    execute,
    purge_all,
    unknown,
)
from tests.ledger.racing import Rival
from tests.support.completions import keep_delivery


@pytest.fixture
def new_url(tmp_path: Path) -> str:
    """Return the URL of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


class TestCheck:
    def test_check_returns_the_revision_and_changes_nothing(self, ledger: CallLedger) -> None:
        assert ledger.check() == HEAD_REVISION
        complete(ledger, "call_1")
        assert ledger.last_sequence() == 1

    def test_creating_a_ledger_opens_nothing(self, tmp_path: Path, new_url: str) -> None:
        CallLedger(new_url)
        assert list(tmp_path.iterdir()) == []


class TestUnusable:
    """Each way in which a database can fail ends in the one error, which says what to look at."""

    @pytest.mark.parametrize("use", ["check", "upgrade", "claim"])
    def test_server_that_does_not_answer(self, use: str) -> None:
        pytest.importorskip("psycopg2")
        ledger = CallLedger("postgresql://user:hunter2@127.0.0.1:1/ledger")
        with pytest.raises(LedgerUnavailableError) as caught:
            claim(ledger) if use == "claim" else getattr(ledger, use)()
        assert "[voiceinfra] sql_alchemy_conn" in str(caught.value)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize(
        ("name", "message"), [("nowhere/ledger.db", "unable to open database file"), ("x", "not a database")]
    )
    def test_file_that_is_no_database(self, tmp_path: Path, name: str, message: str) -> None:
        (tmp_path / "x").write_bytes(b"no database" * 1000)
        with pytest.raises(LedgerUnavailableError, match=message):
            CallLedger(f"sqlite:///{tmp_path / name}").check()

    def test_database_that_another_holds_for_long(
        self, new_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connect, "BUSY_TIMEOUT", 0.05)
        ledger = CallLedger(new_url)
        entry = claim(ledger)
        with Database(new_url).writing():
            with pytest.raises(LedgerUnavailableError, match="locked"):
                ledger.accept(entry, "call_1")
            assert ledger.call_by_key("key") == entry  # reading goes on
        assert ledger.accept(entry, "call_1").call_id == "call_1"

    def test_file_that_may_only_be_read(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.db"
        entry = claim(CallLedger(f"sqlite:///{path}"))
        # Nobody may be kept from writing if they are root, so SQLite is told.
        ledger = CallLedger(f"sqlite:///file:{path}?mode=ro&uri=true")
        with pytest.raises(LedgerUnavailableError, match="readonly database"):
            ledger.claim("key", CALL, conn_id=CONN_ID)
        assert ledger.call_by_key("key") == entry

    def test_disk_that_is_full(self, new_url: str) -> None:
        ledger = CallLedger(new_url)
        ledger.check()
        [[pages]] = ledger._database.rows(text("PRAGMA page_count"))
        execute(ledger, text(f"PRAGMA max_page_count = {pages}"))
        with pytest.raises(LedgerUnavailableError, match="full"):
            complete(ledger, "call_1", transcript="x" * 100_000)
        assert ledger.completion("call_1") is None
        execute(ledger, text("PRAGMA max_page_count = 1000000"))
        assert complete(ledger, "call_1", transcript="x" * 100_000) is Recorded.NEW

    @ON_POSTGRES
    def test_account_without_the_rights(self, ledger: CallLedger, ledger_url: str) -> None:
        claim(ledger)
        role = f"reader_{os.getpid()}"
        grant = f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
        execute(ledger, text(f"CREATE ROLE {role} LOGIN"), text(grant))
        try:
            reader = CallLedger(ledger_url.replace("postgres@", f"{role}@"))
            with pytest.raises(LedgerUnavailableError, match="permission denied for table voiceinfra_calls"):
                claim(reader, "another")
            assert reader.call_by_key("key") is not None
        finally:
            execute(ledger, text(f"DROP OWNED BY {role}"), text(f"DROP ROLE {role}"))

    @ON_POSTGRES
    def test_connections_that_the_server_ended_are_replaced(
        self, ledger: CallLedger, ledger_url: str
    ) -> None:
        entry = claim(ledger)
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
        Database(ledger_url).rows(text(end))
        assert ledger.accept(entry, "call_1").call_id == "call_1"

    def test_error_holds_neither_values_nor_numbers(self, ledger: CallLedger) -> None:
        execute(ledger, text("DROP TABLE voiceinfra_calls"))
        with pytest.raises(LedgerUnavailableError) as caught:
            claim(ledger, f"key {CALL.to_number}")
        shown = "".join(traceback.format_exception(caught.value))
        assert "voiceinfra_calls" in shown
        assert "415555" not in shown

    def test_body_of_a_transaction_that_fails_is_undone(self, ledger: CallLedger) -> None:
        entry = claim(ledger)
        with pytest.raises(ZeroDivisionError), ledger._database.writing() as connection:
            assert connection.execute(calls.delete()).rowcount / 0
        assert ledger.call_by_key("key") == entry


class TestUrl:
    def test_sqlite_that_is_too_old_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connect, "OLDEST_SQLITE", (99, 0))
        with pytest.raises(ConfigurationError, match=r"takes 3\.35 or newer"):
            CallLedger(f"sqlite:///{tmp_path}/ledger.db")

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("hunter2", "is not a database URL"),
            ("postgresql://user:hunter2@host:hunter2/ledger", "is not a database URL"),
            ("nosuch+driver://user:hunter2@host/ledger", "kept in PostgreSQL"),
            ("oracle://user:hunter2@host/ledger", "kept in PostgreSQL"),
            ("mysql+pymysql://user:hunter2@host/ledger", "kept in PostgreSQL"),
            ("postgresql+nosuch://user:hunter2@host/ledger", "whose driver is not installed"),
            ("postgresql+pg8000://user:hunter2@host/ledger", "driver"),
            ("postgresql+asyncpg://user:hunter2@host/ledger", "asynchronous driver"),
            ("sqlite+aiosqlite:////tmp/ledger.db", "asynchronous driver"),
            ("sqlite://", "in memory"),
            ("sqlite:///:memory:", "in memory"),
            ("sqlite:///file::memory:?uri=true", "in memory"),
            ("sqlite:///file:shared?mode=memory&cache=shared&uri=true", "in memory"),
            ("sqlite:///file:/x/m.db?mode=memory&mode=ro&uri=true", "in memory"),
            ("sqlite:///file:/x/m.db?mode=ro&mode=Memory&uri=true", "in memory"),
            ("sqlite:///file:/x/m.db?vfs=memdb&uri=true", "vfs"),
            ("sqlite:///file:/x/m.db?vfs=unix&vfs=memdb&uri=true", "vfs"),
            ("sqlite:///ledger.db", "'ledger.db' by a relative path"),
            ("sqlite:///ledger.db", "sqlite:////path/to/ledger.db"),
            ("sqlite:///./ledger.db", "sqlite:////path/to/ledger.db"),
            ("sqlite:///../data/ledger.db", "sqlite:////path/to/ledger.db"),
            ("sqlite:///~/ledger.db", "sqlite:////path/to/ledger.db"),
            ("sqlite+pysqlite:///ledger.db", "sqlite:////path/to/ledger.db"),
            ("sqlite:///file:ledger.db?uri=true", "sqlite:////path/to/ledger.db"),
        ],
    )
    def test_unusable_url_is_refused_without_its_password(
        self, tmp_path: Path, url: str, message: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigurationError) as caught:
            CallLedger(url).check()
        # Two working directories would be two ledgers, and one key would ring twice.
        assert list(tmp_path.iterdir()) == []
        assert message in str(caught.value)
        assert "[voiceinfra] sql_alchemy_conn" in str(caught.value)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize(
        "url", ["sqlite:///{}", "sqlite:///file:{}?uri=true", "sqlite:///file://{}?uri=true"]
    )
    def test_absolute_path_is_taken(self, tmp_path: Path, url: str) -> None:
        assert CallLedger(url.format(tmp_path / "ledger.db")).check() == HEAD_REVISION
        assert (tmp_path / "ledger.db").exists()

    @pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
    @pytest.mark.parametrize(
        ("installed", "taken"),
        # Of two that are installed, the one that writes no values into statements.
        [(("psycopg", "psycopg2"), "psycopg"), (("psycopg2",), "psycopg2")],
    )
    def test_driver_of_postgresql_may_be_left_out(
        self,
        fresh_postgres_url: str,
        scheme: str,
        installed: tuple[str, ...],
        taken: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name in installed or None)
        url = fresh_postgres_url.replace("postgresql+psycopg2:", f"{scheme}:")
        assert CallLedger(url).check() == HEAD_REVISION
        assert database(url).engine.dialect.driver == taken

    def test_missing_driver_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        remedies = r"pip install '\.\[postgres\]' in a clone .*, or pip install 'psycopg\[bin"
        with pytest.raises(ConfigurationError, match=remedies):
            CallLedger("postgresql://host/another_ledger")


def in_child(action: Callable[[], object]) -> str:
    """Run something in a fork of this process and return what it says."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        # Nothing of pytest's may run in the child, whatever happens.
        try:
            said = str(action())
        except BaseException as error:  # noqa: BLE001
            said = repr(error)
        os.write(into, said.encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as reader:
        said = reader.read()
    os.waitpid(child, 0)
    return said


class TestFork:
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_child_uses_connections_of_its_own(self, ledger: CallLedger, ledger_url: str) -> None:
        entry = claim(ledger)
        with database(ledger_url).reading() as connection:
            parents = connection.connection.dbapi_connection

        def child() -> str:
            with database(ledger_url).reading() as connection:
                assert connection.connection.dbapi_connection is not parents
            # A ledger that was made before the fork must not go on with its parent's connections either.
            assert ledger.call_by_key("key") == entry
            return ledger.accept(entry, "call_1").state.value

        assert in_child(child) == "accepted"
        # The child's end closes nothing that the parent uses.
        assert ledger.call_by_id("call_1") is not None
        assert complete(ledger, "call_1") is Recorded.NEW

    def test_child_leaves_the_parents_connections_open(self, ledger: CallLedger, ledger_url: str) -> None:
        entry = claim(ledger)
        with database(ledger_url).reading() as parents:
            connect._after_fork()  # as in a child; here the parent's connections can be looked at as well
            assert ledger.accept(entry, "call_1").call_id == "call_1"
            assert parents.execute(calls.select()).all()

    def test_connections_of_one_part_are_not_used_up_by_another(self, ledger_url: str) -> None:
        pool = Pool("one", 2, wait=0.05)
        one = CallLedger(ledger_url, pool)
        other = one.with_pool(Pool("other", 1))
        entry = claim(one)
        mine = database(ledger_url, pool)
        with mine.reading(), mine.reading():
            with pytest.raises(LedgerUnavailableError):
                one.call_by_key("key")
            assert other.call_by_key("key") == entry
            assert CallLedger(ledger_url).call_by_key("key") == entry

    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_fork_while_a_ledger_is_opened_hangs_no_child(self, ledger: CallLedger, ledger_url: str) -> None:
        # The child has no thread that would ever release them.
        lock = database(ledger_url)._lock
        with connect._databases_lock, lock:
            assert in_child(lambda: (database(ledger_url), ledger.check())[1]) == HEAD_REVISION


def begin_campaign(ledger: CallLedger, campaign_id: str) -> str:
    """Run a campaign with a contact and a row that is left out; return the runner."""
    runner = str(ledger.campaigns.take(campaign_id, conn_id=CONN_ID, origin=FIRST_TRY).runner)
    contact = ContactEntry(0, 1, CALL.to_number, CALL.to_request(), None)
    left_out = ContactEntry(0, 2, None, None, None, "invalid", "to_number is missing")
    ledger.campaigns.load_contacts(campaign_id, [contact, left_out], loaded_by="somebody", runner=runner)
    return runner


class TestPurge:
    def test_personal_data_goes_and_a_tombstone_stays(self, ledger: CallLedger, ledger_url: str) -> None:
        accepted = ledger.accept(claim(ledger, "key of +14155550100"), "call_1")
        complete(ledger, "call_1")
        keep_delivery(ledger, b"+14155550100", conn_id=CONN_ID, reason="x")
        begin_campaign(ledger, "campaign")
        assert len(ledger.lists.page_of_calls(CallFilter(digits="0100")).calls) == 1
        assert purge_all(ledger) == Purged(calls=1, completions=1, deliveries=1, contacts=2)
        assert purge_all(ledger).calls == 0
        entry = ledger.call_by_id("call_1")
        assert entry is not None
        assert (entry.key_hash, entry.state) == (accepted.key_hash, CallState.ACCEPTED)
        assert entry.purged_at is not None
        assert ledger.completion("call_1") is None
        assert ledger.deliveries.kept() == []
        assert ledger.lists.page_of_calls(CallFilter(digits="0100")).calls == []
        assert len(ledger.lists.page_of_calls(CallFilter()).calls) == 1
        with database(ledger_url).reading() as connection:
            for table in ("calls", "completions", "deliveries", "campaigns", "contacts"):
                rows = connection.execute(text(f"SELECT * FROM voiceinfra_{table}")).all()
                assert "415555" not in repr(rows)

    def test_younger_ones_stay(self, ledger: CallLedger) -> None:
        entry = unknown(ledger)
        complete(ledger, "call_1")
        begin_campaign(ledger, "campaign")
        assert ledger.purge(now() - timedelta(days=1)) == Purged(0, 0, 0, 0)
        assert ledger.call_by_key("key") == entry
        assert ledger.completion("call_1") is not None
        assert len(list(ledger.campaigns.all_contacts("campaign"))) == 2

    def test_contacts_stay_as_long_as_their_campaign_is_run(self, ledger: CallLedger) -> None:
        # However old it is: what counts is when it last showed life.
        runner = begin_campaign(ledger, "at work")
        begin_campaign(ledger, "idle")
        before = now()
        ledger.campaigns.heartbeat("at work", runner, {})
        assert ledger.purge(before) == Purged(0, 0, 0, contacts=2)
        assert len(list(ledger.campaigns.all_contacts("at work"))) == 2
        assert list(ledger.campaigns.all_contacts("idle")) == []
        # The one without contacts is known, and loads them anew.
        assert campaign(ledger, "at work").loaded_by == "somebody"
        assert campaign(ledger, "idle").loaded_by is None

    def test_call_of_a_campaign_keeps_its_place_and_forgets_its_contact(self, ledger: CallLedger) -> None:
        origin = CallOrigin(campaign_id="campaign", contact_key="+14155550100", position=7, attempt=2)
        ledger.accept(claim(ledger, origin=origin), "call_1")
        purge_all(ledger)
        [attempt] = ledger.campaigns.attempts("campaign")
        assert (attempt.position, attempt.number, attempt.call_id) == (7, 2, "call_1")
        entry = ledger.call_by_id("call_1")
        assert entry is not None
        assert entry.origin == CallOrigin(campaign_id="campaign", position=7, attempt=2)

    def test_campaign_that_is_taken_up_during_a_purge_misses_nobody(self, ledger: CallLedger) -> None:
        begin_campaign(ledger, "c")
        rival = Rival(ledger, "DELETE", "contacts", lambda: begin_campaign(ledger, "c"))
        assert purge_all(ledger).contacts == 2
        rival.result()
        assert ledger.campaigns.count_contacts("c") == {"": 1, "invalid": 1}
        assert campaign(ledger).loaded_by == "somebody"

    def test_call_that_was_purged_and_placed_again_can_be_purged(self, ledger: CallLedger) -> None:
        ledger.refuse(claim(ledger), "rate_limited", "429")
        purge_all(ledger)
        again = claim(ledger)
        assert (again.purged_at, again.idempotency_key) == (None, "key")
        ledger.accept(again, "call_1")
        assert purge_all(ledger).calls == 1
        [entry] = ledger.calls()
        assert (entry.to_number, entry.idempotency_key) == (None, None)


class TestTimes:
    def test_naive_moment_is_refused(self, ledger: CallLedger) -> None:
        with pytest.raises(exc.StatementError, match="aware times only"):
            ledger.purge(datetime(2026, 1, 1))  # noqa: DTZ001

    def test_moment_keeps_its_instant(self) -> None:
        stored, dialect = UtcDateTime(), create_engine("sqlite://").dialect
        moment = datetime(2026, 7, 4, 14, 0, tzinfo=timezone(timedelta(hours=2)))
        bound = stored.process_bind_param(moment, dialect)
        assert bound == datetime(2026, 7, 4, 12, 0)  # noqa: DTZ001
        assert stored.process_result_value(bound, dialect) == moment
        assert stored.process_bind_param(None, dialect) is stored.process_result_value(None, dialect) is None


def test_package_names_nothing_else() -> None:
    import airflow_provider_voiceinfra.ledger as package

    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = package.Nothing
