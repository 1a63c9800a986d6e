"""Airflow's REST API, as far as the demo and the integration tests use it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

import requests

FINISHED_RUN = frozenset({"success", "failed"})
FINISHED_TASK = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
POLL_SECONDS = 0.2


class ApiError(Exception):
    """Airflow answered a request with an error."""

    def __init__(self, method: str, path: str, response: requests.Response) -> None:
        self.status = response.status_code
        super().__init__(f"{method} {path}: {response.status_code} {response.text[:500]}")


class AirflowApi:
    """A logged-in client of one Airflow.

    :param base_url: of the API server, with the path that Airflow is served under, if there is one.
    :param username: of the simple auth manager.
    :param password: its password.
    """

    def __init__(self, base_url: str, username: str, password: str) -> None:
        self.base_url = base_url
        self._credentials = {"username": username, "password": password}
        self.token = ""
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy between this machine and itself
        self._session.headers["Accept"] = "application/json"

    def login(self) -> None:
        """Fetch the token that the other methods send."""
        answer = self._session.post(f"{self.base_url}/auth/token", json=self._credentials, timeout=30)
        if answer.status_code != 201:
            raise ApiError("POST", "/auth/token", answer)
        self.token = str(answer.json()["access_token"])
        self._session.headers["Authorization"] = f"Bearer {self.token}"

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> Any:
        """Send one request and return the decoded body.

        :param path: from the base URL, for example ``/api/v2/version``.
        :param params: go into the query.
        :raises ApiError: on any answer from 400 on.
        """
        answer = self._session.request(
            method, self.base_url + path, json=body, params=params, headers=headers, timeout=60
        )
        if answer.status_code >= 400:
            raise ApiError(method, path, answer)
        return answer.json() if answer.content else None

    def json_or_none(self, path: str) -> Any:
        """Return the JSON served at a path; None while there is no server or it serves something else.

        Status codes don't help here: Airflow answers any unknown path with 200 and its start page.
        """
        try:
            return self._session.get(self.base_url + path, timeout=10).json()
        except requests.RequestException:  # its JSON errors are among them
            return None

    def dag_is_known(self, dag_id: str) -> bool:
        """Whether the DAG has been parsed and can be run."""
        try:
            return bool(self.request("GET", f"/api/v2/dags/{dag_id}")["dag_id"] == dag_id)
        except ApiError as exc:
            if exc.status == 404:
                return False
            raise

    def import_errors(self) -> list[str]:
        """Return what went wrong while parsing DAG files, one text for each."""
        found = self.request("GET", "/api/v2/importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace']}" for error in found]

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run the DAG."""
        self.request("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run and return its id."""
        body: dict[str, Any] = {"logical_date": None, "conf": conf or {}}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return str(self.request("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        return str(self.request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = 120.0) -> str:
        """Wait until a run is over and return its state.

        :param timeout: in seconds.
        """
        deadline = time.monotonic() + timeout
        while (state := self.run_state(dag_id, run_id)) not in FINISHED_RUN:
            if time.monotonic() > deadline:
                states = {t["task_id"]: t["state"] for t in self.task_instances(dag_id, run_id)}
                raise TimeoutError(
                    f"Run {run_id} of {dag_id} is still {state} after {timeout:.0f} s: {states}"
                )
            time.sleep(POLL_SECONDS)
        return state

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run, mapped ones included, as Airflow describes them."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found: list[dict[str, Any]] = []
        while True:
            page = self.request("GET", path, limit=100, offset=len(found))
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """Return one task instance.

        :param map_index: of a mapped task; -1 for a task that isn't mapped.
        """
        for instance in self.task_instances(dag_id, run_id):
            if (instance["task_id"], instance["map_index"]) == (task_id, map_index):
                return instance
        raise LookupError(f"No task instance {task_id} [{map_index}] in run {run_id} of {dag_id}")

    def wait_for_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        states: Collection[str] = FINISHED_TASK,
        *,
        map_index: int = -1,
        timeout: float = 120.0,
    ) -> dict[str, Any]:
        """Wait until a task instance is in one of the states and return it.

        :param timeout: in seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            instance = self.task_instance(dag_id, run_id, task_id, map_index)
            if instance["state"] in states:
                return instance
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{task_id} is {instance['state']} after {timeout:.0f} s, not {sorted(states)}"
                )
            time.sleep(POLL_SECONDS)

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", *, map_index: int = -1
    ) -> Any:
        """Return a value that a task has pushed; None if there is none."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        try:
            return self.request("GET", path, map_index=map_index, stringify=False)["value"]
        except ApiError as exc:
            if exc.status == 404:
                return None
            raise

    def xcom_keys(self, dag_id: str, run_id: str, task_id: str) -> list[str]:
        """Return the keys of everything that a task has pushed."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries"
        return [entry["key"] for entry in self.request("GET", path, limit=100)["xcom_entries"]]

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, *, map_index: int = -1
    ) -> str:
        """Return the log of one try as Airflow's pages show it, one line for each entry."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.request("GET", path, map_index=map_index, full_content=True)["content"]
        return "\n".join(line if isinstance(line, str) else _log_line(line) for line in content)

    def clear(self, dag_id: str, run_id: str, task_ids: Collection[str], *, downstream: bool = False) -> None:
        """Clear finished tasks of a run, so that the scheduler runs them again."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "only_failed": False,
            "reset_dag_runs": True,
            "include_downstream": downstream,
        }
        self.request("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", body)


def _log_line(entry: dict[str, Any]) -> str:
    """Return one structured log entry with the errors that belong to it."""
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in entry.get("error_detail") or []]
    return "\n".join([str(entry.get("event", "")), *errors])
