"""What rows start: ledgers on both databases, the receiver on its own, and Airflow's API server."""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import requests
from harness.airflow import AirflowStack
from harness.postgres import PostgresServer, find_binaries
from harness.processes import Guard, HarnessError, base_environment, end, free_port, spawn, tail, wait_for
from load import SECRET

DATABASES = ("SQLite", "PostgreSQL")
PLUGIN = Path(__file__).with_name("nothing.py")
START_SECONDS = 180.0


class DurablePostgres(PostgresServer):
    """A server with its own defaults, as one that has something to lose; the harness's own is not."""

    settings = ("max_connections=200",)


def databases(stack: ExitStack) -> dict[str, Callable[[], str]]:
    """Return, for each of ``DATABASES``, what makes an empty one and returns its URL, without a driver.

    :param stack: stops the server, and removes the files.
    """
    folder = temporary(stack, "db")
    binaries = find_binaries()
    if binaries is None:
        raise RuntimeError("PostgreSQL's server programs are not installed.")
    server = DurablePostgres(binaries)
    stack.callback(server.stop)
    numbers = itertools.count()
    return {
        "SQLite": lambda: f"sqlite:///{folder}/ledger{next(numbers)}.db",
        "PostgreSQL": lambda: without_driver(server.create_database(f"ledger{next(numbers)}")),
    }


def without_driver(url: str) -> str:
    """Return a URL as the documentation recommends it, by which the ledger chooses its driver."""
    return url.replace("postgresql+psycopg2", "postgresql", 1)


def temporary(stack: ExitStack, name: str) -> Path:
    """Return a folder that the stack removes."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"voiceinfra-bench-{name}-")))


def connection(base_url: str = "") -> str:
    """Return the connection ``voiceinfra_default`` as the value of its environment variable."""
    extra = {"webhook_secret": SECRET, "agent_id": "agent_demo", "from_number": "+14155550199"}
    value = {"conn_type": "voiceinfra", "password": "vk_sandbox_key", "extra": extra}
    return json.dumps(value | ({"host": base_url} if base_url else {}))


def uvicorn(stack: ExitStack, app: str, ledger_url: str = "") -> int:
    """Serve an application as the documentation says, and return its port.

    :param app: the factory.
    :param ledger_url: of a receiver's ledger.
    """
    folder, port = temporary(stack, "uvicorn"), free_port()
    marker = str(folder)
    env = base_environment(marker) | {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN": ledger_url,
        "AIRFLOW_CONN_VOICEINFRA_DEFAULT": connection(),
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "--host", "127.0.0.1", "--port", str(port), app]
    stack.callback(Guard(marker).release)
    log = folder / "uvicorn.log"
    process = spawn(command, env=env, log=log, cwd=PLUGIN.parent)
    stack.callback(end, process)

    def check_alive() -> None:
        if process.poll() is not None:
            raise HarnessError(f"{app} ended with {process.returncode}:\n{tail(log)}")

    wait_for(f"{app} to answer", lambda: is_healthy(port, "/health"), START_SECONDS, check_alive)
    return port


class ApiServer(AirflowStack):
    """Airflow's API server alone, with the receiver, and with a plugin that only reads bodies.

    :param metadata_url: Airflow's database, which several may share.
    :param ledger_url: where its receiver records.
    """

    def __init__(self, home: Path, *, metadata_url: str, ledger_url: str) -> None:
        (home / "plugins").mkdir()
        (home / "plugins" / PLUGIN.name).write_text(PLUGIN.read_text())
        super().__init__(
            home,
            dags_folder=Path(__file__).with_name("dags"),
            sql_alchemy_conn=metadata_url,
            env={
                "AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN": ledger_url,
                "AIRFLOW_CONN_VOICEINFRA_DEFAULT": connection(),
                "BENCH_CALLS": "1",
            },
        )
        passwords = self.home / "passwords.json"
        passwords.touch(mode=0o600)
        passwords.write_text(json.dumps(self.passwords))

    def serve(self, stack: ExitStack) -> None:
        """Start it, without waiting for it, and have the stack stop it."""
        self._guard = Guard(self.marker)
        stack.callback(self.stop)
        self.start_component("api-server")

    def wait(self) -> None:
        """Wait until it answers, and log in."""
        wait_for(
            "the API server",
            lambda: is_healthy(self.port, "/voiceinfra/health") and is_healthy(self.port, "/nothing/health"),
            START_SECONDS,
            self.check_alive,
        )
        self.api.login()


def is_healthy(port: int, path: str) -> bool:
    """Whether a server answers with JSON, as Airflow does only for paths that it knows."""
    try:
        answer = requests.get(f"http://127.0.0.1:{port}{path}", timeout=10)
        return answer.ok and isinstance(answer.json(), dict)
    except requests.RequestException:
        return False
