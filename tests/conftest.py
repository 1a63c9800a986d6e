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

# Each commit to a SQLite file waits for the disk, which in memory takes no time.
_MEMORY, _MEMORY_NEEDED = Path("/dev/shm"), 2 * 2**30
if (
    "TMPDIR" not in os.environ
    and os.access(_MEMORY, os.W_OK)
    and shutil.disk_usage(_MEMORY).free > _MEMORY_NEEDED
):
    os.environ["TMPDIR"] = str(_MEMORY)
    tempfile.tempdir = None  # so that it is looked up anew

_AIRFLOW_HOME = tempfile.mkdtemp(prefix="voiceinfra-tests-")
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# Most tests look into the ledger; those of its encryption set a key.
os.environ["AIRFLOW__CORE__FERNET_KEY"] = ""

from harness.pgbouncer import PgBouncer, find_pgbouncer  # noqa: E402
from harness.postgres import PostgresServer, find_binaries  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from tests.sandbox_process import SandboxProcess  # noqa: E402
from tests.support.ledgers import PostgresLedgers, forget_ledger, migrate  # noqa: E402
from tests.support.no_skip import (  # noqa: E402, F401  which makes them hooks
    pytest_make_collect_report,
    pytest_runtest_makereport,
)

# How long it takes to make or to try an example says something of the machine alone.
settings.register_profile(
    "any machine", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


def pytest_unconfigure() -> None:
    """Remove the Airflow home of this run."""
    shutil.rmtree(_AIRFLOW_HOME, ignore_errors=True)


# What one process runs as a whole, in order: those with a real Airflow share it; the others make something
# once that takes seconds. Whatever is not named goes to any process.
TOGETHER = {
    "tests/integration/browser/test_at_the_root.py": "the Airflow of the DAGs",
    "tests/integration/browser/": "the Airflow of the browser",
    "tests/integration/test_receiver_killed.py": "the receiver that is killed",
    "tests/integration/": "the Airflow of the DAGs",
    "tests/faults/test_faults.py": "faults",
    "tests/faults/test_night.py": "a night",
    "tests/web/test_app.py": "a metadata database",
    "tests/test_packaging.py": "a package",
    "tests/test_import_cost.py": "processes that import",
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give the tests that belong together to one process; what takes longest, being most, begins first."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return next((name for path, name in TOGETHER.items() if nodeid.startswith(path)), nodeid)

    return Together(config, log)


_used_engines: dict[int, Engine] = {}


@event.listens_for(Engine, "engine_connect")
def _note_engine(connection: Connection) -> None:
    _used_engines[id(connection.engine)] = connection.engine


@pytest.fixture(autouse=True)
def _close_idle_connections() -> Iterator[None]:
    """Close what the engines of a test keep open for their next use: there are thousands of tests."""
    yield
    # A folder of the next test may have the name of this one's, which is removed.
    forget_ledger("sqlite:///")
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


@pytest.fixture(scope="session")
def _sandbox_process() -> Iterator[SandboxProcess]:
    with SandboxProcess(call_seconds=0) as process:
        yield process


@pytest.fixture
def fresh_sandbox(_sandbox_process: SandboxProcess) -> SandboxProcess:
    """Return the sandbox of this session as if it had just been started; calls take no time."""
    _sandbox_process.reset(settings=True)
    return _sandbox_process


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SQLite file with a ledger without rows."""
    file = tmp_path_factory.mktemp("template") / "template.db"
    migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres_ledgers(postgres_server: PostgresServer) -> PostgresLedgers:
    """Return what lends ledgers on PostgreSQL."""
    return PostgresLedgers(postgres_server)


@pytest.fixture
def fresh_sqlite_url(tmp_path: Path, sqlite_template: Path) -> Iterator[str]:
    """Return the URL of a ledger without rows in a SQLite file."""
    path = shutil.copyfile(sqlite_template, tmp_path / "ledger.db")
    yield f"sqlite:///{path}"
    forget_ledger(str(path))


@pytest.fixture
def fresh_postgres_url(postgres_server: PostgresServer, postgres_ledgers: PostgresLedgers) -> Iterator[str]:
    """Return the URL of a ledger without rows on PostgreSQL."""
    name = postgres_ledgers.take()
    yield postgres_server.url(name)
    forget_ledger(name)
    postgres_ledgers.give_back(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a ledger without rows, on each kind of database in turn."""
    name = {"sqlite": "fresh_sqlite_url", "postgresql": "fresh_postgres_url"}[request.param]
    return str(request.getfixturevalue(name))


@pytest.fixture(params=["sqlite", "postgresql"])
def untouched_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database without tables, on each kind of database in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return str(request.getfixturevalue("postgres_database"))
