"""A ledger that cannot be used says so, loses nothing, survives forks, and forgets people but never calls."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Dialect, create_engine, exc, text

from airflow_provider_voiceinfra.exceptions import ConfigurationError, LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.database import connect
from airflow_provider_voiceinfra.ledger.database.connect import Database, database
from airflow_provider_voiceinfra.ledger.database.pools import Pool
from airflow_provider_voiceinfra.ledger.database.schema import HEAD_REVISION, UtcDateTime, calls
from airflow_provider_voiceinfra.ledger.lists.values import CallFilter
from airflow_provider_voiceinfra.ledger.records import CallOrigin, CallState, Recorded
from airflow_provider_voiceinfra.ledger.store import Purged
from tests.ledger.examples import CALL, CONN_ID, FIRST_TRY, claim, complete, running, unknown
from tests.ledger.racing import Rival, after_statement

InChild = Callable[[Callable[[], object]], str]

SOON = timedelta(seconds=1)


def now() -> datetime:
    return datetime.now(timezone.utc)


class TestCheck:
    def test_check_returns_the_revision_and_changes_nothing(self, ledger: CallLedger) -> None:
        assert ledger.check() == HEAD_REVISION
        complete(ledger, "call_1")
        assert ledger.last_sequence() == 1

    def test_creating_a_ledger_opens_nothing(self, tmp_path: Path) -> None:
        CallLedger(f"sqlite:///{tmp_path / 'ledger.db'}")
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

    def test_folder_that_does_not_exist(self, tmp_path: Path) -> None:
        with pytest.raises(LedgerUnavailableError, match="unable to open database file"):
            CallLedger(f"sqlite:///{tmp_path / 'nowhere' / 'ledger.db'}").check()

    def test_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "ledger.db").write_bytes(b"no database" * 1000)
        with pytest.raises(LedgerUnavailableError, match="not a database"):
            CallLedger(f"sqlite:///{tmp_path / 'ledger.db'}").check()

    def test_database_that_another_holds_for_longer_than_is_waited(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connect, "BUSY_TIMEOUT", 0.05)
        url = f"sqlite:///{tmp_path / 'ledger.db'}"
        ledger = CallLedger(url)
        entry = claim(ledger)
        with Database(url).writing():
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

    def test_disk_that_is_full(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'ledger.db'}"
        ledger = CallLedger(url)
        ledger.check()
        with database(url).engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(LedgerUnavailableError, match="full"):
            complete(ledger, "call_1", transcript="x" * 100_000)
        assert ledger.completion("call_1") is None
        with database(url).engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        assert complete(ledger, "call_1", transcript="x" * 100_000) is Recorded.NEW

    def test_account_without_the_rights(self, postgres_database: str) -> None:
        claim(CallLedger(postgres_database))
        engine = create_engine(postgres_database)
        role = f"reader_{os.getpid()}"
        with engine.begin() as connection:
            connection.execute(text(f"CREATE ROLE {role} LOGIN"))
            connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
        try:
            ledger = CallLedger(postgres_database.replace("postgres@", f"{role}@"))
            with pytest.raises(LedgerUnavailableError, match="permission denied for table voiceinfra_calls"):
                claim(ledger, "another")
            assert ledger.call_by_key("key") is not None
        finally:
            with engine.begin() as connection:
                connection.execute(text(f"DROP OWNED BY {role}"))
                connection.execute(text(f"DROP ROLE {role}"))
            engine.dispose()

    def test_connections_that_the_server_has_ended_are_replaced(self, postgres_database: str) -> None:
        ledger = CallLedger(postgres_database)
        entry = claim(ledger)
        engine = create_engine(postgres_database, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        engine.dispose()
        assert ledger.accept(entry, "call_1").call_id == "call_1"

    def test_error_holds_neither_values_nor_numbers(self, ledger: CallLedger, ledger_url: str) -> None:
        ledger.check()
        with database(ledger_url).writing() as connection:
            connection.execute(text("DROP TABLE voiceinfra_calls"))
        with pytest.raises(LedgerUnavailableError) as caught:
            claim(ledger, f"key {CALL.to_number}")
        shown = "".join(traceback.format_exception(caught.value))
        assert "voiceinfra_calls" in shown
        assert "415555" not in shown

    def test_body_of_a_transaction_that_fails_is_undone(self, ledger: CallLedger, ledger_url: str) -> None:
        entry = claim(ledger)

        def fail() -> None:
            with database(ledger_url).writing() as connection:
                connection.execute(calls.delete())
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        assert ledger.call_by_key("key") == entry


class TestUrl:
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
            ("sqlite:///ledger.db", "sqlite:////path/to/ledger.db"),
            ("sqlite:///./ledger.db", "sqlite:////path/to/ledger.db"),
            ("sqlite:///../data/ledger.db", "sqlite:////path/to/ledger.db"),
            ("sqlite:///~/ledger.db", "sqlite:////path/to/ledger.db"),
            ("sqlite+pysqlite:///ledger.db", "sqlite:////path/to/ledger.db"),
            ("sqlite:///file:ledger.db?uri=true", "sqlite:////path/to/ledger.db"),
        ],
    )
    def test_unusable_url_is_refused_without_its_password(self, url: str, message: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            CallLedger(url)
        assert message in str(caught.value)
        assert "[voiceinfra] sql_alchemy_conn" in str(caught.value)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))

    def test_relative_path_is_refused_before_anything_is_opened(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two working directories would be two ledgers, and one key would ring twice."""
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigurationError, match=r"'ledger.db' by a relative path"):
            CallLedger("sqlite:///ledger.db").check()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "url", ["sqlite:///{}", "sqlite:///file:{}?uri=true", "sqlite:///file://{}?uri=true"]
    )
    def test_absolute_path_is_taken(self, tmp_path: Path, url: str) -> None:
        assert CallLedger(url.format(tmp_path / "ledger.db")).check() == HEAD_REVISION
        assert (tmp_path / "ledger.db").exists()

    @pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
    def test_driver_of_postgresql_may_be_left_out(self, postgres_database: str, scheme: str) -> None:
        url = postgres_database.replace("postgresql+psycopg2:", f"{scheme}:")
        assert CallLedger(url).check() == HEAD_REVISION
        # Of two that are installed, the one that writes no values into statements.
        assert database(url).engine.dialect.driver == "psycopg"

    def test_driver_that_is_installed_is_taken(
        self, postgres_database: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "psycopg2" or None)
        url = postgres_database.replace("postgresql+psycopg2:", "postgresql:")
        assert CallLedger(url).check() == HEAD_REVISION
        assert database(url).engine.dialect.driver == "psycopg2"

    def test_missing_driver_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(
            ConfigurationError,
            match=r"pip install '\.\[postgres\]' in a clone .*, or pip install 'psycopg\[bin",
        ):
            CallLedger("postgresql://host/another_ledger")


