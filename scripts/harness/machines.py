"""The documented deployment of many machines: each process with a home of its own, all on this machine."""

from __future__ import annotations

import json
import secrets
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import requests
from cryptography.fernet import Fernet

from harness.airflow import AirflowStack
from harness.compose import read_environment, read_services
from harness.pgbouncer import PgBouncer
from harness.postgres import PostgresServer
from harness.processes import Guard, base_environment, find, free_port, spawn
from harness.redis import RedisServer

AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")
RECEIVER = "receiver"
CONNECTION = "AIRFLOW_CONN_VOICEINFRA_DEFAULT"
WATCH_SECONDS = 0.5
START_SECONDS = 240.0


class Machines(AirflowStack):
    """What a folder's ``compose.yaml`` starts: its processes, by their commands, with their settings.

    Addresses in the settings become those on this machine, and secrets are drawn. A process that ends is
    started again, as Compose does. Machines are named as their service, with a number behind: ``worker-0``.

    :param home: what its processes are found by; each has a folder in it as its ``AIRFLOW_HOME``.
    :param folder: of the Compose file and what that names.
    :param postgres: a server without databases.
    :param pgbouncer: the program of that name.
    :param env: settings that are different here, for all processes of Airflow.
    :param connection: what is added to the documented connection, such as the sandbox's address.
    """

    def __init__(
        self,
        home: Path,
        *,
        folder: Path,
        postgres: PostgresServer,
        pgbouncer: str,
        env: Mapping[str, str],
        connection: Mapping[str, str],
    ) -> None:
        super().__init__(home, dags_folder=folder / "dags", stop_seconds=5.0)
        names = read_environment(folder / "example.env")
        self.secrets = {name: secrets.token_hex(16) for name in names}
        self.secrets["FERNET_KEY"] = Fernet.generate_key().decode()
        self.services = read_services(folder / "compose.yaml", self.secrets)
        self.machines = self._named()
        self.ports = {name: free_port() for name in self.machines if self._service(name) == RECEIVER}
        self.restarted: list[str] = []
        self._began: dict[str, int] = {}
        self._here, self._connection = dict(env), connection
        self._closing, self._changing = threading.Event(), threading.RLock()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        postgres.run_script(folder / "databases.sql", self.secrets)
        users = {"voiceinfra": self.secrets["LEDGER_PASSWORD"]}
        self.pgbouncer = PgBouncer(
            pgbouncer, postgres, configuration=(folder / "pgbouncer.ini").read_text(), users=users
        )
        self.redis = RedisServer(self.services["redis"].command)
        documented = {
            "postgres:5432": postgres.port,
            "pgbouncer:6432": self.pgbouncer.port,
            "redis:6379": self.redis.port,
            "api-server:8080": self.port,
            "localhost:8080": self.port,
        }
        self._addresses = {address: f"127.0.0.1:{port}" for address, port in documented.items()}
        self.env = self._environment("init-0")

    def _named(self) -> list[str]:
        numbers = {name: range(self.services[name].replicas) for name in (*AIRFLOW, RECEIVER)}
        return [f"{name}-{number}" for name in numbers for number in numbers[name]]

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start everything and wait until it is healthy.

        :param timeout: in seconds.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "passwords.json").write_text(json.dumps(self.passwords))
        self._guard = Guard(self.marker)
        self.run_cli(*self.services["init"].command)
        for machine in self.machines:
            self.start_component(machine)
        self.wait_until_healthy(timeout)
        self._watcher.start()

    def is_healthy(self) -> bool:
        """Whether all four parts have a heartbeat, the workers take tasks, and all receivers answer."""
        return super().is_healthy() and all(self.is_ready(machine) for machine in self.machines)

    def is_ready(self, machine: str) -> bool:
        """Whether a worker takes tasks, or a receiver answers; of others nothing is known here."""
        if machine in self.ports:
            with suppress(requests.RequestException):
                return requests.get(f"http://127.0.0.1:{self.ports[machine]}/health", timeout=5).ok
            return False
        return self._service(machine) != "worker" or " ready." in self.output(machine)

    def output(self, machine: str) -> str:
        """Return what a machine has written since it was last started."""
        with (self.logs / f"{machine}.log").open(errors="replace") as log:
            log.seek(self._began.get(machine, 0))
            return log.read()

    def start_component(self, name: str) -> None:
        """Start one machine's process; it runs, but need not be ready, when this returns."""
        argv = self._command(name)
        (self.home / name).mkdir(exist_ok=True)
        log = self.logs / f"{name}.log"
        self._began[name] = log.stat().st_size if log.exists() else 0
        self._processes[name] = spawn(argv, env=self._environment(name), log=log, cwd=self.home / name)

    def check_alive(self) -> None:
        """Raise if a machine has ended by itself at the start; later it is started again."""
        if not self._watcher.is_alive():
            super().check_alive()

    def signal(self, machine: str, number: int) -> int:
        """Send a signal to all processes of a machine; return how many were hit."""
        hit = 0
        for process in find(self.marker):
            with suppress(psutil.Error):
                if process.environ().get("AIRFLOW_HOME") == str(self.home / machine):
                    process.send_signal(number)
                    hit += 1
        return hit

    def kill_machine(self, machine: str) -> int:
        """Kill all processes of a machine at once; its own are started again. Return how many were hit."""
        with self._changing:
            hit = 0
            while found := self.signal(machine, signal.SIGKILL):
                hit += found
                self._processes[machine].wait()
        return hit

    def stop(self) -> None:
        """Stop everything, the broker and the pooler, too."""
        self._closing.set()
        if self._watcher.ident:
            self._watcher.join()
        super().stop()
        self.pgbouncer.stop()
        self.redis.stop()

    def _watch(self) -> None:
        while not self._closing.wait(WATCH_SECONDS):
            with self._changing:
                for name, process in list(self._processes.items()):
                    if process.poll() is not None and self.services[self._service(name)].restarts:
                        self.signal(name, signal.SIGKILL)  # nothing of a container outlives its first process
                        self.restarted.append(name)
                        self.start_component(name)

    def _service(self, machine: str) -> str:
        return machine.rpartition("-")[0]

    def _command(self, machine: str) -> list[str]:
        service = self._service(machine)
        command = self.services[service].command
        if service == RECEIVER:
            here = {"python": sys.executable, "0.0.0.0": "127.0.0.1", "8000": str(self.ports[machine])}
            return [here.get(word, word) for word in command]
        # See AirflowStack.start_component. Without a name, two workers of one machine would have the same.
        named = ["--celery-hostname", machine] if service == "worker" else []
        room = f"voiceinfra_harness={self.home}:{'.' * 40}"
        return [sys.executable, "-X", room, "-m", "airflow", *command, *named]

    def _environment(self, machine: str) -> dict[str, str]:
        service = self._service(machine)
        given = self.services[service].environment
        for address, here in self._addresses.items():
            given = {name: value.replace(address, here) for name, value in given.items()}
        env = base_environment(self.marker) | given | {"AIRFLOW_HOME": str(self.home / machine)}
        if service == RECEIVER:
            return env
        env[CONNECTION] = json.dumps(json.loads(given[CONNECTION]) | dict(self._connection))
        return env | self._own_settings() | self._here

    def _own_settings(self) -> dict[str, str]:
        """Return what a test needs of any Airflow: its address, its users, and little patience."""
        ours = self._settings("", 0)
        names = (
            "CORE__SIMPLE_AUTH",
            "CORE__DAGS_FOLDER",
            "API__HOST",
            "API__PORT",
            "LOGGING__",
            "DAG_PROCESSOR__",
        )
        prefixes = tuple(f"AIRFLOW__{name}" for name in (*names, "SCHEDULER__"))
        found = {name: value for name, value in ours.items() if name.startswith(prefixes)}
        return found | {"AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "logs")}
