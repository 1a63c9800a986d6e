"""Fixtures and rules for all tests: a hermetic Airflow environment, databases, and no silent skips."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

# Airflow reads its settings when it is first imported, which is while the test files are collected:
# nothing of the developer's own Airflow may be left in the environment by then.
for _name in [name for name in os.environ if name.lstrip("_").startswith("AIRFLOW")]:
    del os.environ[_name]
_AIRFLOW_HOME = tempfile.mkdtemp(prefix="voiceinfra-tests-")
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

from harness.pgbouncer import PgBouncer, find_pgbouncer  # noqa: E402
from harness.postgres import PostgresServer, find_binaries  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# How long it takes to make or to try an example says something of the machine alone.
settings.register_profile(
    "any machine", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

NO_SKIP = os.environ.get("VOICEINFRA_TEST_NO_SKIP") == "1"


def pytest_unconfigure() -> None:
    """Remove the Airflow home of this run."""
    shutil.rmtree(_AIRFLOW_HOME, ignore_errors=True)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    # An expected failure is reported as a skip, too, with this attribute.
    if NO_SKIP and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"Skipped, which VOICEINFRA_TEST_NO_SKIP=1 forbids: {reason}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give the tests with a real Airflow to one process, in order: they share it, and the last judge all."""
    from xdist.scheduler import LoadScopeScheduling

    class OneAirflow(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "airflow" if nodeid.startswith("tests/integration/") else nodeid

    return OneAirflow(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Turn the skip of a test into a failure where skips are forbidden."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """Turn the skip of a whole file into a failure where skips are forbidden."""
    report = yield
    _refuse_skip(report)
    return report


_used_engines: dict[int, Engine] = {}


@event.listens_for(Engine, "engine_connect")
def _note_engine(connection: Connection) -> None:
    _used_engines[id(connection.engine)] = connection.engine


@pytest.fixture(autouse=True)
def _close_idle_connections() -> Iterator[None]:
    """Close what the engines of a test keep open for their next use: there are thousands of tests."""
    yield
    while _used_engines:
        _used_engines.popitem()[1].dispose()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL server for the whole session; skip where none is installed."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    server = PostgresServer(binaries)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """Return the URL of the server's own database; for a database of one's own see ``ledger_url``."""
    return postgres_server.url()


@pytest.fixture
def postgres_database(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the URL of an empty PostgreSQL database, dropped after the test."""
    name = f"test_{uuid.uuid4().hex}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """Run a pooler in transaction mode before the server; skip where none is installed."""
    program = find_pgbouncer()
    if program is None:
        pytest.skip("no PgBouncer is installed (Debian: apt-get install pgbouncer)")
    pooler = PgBouncer(program, postgres_server)
    yield pooler
    pooler.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database, on each kind of database in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return str(request.getfixturevalue("postgres_database"))