class TestFork:
    @pytest.fixture
    def in_child(self) -> InChild:
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

        return in_child

    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_child_uses_connections_of_its_own(
        self, ledger: CallLedger, ledger_url: str, in_child: InChild
    ) -> None:
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

    def test_what_a_child_does_first_leaves_the_parents_connections_open(
        self, ledger: CallLedger, ledger_url: str
    ) -> None:
        entry = claim(ledger)
        with database(ledger_url).reading() as parents:
            connect._after_fork()  # as in a child; here the parent's connections can be looked at as well
            assert ledger.accept(entry, "call_1").call_id == "call_1"
            assert parents.execute(calls.select()).all()

    def test_connections_of_one_part_are_not_used_up_by_another(self, ledger_url: str) -> None:
        pool = Pool("one", 2, wait=0.2)
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
    def test_fork_while_another_thread_opens_a_ledger_does_not_hang_the_child(
        self, ledger: CallLedger, ledger_url: str, in_child: InChild
    ) -> None:
        held, done = threading.Event(), threading.Event()
        lock = database(ledger_url)._lock

        def hold() -> None:
            with connect._databases_lock, lock:
                held.set()
                done.wait()

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait()
        try:
            assert in_child(lambda: (database(ledger_url), ledger.check())[1]) == HEAD_REVISION
        finally:
            done.set()
            holder.join()


def begin_campaign(ledger: CallLedger, campaign_id: str) -> str:
    """Run a campaign with a contact and a row that is left out; return the runner."""
    campaign = ledger.campaigns.take(campaign_id, conn_id=CONN_ID, origin=FIRST_TRY)
    contact = ContactEntry(0, 1, CALL.to_number, CALL.to_request(), None)
    left_out = ContactEntry(0, 2, None, None, None, "invalid", "to_number is missing")
    ledger.campaigns.load_contacts(
        campaign_id, [contact, left_out], loaded_by="somebody", runner=running(ledger, campaign_id)
    )
    return str(campaign.runner)


