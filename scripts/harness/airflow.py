"""A real Airflow in child processes, with a home directory, a database and ports of its own."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from harness.processes import (
    Guard,
    HarnessError,
    base_environment,
    end,
    end_all,
    find,
    free_port,
    spawn,
    tail,
    wait_for,
)
from harness.rest import AirflowApi

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
STANDALONE = "standalone"
USERNAME = "admin"
STOP_SECONDS = 20  # far more than it takes on an idle machine


class AirflowStack:
    """One Airflow: the four components and what they run.

    :param home: its ``AIRFLOW_HOME``, made if absent; also what its processes are found by, so two stacks
        must not share one.
    :param dags_folder: where the DAG files are.
    :param sql_alchemy_conn: the metadata database; a SQLite file in ``home`` if not given.
    :param parallelism: how many tasks may run at once. SQLite bears no more than a few.
    :param env: further environment variables, which win over the ones set here.
    :param standalone: start everything with ``airflow standalone``, as a user would; otherwise each
        component on its own, so that a test can stop and start one of them.
    :param users: who may log in besides ``admin``: a name, and its role (``viewer``, ``user``, ``op`` or
        ``admin``); their passwords are in ``passwords``.
    :param path: what Airflow is served under, such as ``/af``, as behind a proxy that strips nothing.
    :param stop_seconds: how long it may take to stop by itself; tasks that wait for something keep it up.
    """

    def __init__(
        self,
        home: Path,
        *,
        dags_folder: Path,
        sql_alchemy_conn: str | None = None,
        parallelism: int = 4,
        env: Mapping[str, str] | None = None,
        standalone: bool = False,
        users: Mapping[str, str] | None = None,
        path: str = "",
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self.home = home.resolve()
        self.dags_folder = dags_folder.resolve()
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}{path}"
        self.roles = {USERNAME: "admin", **(users or {})}
        self.passwords = {name: secrets.token_urlsafe(12) for name in self.roles}
        self.username = USERNAME
        self.password = self.passwords[USERNAME]
        self.api = self.api_of(USERNAME)
        self.standalone = standalone
        self._stop_seconds = stop_seconds
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._guard: Guard | None = None
        self.env = base_environment(str(self.home))
        self.env |= self._settings(sql_alchemy_conn or f"sqlite:///{self.home / 'airflow.db'}", parallelism)
        self.env |= env or {}

    @property
    def marker(self) -> str:
        """What the processes of this Airflow are found by."""
        return str(self.home)

    @property
    def fernet_key(self) -> str:
        """Airflow's own key, with which the ledger is encrypted, too."""
        return self.env["AIRFLOW__CORE__FERNET_KEY"]

    @property
    def logs(self) -> Path:
        """Where the components' own output goes; the tasks' logs are in ``home/logs``."""
        return self.home / "components"

    def api_of(self, user: str) -> AirflowApi:
        """Return a client of the REST API for one of the users; it is logged in by its ``login()``."""
        return AirflowApi(self.base_url, user, self.passwords[user])

    def webhook_url(self, conn_id: str = "voiceinfra_default") -> str:
        """Return the address that the vendor, or the sandbox, sends the webhooks of a connection to."""
        return f"{self.base_url}/voiceinfra/webhooks/{conn_id}"

    def _settings(self, sql_alchemy_conn: str, parallelism: int) -> dict[str, str]:
        return {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": sql_alchemy_conn,
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": str(parallelism),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags_folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.base_url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
                f"{name}:{role}" for name, role in self.roles.items()
            ),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.base_url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            # Not only the API server listens: two Airflows on one machine would share these two.
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            # A file that changes is parsed at once all the same; the others took half a processor.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
            # How long a task waits, at most, for each step that the scheduler takes with it.
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        }

    def start(self, timeout: float = 180.0) -> None:
        """Start everything and wait until it is healthy.

        :param timeout: in seconds.
        :raises HarnessError: if it isn't healthy by then, or a component has ended.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        passwords = self.home / "passwords.json"
        passwords.touch(mode=0o600)
        passwords.write_text(json.dumps(self.passwords))
        self._guard = Guard(self.marker)
        if self.standalone:
            self.start_component(STANDALONE)
        else:
            self.run_cli("db", "migrate")
            for name in COMPONENTS:
                self.start_component(name)
        self.wait_until_healthy(timeout)

    def start_component(self, name: str) -> None:
        """Start one component; it runs, but need not be ready, when this returns."""
        # The -X option means nothing to Python. It makes room: a process's new name is cut off at the length
        # of its command line, and task processes are recognised by their names.
        argv = [sys.executable, "-X", f"voiceinfra_harness={self.home}:{'.' * 40}", "-m", "airflow", name]
        self._processes[name] = spawn(argv, env=self.env, log=self.logs / f"{name}.log", cwd=self.home)

    def stop_component(self, name: str) -> None:
        """Stop one component; the tasks that a scheduler has started go with it."""
        end(self._processes.pop(name))

    def wait_until_healthy(self, timeout: float = 180.0) -> None:
        """Wait until all four components have given a sign of life and our own pages are served."""
        wait_for("Airflow to be healthy", self.is_healthy, timeout, self.check_alive)
        # Our random password is accepted: no other Airflow has taken the port.
        self.api.login()

    def is_healthy(self) -> bool:
        """Whether every component's heartbeat is fresh and the receiver of webhooks answers."""
        health = self.api.json_or_none("/api/v2/monitor/health") or {}
        parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        if any((health.get(part) or {}).get("status") != "healthy" for part in parts):
            return False
        ours = self.api.json_or_none("/voiceinfra/health") or {}
        return ours.get("service") == "voiceinfra"

    def check_alive(self) -> None:
        """Raise if a component has ended by itself.

        :raises HarnessError: with the end of its output.
        """
        for name, process in self._processes.items():
            if process.poll() is not None:
                log = self.logs / f"{name}.log"
                raise HarnessError(
                    f"airflow {name} ended with {process.returncode}; {log} ends:\n{tail(log)}"
                )

    def wait_for_dag(self, dag_id: str, timeout: float = 60.0) -> None:
        """Wait until a DAG has been parsed, and unpause it.

        :raises HarnessError: if it hasn't appeared by then, with the import errors of the DAG files.
        """
        try:
            wait_for(f"DAG {dag_id}", lambda: self.api.dag_is_known(dag_id), timeout, self.check_alive)
        except HarnessError as exc:
            raise HarnessError("\n".join([str(exc), *self.api.import_errors()])) from exc
        self.api.unpause(dag_id)

    def run_cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run an ``airflow`` command in this Airflow's environment.

        :raises HarnessError: if it fails and ``check`` is set.
        """
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.env,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise HarnessError(
                f"airflow {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def task_processes(self, instance_id: str) -> list[psutil.Process]:
        """Return the processes that run a task instance: its supervisor first, then the task itself.

        Killing the task makes its supervisor report a failure; killing both leaves the scheduler to notice
        that heartbeats have stopped, after ``[scheduler] task_instance_heartbeat_timeout`` seconds. Not for
        a stack started as ``standalone``, whose names are cut off.

        :param instance_id: ``id`` in what :meth:`AirflowApi.task_instance` returns.
        """
        titles = (f"airflow worker -- LocalExecutor: {instance_id}", f"airflow worker -- {instance_id}")
        found = {" ".join(p.cmdline()).strip(): p for p in find(self.marker)}
        return [found[title] for title in titles if title in found]

    def kill(self, predicate: Callable[[psutil.Process], bool], number: int = signal.SIGKILL) -> list[int]:
        """Send a signal to those of this Airflow's processes for which the predicate holds.

        :return: the ids of the processes that were hit.
        """
        hit = []
        for process in find(self.marker):
            try:
                if predicate(process):
                    process.send_signal(number)
                    hit.append(process.pid)
            except psutil.NoSuchProcess:
                continue
        return hit

    def stop(self) -> None:
        """Stop everything, including processes that their own parents have lost."""
        # Parents first, so that each can collect its children; `airflow standalone` does so on SIGINT only.
        for process in self._processes.values():
            process.send_signal(signal.SIGINT if self.standalone else signal.SIGTERM)
        deadline = time.monotonic() + self._stop_seconds
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        end_all(self.marker, min(self._stop_seconds, 10.0))
        for process in self._processes.values():
            process.wait()
        self._processes.clear()
        if self._guard:
            self._guard.release()

    def detach(self) -> None:
        """Leave everything running when this process ends; ``end_all(marker)`` stops it later."""
        if self._guard:
            self._guard.release(keep=True)

    def log_files(self) -> list[Path]:
        """Return every log that this Airflow has written: components, tasks, triggers, DAG parsing."""
        return sorted(
            path
            for folder in (self.logs, self.home / "logs")
            for path in folder.rglob("*")
            if path.is_file() and os.access(path, os.R_OK)
        )

    def __enter__(self) -> AirflowStack:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