class TestPurge:
    def test_personal_data_goes_and_a_tombstone_stays(self, ledger: CallLedger, ledger_url: str) -> None:
        accepted = ledger.accept(claim(ledger, "key of +14155550100"), "call_1")
        complete(ledger, "call_1")
        ledger.deliveries.keep(b"+14155550100", conn_id=CONN_ID, reason="x")
        begin_campaign(ledger, "campaign")
        assert ledger.purge(now() + SOON) == Purged(calls=1, completions=1, deliveries=1, contacts=2)
        entry = ledger.call_by_id("call_1")
        assert entry is not None
        assert (entry.key_hash, entry.state) == (accepted.key_hash, CallState.ACCEPTED)
        assert entry.purged_at is not None
        assert ledger.completion("call_1") is None
        assert ledger.deliveries.kept() == []
        with database(ledger_url).reading() as connection:
            for table in ("calls", "completions", "deliveries", "campaigns", "contacts"):
                rows = connection.execute(text(f"SELECT * FROM voiceinfra_{table}")).all()
                assert "415555" not in repr(rows)

    def test_purged_call_is_found_by_no_digits_any_more(self, ledger: CallLedger) -> None:
        claim(ledger)
        assert len(ledger.lists.page_of_calls(CallFilter(digits="0100")).calls) == 1
        ledger.purge(now() + SOON)
        assert ledger.lists.page_of_calls(CallFilter(digits="0100")).calls == []
        assert len(ledger.lists.page_of_calls(CallFilter()).calls) == 1

    @pytest.mark.parametrize("state", ["claimed", "accepted", "unknown"])
    def test_purged_key_is_never_dialled_again(self, ledger: CallLedger, state: str) -> None:
        entry = claim(ledger)
        if state == "accepted":
            ledger.accept(entry, "call_1")
        elif state == "unknown":
            ledger.mark_unknown(entry, "cut", "cut")
        ledger.purge(now() + SOON)
        again, won = ledger.claim("key", CALL, conn_id=CONN_ID)
        assert not won
        assert again.state.value == state

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

    def test_campaign_without_its_contacts_is_known_and_loads_them_anew(self, ledger: CallLedger) -> None:
        begin_campaign(ledger, "idle")
        kept = begin_campaign(ledger, "at work")
        before = now()
        ledger.campaigns.heartbeat("at work", kept, {})
        ledger.purge(before)
        assert {entry.campaign_id: entry.loaded_by for entry in ledger.lists.campaigns()} == {
            "idle": None,
            "at work": "somebody",
        }

    def test_call_of_a_campaign_keeps_its_place_and_forgets_its_contact(self, ledger: CallLedger) -> None:
        origin = CallOrigin(campaign_id="campaign", contact_key="+14155550100", position=7, attempt=2)
        ledger.accept(claim(ledger, origin=origin), "call_1")
        ledger.purge(now() + SOON)
        [attempt] = ledger.campaigns.attempts("campaign")
        assert (attempt.position, attempt.number, attempt.call_id) == (7, 2, "call_1")
        entry = ledger.call_by_id("call_1")
        assert entry is not None
        assert entry.origin == CallOrigin(campaign_id="campaign", position=7, attempt=2)

    def test_campaign_that_is_taken_up_during_a_purge_misses_nobody(
        self, ledger: CallLedger, ledger_url: str
    ) -> None:
        begin_campaign(ledger, "campaign")
        rival = Rival(lambda: begin_campaign(ledger, "campaign"))
        after_statement(ledger_url, "DELETE", "contacts", rival)
        assert ledger.purge(now() + SOON).contacts == 2
        rival.result()
        assert ledger.campaigns.count_contacts("campaign") == {"": 1, "invalid": 1}
        [entry] = ledger.lists.campaigns()
        assert entry.loaded_by == "somebody"

    def test_second_purge_finds_nothing(self, ledger: CallLedger) -> None:
        claim(ledger)
        assert ledger.purge(now() + SOON).calls == 1
        assert ledger.purge(now() + SOON).calls == 0


class TestTimes:
    def test_naive_moment_is_refused(self, ledger: CallLedger) -> None:
        with pytest.raises(exc.StatementError, match="aware times only"):
            ledger.purge(datetime(2026, 1, 1))  # noqa: DTZ001

    def test_moment_keeps_its_instant(self) -> None:
        stored = UtcDateTime()
        moment = datetime(2026, 7, 4, 14, 0, tzinfo=timezone(timedelta(hours=2)))
        bound = stored.process_bind_param(moment, sqlite_dialect())
        assert bound == datetime(2026, 7, 4, 12, 0)  # noqa: DTZ001
        assert stored.process_result_value(bound, sqlite_dialect()) == moment
        assert stored.process_bind_param(None, sqlite_dialect()) is None
        assert stored.process_result_value(None, sqlite_dialect()) is None


def sqlite_dialect() -> Dialect:
    return create_engine("sqlite://").dialect


def test_package_names_nothing_else() -> None:
    import airflow_provider_voiceinfra.ledger as package

    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = package.Nothing


def test_refused_call_that_was_purged_and_placed_again_can_be_purged_again(ledger: CallLedger) -> None:
    ledger.refuse(claim(ledger), "rate_limited", "429")
    ledger.purge(datetime.now(timezone.utc))
    again = claim(ledger)
    assert (again.purged_at, again.idempotency_key) == (None, "key")
    ledger.accept(again, "call_1")
    assert ledger.purge(datetime.now(timezone.utc)).calls == 1
    [entry] = ledger.calls()
    assert (entry.to_number, entry.idempotency_key) == (None, None)
